/*
 * The service in the fuzzer's own thread; see served.h.
 */
#include "served.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "lorac/mem.h"
#include "played.h"
#include "serve/ids.h"
#include "serve/server.h"

#define HANG_SECONDS 30 /* of the clock: the machine may be busy */
#define IDLE_STEPS   4  /* the library takes a few to go through a request */

#define DIGITS_A "0000000000000000000000000000000a"
#define DIGITS_B "0000000000000000000000000000000b"
#define SECRET_A DIGITS_A DIGITS_A
#define SECRET_B DIGITS_B DIGITS_B

const served_owner served_owners[SERVED_OWNERS] = {
    {"key-" DIGITS_A, "lorac-" DIGITS_A "-" SECRET_A},
    {"key-" DIGITS_B, "lorac-" DIGITS_B "-" SECRET_B}};

static struct MHD_Daemon *the_daemon;
static lc_server *server;
static bool has_keys;
static char root_dir[LC_MAX_PATH_BYTES], data_dir[LC_MAX_PATH_BYTES], models_dir[LC_MAX_PATH_BYTES];
static int descriptors_at_rest;
static int64_t changes_at_rest;

void served_must(bool is_true, const char *what, const char *file, int line)
{
    if (!is_true) {
        (void)fprintf(stderr, "%s:%d: %s\n", file, line, what);
        abort();
    }
}

static void must_be_ok(lc_code code, const lc_err *err)
{
    if (code != LC_OK) {
        (void)fprintf(stderr, "%s\n", err->message);
        abort();
    }
}

lc_store *served_store(void)
{
    return played_store();
}

bool served_is_told(const char *text, size_t bytes)
{
    return memmem(text, bytes, SERVED_FOLDER, sizeof SERVED_FOLDER - 1) != NULL;
}

/* In place of the library's own: the same daemon without a thread, which served_step() runs. */
struct MHD_Daemon *MHD_start_daemon(unsigned int flags, uint16_t port,
                                    MHD_AcceptPolicyCallback policy, void *policy_context,
                                    MHD_AccessHandlerCallback handler, void *context, ...)
{
    va_list options;
    va_start(options, context);
    the_daemon = MHD_start_daemon_va(flags & ~(unsigned)MHD_USE_INTERNAL_POLLING_THREAD, port,
                                     policy, policy_context, handler, context, options);
    va_end(options);
    return the_daemon;
}

/* ---- the store ---- */

static int64_t number_of(lc_db *db, const char *sql)
{
    lc_rows rows;
    lc_err err = {0};
    must_be_ok(lc_db_query(db, sql, LC_BIND_NONE, &rows, &err), &err);
    const int64_t number = lc_rows_next(&rows) ? lc_rows_int(&rows, 0) : 0;
    must_be_ok(lc_rows_end(&rows, &err), &err);
    return number;
}

static int64_t ask_writer(const char *sql)
{
    lc_err err = {0};
    lc_db *db = NULL;
    must_be_ok(lc_store_begin(served_store(), &db, &err), &err);
    const int64_t number = number_of(db, sql);
    lc_store_end(&db);
    return number;
}

void served_settle(void)
{
    static const char waiting[] =
        "SELECT count(*) FROM files WHERE (status = 'pending' AND path != '')"
        " OR (status = 'deleted' AND path LIKE 'files/%')";
    const double until = lc_monotonic_seconds() + HANG_SECONDS;
    while (ask_writer(waiting) > 0) {
        must(lc_monotonic_seconds() < until);
        (void)usleep(50);
    }
}

