/* Registry, memory and the layouts that several kernels share. */
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

static ep_kernel *first;

void ep_register(ep_kernel *kernel) {
    kernel->next = first;
    first = kernel;
}

void *ep_calloc(int64_t n_bytes) {
    const size_t size = (size_t)ep_round_up(n_bytes + 64, 64);
    void *memory = aligned_alloc(64, size);
    return memory ? memset(memory, 0, size) : NULL;
}

void ep_free(void *memory) { free(memory); }

int64_t ep_interleaved_bytes(int64_t n_prototypes, int64_t n_dims, int64_t group, int64_t unit_bytes) {
    return ep_round_up(n_prototypes, group) * ep_round_up(ep_row_bytes(n_dims), unit_bytes);
}

void ep_interleave(const uint8_t *packed, int64_t n_prototypes, int64_t n_dims, int64_t group,
                   int64_t unit_bytes, uint8_t *out) {
    const int64_t row = ep_row_bytes(n_dims);
    const int64_t n_units = ep_round_up(row, unit_bytes) / unit_bytes;
    memset(out, 0, (size_t)ep_interleaved_bytes(n_prototypes, n_dims, group, unit_bytes));
    for (int64_t m = 0; m < n_prototypes; m++) {
        uint8_t *lane = out + m / group * group * n_units * unit_bytes + m % group * unit_bytes;
        for (int64_t i = 0; i < row; i++)
            lane[i / unit_bytes * group * unit_bytes + i % unit_bytes] = packed[m * row + i];
    }
}

void ep_planes(const ep_job *job, int64_t row_bytes, uint8_t *out) {
    for (int64_t t = 0; t < job->n_tokens; t++) {
        const uint8_t *u = job->digits + t * job->n_dims;
        for (int32_t b = 0; b < job->bits; b++) {
            uint8_t *row = out + (b * job->n_tokens + t) * row_bytes;
            int64_t d = 0;
            for (; d + 8 <= job->n_dims; d += 8) {
                /* the lowest bits of eight bytes, gathered by one multiplication */
                uint64_t eight;
                memcpy(&eight, u + d, 8);
                eight = (eight >> b) & 0x0101010101010101u;
                row[d / 8] = (uint8_t)((eight * 0x0102040810204080u) >> 56);
            }
            for (; d < job->n_dims; d++) row[d / 8] |= (uint8_t)(((u[d] >> b) & 1) << (d % 8));
        }
    }
}

/* What Python calls, through ctypes; any change of a signature changes EP_ABI and ABI in Python. */

enum { EP_ABI = 1 };

EP_API int32_t ep_abi(void) { return EP_ABI; }

static const ep_kernel *kernel_at(int32_t index) {
    const ep_kernel *kernel = first;
    while (kernel && index-- > 0) kernel = kernel->next;
    return kernel;
}

EP_API int32_t ep_n_kernels(void) {
    int32_t n = 0;
    for (const ep_kernel *kernel = first; kernel; kernel = kernel->next) n++;
    return n;
}

EP_API const char *ep_kernel_name(int32_t index) { return kernel_at(index)->name; }
EP_API uint32_t ep_kernel_bits(int32_t index) { return kernel_at(index)->bits; }
EP_API uint32_t ep_kernel_features(int32_t index) { return kernel_at(index)->features; }
EP_API int64_t ep_kernel_max_dims(int32_t index) { return kernel_at(index)->max_dims; }

EP_API int64_t ep_layout_bytes(int32_t index, int64_t n_prototypes, int64_t n_dims) {
    return kernel_at(index)->layout_bytes(n_prototypes, n_dims);
}

EP_API void ep_make_layout(int32_t index, const uint8_t *packed, int64_t n_prototypes, int64_t n_dims,
                           uint8_t *out) {
    kernel_at(index)->make_layout(packed, n_prototypes, n_dims, out);
}

EP_API int32_t ep_match(int32_t index, const uint8_t *digits, const float *scale, const uint8_t *layout,
                        int64_t n_tokens, int64_t n_dims, int64_t n_prototypes, int32_t bits, float *scores,
                        int32_t *tokens) {
    const ep_job job = {digits, scale, layout, n_tokens, n_dims, n_prototypes, bits, scores, tokens};
    return kernel_at(index)->match(&job);
}
