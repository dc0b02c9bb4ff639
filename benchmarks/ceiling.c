/* How many bit operations a second one core can do: popcount alone, and xor + popcount + add.
 *
 * Everything stays in registers and no operation waits for another, so no kernel that spends
 * one of each on every vector can be faster. Prints one JSON object. One bit operation is one
 * bit of a vector through the whole of the sequence. Times are CPU times; the best of some trials
 * counts, because a ceiling is what is possible.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum { TRIALS = 100, STEPS = 300000, CHAINS = 8 };

static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double best_s(void (*loop)(void))
{
    double best = 1e9;
    for (int trial = 0; trial < TRIALS; trial++) {
        double begin = cpu_s();
        loop();
        double took = cpu_s() - begin;
        best = took < best ? took : best;
    }
    return best;
}

static const char *separator = "";

static void report(const char *name, double alone, double all)
{
    printf("%s{\"name\": \"%s\", \"popcount_gbit_s\": %.1f, \"xor_popcount_add_gbit_s\": %.1f}",
           separator, name, alone, all);
    separator = ", ";
}

/* OPAQUE makes the compiler forget what it knows of a register: without it the xor of two values
 * that do not change would be done once. SIDE x SIDE sums share 2 SIDE operands, as in a kernel;
 * SIDE is as large as the registers allow. Unrolled, or the arrays would lie in memory. */
#define OPAQUE(value) __asm__ volatile("" : REGISTER(value))
#define EACH(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)
#define EVERY_STEP _Pragma("GCC unroll 4") for (int step = 0; step < STEPS; step++)
#define LOOPS(NAME, TARGET, SIDE, VECTOR, ZERO, XOR, POPCOUNT, ADD)                        \
    TARGET static void NAME##_alone(void)                                                  \
    {                                                                                      \
        VECTOR v[CHAINS];                                                                  \
        EACH(i, CHAINS) v[i] = ZERO;                                                       \
        EVERY_STEP {                                                                       \
            EACH(i, CHAINS) {                                                              \
                v[i] = POPCOUNT(v[i]);                                                     \
                OPAQUE(v[i]);                                                              \
            }                                                                              \
        }                                                                                  \
    }                                                                                      \
    TARGET static void NAME##_all(void)                                                    \
    {                                                                                      \
        VECTOR a[SIDE], b[SIDE], sum[SIDE * SIDE];                                         \
        EACH(i, SIDE) a[i] = b[i] = ZERO;                                                  \
        EACH(i, SIDE * SIDE) sum[i] = ZERO;                                                \
        EVERY_STEP {                                                                       \
            EACH(i, SIDE) {                                                                \
                OPAQUE(a[i]);                                                              \
                OPAQUE(b[i]);                                                              \
            }                                                                              \
            EACH(i, SIDE * SIDE) {                                                         \
                sum[i] = ADD(sum[i], POPCOUNT(XOR(a[i / SIDE], b[i % SIDE])));             \
                OPAQUE(sum[i]);                                                            \
            }                                                                              \
        }                                                                                  \
    }                                                                                      \
    static void NAME(const char *title)                                                    \
    {                                                                                      \
        double giga_bits = 8e-9 * STEPS * sizeof(VECTOR);                                  \
        report(title, giga_bits * CHAINS / best_s(NAME##_alone),                           \
               giga_bits * SIDE * SIDE / best_s(NAME##_all));                              \
    }

#define PLAIN_XOR(x, y) ((x) ^ (y))
#define PLAIN_ADD(x, y) ((x) + (y))

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512vpopcntdq")))
#define AVX2 __attribute__((target("avx2")))
#define POPCNT __attribute__((target("popcnt")))

AVX2 static inline __m256i popcount_bytes(__m256i value)
{
    const __m256i counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                            2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i low = _mm256_shuffle_epi8(counts, _mm256_and_si256(value, nibble));
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(value, 4), nibble);
    return _mm256_add_epi8(low, _mm256_shuffle_epi8(counts, high));
}

#define REGISTER(value) "+v"(value)
LOOPS(avx512, AVX512, 4, __m512i, _mm512_setzero_si512(), _mm512_xor_si512, _mm512_popcnt_epi32,
      _mm512_add_epi32)
#undef REGISTER
#define REGISTER(value) "+x"(value)
LOOPS(avx2, AVX2, 2, __m256i, _mm256_setzero_si256(), _mm256_xor_si256, popcount_bytes,
      _mm256_add_epi8)
#undef REGISTER
#define REGISTER(value) "+r"(value)
LOOPS(scalar, POPCNT, 2, uint64_t, 0, PLAIN_XOR, (uint64_t)__builtin_popcountll, PLAIN_ADD)

/* Each multiplication waits for the last one: 3 cycles on every Intel core since 2008 and every
 * AMD core since 2017. A chain of additions would not do, some cores fold it. */
static void multiply_chain(void)
{
    uint64_t value = 3;
    for (int step = 0; step < STEPS; step++) {
        value *= value;
        OPAQUE(value);
    }
}

int main(void)
{
    printf("{\"kinds\": [");
    if (__builtin_cpu_supports("avx512vpopcntdq")) {
        avx512("AVX-512 vpopcntd");
    }
    if (__builtin_cpu_supports("avx2")) {
        avx2("AVX2 vpshufb");
    }
    if (__builtin_cpu_supports("popcnt")) {
        scalar("scalar popcnt");
    }
    printf("], \"clock_ghz\": %.2f}\n", 3e-9 * STEPS / best_s(multiply_chain));
    return 0;
}
#elif defined(__aarch64__)
#include <arm_neon.h>

#define REGISTER(value) "+w"(value)
LOOPS(neon, , 4, uint8x16_t, vdupq_n_u8(0), veorq_u8, vcntq_u8, vaddq_u8)

int main(void) /* no clock: the latency of a multiplication differs between Arm cores */
{
    printf("{\"kinds\": [");
    neon("NEON cnt");
    printf("], \"clock_ghz\": null}\n");
    return 0;
}
#else
int main(void)
{
    printf("{\"kinds\": [], \"clock_ghz\": null}\n");
    return 0;
}
#endif
