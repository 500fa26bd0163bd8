#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_WORD = 40 };

static void wrap_line(FILE *out, const char *text, size_t length, size_t column, size_t indent)
{
    int is_first = 1;
    for (size_t i = 0; i < length;) {
        size_t n = 0;
        while (i + n < length && text[i + n] != ' ')
            n++;
        if (!is_first && column + 1 + n > CLI_WIDTH) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!is_first) {
            fputc(' ', out);
            column++;
        }
        fwrite(text + i, 1, n, out);
        column += n;
        is_first = 0;
        i += n;
        while (i < length && text[i] == ' ')
            i++;
    }
    fputc('\n', out);
}

void cli_wrap(FILE *out, const char *text, size_t column, size_t indent)
{
    for (;;) {
        const size_t length = strcspn(text, "\n");
        if (*text == ' ')
            fprintf(out, "%.*s\n", (int)length, text);
        else
            wrap_line(out, text, length, column, indent);
        if (!text[length])
            return;
        text += length + 1;
        if (*text && *text != '\n' && *text != ' ')
            fprintf(out, "%*s", (int)indent, "");
        column = indent;
    }
}

const char *cli_quote(const char *text, char *out, size_t size)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./,:=@%+";
    size_t n = 0;
    if (*text && !text[strspn(text, plain)]) {
        snprintf(out, size, "%s", text);
        return out;
    }
    n += (size_t)snprintf(out, size, "'");
    for (; *text && n + 6 < size; text++)
        n += (size_t)snprintf(out + n, size - n, *text == '\'' ? "'\\''" : "%c", *text);
    snprintf(out + n, size - n, "'");
    return out;
}

/* Bytes of the valid sequence at `s`; 0: there is none. */
static size_t sequence(const unsigned char *s)
{
    const size_t n = s[0] < 0x80                   ? 1
                     : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                     : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
                     : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                                   : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    const int is_overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    const int is_outside = (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf4 && s[1] >= 0x90);
    return is_overlong || is_outside ? 0 : n;
}

char *cli_utf8(const char *text)
{
    char *out = malloc(3 * strlen(text) + 1), *p = out;
    if (!out)
        return NULL;
    while (*text) {
        const size_t n = sequence((const unsigned char *)text);
        memcpy(p, n ? text : "\xef\xbf\xbd", n ? n : 3);
        p += n ? n : 3;
        text += n ? n : 1;
    }
    *p = '\0';
    return out;
}

size_t cli_distance(const char *a, const char *b)
{
    const size_t na = strlen(a), nb = strlen(b);
    size_t rows[3][MAX_WORD + 1];
    if (na > MAX_WORD || nb > MAX_WORD)
        return SIZE_MAX;
    if (na > 1 && na < nb && !strncmp(a, b, na))
        return 1;
    for (size_t j = 0; j <= nb; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *row = rows[i % 3], *above = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            row[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = above[j] + 1 < row[j] ? above[j] + 1 : row[j];
            row[j] = row[j - 1] + 1 < row[j] ? row[j - 1] + 1 : row[j];
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
    }
    return rows[na % 3][nb];
}

int cli_is_near(const char *word, size_t distance)
{
    return distance <= 1 + strlen(word) / 4;
}
