/* What a matching kernel is, and what all of them share. The mathematics: ../README.md. */
#ifndef EDGE_PROBE_KERNEL_H
#define EDGE_PROBE_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#define EP_API __attribute__((visibility("default")))

/* CPU features, one bit each; see cpu.c. */
enum {
    EP_POPCNT = 1 << 0,
    EP_AVX2 = 1 << 1,
    EP_AVX512 = 1 << 2, /* F, BW, VL */
    EP_VPOPCNTDQ = 1 << 3,
    EP_VNNI = 1 << 4, /* AVX512_VNNI */
    EP_NEON = 1 << 5,
    EP_DOTPROD = 1 << 6,
};

/* One chunk of tokens against all prototypes. */
typedef struct {
    const uint8_t *digits;  /* [n_tokens][n_dims], u in 0 .. 2^bits - 1 */
    const float *scale;     /* [n_tokens], s_t */
    const uint8_t *layout;  /* the prototypes in the kernel's own order, 64-byte aligned */
    int64_t n_tokens, n_dims, n_prototypes;
    int32_t bits;
    float *scores;   /* [n_prototypes] out */
    int32_t *tokens; /* [n_prototypes] out: the first token that reaches the score */
} ep_job;

/* A kernel. A file defines one with EP_KERNEL and is thereby part of the library. */
typedef struct ep_kernel {
    const char *name;
    uint32_t bits;     /* bit b is set if it serves b-bit digits */
    uint32_t features; /* what the CPU must have */
    int64_t max_dims;  /* above it some counter could overflow */
    int64_t (*layout_bytes)(int64_t n_prototypes, int64_t n_dims);
    void (*make_layout)(const uint8_t *packed, int64_t n_prototypes, int64_t n_dims, uint8_t *out);
    int (*match)(const ep_job *job); /* 0, or -1 without memory */
    struct ep_kernel *next;
} ep_kernel;

void ep_register(ep_kernel *kernel);
EP_API uint32_t ep_cpu_features(void);

#define EP_KERNEL(identifier, ...)                                  \
    static ep_kernel identifier = {__VA_ARGS__};                    \
    __attribute__((constructor)) static void register_##identifier(void) { ep_register(&identifier); }

#define EP_BITS_1 0x002u
#define EP_BITS_1_TO_8 0x1FEu

/* Bytes of one packed prototype, and a size rounded up. */
static inline int64_t ep_row_bytes(int64_t n_dims) { return (n_dims + 7) / 8; }
static inline int64_t ep_round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

/* Memory of a call, 64-byte aligned, zeroed; ep_free takes it back. */
void *ep_calloc(int64_t n_bytes);
void ep_free(void *memory);

/* Prototypes in groups, unit by unit: out[group][unit][prototype][unit_bytes]; padding is zero. */
int64_t ep_interleaved_bytes(int64_t n_prototypes, int64_t n_dims, int64_t group, int64_t unit_bytes);
void ep_interleave(const uint8_t *packed, int64_t n_prototypes, int64_t n_dims, int64_t group,
                   int64_t unit_bytes, uint8_t *out);

/* Bit planes of the digits, least significant first: out[plane][token][row_bytes]; padding zero. */
void ep_planes(const ep_job *job, int64_t row_bytes, uint8_t *out);

/* Where a score beats the best one so far; ties stay with the earlier token. */
static inline void ep_keep(float score, int64_t token, float *best, int32_t *where) {
    if (score > *best) {
        *best = score;
        *where = (int32_t)token;
    }
}

/* -0.0 becomes +0.0, as in the reference. */
static inline float ep_positive_zero(float score) { return score + 0.0f; }

#endif
