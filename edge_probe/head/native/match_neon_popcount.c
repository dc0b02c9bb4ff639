/* neon-popcount: the bits of 16 bytes counted at once. */
#if defined(__aarch64__)
#define TARGET
#define NAME "native-neon-popcount"
#define FEATURES EP_NEON
#include "vec_neon.h"
#include "popcount8.h"
#else
typedef int ep_not_for_this_cpu;
#endif
