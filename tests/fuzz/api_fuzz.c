/*
 * Requests of the API, one after the other, against a store with files, jobs in every state,
 * models, deployments and uploads of two keys. An input is a text:
 *
 *     > POST /v1/fine_tuning/jobs
 *     {"model": "base", "training_file": "file-..."}
 *     >B GET /v1/fine_tuning/jobs/$1
 *
 * A line with > begins a request, what follows is its body: JSON, or a form with the boundary B
 * when it begins with --B. A letter says whose key is sent: A (the first's, if none is given), B, X
 * (no such key), - (none). $N is the id in the answer to request N. Besides what holds for every
 * answer (served.h): a refused request changes nothing, an accepted one what it says; jobs change
 * as the table of states allows; what was made can be read back, by its owner only; lists are the
 * same in pages of any size; and who has asked for nothing has what he had.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "served.h"

#define MAX_REQUESTS   9
#define MAX_INPUT      16384
#define MAX_JOBS       64
#define ID_BYTES       128
#define JOB_WITH_LISTS "ftjob-00000000000000000000000000000006" /* the first owner's */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct job_row {
    char id[64], status[16];
    int owner;
} job_row;

/* What can be compared before and after a request. */
typedef struct picture {
    job_row jobs[MAX_JOBS];
    int job_count;
    int64_t counts[SERVED_OWNERS][4]; /* files, uploads, models, deployments */
} picture;

typedef struct request {
    char method[16];
    const char *target; /* of the input, until a blank or the line's end */
    size_t target_bytes;
    const char *body;
    size_t body_bytes;
    int owner; /* SERVED_OWNERS: nobody known */
    const char *key;
} request;

static char ids[MAX_REQUESTS + 1][ID_BYTES]; /* $1 to $9 */

/* ---- asking ---- */

/* "$N" replaced by its id. */
static void expand(const char *text, size_t bytes, lc_text *out)
{
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '$' && i + 1 < bytes && text[i + 1] >= '1' && text[i + 1] <= '9') {
            const char *id = ids[text[++i] - '0'];
            lc_text_add(out, id, strlen(id));
        } else {
            lc_text_add(out, text + i, 1);
        }
    }
}

static void write_request(const request *from, lc_text *out)
{
    lc_text body;
    lc_text_init(&body);
    expand(from->body, from->body_bytes, &body);
    lc_text_addf(out, "%s ", from->method);
    expand(from->target, from->target_bytes, out);
    lc_text_addf(out, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if (from->key != NULL) {
        lc_text_addf(out, "api-key: %s\r\n", from->key);
    }
    if (body.length > 0) {
        const bool is_form = body.length > 2 && memcmp(body.data, "--B", 3) == 0;
        lc_text_addf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n",
                     is_form ? "multipart/form-data; boundary=B" : "application/json", body.length);
    }
    lc_text_addf(out, "\r\n");
    if (body.length > 0) {
        lc_text_add(out, body.data, body.length);
    }
    must(!out->failed && !body.failed);
    lc_text_release(&body);
}

/* One request, one answer. */
static void ask(const request *what, served_answer *answer)
{
    served_client client;
    lc_text text;
    size_t at = 0;
    const bool is_head = strcmp(what->method, "HEAD") == 0;
    lc_text_init(&text);
    write_request(what, &text);
    served_connect(&client);
    served_send(&client, text.data, text.length);
    served_finish(&client, 1);
    must(served_take(client.received.data, client.received.length, &at, &is_head, answer));
    must(at == client.received.length);
    answer->head = NULL; /* goes with the client */
    lc_text_release(&text);
    served_release(&client);
}

static int get(int owner, const char *path, lc_text *body)
{
    served_answer answer;
    const request what = {.method = "GET",
                          .target = path,
                          .target_bytes = strlen(path),
                          .body = "",
                          .owner = owner,
                          .key = served_owners[owner].key};
    ask(&what, &answer);
    *body = answer.body;
    return answer.status;
}

