/* Files of packed weights: what was kept comes back, and nothing else is believed. */
#include "test.h"

#include "base/alloc.h"
#include "base/os/memory.h"
#include "weights/internal.h"
#include "weights/packed.h"

#include <dirent.h>
#include <fcntl.h>
#include <time.h>

#define KEY "made of this, in that way"
#define PLENTY 100000000

static char home[] = "/tmp/ls-packed-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    return !mkdtemp(home) || setenv("XDG_CACHE_HOME", home, 1);
}

static int tear_down(void **state)
{
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", home);
    return system(command);
}

/* Weights whose sizes are in and out of step with the stripes, one with two blocks of them. */
enum { COUNT = 5 };
static const size_t sizes[COUNT] = {1, 63, 64, 65, (2 << 20) + 7};

static void make_list(ls_packed list[COUNT], size_t count)
{
    static const char *const names[COUNT] = {"a.weight", "a.bias", "b.weight", "a.weight", "c"};
    static char layouts[COUNT][8] = {"x", "x", "x", "y", "x"};
    for (size_t i = 0; i < count; i++) {
        list[i] = (ls_packed){.next = i + 1 < count ? &list[i + 1] : NULL,
                              .name = names[i],
                              .layout = layouts[i],
                              .data = malloc(sizes[i]),
                              .bytes = sizes[i]};
        for (size_t k = 0; k < sizes[i]; k++)
            ((uint8_t *)list[i].data)[k] = (uint8_t)(k * 31 + k / 4099 + i);
    }
}

static void free_list(ls_packed list[COUNT], size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i].data);
}

/* Keeps the first `count` weights. */
static void keep(const char *path, size_t count)
{
    ls_packed list[COUNT];
    ls_error err = {0};
    make_list(list, count);
    if (ls_packed_write(path, KEY, list, NULL, PLENTY, NULL, &err))
        fail_msg("%s", err.message);
    free_list(list, count);
}

static void put(const char *path, const void *data, size_t size)
{
    unlink(path);
    test_write(path, data, size);
    assert_int_equal(chmod(path, 0600), 0);
}

static int opens(const char *path, const char *key)
{
    ls_packed_before *b;
    ls_error err = {0};
    const int ret = ls_packed_open(&b, path, key, 2, &err);
    assert_true(ret ? !b && *err.message : b != NULL);
    ls_packed_close(&b);
    return ret;
}

static void what_was_kept_is_found(void **state)
{
    (void)state;
    char path[LS_PATH_SIZE];
    ls_packed list[COUNT];
    ls_packed_before *b;
    struct stat st;
    assert_int_equal(ls_packed_path(path, KEY, NULL), 0);
    assert_int_equal(opens(path, KEY), LS_ENOENT);
    keep(path, COUNT);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(ls_packed_open(&b, path, KEY, 2, NULL), 0);
    make_list(list, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        const uint8_t *data = b->find(b, list[i].name, list[i].layout, list[i].bytes);
        assert_true(data && (uintptr_t)data % LS_ALIGN == 0);
        assert_memory_equal(data, list[i].data, list[i].bytes);
        assert_null(b->find(b, list[i].name, list[i].layout, list[i].bytes + LS_ALIGN));
        assert_null(b->find(b, list[i].name, "z", list[i].bytes));
    }
    assert_null(b->find(b, "d", "x", 1));
    free_list(list, COUNT);
    ls_packed_close(&b);
}

/* What is lacking is added to what is there. */
static void a_file_grows(void **state)
{
    (void)state;
    char path[LS_PATH_SIZE];
    ls_packed list[COUNT];
    ls_packed_before *b;
    ls_packed_path(path, KEY, NULL);
    keep(path, 3);
    make_list(list, COUNT);
    assert_int_equal(ls_packed_open(&b, path, KEY, 2, NULL), 0);
    list[1].found = true; // the others of the file are of no use this time
    list[0].layout = NULL;
    list[2].layout = NULL;
    assert_int_equal(ls_packed_write(path, KEY, list, b, PLENTY, NULL, NULL), 0);
    ls_packed_close(&b);
    assert_int_equal(ls_packed_open(&b, path, KEY, 2, NULL), 0);
    for (size_t i = 0; i < COUNT; i++) {
        const void *data = b->find(b, list[i].name, i == 3 ? "y" : "x", list[i].bytes);
        assert_non_null(data);
        assert_memory_equal(data, list[i].data, list[i].bytes);
    }
    ls_packed_close(&b);
    free_list(list, COUNT);
}