static void write_file(const struct played_file *file)
{
    char path[2 * LC_MAX_PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", data_dir, file->path);
    FILE *to = fopen(path, "wb");
    must(to != NULL && fputs(file->text, to) >= 0 && fclose(to) == 0);
}

static void add_key(lc_db *db, const char *id, const char *secret, const char *name)
{
    lc_err err = {0};
    lc_sha256 hash;
    uint8_t digest[32];
    lc_sha256_init(&hash);
    lc_sha256_update(&hash, id, strlen(id));
    lc_sha256_update(&hash, secret, strlen(secret));
    lc_sha256_final(&hash, digest);
    must_be_ok(
        lc_db_run(db, "INSERT INTO keys (id, name, hash, created_at) VALUES (?1, ?2, ?3, 1)",
                  LC_BIND(lc_sql_text(id), lc_sql_text(name), lc_sql_blob(digest, sizeof digest)),
                  &err),
        &err);
}

/* Everything of the first owner, some of the second. */
static void fill_store(lc_db *db)
{
    lc_err err = {0};
    const char *owner = has_keys ? served_owners[0].id : "";
    const lc_sql_value owners[] = {lc_sql_text(owner), lc_sql_text(served_owners[1].id)};
    for (int i = 0; i < played_rows_count; i++) {
        must_be_ok(lc_db_run(db, played_rows[i].sql, owners, played_rows[i].owners, &err), &err);
    }
    for (int i = 0; i < played_folder_count; i++) {
        char path[2 * LC_MAX_PATH_BYTES];
        (void)snprintf(path, sizeof path, "%s/%s", data_dir, played_folders[i]);
        must_be_ok(lc_mkdir(path, &err), &err);
    }
    for (int i = 0; i < played_file_count; i++) {
        write_file(&played_files[i]);
    }
}

static void empty_folder(const char *name)
{
    char dir[LC_MAX_PATH_BYTES], path[LC_MAX_PATH_BYTES];
    char **names = NULL;
    size_t count = 0;
    lc_err err = {0};
    must_be_ok(lc_path_join(data_dir, name, dir, &err), &err);
    must_be_ok(lc_mkdir(dir, &err), &err);
    must_be_ok(lc_list_dir(dir, &names, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        must_be_ok(lc_path_join(dir, names[i], path, &err), &err);
        must_be_ok(lc_remove_tree(path, &err), &err);
    }
    lc_list_free(names, count);
}

static void restore(void)
{
    static const char *const clear[] = {"DELETE FROM uploads", "DELETE FROM files",
                                        "DELETE FROM jobs", "DELETE FROM models",
                                        "DELETE FROM deployments"};
    static const char *const folders[] = {"files", "jobs", "uploads"};
    static const char changes[] = "SELECT total_changes()";
    lc_err err = {0};
    lc_db *db = NULL;
    if (ask_writer(changes) == changes_at_rest) {
        return;
    }
    served_settle();
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        empty_folder(folders[i]);
    }
    must_be_ok(lc_store_begin(served_store(), &db, &err), &err);
    for (size_t i = 0; i < sizeof clear / sizeof *clear; i++) {
        must_be_ok(lc_db_run(db, clear[i], LC_BIND_NONE, &err), &err);
    }
    fill_store(db);
    must_be_ok(lc_store_commit(&db, &err), &err);
    changes_at_rest = ask_writer(changes);
}

static int count_descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    must(folder != NULL);
    while (readdir(folder) != NULL) {
        count++;
    }
    must(closedir(folder) == 0);
    return count;
}

/* The fuzzer has descriptors of its own, which come and go between inputs only. */
void served_reset(void)
{
    restore();
    descriptors_at_rest = count_descriptors();
}

/* ---- start and end ---- */

static void make_folders(void)
{
    lc_err err = {0};
    const char *place = getenv("TMPDIR");
    (void)snprintf(root_dir, sizeof root_dir, "%s/" SERVED_FOLDER "XXXXXX",
                   place != NULL                   ? place
                   : access("/dev/shm", W_OK) == 0 ? "/dev/shm"
                                                   : "/tmp");
    must(mkdtemp(root_dir) != NULL);
    must_be_ok(lc_path_join(root_dir, "data", data_dir, &err), &err);
    must_be_ok(lc_path_join(root_dir, "models", models_dir, &err), &err);
    char base[2 * LC_MAX_PATH_BYTES];
    (void)snprintf(base, sizeof base, "%s/" PLAYED_BASE, models_dir);
    must_be_ok(lc_mkdir_parents(base, &err), &err);
    (void)snprintf(base, sizeof base, "%s/" PLAYED_BASE "/config.json", models_dir);
    FILE *file = fopen(base, "wb");
    must(file != NULL && fputs("{}", file) >= 0 && fclose(file) == 0);
}

static void close_server(void)
{
    lc_err err = {0};
    lc_server_close(server);
    must_be_ok(lc_remove_tree(root_dir, &err), &err);
}

/* Nothing in the store or in an answer follows the clock, where that can be had. */
static int64_t fixed_clock(void)
{
    return PLAYED_NOW;
}