static cJSON *parse(const lc_text *text)
{
    lc_err err = {0};
    cJSON *root = NULL;
    must(text->length > 0 && lc_json_parse(text->data, text->length, LC_JSON_DEFAULT, "an answer",
                                           &root, &err) == LC_OK);
    return root;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
    return text != NULL ? text : "";
}

/* ---- the store before and after ---- */

static int owner_of(const char *id)
{
    int owner = 0;
    while (owner < SERVED_OWNERS && strcmp(served_owners[owner].id, id) != 0) {
        owner++;
    }
    must(owner < SERVED_OWNERS);
    return owner;
}

static void take_picture(picture *out)
{
    static const char *const counted[] = {
        "SELECT owner, count(*) FROM files WHERE status != 'deleted' GROUP BY owner",
        "SELECT owner, count(*) FROM uploads WHERE status = 'pending' GROUP BY owner",
        "SELECT owner, count(*) FROM models GROUP BY owner",
        "SELECT owner, count(*) FROM deployments GROUP BY owner"};
    lc_err err = {0};
    lc_db *db = NULL;
    lc_rows rows;
    memset(out, 0, sizeof *out);
    must(lc_store_read(served_store(), &db, &err) == LC_OK);
    must(lc_db_query(db, "SELECT id, status, owner FROM jobs ORDER BY seq", LC_BIND_NONE, &rows,
                     &err) == LC_OK);
    while (lc_rows_next(&rows)) {
        must(out->job_count < MAX_JOBS);
        job_row *job = &out->jobs[out->job_count++];
        lc_rows_copy(&rows, 0, job->id, sizeof job->id);
        lc_rows_copy(&rows, 1, job->status, sizeof job->status);
        job->owner = owner_of(lc_rows_text(&rows, 2));
    }
    must(lc_rows_end(&rows, &err) == LC_OK);
    for (size_t i = 0; i < sizeof counted / sizeof *counted; i++) {
        must(lc_db_query(db, counted[i], LC_BIND_NONE, &rows, &err) == LC_OK);
        while (lc_rows_next(&rows)) {
            out->counts[owner_of(lc_rows_text(&rows, 0))][i] = lc_rows_int(&rows, 1);
        }
        must(lc_rows_end(&rows, &err) == LC_OK);
    }
    lc_store_end(&db);
}

static const job_row *find_job(const picture *in, const char *id)
{
    for (int i = 0; i < in->job_count; i++) {
        if (strcmp(in->jobs[i].id, id) == 0) {
            return &in->jobs[i];
        }
    }
    return NULL;
}

static bool is_one_of(const char *word, const char *list)
{
    const char *at = strstr(list, word);
    return at != NULL && (at == list || at[-1] == ' ') &&
           (at[strlen(word)] == ' ' || at[strlen(word)] == '\0');
}

/* What a client may do, as the API says it: not taken from the service's own table. */
static bool may_become(const char *from, const char *to)
{
    static const struct {
        const char *to, *from;
    } ways[] = {{"cancelled", "pending running pausing paused resuming"},
                {"pausing", "running"},
                {"resuming", "paused"}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(ways[i].to, to) == 0) {
            return is_one_of(from, ways[i].from);
        }
    }
    return false;
}

/* How many jobs are not what they were; each in a way that this request may have. */
static int check_jobs(const picture *before, const picture *after, const request *what)
{
    int changes = 0;
    for (int i = 0; i < before->job_count; i++) {
        const job_row *old = &before->jobs[i];
        const job_row *job = find_job(after, old->id);
        if (job != NULL && strcmp(job->status, old->status) == 0) {
            continue;
        }
        changes++;
        must(old->owner == what->owner);
        if (job == NULL) {
            must(strcmp(what->method, "DELETE") == 0);
            must(is_one_of(old->status, "paused succeeded failed cancelled"));
        } else {
            must(strcmp(what->method, "POST") == 0 && may_become(old->status, job->status));
        }
    }
    for (int i = 0; i < after->job_count; i++) {
        if (find_job(before, after->jobs[i].id) == NULL) {
            changes++;
            must(strcmp(what->method, "POST") == 0 && after->jobs[i].owner == what->owner);
            must(strcmp(after->jobs[i].status, "pending") == 0);
        }
    }
    return changes;
}

