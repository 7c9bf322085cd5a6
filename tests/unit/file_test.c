/* Files and directories: atomic writes under every I/O fault and every kill, the writer, logs,
 * locks, trees. */
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/hash.h"
#include "lorac/mem.h"

#define SHORT (-1)

static void no_fault(void)
{
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
}

/* dir/name in a static buffer per call, eight of them. */
static const char *in(const char *dir, const char *name)
{
    static char paths[8][LC_MAX_PATH_BYTES];
    static int next;
    char *path = paths[next++ % 8];
    assert_ok(lc_path_join(dir, name, path, &test_err));
    return path;
}

static void assert_content(const char *path, const char *expected, size_t bytes)
{
    char *data = NULL;
    size_t got = 0;
    assert_ok(lc_file_read(path, 1 << 24, &data, &got, &test_err));
    assert_int_equal(got, bytes);
    assert_memory_equal(data, expected, bytes);
    assert_int_equal(data[got], 0);
    lc_free(data);
}

static int count_files(const char *dir)
{
    char **names = NULL;
    size_t count = 0;
    assert_ok(lc_list_dir(dir, &names, &count, &test_err));
    lc_list_free(names, count);
    return (int)count;
}

static int open_descriptors(void)
{
    return count_files("/proc/self/fd");
}

static void test_path_join(void **state)
{
    (void)state;
    char out[LC_MAX_PATH_BYTES], longer[LC_MAX_PATH_BYTES];
    assert_string_equal(in("a", "b"), "a/b");
    assert_string_equal(in("a/", "b"), "a/b");
    assert_string_equal(in("", "b"), "b");
    assert_string_equal(in("/", "b"), "/b");
    memset(longer, 'x', sizeof longer);
    for (size_t total = LC_MAX_PATH_BYTES - 2; total <= LC_MAX_PATH_BYTES; total++) {
        longer[total - 2] = '\0'; /* longer/b has `total` bytes */
        const lc_code code = lc_path_join(longer, "b", out, &test_err);
        assert_int_equal(code, total < LC_MAX_PATH_BYTES ? LC_OK : LC_ERR_INVALID);
        longer[total - 2] = 'x';
    }
    assert_non_null(strstr(test_err.message, "path too long (limit 4095 bytes)"));
}

static void test_read(void **state)
{
    (void)state;
    const char *dir = test_dir();
    const char *path = in(dir, "data");
    char *data = NULL;
    size_t bytes = 0;
    test_write_file(path, "abc\0d", 5);
    assert_content(path, "abc\0d", 5);
    assert_ok(lc_file_read(path, 5, &data, &bytes, &test_err));
    lc_free(data);
    assert_fails(lc_file_read(path, 4, &data, &bytes, &test_err), LC_ERR_INVALID,
                 "too large: 5 bytes, limit 4");
    assert_fails(lc_file_read(in(dir, "none"), 4, &data, &bytes, &test_err), LC_ERR_NOT_FOUND,
                 "none");
    assert_fails(lc_file_read(dir, 4, &data, &bytes, &test_err), LC_ERR_INVALID,
                 "is not a regular file");
    assert_int_equal(mkfifo(in(dir, "fifo"), 0600), 0); /* must not wait for a writer */
    assert_fails(lc_file_read(in(dir, "fifo"), 4, &data, &bytes, &test_err), LC_ERR_INVALID,
                 "regular");
    assert_fails(lc_file_read("/proc/self/stat", 100000, &data, &bytes, &test_err), LC_ERR_IO,
                 "changed while it was read");
    test_write_file(path, "", 0);
    assert_content(path, "", 0);
    assert_true(lc_path_exists(path) && !lc_path_exists(in(dir, "none")));
    assert_true(lc_path_is_dir(dir) && !lc_path_is_dir(path));
}