void served_open(bool with_keys)
{
    lc_serve_options options = {.data_dir = data_dir,
                                .models_dir = models_dir,
                                .program = "/nowhere",
                                .address = "127.0.0.1",
                                .threads = 1,
                                .connections = 64,
                                .requests_per_second = 1e6,
                                .files = {.now = fixed_clock, .max_owner_bytes = 1 << 20},
                                .jobs = {.queued_limit = 6, .queued_limit_per_key = 5}};
    lc_err err = {0};
    lc_db *db = NULL;
    if (server != NULL) {
        return;
    }
    has_keys = with_keys;
    make_folders();
    must_be_ok(lc_server_open(&options, &server, &err), &err);
    (void)atexit(close_server);
    if (with_keys) {
        must_be_ok(lc_store_begin(served_store(), &db, &err), &err);
        add_key(db, served_owners[0].id, SECRET_A, "a");
        add_key(db, served_owners[1].id, SECRET_B, "b");
        must_be_ok(lc_store_commit(&db, &err), &err);
    }
    changes_at_rest = -1;
    served_reset();
}

/* The thread that checks files has some open at times. */
void served_check_descriptors(void)
{
    const double until = lc_monotonic_seconds() + HANG_SECONDS;
    while (count_descriptors() != descriptors_at_rest) {
        must(lc_monotonic_seconds() < until);
        (void)usleep(50);
    }
}

/* ---- clients ---- */

void served_connect(served_client *client)
{
    const struct sockaddr_un address = {.sun_family = AF_UNIX};
    int pair[2];
    *client = (served_client){.fd = -1};
    lc_text_init(&client->received);
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    client->fd = pair[0];
    must(MHD_add_connection(the_daemon, pair[1], (const struct sockaddr *)&address,
                            sizeof address) == MHD_YES);
}

/* Whether something came. */
static bool receive(served_client *client)
{
    static char buffer[1 << 16];
    bool has_come = false;
    while (client->fd >= 0 && !client->has_ended) {
        const ssize_t count = recv(client->fd, buffer, sizeof buffer, 0);
        if (count > 0) {
            lc_text_add(&client->received, buffer, (size_t)count);
            has_come = true;
        } else {
            client->has_ended = count == 0 || (errno != EAGAIN && errno != EINTR);
            return has_come || client->has_ended;
        }
    }
    return has_come;
}

/* The server does what there is to do; whether anything was seen of it. */
static bool step(served_client *clients, int count)
{
    bool has_happened = played_step();
    must(MHD_run(the_daemon) == MHD_YES);
    for (int i = 0; i < count; i++) {
        has_happened = receive(&clients[i]) || has_happened;
    }
    return has_happened;
}

void served_send(served_client *client, const char *bytes, size_t count)
{
    while (count > 0 && client->fd >= 0 && !client->has_ended) {
        const ssize_t sent = send(client->fd, bytes, count, MSG_NOSIGNAL);
        if (sent > 0) {
            bytes += sent;
            count -= (size_t)sent;
        } else if (errno != EAGAIN && errno != EINTR) {
            count = 0; /* the server has closed: its answer says why */
        }
        (void)step(client, 1);
    }
}

static int64_t open_connections(void)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(the_daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    must(info != NULL);
    return (int64_t)info->num_connections;
}

void served_finish(served_client *clients, int count)
{
    const double until = lc_monotonic_seconds() + HANG_SECONDS;
    for (int idle = 0; idle < IDLE_STEPS || played_is_busy();) {
        idle = step(clients, count) ? 0 : idle + 1;
        must(lc_monotonic_seconds() < until);
    }
    for (int i = 0; i < count; i++) {
        if (clients[i].fd >= 0) {
            (void)shutdown(clients[i].fd, SHUT_WR);
        }
    }
    while (open_connections() > 0) {
        (void)step(clients, count);
        must(lc_monotonic_seconds() < until);
    }
    for (int i = 0; i < count; i++) {
        (void)receive(&clients[i]);
        must(clients[i].fd < 0 || clients[i].has_ended);
    }
}

void served_hang_up(served_client *client)
{
    if (client->fd >= 0) {
        must(close(client->fd) == 0);
        client->fd = -1;
    }
}

void served_release(served_client *client)
{
    served_hang_up(client);
    lc_text_release(&client->received);
}