static bool is_reading(const request *what)
{
    return strcmp(what->method, "GET") == 0 || strcmp(what->method, "HEAD") == 0;
}

static void check_change(const picture *before, const picture *after, const request *what,
                         int status)
{
    const int changes = check_jobs(before, after, what);
    int64_t others = 0;
    for (int owner = 0; owner < SERVED_OWNERS; owner++) {
        for (int i = 0; i < 4; i++) {
            const int64_t more = after->counts[owner][i] - before->counts[owner][i];
            must(more == 0 || owner == what->owner);
            others += more < 0 ? -more : more;
        }
    }
    must(changes <= 1 && others <= 2); /* a completed upload is a file, a job takes its results */
    if (status >= 400 || is_reading(what) || what->owner == SERVED_OWNERS) {
        must(changes == 0 && others == 0);
    }
}

/* ---- what was made ---- */

/* Where an object of this kind is read: "" for those that are not. */
static const char *place_of(const cJSON *object)
{
    static const struct {
        const char *kind, *place;
    } places[] = {{"file", "/v1/files/"},
                  {"fine_tuning.job", "/v1/fine_tuning/jobs/"},
                  {"deployment", "/v1/deployments/"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (strcmp(text_of(object, "object"), places[i].kind) == 0) {
            return places[i].place;
        }
    }
    return "";
}

/* The same but for what the check of a file finds out. */
static bool is_same(const cJSON *made, const cJSON *found)
{
    const cJSON *member;
    cJSON_ArrayForEach(member, made)
    {
        const cJSON *other = cJSON_GetObjectItemCaseSensitive(found, member->string);
        const bool may_differ = strcmp(text_of(made, "object"), "file") == 0 &&
                                strncmp(member->string, "status", 6) == 0;
        if (other == NULL || (!may_differ && !cJSON_Compare(member, other, true))) {
            return false;
        }
    }
    return cJSON_GetArraySize(made) == cJSON_GetArraySize(found);
}

/* An object that was just answered is what its own path has, and is not there for others. */
static void check_readable(const request *what, const cJSON *object)
{
    char path[ID_BYTES + 32];
    lc_text body;
    const char *place = place_of(object), *id = text_of(object, "id");
    const bool is_gone = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, "deleted"));
    if (place[0] == '\0' || id[0] == '\0') {
        return;
    }
    (void)snprintf(path, sizeof path, "%s%s", place, id);
    const int status = get(what->owner, path, &body);
    must(status == (is_gone ? 404 : 200));
    if (!is_gone) {
        cJSON *found = parse(&body);
        must(is_same(object, found));
        cJSON_Delete(found);
    }
    lc_text_release(&body);
    must(get(1 - what->owner, path, &body) == 404);
    lc_text_release(&body);
}

/* What was asked for is what was made. */
static void check_job_made(const request *what, const cJSON *job)
{
    static const char *const same[] = {"training_file", "validation_file", "suffix", "metadata",
                                       "seed"};
    lc_text text;
    lc_err err = {0};
    cJSON *asked = NULL;
    lc_text_init(&text);
    expand(what->body, what->body_bytes, &text);
    must(lc_json_parse(text.data, text.length, LC_JSON_DEFAULT, "a body", &asked, &err) == LC_OK);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const cJSON *wish = lc_json_get(asked, same[i]);
        const cJSON *made = cJSON_GetObjectItemCaseSensitive(job, same[i]);
        must(made != NULL);
        if (wish != NULL && cJSON_GetArraySize(wish) == 0 && cJSON_IsObject(wish)) {
            continue; /* metadata of no pairs is none */
        }
        must(wish == NULL || cJSON_Compare(wish, made, true) ||
             (strcmp(same[i], "seed") == 0 && !cJSON_IsNumber(wish)));
    }
    cJSON_Delete(asked);
    lc_text_release(&text);
}

