/* MD5: the test suite of RFC 1321, and any cut of the input. */
#include "testing.h"

#include "serve/md5.h"

static const char *md5_of(const char *text, size_t bytes, size_t piece)
{
    static char shown[33];
    uint8_t digest[16];
    lc_md5 hash;
    lc_md5_init(&hash);
    for (size_t at = 0; at < bytes; at += piece) {
        lc_md5_update(&hash, text + at, bytes - at < piece ? bytes - at : piece);
    }
    lc_md5_final(&hash, digest);
    for (size_t i = 0; i < 16; i++) {
        (void)snprintf(shown + 2 * i, 3, "%02x", digest[i]);
    }
    return shown;
}

static void test_rfc(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e"},
        {"a", "0cc175b9c0f1b6a831c399e269772661"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
        {"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
         "d174ab98d277d9f5a5611c2c9f419d9f"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "57edf4a22be3c955ac49da2e2107b67a"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t piece = 1; piece <= 80; piece++) {
            assert_string_equal(md5_of(cases[i][0], strlen(cases[i][0]), piece), cases[i][1]);
        }
    }
    static char zeros[1000]; /* head -c N /dev/zero | md5sum, around the padding's edges */
    assert_string_equal(md5_of(zeros, 55, 64), "c9ea3314b91c9fd4e38f9432064fd1f2");
    assert_string_equal(md5_of(zeros, 56, 64), "e3c4dd21a9171fd39d208efa09bf7883");
    assert_string_equal(md5_of(zeros, 64, 64), "3b5d3c7d207e37dceeedd301e35e2e58");
    assert_string_equal(md5_of(zeros, 1000, 1000), "ede3d3b685b4e137ba4cb2521329a75e");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rfc)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
