/* The best scores of 16 prototypes in registers, for the AVX-512 kernels. TARGET is the includer's. */
#include <immintrin.h>

#include "kernel.h"

typedef struct {
    __m512 score;
    __m512i token;
} best16;

TARGET static inline best16 best16_none(void) {
    const best16 none = {_mm512_set1_ps(-__builtin_inff()), _mm512_setzero_si512()};
    return none;
}

/* K of one token; ties stay with the earlier one. */
TARGET static inline __attribute__((always_inline)) best16 best16_keep(best16 best, __m512i sums, __m512 scale,
                                                                       __m512i token) {
    const __m512 score = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale);
    const __mmask16 better = _mm512_cmp_ps_mask(score, best.score, _CMP_GT_OQ);
    best.score = _mm512_mask_mov_ps(best.score, better, score);
    best.token = _mm512_mask_mov_epi32(best.token, better, token);
    return best;
}

/* Give out prototypes begin .. begin + 15, as far as there are any; -0.0 becomes +0.0. */
TARGET static inline void best16_store(const ep_job *job, int64_t begin, best16 best) {
    const int64_t left = job->n_prototypes - begin;
    if (left <= 0) return;
    const __mmask16 used = (__mmask16)(left >= 16 ? 0xFFFF : (1u << left) - 1);
    _mm512_mask_storeu_ps(job->scores + begin, used, _mm512_add_ps(best.score, _mm512_setzero_ps()));
    _mm512_mask_storeu_epi32(job->tokens + begin, used, best.token);
}
