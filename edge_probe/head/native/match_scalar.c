/* scalar: XOR and population count on 64-bit words, two prototypes against two tokens at a time.
   Layout: rows of whole words, [prototype][word]. Any C compiler will do. */
#include "kernel.h"

#include <math.h>

#if defined(__x86_64__)
#define TARGET __attribute__((target("popcnt")))
#define FEATURES EP_POPCNT
#else
#define TARGET
#define FEATURES 0
#endif

static int64_t layout_bytes(int64_t n_prototypes, int64_t n_dims) {
    return ep_interleaved_bytes(n_prototypes + n_prototypes % 2, n_dims, 1, 8);
}

static void make_layout(const uint8_t *packed, int64_t n_prototypes, int64_t n_dims, uint8_t *out) {
    ep_interleave(packed, n_prototypes, n_dims, 1, 8, out);
    if (n_prototypes % 2) { /* a last row without a partner meets itself */
        const int64_t row = ep_round_up(ep_row_bytes(n_dims), 8);
        for (int64_t i = 0; i < row; i++) out[n_prototypes * row + i] = out[(n_prototypes - 1) * row + i];
    }
}

/* Differing bits of two prototypes and two tokens, weighted by plane: count[prototype][token]. */
TARGET static void count_2x2(const uint64_t *p, const uint64_t *planes, int64_t stride, int64_t step,
                             int64_t n_words, int32_t bits, int64_t count[2][2]) {
    count[0][0] = count[0][1] = count[1][0] = count[1][1] = 0;
    for (int32_t b = bits - 1; b >= 0; b--) {
        const uint64_t *t0 = planes + b * stride, *t1 = t0 + step;
        int64_t c00 = 0, c01 = 0, c10 = 0, c11 = 0;
        for (int64_t w = 0; w < n_words; w++) {
            c00 += __builtin_popcountll(p[w] ^ t0[w]);
            c01 += __builtin_popcountll(p[w] ^ t1[w]);
            c10 += __builtin_popcountll(p[n_words + w] ^ t0[w]);
            c11 += __builtin_popcountll(p[n_words + w] ^ t1[w]);
        }
        count[0][0] = 2 * count[0][0] + c00;
        count[0][1] = 2 * count[0][1] + c01;
        count[1][0] = 2 * count[1][0] + c10;
        count[1][1] = 2 * count[1][1] + c11;
    }
}

TARGET static int match(const ep_job *job) {
    const int64_t row = ep_round_up(ep_row_bytes(job->n_dims), 8), n_words = row / 8;
    const int64_t top = job->n_dims * ((1 << job->bits) - 1);
    uint8_t *planes = ep_calloc(job->bits * job->n_tokens * row);
    if (!planes) return -1;
    ep_planes(job, row, planes);
    for (int64_t m = 0; m < job->n_prototypes; m += 2) {
        const uint64_t *p = (const uint64_t *)(const void *)(job->layout + m * row);
        float best[2] = {-INFINITY, -INFINITY};
        int32_t where[2] = {0, 0};
        for (int64_t t = 0; t < job->n_tokens; t += 2) {
            const int64_t step = t + 1 < job->n_tokens ? n_words : 0;
            int64_t count[2][2];
            count_2x2(p, (const uint64_t *)(const void *)(planes + t * row), job->n_tokens * n_words, step,
                      n_words, job->bits, count);
            for (int j = 0; j < 2; j++)
                for (int k = 0; k < 1 + (step != 0); k++)
                    ep_keep((float)(int32_t)(top - 2 * count[j][k]) * job->scale[t + k], t + k, &best[j],
                            &where[j]);
        }
        for (int j = 0; j < 2 && m + j < job->n_prototypes; j++) {
            job->scores[m + j] = ep_positive_zero(best[j]);
            job->tokens[m + j] = where[j];
        }
    }
    ep_free(planes);
    return 0;
}

EP_KERNEL(scalar, .name = "native-scalar", .bits = EP_BITS_1_TO_8, .features = FEATURES, .max_dims = 1 << 22,
          .layout_bytes = layout_bytes, .make_layout = make_layout, .match = match)
