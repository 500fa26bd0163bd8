#include "cli/csv.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES ((size_t)64 << 20)

typedef struct reader {
    cli_csv *t;
    char *at, *to; /* what is read, and where the fields are written, which is never behind */
    size_t count, room, line, row_line;
    char *why;
    size_t size;
} reader;

static bool refuse(reader *r, const char *what)
{
    snprintf(r->why, r->size, "line %zu: %s", r->row_line, what);
    return false;
}

static bool add_field(reader *r, char *field)
{
    if (r->count == r->room) {
        const size_t room = r->room ? 2 * r->room : 64;
        char **fields = realloc(r->t->fields, room * sizeof *fields);
        if (!fields)
            return refuse(r, "out of memory");
        r->t->fields = fields;
        r->room = room;
    }
    r->t->fields[r->count++] = field;
    return true;
}

static bool read_quoted(reader *r)
{
    for (r->at++; *r->at && (*r->at != '"' || r->at[1] == '"'); r->at++) {
        r->at += *r->at == '"';
        r->line += *r->at == '\n';
        *r->to++ = *r->at;
    }
    if (!*r->at)
        return refuse(r, "a quoted field has no end");
    r->at++;
    return strchr(",\r\n", *r->at) ? true : refuse(r, "text follows a quoted field");
}

/* *last: it was the last of its row. */
static bool read_field(reader *r, bool *last)
{
    char *field = r->to;
    if (*r->at == '"') {
        if (!read_quoted(r))
            return false;
    } else {
        while (!strchr(",\r\n\"", *r->at))
            *r->to++ = *r->at++;
        if (*r->at == '"')
            return refuse(r, "a quote stands within a field that does not begin with one");
    }
    const bool comma = *r->at == ',';
    if (*r->at == '\r' && r->at[1] != '\n' && r->at[1])
        return refuse(r, "a carriage return stands within a field without quotes");
    r->at += comma;
    while (!comma && (*r->at == '\r' || *r->at == '\n')) // empty lines too
        r->line += *r->at++ == '\n';
    *r->to++ = '\0';
    *last = !comma;
    return add_field(r, field);
}

static bool read_row(reader *r)
{
    const size_t before = r->count;
    bool last = false;
    r->row_line = r->line;
    while (!last)
        if (!read_field(r, &last))
            return false;
    if (!r->t->rows++)
        r->t->columns = r->count;
    return r->count - before == r->t->columns ||
           refuse(r, "it has more or fewer fields than the first line");
}

static char *read_file(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    char *text = f ? malloc(MAX_BYTES + 2) : NULL;
    *bytes = text ? fread(text, 1, MAX_BYTES + 1, f) : 0;
    const bool ok = text && !ferror(f);
    if (!ok) {
        free(text);
        text = NULL;
    }
    if (f)
        fclose(f);
    return text;
}

const char *cli_csv_read(cli_csv *t, const char *path, char *why, size_t size)
{
    size_t bytes;
    *t = (cli_csv){.text = read_file(path, &bytes)};
    if (!t->text) {
        snprintf(why, size, "%s", strerror(errno));
        return why;
    }
    /* A field is ended where its separator was, so the last needs one more byte. */
    char *small = realloc(t->text, bytes + 2);
    t->text = small ? small : t->text;
    t->text[bytes] = '\0';
    reader r = {.t = t, .at = t->text, .line = 1, .why = why, .size = size};
    if (bytes > MAX_BYTES || strlen(t->text) != bytes) {
        snprintf(why, size, "it is no text, or too large");
        return why;
    }
    r.at += strncmp(r.at, "\xef\xbb\xbf", 3) ? 0 : 3;
    for (; *r.at == '\r' || *r.at == '\n'; r.at++)
        r.line += *r.at == '\n';
    r.to = r.at;
    while (*r.at)
        if (!read_row(&r))
            return why;
    if (t->rows)
        return NULL;
    snprintf(why, size, "it is empty");
    return why;
}

void cli_csv_free(cli_csv *t)
{
    free(t->fields);
    free(t->text);
    *t = (cli_csv){0};
}

const char *cli_csv_at(const cli_csv *t, size_t row, size_t column)
{
    return t->fields[row * t->columns + column];
}

void cli_csv_write(FILE *out, const char *field)
{
    if (!strpbrk(field, ",\"\r\n")) {
        fputs(field, out);
        return;
    }
    putc('"', out);
    for (; *field; field++) {
        if (*field == '"')
            putc('"', out);
        putc(*field, out);
    }
    putc('"', out);
}
