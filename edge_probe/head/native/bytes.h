/* Shared by kernels that keep one prototype in every byte of a register (lut16.h, popcount8.h).

   The file that includes one of them defines TARGET, LANES, NAME, FEATURES, the type vec and the
   macros V_ZERO V_LOAD V_STORE V_REPEAT (16 bytes to all of the register) V_SPLAT (a byte to all)
   V_LOOKUP V_LOW V_HIGH V_AND V_XOR V_ADD8 V_ADD16 V_ODD (upper byte of each 16-bit lane) V_EVEN
   (all minus 256 times odd); popcount8.h also wants V_POPCOUNT (bits of each byte).

   8-bit counts are added up in 16 bits before they overflow: all of a 16-bit lane, and its upper
   byte alone; the lower byte's sum is the difference. */
#include "kernel.h"

#include <string.h>

enum { TILE = 4, HALF = LANES / 2 };

static inline int64_t padded(int64_t n_prototypes) { return ep_round_up(n_prototypes, LANES); }

/* Where a prototype's sum stands after even and odd bytes went their own ways. */
static inline int64_t slot(int64_t m) { return m / LANES * LANES + m % 2 * HALF + m % LANES / 2; }

/* The sums as 16-bit numbers, even prototypes first. */
TARGET static inline __attribute__((always_inline)) void store_sums(vec all, vec odd, uint16_t *sums) {
    V_STORE((uint8_t *)sums, V_EVEN(all, odd));
    V_STORE((uint8_t *)(sums + HALF), odd);
}

/* K = factor (low + 16 high) - shift + constant against the best so far; high may be null. */
TARGET static inline __attribute__((always_inline)) void keep_best(
    const uint16_t *low, const uint16_t *high, int32_t factor, const int32_t *shift, int32_t constant,
    float scale, int32_t token, float *best, int32_t *where) {
    for (int j = 0; j < LANES; j++) {
        const int32_t sum = low[j] + (high ? 16 * high[j] : 0);
        const float score = (float)(factor * sum - shift[j] + constant) * scale;
        const int better = score > best[j];
        best[j] = better ? score : best[j];
        where[j] = better ? token : where[j];
    }
}

/* Prototypes begin .. end in their own order; best and where are those of this block. */
static inline void give_out(const ep_job *job, int64_t begin, int64_t end, const float *best,
                            const int32_t *where) {
    for (int64_t m = begin; m < end && m < job->n_prototypes; m++) {
        job->scores[m] = ep_positive_zero(best[slot(m) - begin]);
        job->tokens[m] = where[slot(m) - begin];
    }
}
