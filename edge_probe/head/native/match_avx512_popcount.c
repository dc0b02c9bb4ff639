/* avx512-popcount: VPOPCNTDQ on 16 prototypes a register, 64 prototypes against 4 tokens at a time.
   Layout: [prototype / 16][32-bit word][prototype % 16]; a token's word meets all lanes at once, so
   nothing is ever summed across lanes. */
#include "kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vpopcntdq")))
#include "best16.h"

enum { LANES = 16, VECTORS = 4, TOKENS = 4, GROUP = LANES * VECTORS };

static int64_t layout_bytes(int64_t n_prototypes, int64_t n_dims) {
    return ep_interleaved_bytes(ep_round_up(n_prototypes, GROUP), n_dims, LANES, 4);
}

static void make_layout(const uint8_t *packed, int64_t n_prototypes, int64_t n_dims, uint8_t *out) {
    const int64_t used = ep_interleaved_bytes(n_prototypes, n_dims, LANES, 4);
    const int64_t total = layout_bytes(n_prototypes, n_dims);
    ep_interleave(packed, n_prototypes, n_dims, LANES, 4, out);
    for (int64_t i = used; i < total; i++) out[i] = 0;
}

/* Weighted differing bits: count[token][vector]. */
TARGET static inline __attribute__((always_inline)) void count_tile(
    const __m512i *p, const uint32_t *planes, int64_t stride, int64_t n_words, int32_t bits,
    __m512i count[TOKENS][VECTORS]) {
    for (int k = 0; k < TOKENS; k++)
        for (int v = 0; v < VECTORS; v++) count[k][v] = _mm512_setzero_si512();
    for (int32_t b = bits - 1; b >= 0; b--) {
        const uint32_t *t = planes + b * stride;
        for (int k = 0; k < TOKENS; k++)
            for (int v = 0; v < VECTORS; v++) count[k][v] = _mm512_add_epi32(count[k][v], count[k][v]);
        for (int64_t w = 0; w < n_words; w++) {
            __m512i row[VECTORS];
            for (int v = 0; v < VECTORS; v++) row[v] = _mm512_load_si512(p + v * n_words + w);
            for (int k = 0; k < TOKENS; k++) {
                const __m512i word = _mm512_set1_epi32((int32_t)t[k * n_words + w]);
                for (int v = 0; v < VECTORS; v++)
                    count[k][v] = _mm512_add_epi32(
                        count[k][v], _mm512_popcnt_epi32(_mm512_xor_si512(row[v], word)));
            }
        }
    }
}

TARGET static int match(const ep_job *job) {
    const int64_t row = ep_round_up(ep_row_bytes(job->n_dims), 4), n_words = row / 4;
    const __m512i top = _mm512_set1_epi32((int32_t)(job->n_dims * ((1 << job->bits) - 1)));
    uint8_t *planes = ep_calloc((job->bits * job->n_tokens + TOKENS) * row); /* the last tile may read on */
    if (!planes) return -1;
    ep_planes(job, row, planes);
    for (int64_t m = 0; m < job->n_prototypes; m += GROUP) {
        const __m512i *p = (const __m512i *)(const void *)(job->layout + m * row);
        best16 best[VECTORS];
        for (int v = 0; v < VECTORS; v++) best[v] = best16_none();
        for (int64_t t = 0; t < job->n_tokens; t += TOKENS) {
            __m512i count[TOKENS][VECTORS];
            count_tile(p, (const uint32_t *)(const void *)(planes + t * row), job->n_tokens * n_words, n_words,
                       job->bits, count);
            for (int k = 0; k < TOKENS && t + k < job->n_tokens; k++) {
                const __m512 scale = _mm512_set1_ps(job->scale[t + k]);
                const __m512i token = _mm512_set1_epi32((int32_t)(t + k));
                for (int v = 0; v < VECTORS; v++) {
                    const __m512i sum = _mm512_sub_epi32(top, _mm512_slli_epi32(count[k][v], 1));
                    best[v] = best16_keep(best[v], sum, scale, token);
                }
            }
        }
        for (int v = 0; v < VECTORS; v++) best16_store(job, m + v * LANES, best[v]);
    }
    ep_free(planes);
    return 0;
}

EP_KERNEL(avx512_popcount, .name = "native-avx512-popcount", .bits = EP_BITS_1_TO_8,
          .features = EP_AVX512 | EP_VPOPCNTDQ, .max_dims = 1 << 22, .layout_bytes = layout_bytes,
          .make_layout = make_layout, .match = match)
#else
typedef int ep_not_for_this_cpu;
#endif
