/* The layout of the dot-product kernels: 64 bits are 16 prototypes x 4 dimensions, followed by the
   sum of the signs of every prototype. Groups are padded to two, so that two can be read at once. */
#ifndef EDGE_PROBE_SIGNS64_H
#define EDGE_PROBE_SIGNS64_H

#include "kernel.h"

enum { EP_SIGN_LANES = 16 };

static inline int64_t ep_quads(int64_t n_dims) { return (n_dims + 3) / 4; }

int64_t ep_signs64_bytes(int64_t n_prototypes, int64_t n_dims);
void ep_make_signs64(const uint8_t *packed, int64_t n_prototypes, int64_t n_dims, uint8_t *out);
const int32_t *ep_sign_sums(const uint8_t *layout, int64_t n_prototypes, int64_t n_dims);

#endif