static bool is_path(const request *what, const char *end)
{
    const char *query = memchr(what->target, '?', what->target_bytes);
    size_t bytes = query != NULL ? (size_t)(query - what->target) : what->target_bytes;
    bytes -= bytes > 1 && what->target[bytes - 1] == '/';
    const size_t wanted = strlen(end);
    return bytes >= wanted && memcmp(what->target + bytes - wanted, end, wanted) == 0;
}

static void check_made(const request *what, const served_answer *answer, char id[ID_BYTES])
{
    if (answer->status >= 300 || !answer->is_json || answer->body.length == 0) {
        return;
    }
    cJSON *object = parse(&answer->body);
    if (strlen(text_of(object, "id")) < ID_BYTES) {
        (void)snprintf(id, ID_BYTES, "%s", text_of(object, "id"));
    }
    if (what->owner < SERVED_OWNERS && !is_reading(what)) {
        check_readable(what, object);
        if (is_path(what, "/fine_tuning/jobs")) {
            check_job_made(what, object);
        }
    }
    cJSON_Delete(object);
}

/* ---- lists ---- */

/* The ids of a list from its beginning, page by page, a line each. */
static void walk(int owner, const char *path, int limit, lc_text *out)
{
    char target[256], after[ID_BYTES] = "";
    bool has_more = true;
    for (int pages = 0; has_more; pages++) {
        lc_text body;
        const cJSON *item;
        must(pages < 200);
        (void)snprintf(target, sizeof target, "%s?limit=%d%s%s", path, limit,
                       after[0] != '\0' ? "&after=" : "", after);
        must(get(owner, target, &body) == 200);
        cJSON *page = parse(&body);
        const cJSON *data = cJSON_GetObjectItemCaseSensitive(page, "data");
        const int count = cJSON_GetArraySize(data);
        has_more = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(page, "has_more"));
        must(cJSON_IsArray(data) && count <= limit && (!has_more || count == limit));
        must(strcmp(text_of(page, "first_id"), text_of(cJSON_GetArrayItem(data, 0), "id")) == 0);
        must(strcmp(text_of(page, "last_id"), text_of(cJSON_GetArrayItem(data, count - 1), "id")) ==
             0);
        (void)snprintf(after, sizeof after, "%s", text_of(page, "last_id"));
        cJSON_ArrayForEach(item, data)
        {
            lc_text_addf(out, "%s\n", text_of(item, "id"));
        }
        cJSON_Delete(page);
        lc_text_release(&body);
    }
}

static const char *const paged[] = {"/v1/files", "/v1/fine_tuning/jobs",
                                    "/v1/fine_tuning/jobs/" JOB_WITH_LISTS "/events",
                                    "/v1/fine_tuning/jobs/" JOB_WITH_LISTS "/checkpoints"};
#define PAGED_OF_ALL 2 /* of them, what does not belong to that job */

static void check_pages(int owner, int lists)
{
    for (int i = 0; i < lists; i++) {
        lc_text whole, pages;
        lc_text_init(&whole);
        lc_text_init(&pages);
        walk(owner, paged[i], 1000, &whole);
        walk(owner, paged[i], 2, &pages);
        must(whole.length == pages.length &&
             (whole.length == 0 || memcmp(whole.data, pages.data, whole.length) == 0));
        lc_text_release(&whole);
        lc_text_release(&pages);
    }
}

/* All that an owner sees in lists. */
static void see_all(int owner, lc_text *out)
{
    static const char *const lists[] = {"/v1/files", "/v1/fine_tuning/jobs", "/v1/models",
                                        "/v1/deployments"};
    lc_text_init(out);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        lc_text body;
        must(get(owner, lists[i], &body) == 200);
        lc_text_add(out, body.data, body.length);
        lc_text_release(&body);
    }
}

/* ---- an input ---- */

