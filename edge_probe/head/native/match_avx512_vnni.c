/* avx512-vnni: 8-bit dot products, 16 prototypes a register, 32 prototypes against 8 tokens at a time.
   Signs are made from the packed bits on the way: 64 bits are 16 prototypes x 4 dimensions.
   Layout: [prototype / 16][dimension / 4][64 bits], then the sum of the signs of every prototype.
   With G = sum_d p_d u_d and P = sum_d p_d:  K = 2 G - c P. */
#include "kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "signs64.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#include "best16.h"

enum { LANES = EP_SIGN_LANES, VECTORS = 2, GROUP = LANES * VECTORS, TILE = 8 };

/* G of 32 prototypes and TILE tokens; digits[token][quad]. */
TARGET static inline __attribute__((always_inline)) void dot_tile(const uint64_t *signs, int64_t n_quads,
                                                                  const int32_t *digits,
                                                                  __m512i dots[TILE][VECTORS]) {
    const __m512i plus = _mm512_set1_epi8(1), minus = _mm512_set1_epi8(-1);
    for (int k = 0; k < TILE; k++)
        for (int v = 0; v < VECTORS; v++) dots[k][v] = _mm512_setzero_si512();
    for (int64_t q = 0; q < n_quads; q++) {
        __m512i p[VECTORS];
        for (int v = 0; v < VECTORS; v++)
            p[v] = _mm512_mask_blend_epi8(_cvtu64_mask64(signs[v * n_quads + q]), minus, plus);
        for (int k = 0; k < TILE; k++) {
            const __m512i u = _mm512_set1_epi32(digits[k * n_quads + q]);
            for (int v = 0; v < VECTORS; v++) dots[k][v] = _mm512_dpbusd_epi32(dots[k][v], u, p[v]);
        }
    }
}

TARGET static int match(const ep_job *job) {
    const int64_t n_quads = ep_quads(job->n_dims), n_rows = ep_round_up(job->n_tokens, TILE);
    const __m512i top = _mm512_set1_epi32((1 << job->bits) - 1);
    const int32_t *sums = ep_sign_sums(job->layout, job->n_prototypes, job->n_dims);
    int32_t *digits = ep_calloc(n_rows * n_quads * 4);
    if (!digits) return -1;
    for (int64_t t = 0; t < job->n_tokens; t++)
        memcpy(digits + t * n_quads, job->digits + t * job->n_dims, (size_t)job->n_dims);
    for (int64_t m = 0; m < job->n_prototypes; m += GROUP) {
        const uint64_t *signs = (const uint64_t *)(const void *)job->layout + m / LANES * n_quads;
        best16 best[VECTORS];
        __m512i shift[VECTORS];
        for (int v = 0; v < VECTORS; v++) {
            best[v] = best16_none();
            shift[v] = _mm512_mullo_epi32(top, _mm512_loadu_si512(sums + m + v * LANES));
        }
        for (int64_t t = 0; t < job->n_tokens; t += TILE) {
            __m512i dots[TILE][VECTORS];
            dot_tile(signs, n_quads, digits + t * n_quads, dots);
            for (int k = 0; k < TILE && t + k < job->n_tokens; k++) {
                const __m512 scale = _mm512_set1_ps(job->scale[t + k]);
                const __m512i token = _mm512_set1_epi32((int32_t)(t + k));
                for (int v = 0; v < VECTORS; v++) {
                    const __m512i sum = _mm512_sub_epi32(_mm512_slli_epi32(dots[k][v], 1), shift[v]);
                    best[v] = best16_keep(best[v], sum, scale, token);
                }
            }
        }
        for (int v = 0; v < VECTORS; v++) best16_store(job, m + v * LANES, best[v]);
    }
    ep_free(digits);
    return 0;
}

EP_KERNEL(avx512_vnni, .name = "native-avx512-vnni", .bits = EP_BITS_1_TO_8,
          .features = EP_AVX512 | EP_VNNI, .max_dims = 1 << 22, .layout_bytes = ep_signs64_bytes,
          .make_layout = ep_make_signs64, .match = match)
#else
typedef int ep_not_for_this_cpu;
#endif
