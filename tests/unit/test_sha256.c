/* SHA-256 against the examples of FIPS 180-4 and NIST's, and digests of files. */
#include "test.h"

#include "base/digest.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check(const uint8_t sha256[LS_SHA256_BYTES], const char *text)
{
    char got[LS_SHA256_TEXT];
    ls_digest_text(got, sha256);
    assert_string_equal(got, text);
}

static void published_examples(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        int times;
        const char *sha256;
    } cases[] = {
        {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqr"
         "lmnopqrsmnopqrstnopqrstu",
         1, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
        {"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t sha256[LS_SHA256_BYTES];
        ls_sha256 s;
        ls_sha256_begin(&s);
        for (int k = 0; k < cases[i].times; k++)
            ls_sha256_add(&s, cases[i].message, strlen(cases[i].message));
        ls_sha256_end(&s, sha256);
        check(sha256, cases[i].sha256);
    }
}

/* Every length around those at which padding changes, in one piece and in two; the digest of all
 * digests is Python's. */
static void pieces_do_not_matter(void **state)
{
    (void)state;
    uint8_t data[200];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(7 * i + 1);
    ls_sha256 sum;
    ls_sha256_begin(&sum);
    for (size_t n = 0; n <= sizeof data; n++) {
        uint8_t whole[LS_SHA256_BYTES], parts[LS_SHA256_BYTES];
        ls_sha256 s;
        ls_sha256_begin(&s);
        ls_sha256_add(&s, data, n);
        ls_sha256_end(&s, whole);
        ls_sha256_add(&sum, whole, sizeof whole);
        for (size_t cut = 0; cut <= n; cut++) {
            ls_sha256_begin(&s);
            ls_sha256_add(&s, data, cut);
            ls_sha256_add(&s, data + cut, n - cut);
            ls_sha256_end(&s, parts);
            assert_memory_equal(whole, parts, sizeof whole);
        }
    }
    uint8_t sha256[LS_SHA256_BYTES];
    ls_sha256_end(&sum, sha256);
    check(sha256, "a762260eaf7d0bf0f3e5c702dd2bc7de18bb629df9cad5b668d384084812f4f8");
}

static void files_whole_and_sampled(void **state)
{
    (void)state;
    char path[] = "/tmp/ls_digest_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    uint8_t whole[LS_SHA256_BYTES], sample[LS_SHA256_BYTES], changed[LS_SHA256_BYTES];
    uint64_t bytes;
    assert_int_equal(write(fd, "abc", 3), 3);
    assert_int_equal(ls_digest_file(path, whole, &bytes, NULL), 0);
    assert_int_equal(bytes, 3);
    check(whole, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    /* of a large file both ends and the size count, and a file of holes is cheap */
    static const off_t size = (off_t)80 << 20;
    assert_int_equal(ftruncate(fd, size), 0);
    assert_int_equal(ls_digest_sample(path, sample, NULL), 0);
    assert_int_equal(pwrite(fd, "x", 1, size - 1), 1);
    assert_int_equal(ls_digest_sample(path, changed, NULL), 0);
    assert_memory_not_equal(sample, changed, sizeof sample);
    assert_int_equal(pwrite(fd, "", 1, size - 1), 1);
    assert_int_equal(ls_digest_sample(path, changed, NULL), 0);
    assert_memory_equal(sample, changed, sizeof sample);
    assert_int_equal(ftruncate(fd, size + 1), 0);
    assert_int_equal(ls_digest_sample(path, changed, NULL), 0);
    assert_memory_not_equal(sample, changed, sizeof sample);
    close(fd);
    unlink(path);
    ls_error err = {0};
    assert_int_equal(ls_digest_file(path, whole, &bytes, &err), LS_ENOENT);
    assert_non_null(strstr(err.message, path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_examples),
        cmocka_unit_test(pieces_do_not_matter),
        cmocka_unit_test(files_whole_and_sampled),
    };
    return cmocka_run_group_tests_name("sha256", tests, NULL, NULL);
}
