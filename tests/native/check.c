/* Compares every kernel this CPU can run with vectors that NumPy computed (tests/support/vectors.py).

   usage: check VECTORS [KERNEL]     KERNEL is run whatever the CPU says it has.
   Each buffer has exactly the size it must have, so that a sanitizer sees every step beyond it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../edge_probe/head/native/kernel.h"

int32_t ep_n_kernels(void);
const char *ep_kernel_name(int32_t index);
uint32_t ep_kernel_bits(int32_t index);
uint32_t ep_kernel_features(int32_t index);
int64_t ep_kernel_max_dims(int32_t index);
int64_t ep_layout_bytes(int32_t index, int64_t n_prototypes, int64_t n_dims);
void ep_make_layout(int32_t index, const uint8_t *packed, int64_t n_prototypes, int64_t n_dims, uint8_t *out);
int32_t ep_match(int32_t index, const uint8_t *digits, const float *scale, const uint8_t *layout,
                 int64_t n_tokens, int64_t n_dims, int64_t n_prototypes, int32_t bits, float *scores,
                 int32_t *tokens);
int32_t ep_quantize(const float *tokens, const float *offset, const uint8_t *valid, int64_t n_tokens,
                    int64_t n_dims, int32_t bits, double step_rms, uint8_t *digits, float *scale);
void ep_linear(const int8_t *weights, const int32_t *scores, int64_t n_classes, int64_t n_columns, int64_t stride,
               int64_t *sums);

typedef struct {
    int64_t n_tokens, n_dims, n_prototypes, bits;
    double step_rms;
} header;

static void *take(FILE *file, size_t n_bytes) {
    void *memory = aligned_alloc(64, (n_bytes + 63) / 64 * 64);
    void *exact = malloc(n_bytes ? n_bytes : 1);
    if (!memory || !exact || fread(exact, 1, n_bytes, file) != n_bytes) exit(3);
    free(memory);
    return exact;
}

static int differ(const void *one, const void *other, size_t n_bytes, const char *what, const char *who,
                  const header *h) {
    if (!memcmp(one, other, n_bytes)) return 0;
    printf("%s of %s differ: T=%d D=%d M=%d B=%d\n", what, who, (int)h->n_tokens, (int)h->n_dims,
           (int)h->n_prototypes, (int)h->bits);
    return 1;
}

static int usable(int32_t index, const header *h, const char *forced) {
    if (!(ep_kernel_bits(index) >> h->bits & 1) || h->n_dims > ep_kernel_max_dims(index)) return 0;
    if (forced) return !strcmp(forced, ep_kernel_name(index));
    return !(ep_kernel_features(index) & ~ep_cpu_features());
}

static int check(FILE *file, const header *h, const char *forced, int64_t *n_checked) {
    const size_t n_tokens = (size_t)h->n_tokens, n_dims = (size_t)h->n_dims, n = (size_t)h->n_prototypes;
    float *tokens = take(file, 4 * n_tokens * n_dims), *offset = take(file, 4 * n_dims);
    uint8_t *valid = take(file, n_tokens), *packed = take(file, n * ((n_dims + 7) / 8));
    uint8_t *digits = take(file, n_tokens * n_dims), *found_digits = malloc(n_tokens * n_dims);
    float *scale = take(file, 4 * n_tokens), *found_scale = malloc(4 * n_tokens);
    float *scores = take(file, 4 * n), *found_scores = malloc(4 * n);
    int32_t *where = take(file, 4 * n), *found_where = malloc(4 * n);
    int n_bad = ep_quantize(tokens, offset, valid, h->n_tokens, h->n_dims, (int32_t)h->bits, h->step_rms,
                            found_digits, found_scale) != 0;
    n_bad += differ(digits, found_digits, n_tokens * n_dims, "digits", "the quantiser", h);
    n_bad += differ(scale, found_scale, 4 * n_tokens, "scales", "the quantiser", h);
    for (int32_t index = 0; index < ep_n_kernels(); index++) {
        if (!usable(index, h, forced)) continue;
        const char *name = ep_kernel_name(index);
        const size_t n_bytes = (size_t)ep_layout_bytes(index, h->n_prototypes, h->n_dims);
        uint8_t *layout = aligned_alloc(64, (n_bytes + 63) / 64 * 64);
        ep_make_layout(index, packed, h->n_prototypes, h->n_dims, layout);
        n_bad += ep_match(index, digits, scale, layout, h->n_tokens, h->n_dims, h->n_prototypes,
                          (int32_t)h->bits, found_scores, found_where) != 0;
        n_bad += differ(scores, found_scores, 4 * n, "scores", name, h);
        n_bad += differ(where, found_where, 4 * n, "tokens", name, h);
        n_checked[index]++;
        free(layout);
    }
    free(tokens), free(offset), free(valid), free(packed), free(digits), free(scale), free(scores), free(where);
    free(found_digits), free(found_scale), free(found_scores), free(found_where);
    return n_bad;
}

/* Both forms of the linear layer with the largest integers it may meet, in exact buffers. */
static int check_linear(int64_t n_columns, int grouped) {
    const int64_t n_classes = 3, stride = grouped ? n_columns : 0, n_scores = n_columns + 2 * stride;
    int8_t *weights = malloc((size_t)(n_classes * n_columns));
    int32_t *scores = malloc(4 * (size_t)n_scores);
    int64_t *sums = malloc(8 * (size_t)n_classes);
    int n_bad = 0;
    if (!weights || !scores || !sums) exit(3);
    for (int64_t i = 0; i < n_classes * n_columns; i++) weights[i] = (int8_t)(i % 5 ? -127 : (int)(i % 128));
    for (int64_t i = 0; i < n_scores; i++) scores[i] = i % 7 ? -(1 << 20) : (int32_t)i;
    ep_linear(weights, scores, n_classes, n_columns, stride, sums);
    for (int64_t c = 0; c < n_classes; c++) {
        int64_t sum = 0;
        for (int64_t m = 0; m < n_columns; m++) sum += (int64_t)weights[c * n_columns + m] * scores[c * stride + m];
        if (sum != sums[c]) n_bad += printf("linear sums differ: columns=%d grouped=%d\n", (int)n_columns, grouped) > 0;
    }
    free(weights), free(scores), free(sums);
    return n_bad;
}

int main(int argc, char **argv) {
    FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
    int64_t n_checked[64] = {0};
    int n_bad = 0;
    header h;
    if (!file) return 2;
    while (fread(&h, sizeof h, 1, file) == 1) n_bad += check(file, &h, argc > 2 ? argv[2] : NULL, n_checked);
    fclose(file);
    for (int64_t n_columns = 1; n_columns < 2000; n_columns = n_columns * 2 + 1)
        n_bad += check_linear(n_columns, 0) + check_linear(n_columns, 1);
    for (int32_t index = 0; index < ep_n_kernels(); index++)
        if (n_checked[index]) printf("%s %d\n", ep_kernel_name(index), (int)n_checked[index]);
    return n_bad != 0;
}
