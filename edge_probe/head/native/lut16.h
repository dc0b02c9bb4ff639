/* Nibble tables: the bits of four dimensions of a prototype are an index into 16 sums of digits.

   A byte shuffle looks up LANES prototypes at once. For a token and four of its digits the table
   holds the 16 sums that a prototype's bits can select; 8-bit sums of several lookups are widened
   to 16 bits before they overflow. With S the sum of the digits where the prototype is +1, Q the
   number of its +1, U the sum of all digits and c = 2^B - 1:

       K = sum_d p_d (2 u_d - c) = 4 S - 2 c Q - 2 U + c D

   Digits above 4 bits are split into two nibbles with a table each.
   Layout: [prototype / LANES][byte][prototype % LANES], then Q of every prototype. */
#include "bytes.h"

enum { MAX_DIMS = 4096, BLOCK_BYTES = 128 << 10 };

static int64_t layout_bytes(int64_t n_prototypes, int64_t n_dims) {
    return ep_interleaved_bytes(n_prototypes, n_dims, LANES, 1) + 4 * padded(n_prototypes);
}

static void make_layout(const uint8_t *packed, int64_t n_prototypes, int64_t n_dims, uint8_t *out) {
    const int64_t row = ep_row_bytes(n_dims);
    int32_t *ones = (int32_t *)(void *)(out + ep_interleaved_bytes(n_prototypes, n_dims, LANES, 1));
    ep_interleave(packed, n_prototypes, n_dims, LANES, 1, out);
    memset(ones, 0, (size_t)(4 * padded(n_prototypes)));
    for (int64_t m = 0; m < n_prototypes; m++)
        for (int64_t i = 0; i < row; i++) ones[slot(m)] += __builtin_popcount(packed[m * row + i]);
}

/* The tables of one token: 32 bytes for each 8 digits. */
TARGET static void make_tables(const uint8_t *digits, int64_t n_padded_dims, uint8_t *tables) {
    uint8_t pick[4][LANES], member[4][LANES];
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < LANES; i++) {
            pick[j][i] = (uint8_t)(i / 16 * 4 + j);
            member[j][i] = (i % 16 >> j) & 1 ? 0xFF : 0;
        }
    for (int64_t d = 0; d < n_padded_dims; d += LANES / 4) {
        uint8_t next[16] = {0};
        memcpy(next, digits + d, LANES / 4);
        const vec some = V_REPEAT(next);
        vec sum = V_ZERO();
        for (int j = 0; j < 4; j++)
            sum = V_ADD8(sum, V_AND(V_LOOKUP(some, V_LOAD(pick[j])), V_LOAD(member[j])));
        V_STORE(tables + 4 * d, sum);
    }
}

/* S of LANES prototypes and TILE tables, 16 bits each, even prototypes first. */
TARGET static inline __attribute__((always_inline)) void sum_tile(const uint8_t *layout, const uint8_t *tables, int64_t stride, int64_t n_units,
                            int64_t depth, uint16_t sums[TILE][LANES]) {
    vec all[TILE], odd[TILE];
    for (int k = 0; k < TILE; k++) all[k] = odd[k] = V_ZERO();
    for (int64_t begin = 0; begin < n_units; begin += depth) {
        const int64_t end = begin + depth < n_units ? begin + depth : n_units;
        vec few[TILE];
        for (int k = 0; k < TILE; k++) few[k] = V_ZERO();
        for (int64_t unit = begin; unit < end; unit++) {
            const vec bits = V_LOAD(layout + unit * LANES), low = V_LOW(bits), high = V_HIGH(bits);
            for (int k = 0; k < TILE; k++) {
                const uint8_t *table = tables + k * stride + unit * 32;
                few[k] = V_ADD8(few[k], V_LOOKUP(V_REPEAT(table), low));
                few[k] = V_ADD8(few[k], V_LOOKUP(V_REPEAT(table + 16), high));
            }
        }
        for (int k = 0; k < TILE; k++) {
            all[k] = V_ADD16(all[k], few[k]);
            odd[k] = V_ADD16(odd[k], V_ODD(few[k]));
        }
    }
    for (int k = 0; k < TILE; k++) store_sums(all[k], odd[k], sums[k]);
}

