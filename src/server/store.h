/* The database of the server: rows as JSON objects, statements prepared once. One thread at a
 * time. */
#ifndef LS_SERVER_STORE_H
#define LS_SERVER_STORE_H

#include "latentsync/error.h"

#include <jansson.h>

typedef struct store store;

/* Opens or makes the database. Every commit is on the disk when its call returns. On failure *out
 * is NULL: LS_EUNSUPPORTED for one that a newer version has made, LS_EFORMAT for a damaged or
 * foreign one, LS_EIO, LS_ENOSPC. */
int store_open(store **out, const char *path, ls_error *err);
/* Takes NULL. */
void store_close(store *s);

/* Runs a statement, a string literal; `types` has a letter for each parameter that follows: s a
 * const char * or NULL, i an int64_t, d a double. */
int store_do(store *s, ls_error *err, const char *sql, const char *types, ...);
/* Rows that the last statement changed. */
int64_t store_changes(const store *s);
/* All rows, an array of objects, or the first one; NULL on failure. Where store_first finds none it
 * gives JSON's null. A column whose name ends with "_json" is parsed, and named without that. */
json_t *store_all(store *s, ls_error *err, const char *sql, const char *types, ...);
json_t *store_first(store *s, ls_error *err, const char *sql, const char *types, ...);

/* A transaction; the end commits it if `ret` is 0 and undoes it otherwise, and returns `ret` or why
 * it could not be committed. */
int store_begin(store *s, ls_error *err);
int store_end(store *s, int ret, ls_error *err);

#endif
