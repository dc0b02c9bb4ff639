/* The quantiser of ../quantize.py, operation by operation: the same digits and scales to the bit. */
#include "kernel.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) /* ifunc */
#define TARGET __attribute__((target_clones("avx2", "default"))) /* roundps, without contraction */
#else
#define TARGET
#endif

/* z - c, the bits of its largest magnitude, and whether any of it is not zero. */
TARGET static uint32_t centre(const float *token, const float *offset, int64_t n_dims, float *out) {
    uint32_t largest = 0;
    for (int64_t d = 0; d < n_dims; d++) {
        const float x = token[d] - offset[d];
        uint32_t bits;
        memcpy(&bits, &x, 4);
        bits &= 0x7FFFFFFFu; /* positive floats are in the order of their bits */
        out[d] = x;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

/* A 16-bit grid, its largest component in [2^14, 2^15], and the sum of its squares. */
TARGET static int64_t to_grid(float *values, int64_t n_dims, float one_half, float other_half) {
    int64_t squares = 0;
    for (int64_t d = 0; d < n_dims; d++) {
        const float g = rintf(values[d] * one_half * other_half);
        const int32_t integer = (int32_t)g;
        values[d] = g;
        squares += integer * integer;
    }
    return squares;
}

/* Digits of a grid and the sum of the squares of their odd values. */
TARGET static int64_t to_digits(const float *grid, int64_t n_dims, float per_step, int32_t bits, uint8_t *u) {
    const float middle = (float)(1 << (bits - 1)), top = (float)((1 << bits) - 1);
    int64_t norm = 0;
    for (int64_t d = 0; d < n_dims; d++) {
        float level = floorf(grid[d] * per_step) + middle;
        level = level < 0.0f ? 0.0f : level;
        level = level > top ? top : level;
        const int32_t digit = (int32_t)level, odd = 2 * digit - ((1 << bits) - 1);
        u[d] = (uint8_t)digit;
        norm += odd * odd;
    }
    return norm;
}

TARGET static void signs(const float *values, int64_t n_dims, uint8_t *u) {
    for (int64_t d = 0; d < n_dims; d++) u[d] = values[d] >= 0.0f;
}

static int64_t digits_of(float *values, uint32_t largest_bits, int64_t n_dims, int32_t bits, double step_rms,
                         uint8_t *u) {
    if (bits == 1) {
        signs(values, n_dims, u);
        return n_dims;
    }
    float largest;
    int exponent = -149;
    memcpy(&largest, &largest_bits, 4);
    if (largest > 0.0f) frexpf(largest, &exponent);
    const int shift = 15 - exponent, half = shift >= 0 ? shift / 2 : -((1 - shift) / 2);
    const int64_t squares = to_grid(values, n_dims, ldexpf(1.0f, half), ldexpf(1.0f, shift - half));
    const double step = sqrt((double)squares / (double)n_dims) * step_rms;
    return to_digits(values, n_dims, step > 0.0 ? (float)(1.0 / step) : 0.0f, bits, u);
}

/* tokens[t][d], offset[d], valid[t] -> digits[t][d], scale[t]; see ../quantize.py. */
EP_API int32_t ep_quantize(const float *tokens, const float *offset, const uint8_t *valid, int64_t n_tokens,
                           int64_t n_dims, int32_t bits, double step_rms, uint8_t *digits, float *scale) {
    float *values = ep_calloc(4 * n_dims);
    if (!values) return -1;
    for (int64_t t = 0; t < n_tokens; t++) {
        const uint32_t largest = centre(tokens + t * n_dims, offset, n_dims, values);
        const int64_t norm = digits_of(values, largest, n_dims, bits, step_rms, digits + t * n_dims);
        scale[t] = valid[t] && largest ? (float)(1.0 / sqrt((double)(norm * n_dims))) : 0.0f;
    }
    ep_free(values);
    return 0;
}