/* It is a safetensors file like any other. */
static void other_programs_can_read_it(void **state)
{
    (void)state;
    char path[LS_PATH_SIZE];
    ls_weights *w;
    ls_packed_path(path, KEY, NULL);
    keep(path, COUNT);
    assert_int_equal(ls_weights_open(&w, path, NULL), 0);
    assert_int_equal(ls_weights_count(w), COUNT + 1);
    assert_string_equal(ls_weights_meta_text(w, "key"), KEY);
    ls_weights_close(&w);
}

static void no_byte_can_be_changed_or_lacking(void **state)
{
    (void)state;
    char path[LS_PATH_SIZE];
    size_t size;
    ls_packed_path(path, KEY, NULL);
    keep(path, 4);
    uint8_t *good = test_read(path, &size), *bad = malloc(size + 64);
    assert_true(good && size < 2000);
    for (size_t i = 0; i < size; i++) {
        memcpy(bad, good, size);
        bad[i] ^= (uint8_t)(1u << i % 8);
        put(path, bad, size);
        assert_int_not_equal(opens(path, KEY), 0);
    }
    for (size_t n = 0; n < size; n++) {
        put(path, good, n);
        assert_int_not_equal(opens(path, KEY), 0);
    }
    memcpy(bad, good, size);
    memset(bad + size, 0, 64);
    put(path, bad, size + 64);
    assert_int_not_equal(opens(path, KEY), 0);
    keep(path, 4);
    assert_int_equal(opens(path, KEY), 0);
    free(bad);
    free(good);
}

/* Of several blocks: anywhere, and two that have changed places. */
static void blocks_are_checked(void **state)
{
    (void)state;
    char path[LS_PATH_SIZE];
    size_t size;
    const size_t block = 1 << 20;
    ls_packed_path(path, KEY, NULL);
    keep(path, COUNT);
    uint8_t *data = test_read(path, &size);
    assert_true(data && size > 2 * block);
    for (size_t i = 4099; i < size; i += size / 40) {
        data[i] ^= 0x80; // the bit that only one multiplication would lose
        data[i < size / 2 ? i + 64 : i - 64] ^= 0x80;
        put(path, data, size);
        assert_int_not_equal(opens(path, KEY), 0);
        data[i] ^= 0x80;
        data[i < size / 2 ? i + 64 : i - 64] ^= 0x80;
    }
    put(path, data, size);
    assert_int_equal(opens(path, KEY), 0);
    uint8_t *of = data + block - 4096, swap[4096];
    memcpy(swap, of, sizeof swap);
    memcpy(of, of + block, sizeof swap);
    memcpy(of + block, swap, sizeof swap);
    assert_memory_not_equal(of, of + block, sizeof swap);
    put(path, data, size);
    assert_int_not_equal(opens(path, KEY), 0);
    free(data);
}

static void others_files_are_not_believed(void **state)
{
    (void)state;
    char path[LS_PATH_SIZE], aside[LS_PATH_SIZE + 8];
    ls_packed_path(path, KEY, NULL);
    snprintf(aside, sizeof aside, "%s.aside", path);
    keep(path, 2);
    assert_int_equal(opens(path, "made of something else"), LS_EFORMAT);
    assert_int_equal(chmod(path, 0660), 0);
    assert_int_equal(opens(path, KEY), LS_EINVAL);
    assert_int_equal(chmod(path, 0600), 0);
    if (!geteuid()) {
        assert_int_equal(chown(path, 12345, 12345), 0);
        assert_int_equal(opens(path, KEY), LS_EINVAL);
        assert_int_equal(chown(path, 0, 0), 0);
    }
    assert_int_equal(opens(path, KEY), 0);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(symlink(aside, path), 0);
    assert_int_not_equal(opens(path, KEY), 0);
    keep(path, 2); // replaces the link, not what it points to
    assert_int_equal(opens(path, KEY), 0);
    assert_int_equal(opens(aside, KEY), 0);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(opens(path, KEY), LS_EINVAL);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(opens(path, KEY), LS_EINVAL);
    rmdir(path);
    unlink(aside);
}

