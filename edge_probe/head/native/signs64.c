#include "signs64.h"

#include <string.h>

static int64_t padded(int64_t n_prototypes) { return ep_round_up(n_prototypes, 2 * EP_SIGN_LANES); }

static int64_t sums_at(int64_t n_prototypes, int64_t n_dims) {
    return ep_round_up(padded(n_prototypes) / EP_SIGN_LANES * ep_quads(n_dims) * 8, 64);
}

int64_t ep_signs64_bytes(int64_t n_prototypes, int64_t n_dims) {
    return sums_at(n_prototypes, n_dims) + 4 * padded(n_prototypes);
}

const int32_t *ep_sign_sums(const uint8_t *layout, int64_t n_prototypes, int64_t n_dims) {
    return (const int32_t *)(const void *)(layout + sums_at(n_prototypes, n_dims));
}

void ep_make_signs64(const uint8_t *packed, int64_t n_prototypes, int64_t n_dims, uint8_t *out) {
    const int64_t row = ep_row_bytes(n_dims), n_quads = ep_quads(n_dims);
    int32_t *sums = (int32_t *)(void *)(out + sums_at(n_prototypes, n_dims));
    memset(out, 0, (size_t)ep_signs64_bytes(n_prototypes, n_dims));
    for (int64_t m = 0; m < n_prototypes; m++) {
        sums[m] = (int32_t)-n_dims;
        for (int64_t i = 0; i < row; i++) sums[m] += 2 * __builtin_popcount(packed[m * row + i]);
        for (int64_t q = 0; q < n_quads; q++) {
            const uint8_t four = (packed[m * row + q / 2] >> (q % 2 * 4)) & 15;
            out[(m / EP_SIGN_LANES * n_quads + q) * 8 + m % EP_SIGN_LANES / 2] |= (uint8_t)(four << (m % 2 * 4));
        }
    }
}
