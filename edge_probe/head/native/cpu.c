/* Which features the CPU has and the operating system lets us use. */
#include "kernel.h"

#if defined(__x86_64__)
uint32_t ep_cpu_features(void) {
    uint32_t found = 0;
    __builtin_cpu_init(); /* also asks the system whether it saves the wide registers */
    if (__builtin_cpu_supports("popcnt")) found |= EP_POPCNT;
    if (__builtin_cpu_supports("avx2")) found |= EP_AVX2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        found |= EP_AVX512;
    if (__builtin_cpu_supports("avx512vpopcntdq")) found |= EP_VPOPCNTDQ;
    if (__builtin_cpu_supports("avx512vnni")) found |= EP_VNNI;
    return found;
}
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20)
#endif
uint32_t ep_cpu_features(void) {
    return EP_NEON | ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) ? EP_DOTPROD : 0u);
}
#else
uint32_t ep_cpu_features(void) { return 0; }
#endif
