/* What every test program shares: cmocka, the data folder, skipping where files are absent. */
#ifndef LS_TEST_H
#define LS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <cmocka.h>

/* Path of a file in tests/data/; the buffer is the caller's. */
static inline const char *test_data(char buf[static 4096], const char *name)
{
    const char *dir = getenv("LS_TEST_DATA");
    snprintf(buf, 4096, "%s/%s", dir ? dir : "tests/data", name);
    return buf;
}

/* Path of a file or folder that is not part of the project; the test is skipped with a word where
 * it is missing. */
static inline const char *test_shared(char buf[static 4096], const char *name)
{
    const char *dir = getenv("LS_SHARED");
    snprintf(buf, 4096, "%s/%s", dir ? dir : "../shared", name);
    if (access(buf, R_OK)) {
        print_message("skipped: %s is not here\n", name);
        skip();
    }
    return buf;
}

/* The bytes of a file, in memory of exactly their size, so that the sanitizers see every byte
 * beyond; to be freed. NULL where there is none. */
static inline void *test_read(const char *path, size_t *size)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    *size = 0;
    if (!f)
        return NULL;
    assert_int_equal(fstat(fileno(f), &st), 0);
    void *data = malloc(st.st_size ? (size_t)st.st_size : 1);
    assert_non_null(data);
    *size = fread(data, 1, (size_t)st.st_size, f);
    assert_int_equal(*size, st.st_size);
    fclose(f);
    return data;
}

static inline void test_write(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* Writes the file ROOT/NAME, and the folders of NAME. */
static inline void test_put(const char *root, const char *name, const char *text)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *c = path + strlen(root) + 1; (c = strchr(c, '/')); *c++ = '/') {
        *c = 0;
        mkdir(path, 0700);
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

#endif
