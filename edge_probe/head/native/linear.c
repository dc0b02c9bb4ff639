/* The integer sums of the int8 linear layers in ../linear.py. */
#include "kernel.h"

#include <stdlib.h> /* __GLIBC__ */

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) /* ifunc */
#define TARGET __attribute__((target_clones("avx2", "default")))
#else
#define TARGET
#endif

TARGET static int64_t dot(const int8_t *weights, const int32_t *scores, int64_t n) {
    int64_t sum = 0;
    for (int64_t m = 0; m < n; m++) sum += (int64_t)weights[m] * scores[m];
    return sum;
}

/* sums[c] = sum_m weights[c][m] scores[c * stride + m]; stride 0: every class sees all prototypes,
   stride n_columns: each class sees its own. Scores are at most about 2^20 in magnitude. */
EP_API void ep_linear(const int8_t *weights, const int32_t *scores, int64_t n_classes, int64_t n_columns,
                      int64_t stride, int64_t *sums) {
    for (int64_t c = 0; c < n_classes; c++)
        sums[c] = dot(weights + c * n_columns, scores + c * stride, n_columns);
}
