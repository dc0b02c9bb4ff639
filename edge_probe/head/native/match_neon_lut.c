/* neon-lut: nibble tables, 16 prototypes a lookup. */
#if defined(__aarch64__)
#define TARGET
#define NAME "native-neon-lut"
#define FEATURES EP_NEON
#include "vec_neon.h"
#include "lut16.h"
#else
typedef int ep_not_for_this_cpu;
#endif
