/* Tables as RFC 4180 has them: fields between commas, in double quotes where they hold commas,
 * quotes (doubled) or line breaks. */
#ifndef LS_CLI_CSV_H
#define LS_CLI_CSV_H

#include <stddef.h>
#include <stdio.h>

typedef struct cli_csv {
    char *text; /* that the fields are in */
    char **fields;
    size_t columns, rows; /* `rows` with the head */
} cli_csv;

/* Reads a whole file; lines that are empty are passed. NULL, or what is wrong with it, in `why`:
 * a quote without an end, a row with more or fewer fields than the first, no rows at all. */
const char *cli_csv_read(cli_csv *t, const char *path, char *why, size_t size);
void cli_csv_free(cli_csv *t);
const char *cli_csv_at(const cli_csv *t, size_t row, size_t column);

/* Writes one field, quoted where it must be. */
void cli_csv_write(FILE *out, const char *field);

#endif