/* What does not depend on the prototypes: tables, nibble by nibble, and c D - 2 U of every token. */
TARGET static void prepare(const ep_job *job, int64_t n_padded_dims, uint8_t *row, uint8_t *tables,
                           int32_t *constants) {
    const int32_t n_nibbles = job->bits > 4 ? 2 : 1, top = (1 << job->bits) - 1;
    for (int64_t t = 0; t < job->n_tokens; t++) {
        const uint8_t *u = job->digits + t * job->n_dims;
        int32_t total = 0;
        for (int64_t d = 0; d < job->n_dims; d++) total += u[d];
        constants[t] = top * (int32_t)job->n_dims - 2 * total;
        for (int32_t nibble = 0; nibble < n_nibbles; nibble++) {
            for (int64_t d = 0; d < job->n_dims; d++) row[d] = (u[d] >> (4 * nibble)) & 15;
            make_tables(row, n_padded_dims, tables + (t * n_nibbles + nibble) * 4 * n_padded_dims);
        }
    }
}

/* What is kept of a block of prototypes while all tokens pass. */
typedef struct {
    int32_t *shift, *where;
    float *best;
} block_state;

/* All tokens against a block of prototypes that stays in the cache beside one tile of tables. */
TARGET static void match_block(const ep_job *job, const uint8_t *tables, const int32_t *constants,
                               int64_t begin, int64_t end, block_state kept) {
    const int64_t n_units = ep_row_bytes(job->n_dims), stride = 4 * ep_round_up(job->n_dims, 16);
    const int32_t top = (1 << job->bits) - 1, n_nibbles = job->bits > 4 ? 2 : 1;
    const int64_t depth = 255 / (4 * (top > 15 ? 15 : top)) / 2; /* bytes of bits, two lookups each */
    const int64_t n_tables = job->n_tokens * n_nibbles;
    uint16_t sums[TILE][LANES] __attribute__((aligned(64)));
    for (int64_t i = 0; i < n_tables; i += TILE)
        for (int64_t m = begin; m < end; m += LANES) {
            const int64_t at = m - begin;
            sum_tile(job->layout + m * n_units, tables + i * stride, stride, n_units, depth, sums);
            for (int64_t k = 0; k < TILE && i + k < n_tables; k += n_nibbles) {
                const int64_t t = (i + k) / n_nibbles;
                if (n_nibbles == 1)
                    keep_best(sums[k], NULL, 4, kept.shift + at, constants[t], job->scale[t], (int32_t)t,
                              kept.best + at, kept.where + at);
                else
                    keep_best(sums[k], sums[k + 1], 4, kept.shift + at, constants[t], job->scale[t],
                              (int32_t)t, kept.best + at, kept.where + at);
            }
        }
    give_out(job, begin, end, kept.best, kept.where);
}

TARGET static int match(const ep_job *job) {
    const int64_t n_padded = padded(job->n_prototypes), n_padded_dims = ep_round_up(job->n_dims, 16);
    const int64_t whole_block = ep_round_up(BLOCK_BYTES / ep_row_bytes(job->n_dims), LANES);
    const int64_t block = whole_block < n_padded ? whole_block : n_padded;
    const int64_t n_tables = job->n_tokens * (job->bits > 4 ? 2 : 1);
    const int64_t bits_bytes = ep_interleaved_bytes(job->n_prototypes, job->n_dims, LANES, 1);
    const int32_t *ones = (const int32_t *)(const void *)(job->layout + bits_bytes);
    uint8_t *tables = ep_calloc((n_tables + TILE) * 4 * n_padded_dims), *row = ep_calloc(n_padded_dims);
    int32_t *constants = ep_calloc(4 * job->n_tokens);
    const block_state kept = {ep_calloc(4 * block), ep_calloc(4 * block), ep_calloc(4 * block)};
    const int failed = !tables || !row || !constants || !kept.shift || !kept.where || !kept.best;
    if (!failed) prepare(job, n_padded_dims, row, tables, constants);
    for (int64_t begin = 0; !failed && begin < n_padded; begin += block) {
        const int64_t end = begin + block < n_padded ? begin + block : n_padded;
        for (int64_t m = begin; m < end; m++) {
            kept.shift[m - begin] = 2 * ((1 << job->bits) - 1) * ones[m];
            kept.best[m - begin] = -__builtin_inff();
            kept.where[m - begin] = 0;
        }
        match_block(job, tables, constants, begin, end, kept);
    }
    ep_free(tables), ep_free(row), ep_free(constants);
    ep_free(kept.shift), ep_free(kept.where), ep_free(kept.best);
    return failed ? -1 : 0;
}

EP_KERNEL(lut16, .name = NAME, .bits = EP_BITS_1_TO_8, .features = FEATURES, .max_dims = MAX_DIMS,
          .layout_bytes = layout_bytes, .make_layout = make_layout, .match = match)
