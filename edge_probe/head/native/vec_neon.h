/* The vector macros of bytes.h for NEON. */
#include <arm_neon.h>

#define LANES 16
typedef uint8x16_t vec;
#define V_WIDE(x) vreinterpretq_u16_u8(x)
#define V_BYTES(x) vreinterpretq_u8_u16(x)
#define V_ZERO() vdupq_n_u8(0)
#define V_LOAD(p) vld1q_u8((const uint8_t *)(p))
#define V_STORE(p, x) vst1q_u8((uint8_t *)(p), x)
#define V_REPEAT(p) vld1q_u8((const uint8_t *)(p))
#define V_SPLAT(byte) vdupq_n_u8(byte)
#define V_LOOKUP(table, index) vqtbl1q_u8(table, index)
#define V_LOW(x) vandq_u8(x, vdupq_n_u8(15))
#define V_HIGH(x) vshrq_n_u8(x, 4)
#define V_AND(x, y) vandq_u8(x, y)
#define V_XOR(x, y) veorq_u8(x, y)
#define V_ADD8(x, y) vaddq_u8(x, y)
#define V_ADD16(x, y) V_BYTES(vaddq_u16(V_WIDE(x), V_WIDE(y)))
#define V_ODD(x) V_BYTES(vshrq_n_u16(V_WIDE(x), 8))
#define V_EVEN(all, odd) V_BYTES(vsubq_u16(V_WIDE(all), vshlq_n_u16(V_WIDE(odd), 8)))
#define V_POPCOUNT(x) vcntq_u8(x)
