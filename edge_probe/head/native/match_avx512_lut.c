/* avx512-lut: nibble tables, 64 prototypes a shuffle. */
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,popcnt")))
#define NAME "native-avx512-lut"
#define FEATURES (EP_AVX512 | EP_POPCNT)
#include "vec_avx512.h"
#include "lut16.h"
#else
typedef int ep_not_for_this_cpu;
#endif
