/* neon-dot: 8-bit dot products of Armv8.2, 16 prototypes against 4 tokens at a time.
   Layout: [prototype / 16][dimension / 4][64 bits], then the sum of the signs of every prototype; the
   signs are made from the bits on the way, and negated, which saves an instruction.
   With P = sum_d p_d and H = sum_d -p_d (u_d - 128):  K = (256 - c) P - 2 H. */
#include "kernel.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#include "signs64.h"

#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
enum { VECTORS = 4, TILE = 4 };

/* H of 16 prototypes and TILE tokens; digits[token][quad], signed. */
TARGET static inline __attribute__((always_inline)) void dot_tile(const uint8_t *signs, int64_t n_quads,
                                                                  const int32_t *digits,
                                                                  int32x4_t dots[TILE][VECTORS]) {
    static const uint8_t bit_of[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bits = vld1q_u8(bit_of);
    for (int k = 0; k < TILE; k++)
        for (int v = 0; v < VECTORS; v++) dots[k][v] = vdupq_n_s32(0);
    for (int64_t q = 0; q < n_quads; q++) {
        int8x16_t minus_p[VECTORS];
        for (int v = 0; v < VECTORS; v++) {
            const uint8_t *two = signs + q * 8 + v * 2;
            const uint8x16_t spread = vcombine_u8(vdup_n_u8(two[0]), vdup_n_u8(two[1]));
            minus_p[v] = vreinterpretq_s8_u8(vorrq_u8(vtstq_u8(spread, bits), vdupq_n_u8(1)));
        }
        for (int k = 0; k < TILE; k++) {
            const int8x16_t u = vreinterpretq_s8_s32(vdupq_n_s32(digits[k * n_quads + q]));
            for (int v = 0; v < VECTORS; v++) dots[k][v] = vdotq_s32(dots[k][v], minus_p[v], u);
        }
    }
}

TARGET static int match(const ep_job *job) {
    const int64_t n_quads = ep_quads(job->n_dims), n_rows = ep_round_up(job->n_tokens, TILE);
    const int32_t factor = 256 - ((1 << job->bits) - 1);
    const int32_t *sums = ep_sign_sums(job->layout, job->n_prototypes, job->n_dims);
    int32_t *digits = ep_calloc(n_rows * n_quads * 4);
    if (!digits) return -1;
    for (int64_t t = 0; t < job->n_tokens; t++) {
        uint8_t *row = (uint8_t *)(digits + t * n_quads);
        for (int64_t d = 0; d < job->n_dims; d++) row[d] = job->digits[t * job->n_dims + d] ^ 0x80;
    }
    for (int64_t m = 0; m < job->n_prototypes; m += EP_SIGN_LANES) {
        float best[EP_SIGN_LANES];
        int32_t where[EP_SIGN_LANES];
        for (int j = 0; j < EP_SIGN_LANES; j++) best[j] = -__builtin_inff(), where[j] = 0;
        for (int64_t t = 0; t < job->n_tokens; t += TILE) {
            int32x4_t dots[TILE][VECTORS];
            dot_tile(job->layout + m / EP_SIGN_LANES * n_quads * 8, n_quads, digits + t * n_quads, dots);
            for (int k = 0; k < TILE && t + k < job->n_tokens; k++) {
                int32_t dot[EP_SIGN_LANES];
                for (int v = 0; v < VECTORS; v++) vst1q_s32(dot + 4 * v, dots[k][v]);
                for (int j = 0; j < EP_SIGN_LANES; j++) {
                    const float score = (float)(factor * sums[m + j] - 2 * dot[j]) * job->scale[t + k];
                    const int better = score > best[j];
                    best[j] = better ? score : best[j];
                    where[j] = better ? (int32_t)(t + k) : where[j];
                }
            }
        }
        for (int j = 0; j < EP_SIGN_LANES && m + j < job->n_prototypes; j++) {
            job->scores[m + j] = ep_positive_zero(best[j]);
            job->tokens[m + j] = where[j];
        }
    }
    ep_free(digits);
    return 0;
}

EP_KERNEL(neon_dot, .name = "native-neon-dot", .bits = EP_BITS_1_TO_8, .features = EP_NEON | EP_DOTPROD,
          .max_dims = 1 << 22, .layout_bytes = ep_signs64_bytes, .make_layout = ep_make_signs64, .match = match)
#else
typedef int ep_not_for_this_cpu;
#endif
