/*
 * lorac serve: runs the service until SIGINT or SIGTERM. Its threads block both signals, this one
 * waits for them.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/params.h"
#include "base/thread.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "infer/worker.h"
#include "lorac/log.h"
#include "model/adapter.h"
#include "serve/server.h"

#define DEFAULT_PORT         8080
#define DEFAULT_THREADS      4
#define DEFAULT_CONNECTIONS  4096
#define DEFAULT_RATE         1000
#define DEFAULT_IDLE_SECONDS 600
#define DEFAULT_RUNNING      3 /* Azure's limits */
#define DEFAULT_QUEUED       20
#define MAX_QUEUED           100000
#define MAX_IDLE_SECONDS     1e7

_Static_assert(LC_MAX_WORKER_ADAPTERS == LC_MAX_WORKER_LOADED, "the service and its workers");

/* The path of this program, for the processes that it starts. */
static lc_code own_path(char path[LC_MAX_PATH_BYTES], lc_err *err)
{
    const ssize_t length = readlink("/proc/self/exe", path, LC_MAX_PATH_BYTES - 1);
    if (length < 0) {
        return lc_fail_errno(err, "cannot read /proc/self/exe");
    }
    path[length] = '\0';
    return LC_OK;
}

/* "a,b": names are cut out of `text`, which must last. */
static lc_code cut_names(char *text, lc_serve_options *options, lc_err *err)
{
    for (char *name = text; name != NULL && name[0] != '\0';) {
        char *comma = strchr(name, ',');
        if (comma != NULL) {
            *comma = '\0';
        }
        if (options->host_name_count == LC_MAX_HOST_NAMES) {
            return lc_fail_param(err, LC_ERR_USAGE, "--host-name", "--host-name: at most %d names",
                                 LC_MAX_HOST_NAMES);
        }
        options->host_names[options->host_name_count++] = name;
        name = comma != NULL ? comma + 1 : NULL;
    }
    return LC_OK;
}

static lc_code print_routes(lc_err *err)
{
    lc_text text;
    lc_text_init(&text);
    lc_server_write_routes(&text);
    const lc_code code = lc_text_finish(&text, "the routes", err);
    if (code == LC_OK) {
        (void)fputs(text.data, stdout);
    }
    lc_text_release(&text);
    return code;
}

static lc_code serve(const lc_serve_options *options, lc_err *err)
{
    lc_server *server = NULL;
    char url[512];
    sigset_t stops;
    int number = 0;
    (void)sigemptyset(&stops);
    (void)sigaddset(&stops, SIGINT);
    (void)sigaddset(&stops, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &stops, NULL); /* before any thread is there */
    (void)signal(SIGPIPE, SIG_IGN);
    LC_TRY(lc_server_open(options, &server, err));
    lc_server_url(server, url, sizeof url);
    printf("%s\n", url);
    (void)fflush(stdout);
    (void)sigwait(&stops, &number);
    lc_log(LC_LOG_INFO, "stopping signal=%d", number);
    (void)pthread_sigmask(SIG_UNBLOCK, &stops, NULL); /* a second one ends the process at once */
    lc_server_close(server);
    return LC_OK;
}