static void test_read_faults(void **state)
{
    (void)state;
    const char *path = in(test_dir(), "data");
    const int descriptors = open_descriptors();
    char *data = NULL;
    size_t bytes = 0;
    test_write_file(path, "0123456789", 10);
    lc_fault_set(LC_FAULT_ALLOC, 1, 0, false);
    assert_fails(lc_file_read(path, 99, &data, &bytes, &test_err), LC_ERR_MEMORY,
                 "out of memory for 11 bytes");
    for (int at = 1; at <= 4; at++) { /* open, read, read at the end, close */
        lc_fault_set(LC_FAULT_IO, at, EIO, false);
        assert_fails(lc_file_read(path, 99, &data, &bytes, &test_err), LC_ERR_IO,
                     "Input/output error");
    }
    lc_fault_set(LC_FAULT_IO, 1, SHORT, true);
    assert_ok(lc_file_read(path, 99, &data, &bytes, &test_err));
    no_fault();
    assert_memory_equal(data, "0123456789", 11);
    lc_free(data);
    assert_int_equal(open_descriptors(), descriptors);
}

typedef struct content {
    char *bytes;
    size_t count;
} content;

static content random_content(size_t count)
{
    const content c = {malloc(count + 1), count};
    for (size_t i = 0; i < count; i++) {
        c.bytes[i] = (char)test_int(0, 255);
    }
    return c;
}

static bool holds(const char *path, content c)
{
    char *data = NULL;
    size_t bytes = 0;
    assert_ok(lc_file_read(path, 1 << 24, &data, &bytes, &test_err));
    const bool same = bytes == c.count && memcmp(data, c.bytes, bytes) == 0;
    lc_free(data);
    return same;
}

/* Every system call of an atomic write fails once, each with every error: the old content or the
 * new one. */
static void walk_faults(const char *dir, content old, content new, int error, lc_code expected,
                        bool sticky)
{
    const char *path = in(dir, "state.json");
    for (int at = 1;; at++) {
        no_fault();
        test_write_file(path, old.bytes, old.count);
        const int descriptors = open_descriptors();
        lc_fault_set(LC_FAULT_IO, at, error, sticky);
        lc_err_clear(&test_err);
        const lc_code code = lc_file_write_atomic(path, new.bytes, new.count, &test_err);
        const bool reached = lc_fault_count(LC_FAULT_IO) >= at;
        const bool named = strstr(test_err.message, dir) != NULL;
        no_fault();
        assert_int_equal(open_descriptors(), descriptors);
        assert_int_equal(count_files(dir), 1); /* no temporary file stays */
        if (!reached || error == SHORT) {
            assert_int_equal(code, LC_OK);
            assert_true(holds(path, new));
        } else {
            assert_int_equal(code, expected);
            assert_true(named);
            assert_true(holds(path, old) || holds(path, new));
        }
        if (!reached) {
            assert_true(at > 8); /* open, write, fsync, close, rename, open, fsync, close */
            return;
        }
    }
}

static void test_atomic_write_faults(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 65536, 200000};
    const char *dir = test_dir();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const content old = random_content(777), new = random_content(sizes[i]);
        if (new.count == 0) {
            test_write_file(in(dir, "state.json"), "", 0);
            assert_ok(lc_file_write_atomic(in(dir, "state.json"), new.bytes, 0, &test_err));
            assert_true(holds(in(dir, "state.json"), new));
        } else {
            walk_faults(dir, old, new, ENOSPC, LC_ERR_DISK_FULL, false);
            walk_faults(dir, old, new, ENOSPC, LC_ERR_DISK_FULL, true);
            walk_faults(dir, old, new, EIO, LC_ERR_IO, false);
            walk_faults(dir, old, new, SHORT, LC_OK, false);
            walk_faults(dir, old, new, SHORT, LC_OK, true);
        }
        free(old.bytes);
        free(new.bytes);
    }
}

static void test_atomic_write_allocation(void **state)
{
    (void)state;
    const char *dir = test_dir();
    lc_fault_set(LC_FAULT_ALLOC, 1, 0, false);
    assert_fails(lc_file_write_atomic(in(dir, "x"), "a", 1, &test_err), LC_ERR_MEMORY,
                 "out of memory");
    no_fault();
    assert_int_equal(count_files(dir), 0);
}

