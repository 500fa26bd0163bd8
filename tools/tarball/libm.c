/* glibc 2.29 has new versions of these functions, which report errors otherwise. What is linked
 * with this gets the ones before, so that it runs with older ones too. Weak, as -lm may be there
 * twice. */
#define KEEP(f, parameters, ...)                                                                   \
    double old_##f parameters;                                                                     \
    __asm__(".symver old_" #f ", " #f "@GLIBC_2.2.5");                                             \
    __attribute__((weak, visibility("hidden"))) double f parameters                                \
    {                                                                                              \
        return old_##f(__VA_ARGS__);                                                               \
    }

KEEP(exp, (double x), x)
KEEP(exp2, (double x), x)
KEEP(log, (double x), x)
KEEP(log2, (double x), x)
KEEP(pow, (double x, double y), x, y)
