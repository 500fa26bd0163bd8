/* Lists in messages. */
#ifndef LS_BASE_LIST_H
#define LS_BASE_LIST_H

#include <stddef.h>

/* Adds an item to a list in words, "a, b, c", which is empty at first. What does not fit into
 * `size` bytes, with the final 0, is cut off. */
void ls_list_add(char *list, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