/* SIGKILL before every system call, in a child. */
static void test_atomic_write_kills(void **state)
{
    (void)state;
    const char *dir = test_dir();
    const char *path = in(dir, "state.json");
    const content old = random_content(500), new = random_content(70000);
    int kills = 0;
    for (int at = 1;; at++) {
        assert_ok(lc_file_write_atomic(path, old.bytes, old.count, &test_err));
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            lc_err err = {0};
            lc_fault_set(LC_FAULT_KILL, at, 0, false);
            _exit(lc_file_write_atomic(path, new.bytes, new.count, &err) == LC_OK ? 0 : 1);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            assert_true(holds(path, new));
            break;
        }
        assert_int_equal(WTERMSIG(status), SIGKILL);
        assert_true(holds(path, old) || holds(path, new));
        kills++;
    }
    assert_int_equal(kills, 8);
    free(old.bytes);
    free(new.bytes);
}

static void test_atomic_write_errors(void **state)
{
    (void)state;
    const char *dir = test_dir();
    assert_fails(lc_file_write_atomic(in(dir, "no/x"), "a", 1, &test_err), LC_ERR_NOT_FOUND,
                 "cannot create");
    assert_fails(lc_file_write_atomic("", "a", 1, &test_err), LC_ERR_INVALID, "names no file");
    assert_fails(lc_file_write_atomic("/", "a", 1, &test_err), LC_ERR_INVALID, "names no file");
    assert_ok(lc_mkdir(in(dir, "sub"), &test_err));
    test_write_file(in(dir, "sub/x"), "a", 1);
    assert_fails(lc_file_write_atomic(in(dir, "sub"), "a", 1, &test_err), LC_ERR_IO,
                 "cannot rename");
    assert_int_equal(count_files(dir), 1);
    char longer[LC_MAX_PATH_BYTES + 10];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_fails(lc_file_write_atomic(longer, "a", 1, &test_err), LC_ERR_INVALID, "");
    lc_writer *writer = NULL;
    assert_fails(lc_writer_open(longer, &writer, &test_err), LC_ERR_INVALID, "path too long");
    lc_reader reader;
    assert_fails(lc_reader_open(longer, &reader, &test_err), LC_ERR_INVALID, "path too long");
    assert_fails(lc_mkdir_parents(longer, &test_err), LC_ERR_INVALID, "path too long");
    assert_fails(lc_remove_tree(longer, &test_err), LC_ERR_INVALID, "path too long");
    /* What a killed process of our number has left is no hindrance. */
    char stale[64];
    (void)snprintf(stale, sizeof stale, ".y.tmp-%ld", (long)getpid());
    test_write_file(in(dir, stale), "half", 4);
    assert_ok(lc_file_write_atomic(in(dir, "y"), "new", 3, &test_err));
    assert_content(in(dir, "y"), "new", 3);
    assert_int_equal(count_files(dir), 2);
}

static void test_writer(void **state)
{
    (void)state;
    const char *path = in(test_dir(), "model.bin");
    const content all = random_content(500000);
    lc_writer *writer = NULL;
    assert_ok(lc_writer_open(path, &writer, &test_err));
    for (size_t at = 0; at < all.count;) {
        size_t now = (size_t)(test_int(0, 9) == 0 ? test_int(0, 150000) : test_int(0, 3000));
        now = now < all.count - at ? now : all.count - at;
        assert_ok(lc_writer_write(writer, all.bytes + at, now, &test_err));
        at += now;
    }
    int64_t bytes = 0;
    uint8_t hash[32], expected[32];
    assert_ok(lc_writer_close(writer, &bytes, hash, &test_err));
    lc_sha256_of(all.bytes, all.count, expected);
    assert_int_equal(bytes, all.count);
    assert_memory_equal(hash, expected, 32);
    assert_true(holds(path, all));
    assert_fails(lc_writer_open(path, &writer, &test_err), LC_ERR_IO, "File exists");
    free(all.bytes);
}

static void test_writer_abort(void **state)
{
    (void)state;
    const char *path = in(test_dir(), "x");
    const int descriptors = open_descriptors();
    lc_writer *writer = NULL;
    assert_ok(lc_writer_open(path, &writer, &test_err));
    assert_ok(lc_writer_write(writer, "abc", 3, &test_err));
    lc_writer_abort(writer);
    lc_writer_abort(NULL);
    assert_false(lc_path_exists(path));
    assert_int_equal(open_descriptors(), descriptors);
}

