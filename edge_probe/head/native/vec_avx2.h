/* The vector macros of bytes.h for AVX2. */
#include <immintrin.h>

#define LANES 32
typedef __m256i vec;
#define V_ZERO() _mm256_setzero_si256()
#define V_LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define V_STORE(p, x) _mm256_storeu_si256((__m256i *)(void *)(p), x)
#define V_REPEAT(p) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define V_SPLAT(byte) _mm256_set1_epi8((char)(byte))
#define V_LOOKUP(table, index) _mm256_shuffle_epi8(table, index)
#define V_LOW(x) _mm256_and_si256(x, _mm256_set1_epi8(15))
#define V_HIGH(x) _mm256_and_si256(_mm256_srli_epi16(x, 4), _mm256_set1_epi8(15))
#define V_AND(x, y) _mm256_and_si256(x, y)
#define V_XOR(x, y) _mm256_xor_si256(x, y)
#define V_ADD8(x, y) _mm256_add_epi8(x, y)
#define V_ADD16(x, y) _mm256_add_epi16(x, y)
#define V_ODD(x) _mm256_srli_epi16(x, 8)
#define V_EVEN(all, odd) _mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8))
