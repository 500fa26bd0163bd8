/* The files of the page, which are part of the program. Made by embed.py. */
#ifndef LS_SERVER_PAGE_H
#define LS_SERVER_PAGE_H

#include <stddef.h>

typedef struct page_file {
    const char *name, *type, *etag;
    const unsigned char *data;
    size_t size;
} page_file;

/* Ended by one without a name. */
extern const page_file page_files[];

#endif