/* A real full disk: writes fail, and so does the close of what was only buffered. */
static void test_full_device(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) {
        skip();
    }
    int fd = -1;
    assert_ok(lc_append_open("/dev/full", &fd, &test_err));
    assert_fails(lc_append(fd, "/dev/full", "x", 1, false, &test_err), LC_ERR_DISK_FULL,
                 "cannot append to /dev/full: No space left on device");
    (void)close(fd);
}

static void test_append_and_truncate(void **state)
{
    (void)state;
    const char *path = in(test_dir(), "events.jsonl");
    int fd = -1;
    assert_ok(lc_append_open(path, &fd, &test_err));
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_ok(lc_append(fd, path, "one\n", 4, false, &test_err));
    assert_ok(lc_append(fd, path, "two\n", 4, true, &test_err));
    lc_fault_set(LC_FAULT_IO, 1, SHORT, true);
    assert_ok(lc_append(fd, path, "three\n", 6, true, &test_err));
    assert_content(path, "one\ntwo\nthree\n", 14);
    lc_fault_set(LC_FAULT_IO, 2, EIO, false);
    assert_fails(lc_append(fd, path, "x", 1, true, &test_err), LC_ERR_IO, "cannot sync");
    no_fault();
    assert_ok(lc_truncate(path, 8, &test_err));
    assert_content(path, "one\ntwo\n", 8);
    assert_ok(lc_append(fd, path, "3\n", 2, false, &test_err)); /* at the new end */
    assert_content(path, "one\ntwo\n3\n", 10);
    (void)close(fd);
    static const char *const what[] = {"cannot open", "cannot cut", "cannot sync", "cannot close"};
    const int descriptors = open_descriptors();
    for (int at = 1; at <= 4; at++) {
        lc_fault_set(LC_FAULT_IO, at, EDQUOT, false);
        assert_fails(lc_truncate(path, 4, &test_err), LC_ERR_DISK_FULL, what[at - 1]);
        no_fault();
    }
    assert_int_equal(open_descriptors(), descriptors);
    assert_fails(lc_truncate(in(path, "none"), 4, &test_err), LC_ERR_NOT_FOUND, "Not a directory");
}

static void test_directories(void **state)
{
    (void)state;
    const char *dir = test_dir();
    assert_ok(lc_mkdir(in(dir, "a"), &test_err));
    assert_ok(lc_mkdir(in(dir, "a"), &test_err));
    assert_ok(lc_mkdir_parents(in(dir, "b//c/d/"), &test_err));
    assert_true(lc_path_is_dir(in(dir, "b/c/d")));
    assert_ok(lc_mkdir_parents(dir, &test_err));
    test_write_file(in(dir, "file"), "x", 1);
    assert_fails(lc_mkdir(in(dir, "file"), &test_err), LC_ERR_IO, "cannot make directory");
    assert_fails(lc_mkdir_parents(in(dir, "file/x"), &test_err), LC_ERR_IO,
                 "cannot make directory");
    assert_fails(lc_mkdir(in(dir, "no/x"), &test_err), LC_ERR_NOT_FOUND, "cannot make directory");
    assert_ok(lc_rename(in(dir, "file"), in(dir, "a/moved"), &test_err));
    assert_content(in(dir, "a/moved"), "x", 1);
    assert_fails(lc_rename(in(dir, "file"), in(dir, "z"), &test_err), LC_ERR_NOT_FOUND,
                 "cannot rename");
    assert_ok(lc_sync_dir(dir, &test_err));
    assert_fails(lc_sync_dir(in(dir, "none"), &test_err), LC_ERR_NOT_FOUND,
                 "cannot open directory");
    for (int at = 1; at <= 4; at++) { /* rename, open, fsync, close */
        lc_fault_set(LC_FAULT_IO, at, EIO, false);
        assert_fails(lc_rename(in(dir, "a/moved"), in(dir, "a/moved"), &test_err), LC_ERR_IO,
                     "cannot");
        no_fault();
    }
    assert_int_equal(chdir(dir), 0); /* a name without a directory: its parent is "." */
    assert_ok(lc_file_write_atomic("plain", "p", 1, &test_err));
    assert_ok(lc_rename("plain", "plainer", &test_err));
    assert_content("plainer", "p", 1);
    assert_int_equal(chdir(LC_SOURCE_DIR), 0);
    assert_true(lc_disk_free(dir) > 0);
    assert_true(lc_disk_free("/nonexistent") == -1);
}

