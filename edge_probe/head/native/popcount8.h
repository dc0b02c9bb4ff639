/* Population count on bytes, for CPUs that count the bits of a byte or can look them up.
   Layout: [prototype / LANES][byte][prototype % LANES]. One-bit tokens. */
#include "bytes.h"

enum { MAX_DIMS = 1 << 15, DEPTH = 31 /* bytes of at most 8 differing bits in an 8-bit count */ };

static int64_t layout_bytes(int64_t n_prototypes, int64_t n_dims) {
    return ep_interleaved_bytes(n_prototypes, n_dims, LANES, 1);
}

static void make_layout(const uint8_t *packed, int64_t n_prototypes, int64_t n_dims, uint8_t *out) {
    ep_interleave(packed, n_prototypes, n_dims, LANES, 1, out);
}

/* Differing bits of LANES prototypes and TILE tokens. */
TARGET static inline __attribute__((always_inline)) void count_tile(const uint8_t *layout, const uint8_t *rows,
                                                                    int64_t n_units,
                                                                    uint16_t counts[TILE][LANES]) {
    vec all[TILE], odd[TILE];
    for (int k = 0; k < TILE; k++) all[k] = odd[k] = V_ZERO();
    for (int64_t begin = 0; begin < n_units; begin += DEPTH) {
        const int64_t end = begin + DEPTH < n_units ? begin + DEPTH : n_units;
        vec few[TILE];
        for (int k = 0; k < TILE; k++) few[k] = V_ZERO();
        for (int64_t unit = begin; unit < end; unit++) {
            const vec bits = V_LOAD(layout + unit * LANES);
            for (int k = 0; k < TILE; k++)
                few[k] = V_ADD8(few[k], V_POPCOUNT(V_XOR(bits, V_SPLAT(rows[k * n_units + unit]))));
        }
        for (int k = 0; k < TILE; k++) {
            all[k] = V_ADD16(all[k], few[k]);
            odd[k] = V_ADD16(odd[k], V_ODD(few[k]));
        }
    }
    for (int k = 0; k < TILE; k++) store_sums(all[k], odd[k], counts[k]);
}

TARGET static int match(const ep_job *job) {
    const int64_t n_units = ep_row_bytes(job->n_dims);
    const int32_t no_shift[LANES] = {0};
    uint8_t *rows = ep_calloc((job->n_tokens + TILE) * n_units);
    if (!rows) return -1;
    ep_planes(job, n_units, rows);
    for (int64_t m = 0; m < job->n_prototypes; m += LANES) {
        uint16_t counts[TILE][LANES] __attribute__((aligned(64)));
        float best[LANES];
        int32_t where[LANES];
        for (int j = 0; j < LANES; j++) best[j] = -__builtin_inff(), where[j] = 0;
        for (int64_t t = 0; t < job->n_tokens; t += TILE) {
            count_tile(job->layout + m * n_units, rows + t * n_units, n_units, counts);
            for (int64_t k = 0; k < TILE && t + k < job->n_tokens; k++)
                keep_best(counts[k], NULL, -2, no_shift, (int32_t)job->n_dims, job->scale[t + k],
                          (int32_t)(t + k), best, where);
        }
        give_out(job, m, m + LANES, best, where);
    }
    ep_free(rows);
    return 0;
}

EP_KERNEL(popcount8, .name = NAME, .bits = EP_BITS_1, .features = FEATURES, .max_dims = MAX_DIMS,
          .layout_bytes = layout_bytes, .make_layout = make_layout, .match = match)
