/* The vector macros of bytes.h for AVX-512 BW. */
#include <immintrin.h>

#define LANES 64
typedef __m512i vec;
#define V_ZERO() _mm512_setzero_si512()
#define V_LOAD(p) _mm512_loadu_si512((const __m512i *)(const void *)(p))
#define V_STORE(p, x) _mm512_storeu_si512((__m512i *)(void *)(p), x)
#define V_REPEAT(p) _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define V_SPLAT(byte) _mm512_set1_epi8((char)(byte))
#define V_LOOKUP(table, index) _mm512_shuffle_epi8(table, index)
#define V_LOW(x) _mm512_and_si512(x, _mm512_set1_epi8(15))
#define V_HIGH(x) _mm512_and_si512(_mm512_srli_epi16(x, 4), _mm512_set1_epi8(15))
#define V_AND(x, y) _mm512_and_si512(x, y)
#define V_XOR(x, y) _mm512_xor_si512(x, y)
#define V_ADD8(x, y) _mm512_add_epi8(x, y)
#define V_ADD16(x, y) _mm512_add_epi16(x, y)
#define V_ODD(x) _mm512_srli_epi16(x, 8)
#define V_EVEN(all, odd) _mm512_sub_epi16(all, _mm512_slli_epi16(odd, 8))