lc_code lc_command_serve(int argc, char **argv, lc_err *err)
{
    char program[LC_MAX_PATH_BYTES];
    char names[1024] = "";
    const char *host_names = NULL, *device = "auto";
    int64_t port = DEFAULT_PORT, threads = DEFAULT_THREADS, connections = DEFAULT_CONNECTIONS;
    int64_t running = DEFAULT_RUNNING, queued = DEFAULT_QUEUED, max_owner_bytes = 0;
    int64_t running_per_key = 0, queued_per_key = 0, per_address = 0;
    bool done = false, wants_routes = false;
    lc_serve_options serving = {.program = program,
                                .address = "127.0.0.1",
                                .requests_per_second = DEFAULT_RATE,
                                .worker = {.idle_seconds = DEFAULT_IDLE_SECONDS}};
    const lc_option options[] = {
        {.name = "--data",
         .value = "DIR",
         .help = "everything the service keeps: files, jobs, models, keys; made when it is not "
                 "there",
         .text = &serving.data_dir,
         .is_required = true},
        {.name = "--models",
         .value = "DIR",
         .help = "every folder in DIR with a config.json is a base model, by the folder's name",
         .text = &serving.models_dir,
         .is_required = true},
        {.name = "--port",
         .value = "N",
         .fallback = "8080",
         .help = "0: any free one; the URL that is printed says which",
         .integer = &port,
         .low = 0,
         .high = 65535},
        {.name = "--address",
         .value = "ADDRESS",
         .fallback = "127.0.0.1",
         .help = "where to listen; others than this machine need an API key (lorac keys)",
         .text = &serving.address},
        {.name = "--host-name",
         .value = "NAME,...",
         .help = "more names by which clients may call a server that listens on a loopback address",
         .text = &host_names},
        {.name = "--tls-certificate",
         .value = "FILE",
         .help = "PEM; with --tls-key the service speaks HTTPS",
         .text = &serving.certificate_file},
        {.name = "--tls-key", .value = "FILE", .help = "PEM", .text = &serving.key_file},
        {.name = "--device",
         .value = "KIND",
         .fallback = "auto",
         .help = "of the inference workers: auto, cpu or cuda",
         .text = &device,
         .choices = lc_device_choices},
        {.name = "--slots",
         .value = "N",
         .fallback = "8",
         .help = "answers that a worker generates at once",
         .integer = &serving.worker.slots,
         .low = 1,
         .high = LC_MAX_WORKER_SLOTS},
        {.name = "--context",
         .value = "N",
         .fallback = "4096 or the model's context",
         .help = "tokens of a conversation with its answer",
         .integer = &serving.worker.context,
         .low = 2,
         .high = LC_MAX_POSITION},
        {.name = "--adapters",
         .value = "N",
         .fallback = "16",
         .help = "fine-tuned models of one base that are loaded at once, where there is memory",
         .integer = &serving.worker.adapters,
         .low = 1,
         .high = LC_MAX_WORKER_ADAPTERS},
        {.name = "--worker-idle-seconds",
         .value = "N",
         .fallback = "600",
         .help = "without a chat, then a worker ends and gives its memory back; the next chat "
                 "starts it again; 0: never",
         .number = &serving.worker.idle_seconds,
         .min = 0,
         .max = MAX_IDLE_SECONDS},
        {.name = "--max-rank",
         .value = "N",
         .fallback = "any",
         .help = "largest rank of an adapter; jobs that ask for more are refused",
         .integer = &serving.jobs.max_rank,
         .low = 1,
         .high = LC_MAX_RANK},
        {.name = "--running-jobs",
         .value = "N",
         .fallback = "3",
         .help = "jobs that train at once",
         .integer = &running,
         .low = 1,
         .high = LC_MAX_TRAINERS},
        {.name = "--queued-jobs",
         .value = "N",
         .fallback = "20",
         .help = "jobs that wait; one more is answered 429",
         .integer = &queued,
         .low = 1,
         .high = MAX_QUEUED},
        {.name = "--running-per-key",
         .value = "N",
         .fallback = "all",
         .help = "of the jobs that train at once, for one key",
         .integer = &running_per_key,
         .low = 1,
         .high = LC_MAX_TRAINERS},
        {.name = "--queued-per-key",
         .value = "N",
         .fallback = "all",
         .help = "of the jobs that wait, for one key",
         .integer = &queued_per_key,
         .low = 1,
         .high = MAX_QUEUED},
        {.name = "--http-threads",
         .value = "N",
         .fallback = "4",
         .help = "threads that answer requests",
         .integer = &threads,
         .low = 1,
         .high = LC_MAX_HTTP_THREADS},
        {.name = "--connections",
         .value = "N",
         .fallback = "4096",
         .help = "at once; further ones wait",
         .integer = &connections,
         .low = 1,
         .high = LC_MAX_CONNECTIONS},
        {.name = "--connections-per-address",
         .value = "N",
         .fallback = "0",
         .help = "at once from one address, so that none takes all; 0: no limit",
         .integer = &per_address,
         .low = 0,
         .high = LC_MAX_CONNECTIONS},
        {.name = "--rate",
         .value = "N",
         .fallback = "1000",
         .help = "requests a second of one key, twice as many in a burst; 0: no limit",
         .number = &serving.requests_per_second,
         .min = 0,
         .max = 1e6},
        {.name = "--max-bytes",
         .value = "N",
         .fallback = "0",
         .help = "of all files of one key; 0: no limit",
         .integer = &max_owner_bytes,
         .low = 0,
         .high = INT64_MAX},
        {.name = "--import",
         .help = "files may be imported from public https URLs that clients name",
         .flag = &serving.files.import.is_allowed},
        {.name = "--import-http",
         .help = "from http URLs as well",
         .flag = &serving.files.import.allows_http},
        {.name = "--routes",
         .help = "print all that is served, a line each, and end: method, path, families of URLs, "
                 "body, whether it asks for a key",
         .flag = &wants_routes,
         .is_alone = true},
    };
    const lc_command command = {
        .name = "serve",
        .description =
            "The fine-tuning service: what the clients of Azure OpenAI and OpenAI call, on your "
            "own\nmachine. Prints its URL and serves until SIGTERM or Ctrl-C; then requests under "
            "way are\nanswered and running jobs keep a checkpoint. Started again with the same "
            "--data it goes on.\n\nWithout API keys it serves this machine only, and any key is "
            "good. docs/operations.md has more.\n",
        .examples = "  lorac serve --data data --models models\n"
                    "  lorac keys add ann --data data && lorac serve --data data --models models "
                    "--address 0.0.0.0\n",
        .options = options,
        .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    if (done) {
        return LC_OK;
    }
    if (wants_routes) {
        return print_routes(err);
    }
    if (host_names != NULL) {
        if (strlen(host_names) >= sizeof names) {
            return lc_fail_param(err, LC_ERR_USAGE, "--host-name", "--host-name is too long");
        }
        memcpy(names, host_names, strlen(host_names) + 1);
        LC_TRY(cut_names(names, &serving, err));
    }
    LC_TRY(own_path(program, err));
    serving.port = (int)port;
    serving.threads = (int)threads;
    serving.connections = (int)connections;
    serving.connections_per_address = (int)per_address;
    serving.files.max_owner_bytes = max_owner_bytes;
    serving.worker.device = device;
    serving.jobs.queued_limit = queued;
    serving.jobs.queued_limit_per_key = queued_per_key > 0 ? queued_per_key : queued;
    serving.supervisor.running_limit = running;
    serving.supervisor.running_limit_per_key = running_per_key > 0 ? running_per_key : running;
    serving.supervisor.nice = 10; /* who asks comes before who trains */
    serving.worker.nice = 5;
    if (lc_param_text(LC_PARAM_LOG_LEVEL) == NULL) {
        lc_log_set_level(LC_LOG_INFO);
    }
    return serve(&serving, err);
}
