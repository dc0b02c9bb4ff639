/* avx2-lut: nibble tables, 32 prototypes a shuffle. */
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,popcnt")))
#define NAME "native-avx2-lut"
#define FEATURES (EP_AVX2 | EP_POPCNT)
#include "vec_avx2.h"
#include "lut16.h"
#else
typedef int ep_not_for_this_cpu;
#endif