static void test_list(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char **names = NULL;
    size_t count = 99;
    assert_ok(lc_list_dir(dir, &names, &count, &test_err));
    assert_int_equal(count, 0);
    lc_list_free(names, count);
    for (int i = 0; i < 40; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%c%d", i % 2 == 0 ? 'b' : 'A', (i * 7) % 40);
        test_write_file(in(dir, name), "", 0);
    }
    assert_ok(lc_mkdir(in(dir, ".hidden"), &test_err));
    assert_ok(lc_list_dir(dir, &names, &count, &test_err));
    assert_int_equal(count, 41);
    assert_string_equal(names[0], ".hidden");
    for (size_t i = 1; i < count; i++) {
        assert_true(strcmp(names[i - 1], names[i]) < 0);
    }
    lc_list_free(names, count);
    assert_fails(lc_list_dir(in(dir, "none"), &names, &count, &test_err), LC_ERR_NOT_FOUND,
                 "open directory");
    const int descriptors = open_descriptors();
    for (int at = 1;; at++) {
        lc_fault_set(LC_FAULT_ALLOC, at, 0, false);
        lc_err_clear(&test_err);
        const lc_code code = lc_list_dir(dir, &names, &count, &test_err);
        if (code == LC_OK) {
            assert_true(at > 41);
            lc_list_free(names, count);
            break;
        }
        assert_int_equal(code, LC_ERR_MEMORY);
    }
    no_fault();
    assert_int_equal(open_descriptors(), descriptors);
    assert_int_equal(symlink(dir, in(dir, "link")), 0);
    assert_ok(
        lc_list_dir(in(dir, "link"), &names, &count, &test_err)); /* a linked directory is listed */
    assert_int_equal(count, 42);
    lc_list_free(names, count);
}

static void make_tree(const char *dir)
{
    assert_ok(lc_mkdir_parents(in(dir, "tree/a/b/c"), &test_err));
    assert_ok(lc_mkdir_parents(in(dir, "tree/d"), &test_err));
    static const char *const files[] = {"tree/1",     "tree/2",       "tree/a/3",
                                        "tree/a/b/4", "tree/a/b/c/5", "tree/d/6"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        test_write_file(in(dir, files[i]), "x", 1);
    }
}

static void test_remove_tree(void **state)
{
    (void)state;
    const char *dir = test_dir();
    test_write_file(in(dir, "outside"), "kept", 4);
    assert_ok(lc_mkdir(in(dir, "linked"), &test_err));
    test_write_file(in(dir, "linked/kept"), "kept", 4);
    make_tree(dir);
    assert_int_equal(symlink(in(dir, "linked"), in(dir, "tree/link")), 0);
    assert_int_equal(symlink(in(dir, "outside"), in(dir, "tree/a/link")), 0);
    assert_int_equal(symlink("nowhere", in(dir, "tree/dangling")), 0);
    assert_ok(lc_remove_tree(in(dir, "tree"), &test_err));
    assert_int_equal(count_files(dir), 2);
    assert_content(in(dir, "linked/kept"), "kept", 4); /* links are not followed */
    assert_content(in(dir, "outside"), "kept", 4);
    assert_ok(lc_remove_tree(in(dir, "tree"), &test_err)); /* absent: fine */
    make_tree(dir);
    assert_ok(lc_remove_tree(in(dir, "tree/"), &test_err));
    make_tree(dir);
    assert_ok(lc_rename(in(dir, "tree"), in(dir, ".trash-tree"),
                        &test_err)); /* a removal that was killed */
    make_tree(dir);
    assert_ok(lc_remove_tree(in(dir, "tree"), &test_err));
    assert_int_equal(count_files(dir), 2);
    make_tree(dir);
    assert_ok(lc_rename(in(dir, "tree"), in(dir, ".trash-tree"), &test_err));
    assert_ok(lc_remove_tree(in(dir, ".trash-tree"), &test_err));
    assert_int_equal(symlink(in(dir, "linked"), in(dir, "link")), 0);
    assert_ok(lc_remove_tree(in(dir, "link"), &test_err));
    assert_content(in(dir, "linked/kept"), "kept", 4);
    assert_ok(lc_remove_tree(in(dir, "outside"), &test_err));
    assert_int_equal(count_files(dir), 1);
    static const char *const refused[] = {"", "/", ".", "..", "x/..", "x/.", "//"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_fails(lc_remove_tree(refused[i], &test_err), LC_ERR_INVALID, "will not remove");
    }
}

