/* Text for people and shells. */
#ifndef LS_CLI_TEXT_H
#define LS_CLI_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { CLI_WIDTH = 80 };

/* Writes words to `out`, wrapped to CLI_WIDTH; `column` is where the cursor is, and following lines
 * are indented by `indent`. A line of `text` that starts with a space is written as it is; newlines
 * are kept. Ends with a newline. */
void cli_wrap(FILE *out, const char *text, size_t column, size_t indent);

/* `text` as one word of a shell, quoted where it must be; cut to `size`. Returns `out`. */
const char *cli_quote(const char *text, char *out, size_t size);

/* `text` with every byte that is not part of valid UTF-8 replaced by U+FFFD. The caller frees it;
 * NULL when out of memory. */
char *cli_utf8(const char *text);

/* How many letters to insert, remove, replace or swap to make one word of the other; a word that
 * the other starts with is at distance 1. */
size_t cli_distance(const char *a, const char *b);
/* Whether a word at that distance may have been meant. */
int cli_is_near(const char *word, size_t distance);

#endif