/* The request that begins at text[*at]; false: there is none. */
static bool next_request(const char *text, size_t size, size_t *at, request *out)
{
    const char *line = text + *at, *end = text + size;
    memset(out, 0, sizeof *out);
    if (*at >= size || *line != '>') {
        return false;
    }
    const char *line_end = memchr(line, '\n', size - *at);
    line_end = line_end != NULL ? line_end : end;
    const char who = line + 1 < line_end ? line[1] : ' ';
    out->owner = who == 'B' ? 1 : who == 'X' || who == '-' ? SERVED_OWNERS : 0;
    out->key = out->owner < SERVED_OWNERS ? served_owners[out->owner].key
               : who == 'X'               ? "lorac-x"
                                          : NULL;
    line += 1 + (who == 'A' || who == 'B' || who == 'X' || who == '-');
    line += line < line_end && *line == ' ';
    size_t bytes = 0;
    while (line < line_end && isupper((unsigned char)*line) && bytes + 1 < sizeof out->method) {
        out->method[bytes++] = *line++;
    }
    line += line < line_end && *line == ' ';
    out->target = line;
    out->target_bytes = (size_t)(line_end - line);
    out->body = line_end < end ? line_end + 1 : end;
    const char *next =
        out->body < end ? memmem(out->body - 1, (size_t)(end - out->body) + 1, "\n>", 2) : NULL;
    const char *body_end = next != NULL ? next : end;
    out->body_bytes = body_end > out->body ? (size_t)(body_end - out->body) : 0;
    *at = next != NULL ? (size_t)(next - text) + 1 : size;
    return true;
}

/* Only what makes one request of it: http_fuzz has the others. */
static bool is_sound(const request *what)
{
    if (what->method[0] == '\0' || what->target_bytes == 0 || what->target[0] != '/' ||
        strcmp(what->method, "CONNECT") == 0) {
        return false;
    }
    for (size_t i = 0; i < what->target_bytes; i++) {
        if ((unsigned char)what->target[i] <= ' ' || what->target[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

/* Whether the job with events and checkpoints is still there. */
static bool run(const char *text, size_t size, bool has_asked[SERVED_OWNERS])
{
    size_t at = 0;
    request what;
    picture before, after;
    memset(ids, 0, sizeof ids);
    take_picture(&before);
    for (int i = 1; i <= MAX_REQUESTS && next_request(text, size, &at, &what); i++) {
        served_answer answer;
        if (!is_sound(&what)) {
            continue;
        }
        ask(&what, &answer);
        served_settle();
        take_picture(&after);
        check_change(&before, &after, &what, answer.status);
        before = after;
        if (what.owner < SERVED_OWNERS && !is_reading(&what) && answer.status < 300) {
            has_asked[what.owner] = true;
        }
        check_made(&what, &answer, ids[i]);
        served_answer_release(&answer);
    }
    return find_job(&before, JOB_WITH_LISTS) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lc_text at_rest[SERVED_OWNERS];
    bool has_asked[SERVED_OWNERS] = {false};
    if (size > MAX_INPUT || served_is_told((const char *)data, size)) {
        return 0;
    }
    served_open(true);
    served_reset();
    for (int owner = 0; owner < SERVED_OWNERS; owner++) {
        if (at_rest[owner].length == 0) {
            see_all(owner, &at_rest[owner]);
        }
    }
    const bool has_lists = run((const char *)data, size, has_asked);
    for (int owner = 0; owner < SERVED_OWNERS; owner++) {
        lc_text now;
        if (has_asked[owner]) {
            check_pages(owner, owner == 0 && has_lists ? (int)(sizeof paged / sizeof *paged)
                                                       : PAGED_OF_ALL);
        } else if (has_asked[1 - owner]) {
            see_all(owner, &now);
            must(now.length == at_rest[owner].length &&
                 memcmp(now.data, at_rest[owner].data, now.length) == 0);
            lc_text_release(&now);
        }
    }
    served_check_descriptors();
    return 0;
}
