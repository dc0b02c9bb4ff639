/* avx2-popcount: the bits of every nibble looked up (Mula et al., arXiv 1611.07612). */
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2")))
#define NAME "native-avx2-popcount"
#define FEATURES EP_AVX2
#include "vec_avx2.h"

#define NIBBLE_BITS _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, \
                                     0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4)
#define V_POPCOUNT(x) V_ADD8(V_LOOKUP(NIBBLE_BITS, V_LOW(x)), V_LOOKUP(NIBBLE_BITS, V_HIGH(x)))
#include "popcount8.h"
#else
typedef int ep_not_for_this_cpu;
#endif