static void age(const char *path, time_t seconds)
{
    const struct timespec t[2] = {{.tv_sec = time(NULL) - seconds},
                                  {.tv_sec = time(NULL) - seconds}};
    assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static void what_was_not_used_for_the_longest_goes(void **state)
{
    (void)state;
    char path[4][LS_PATH_SIZE], folder[LS_PATH_SIZE], stale[LS_PATH_SIZE + 40];
    ls_packed list[COUNT];
    ls_error err = {0};
    struct stat st;
    make_list(list, COUNT);
    for (size_t i = 0; i < 4; i++) {
        char key[8];
        snprintf(key, sizeof key, "%zu", i);
        assert_int_equal(ls_packed_path(path[i], key, NULL), 0);
        if (i < 3)
            assert_int_equal(ls_packed_write(path[i], key, list, NULL, PLENTY, NULL, NULL), 0);
    }
    snprintf(stale, sizeof stale, "%.*s/.x.safetensors.1.0.part",
             (int)(strrchr(path[0], '/') - path[0]), path[0]);
    test_write(stale, list[4].data, sizes[4]);
    unlink(path[3]);
    assert_int_equal(stat(path[0], &st), 0);
    const uint64_t each = (uint64_t)st.st_size, most = 3 * each;
    const uint64_t all = ls_packed_folder(folder);
    assert_true(all >= 3 * each + sizes[4] && !strncmp(folder, path[0], strlen(folder)));
    /* all were used just now */
    assert_int_equal(ls_packed_write(path[3], "3", list, NULL, most, NULL, &err), LS_ENOSPC);
    age(path[0], 20000);
    age(path[1], 30000);
    age(path[2], 7200);
    age(stale, 40000);
    assert_int_equal(opens(path[1], "1"), 0); // is used
    assert_int_equal(ls_packed_write(path[3], "3", list, NULL, most, NULL, &err), 0);
    assert_int_not_equal(access(stale, F_OK), 0);
    assert_int_not_equal(access(path[0], F_OK), 0);
    assert_int_equal(access(path[1], F_OK), 0);
    assert_int_equal(opens(path[3], "3"), 0);
    assert_int_equal(ls_packed_write(path[0], "0", list, NULL, each - 1, NULL, &err), LS_ENOSPC);
    free_list(list, COUNT);
}

static void a_cancelled_one_leaves_nothing(void **state)
{
    (void)state;
    char path[LS_PATH_SIZE], folder[LS_PATH_SIZE];
    ls_packed list[COUNT];
    ls_cancel cancel = {0};
    ls_packed_path(path, KEY, NULL);
    unlink(path);
    const uint64_t before = ls_packed_folder(folder);
    make_list(list, COUNT);
    ls_cancel_request(&cancel);
    assert_int_equal(ls_packed_write(path, KEY, list, NULL, PLENTY, &cancel, NULL), LS_ECANCELED);
    assert_int_equal(ls_packed_folder(folder), before);
    assert_int_equal(opens(path, KEY), LS_ENOENT);
    free_list(list, COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_kept_is_found),
        cmocka_unit_test(a_file_grows),
        cmocka_unit_test(other_programs_can_read_it),
        cmocka_unit_test(no_byte_can_be_changed_or_lacking),
        cmocka_unit_test(blocks_are_checked),
        cmocka_unit_test(others_files_are_not_believed),
        cmocka_unit_test(what_was_not_used_for_the_longest_goes),
        cmocka_unit_test(a_cancelled_one_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