/* After a failure the name is either untouched or gone, and a second try finishes. */
static void test_remove_tree_faults(void **state)
{
    (void)state;
    const char *dir = test_dir();
    const int descriptors = open_descriptors();
    for (int at = 1;; at++) {
        make_tree(dir);
        lc_fault_set(LC_FAULT_IO, at, EIO, false);
        lc_err_clear(&test_err);
        const lc_code code = lc_remove_tree(in(dir, "tree"), &test_err);
        const bool reached = lc_fault_count(LC_FAULT_IO) >= at;
        no_fault();
        assert_int_equal(open_descriptors(), descriptors);
        if (!reached) {
            assert_int_equal(code, LC_OK);
            assert_true(at > 15);
            break;
        }
        assert_int_equal(code, LC_ERR_IO);
        if (lc_path_exists(in(dir, "tree"))) {
            assert_content(in(dir, "tree/a/b/c/5"), "x", 1);
            assert_content(in(dir, "tree/d/6"), "x", 1);
        }
        assert_ok(lc_remove_tree(in(dir, "tree"), &test_err));
        assert_int_equal(count_files(dir), 0);
    }
}

static void test_deep_tree(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char path[LC_MAX_PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/deep", dir);
    while (strlen(path) < LC_MAX_PATH_BYTES - 30) {
        assert_ok(lc_mkdir(path, &test_err));
        memcpy(path + strlen(path), "/a-long-name", 13);
    }
    assert_ok(lc_remove_tree(in(dir, "deep"), &test_err));
    assert_int_equal(count_files(dir), 0);
}

static void test_reader(void **state)
{
    (void)state;
    const char *path = in(test_dir(), "data");
    test_write_file(path, "0123456789", 10);
    lc_reader reader;
    char out[16];
    assert_ok(lc_reader_open(path, &reader, &test_err));
    assert_int_equal(reader.bytes, 10);
    assert_string_equal(reader.path, path);
    assert_ok(lc_reader_read(&reader, 3, out, 7, &test_err));
    assert_memory_equal(out, "3456789", 7);
    assert_ok(lc_reader_read(&reader, 10, out, 0, &test_err));
    static const struct {
        int64_t offset;
        size_t bytes;
    } bad[] = {{3, 8}, {10, 1}, {11, 0}, {-1, 1}, {INT64_MAX, 1}, {0, SIZE_MAX}, {5, SIZE_MAX - 4}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_fails(lc_reader_read(&reader, bad[i].offset, out, bad[i].bytes, &test_err),
                     LC_ERR_INVALID, "beyond its end at 10");
    }
    lc_fault_set(LC_FAULT_IO, 1, EIO, false);
    assert_fails(lc_reader_read(&reader, 0, out, 5, &test_err), LC_ERR_IO, "cannot read");
    lc_fault_set(LC_FAULT_IO, 1, SHORT, true);
    assert_ok(lc_reader_read(&reader, 0, out, 10, &test_err));
    no_fault();
    assert_memory_equal(out, "0123456789", 10);
    assert_int_equal(truncate(path, 4), 0); /* behind the reader's back */
    assert_fails(lc_reader_read(&reader, 0, out, 10, &test_err), LC_ERR_IO, "was cut short");
    lc_reader_close(&reader);
    lc_reader_close(&reader);
    assert_fails(lc_reader_open(test_dir(), &reader, &test_err), LC_ERR_INVALID,
                 "not a regular file");
}

/* A child that takes the lock, says so, and waits to be killed. */
static pid_t lock_in_child(const char *dir)
{
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        lc_err err = {0};
        int fd = -1;
        const char answer = lc_lock_dir(dir, &fd, &err) == LC_OK ? 'y' : 'n';
        if (write(pipe_ends[1], &answer, 1) != 1) {
            _exit(1);
        }
        for (;;) {
            (void)pause();
        }
    }
    char answer = 0;
    assert_int_equal(read(pipe_ends[0], &answer, 1), 1);
    assert_int_equal(answer, 'y');
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
    return child;
}

