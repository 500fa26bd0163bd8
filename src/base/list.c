#include "base/list.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void ls_list_add(char *list, size_t size, const char *fmt, ...)
{
    size_t n = strlen(list);
    va_list ap;
    if (n)
        snprintf(list + n, size - n, ", ");
    n += strlen(list + n);
    va_start(ap, fmt);
    vsnprintf(list + n, size - n, fmt, ap);
    va_end(ap);
}