static void test_lock(void **state)
{
    (void)state;
    bool is_held = true;
    long pid = -1;
    const char *dir = test_dir();
    char holder[64];
    int fd = -1, second = -1;
    const pid_t child = lock_in_child(dir);
    (void)snprintf(holder, sizeof holder, "is in use by another process (%ld)", (long)child);
    assert_fails(lc_lock_dir(dir, &fd, &test_err), LC_ERR_BUSY, holder);
    assert_ok(lc_lock_holder(dir, &is_held, &pid, &test_err));
    assert_true(is_held);
    assert_int_equal(pid, child);
    assert_int_equal(fd, -1);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_ok(lc_lock_holder(dir, &is_held, &pid, &test_err));
    assert_false(is_held);
    assert_int_equal(pid, 0);
    assert_ok(lc_lock_holder(in(dir, "none"), &is_held, &pid, &test_err));
    assert_false(is_held);
    assert_ok(lc_lock_dir(dir, &fd, &test_err)); /* a killed process leaves no lock */
    assert_fails(lc_lock_dir(dir, &second, &test_err), LC_ERR_BUSY, "in use");
    lc_unlock_dir(fd);
    assert_ok(lc_lock_dir(dir, &fd, &test_err));
    lc_unlock_dir(fd);
    lc_unlock_dir(-1);
    assert_fails(lc_lock_dir(in(dir, "none"), &fd, &test_err), LC_ERR_NOT_FOUND, "cannot open");
    lc_fault_set(LC_FAULT_IO, 1, ENOSPC, false);
    assert_fails(lc_lock_dir(dir, &fd, &test_err), LC_ERR_DISK_FULL, "cannot open");
    no_fault();
}

static _Atomic int alarms;

static void on_alarm(int number)
{
    (void)number;
    alarms++;
}

/* Signals without SA_RESTART in the middle of large writes: EINTR and short writes are gone
 * through. */
static void test_interrupted_calls(void **state)
{
    (void)state;
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    const content all = random_content(3000000);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) { /* reads slowly, so that the writer blocks */
        static char got[3000000 + 20000];
        size_t count = 0;
        (void)close(pipe_ends[1]);
        for (ssize_t now; (now = read(pipe_ends[0], got + count, 20000)) > 0;
             count += (size_t)now) {
            (void)usleep(500);
        }
        _exit(count == all.count && memcmp(got, all.bytes, count) == 0 ? 0 : 1);
    }
    (void)close(pipe_ends[0]);
    struct sigaction action = {.sa_handler = on_alarm};
    const struct itimerval often = {{0, 700}, {0, 700}}, never = {{0, 0}, {0, 0}};
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    const lc_code code = lc_append(pipe_ends[1], "pipe", all.bytes, all.count, false, &test_err);
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    (void)close(pipe_ends[1]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(code, LC_OK);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(alarms > 0);
    free(all.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path_join),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_read_faults),
        cmocka_unit_test(test_atomic_write_faults),
        cmocka_unit_test(test_atomic_write_allocation),
        cmocka_unit_test(test_atomic_write_kills),
        cmocka_unit_test(test_atomic_write_errors),
        cmocka_unit_test(test_writer),
        cmocka_unit_test(test_writer_abort),
        cmocka_unit_test(test_full_device),
        cmocka_unit_test(test_append_and_truncate),
        cmocka_unit_test(test_directories),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_remove_tree),
        cmocka_unit_test(test_remove_tree_faults),
        cmocka_unit_test(test_deep_tree),
        cmocka_unit_test(test_reader),
        cmocka_unit_test(test_lock),
        cmocka_unit_test(test_interrupted_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
