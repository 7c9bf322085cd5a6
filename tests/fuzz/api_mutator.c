/*
 * Makes inputs for api_fuzz.c out of others: requests are added from a list of all that the API
 * has, repeated, dropped, asked with another key; places in paths, members of queries and of bodies
 * take values of the same kinds. Bodies stay JSON. Every few times a part is changed as libFuzzer
 * does it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/json.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
                                 size_t size2, uint8_t *out, size_t max_out, unsigned int seed);

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])
#define MAX_REQUESTS  9
#define MAX_PART      8192

static uint64_t state;

/* A number below `limit`. */
static size_t draw(size_t limit)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(state >> 33) % limit;
}

#define PICK(array) ((array)[draw(LENGTH(array))])

/* ---- what is put in ---- */

#define FORM(purpose, name, field, text)                                              \
    "--B\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n" purpose         \
    "\r\n--B\r\nContent-Disposition: form-data; name=\"" field "\"; filename=\"" name \
    "\"\r\n\r\n" text "\r\n--B--\r\n"
#define FILE1 "file-00000000000000000000000000000001"
#define FILE3 "file-00000000000000000000000000000003"
#define ROW                                                                         \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\"," \
    "\"content\":\"b\"}]}\n"
#define JOB(n)  "ftjob-0000000000000000000000000000000" n
#define UPLOAD1 "upload_00000000000000000000000000000001"
#define ARM                                                                   \
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices" \
    "/accounts/a/deployments"

static const struct {
    const char *line, *body;
} requests[] = {
    {"POST /v1/fine_tuning/jobs", "{\"model\":\"base\",\"training_file\":\"" FILE1 "\"}"},
    {"POST /openai/fine_tuning/jobs?api-version=1",
     "{\"model\":\"tuned:6\",\"training_file\":\"" FILE1 "\",\"validation_file\":\"" FILE1
     "\",\"suffix\":\"s\",\"seed\":3,\"metadata\":{\"k\":\"v\"},\"method\":{\"type\":"
     "\"supervised\","
     "\"supervised\":{\"hyperparameters\":{\"n_epochs\":2,\"batch_size\":\"auto\","
     "\"learning_rate_multiplier\":1}}},\"lorac\":{\"rank\":8}}"},
    {"POST /v1/fine_tuning/jobs",
     "{\"model\":\"base\",\"training_file\":\"$1\",\"hyperparameters\":{\"n_epochs\":-1},"
     "\"integrations\":[],\"trainingType\":\"standard\"}"},
    {"GET /v1/fine_tuning/jobs?limit=2", ""},
    {"GET /v1/fine_tuning/jobs?metadata[k]=v&after=" JOB("6"), ""},
    {"GET /v1/fine_tuning/jobs/" JOB("1"), ""},
    {"POST /v1/fine_tuning/jobs/" JOB("1") "/cancel", ""},
    {"POST /v1/fine_tuning/jobs/" JOB("2") "/pause", ""},
    {"POST /v1/fine_tuning/jobs/" JOB("4") "/resume", ""},
    {"DELETE /v1/fine_tuning/jobs/" JOB("6"), ""},
    {"GET /v1/fine_tuning/jobs/" JOB("6") "/events?limit=1", ""},
    {"POST /v1/fine_tuning/jobs/" JOB("6") "/checkpoints", ""},
    {"POST /v1/files", FORM("assistants", "a.txt", "file", "abc")},
    {"POST /v1/files",
     FORM("fine-tune", "a.jsonl", "file", ROW ROW ROW ROW ROW ROW ROW ROW ROW ROW)},
    {"GET /v1/files?purpose=fine-tune&order=asc&limit=1", ""},
    {"GET /v1/files/" FILE1, ""},
    {"GET /v1/files/" FILE3 "/content", ""},
    {"DELETE /v1/files/" FILE1, ""},
    {"POST /v1/files/import",
     "{\"filename\":\"a\",\"purpose\":\"fine-tune\",\"content_url\":\"https://a.example/b\"}"},
    {"POST /v1/uploads",
     "{\"bytes\":3,\"filename\":\"a.txt\",\"mime_type\":\"text/plain\",\"purpose\":\"assistants\","
     "\"expires_after\":{\"anchor\":\"created_at\",\"seconds\":3600}}"},
    {"POST /v1/uploads/" UPLOAD1 "/parts", FORM("x", "p", "data", "abc")},
    {"POST /v1/uploads/$1/parts", FORM("x", "p", "data", "abc")},
    {"POST /v1/uploads/" UPLOAD1 "/complete",
     "{\"part_ids\":[\"$1\"],\"md5\":\"900150983cd24fb0d6963f7d28e17f72\"}"},
    {"POST /v1/uploads/" UPLOAD1 "/cancel", ""},
    {"GET /v1/models", ""},
    {"GET /v1/models/tuned:6", ""},
    {"DELETE /v1/models/tuned:6", ""},
    {"GET /v1/deployments", ""},
    {"POST /openai/deployments", "{\"model\":\"tuned:6\",\"name\":\"n\"}"},
    {"GET /v1/deployments/one", ""},
    {"DELETE /v1/deployments/two", ""},
    {"PUT " ARM "/new",
     "{\"sku\":{\"name\":\"Standard\",\"capacity\":1},\"properties\":{\"model\":{\"format\":"
     "\"OpenAI\",\"name\":\"base\",\"version\":\"1\"}}}"},
    {"GET " ARM, ""},
    {"GET " ARM "/one", ""},
    {"DELETE " ARM "/one", ""},
    {"POST /v1/chat/completions",
     "{\"model\":\"base\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":"
     "\"user\",\"content\":\"hi\"}],\"stream\":true,\"n\":2,\"stream_options\":"
     "{\"include_usage\":true}}"},
    {"POST /openai/deployments/one/chat/completions",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}],"
     "\"temperature\":0.5,\"top_p\":1,\"max_tokens\":5,\"stop\":[\"a\"],\"seed\":1,"
     "\"logprobs\":true,\"top_logprobs\":2,\"tools\":[{\"type\":\"function\",\"function\":"
     "{\"name\":\"f\",\"parameters\":{}}}],\"response_format\":{\"type\":\"text\"}}"},
    {"GET /healthz", ""},
    {"GET /readyz", ""},
    {"GET /metrics", ""},
    {"GET /", ""},
};

static const char *const words[] = {
    "files",
    "import",
    "uploads",
    "parts",
    "complete",
    "cancel",
    "fine_tuning",
    "jobs",
    "events",
    "pause",
    "resume",
    "checkpoints",
    "models",
    "deployments",
    "chat",
    "completions",
    "content",
    "one",
    "two",
    "three",
    "base",
    "tuned:6",
    "tuned:a",
    "BASE",
    "$1",
    "$2",
    "$3",
    FILE1,
    FILE3,
    UPLOAD1,
    JOB("1"),
    JOB("2"),
    JOB("3"),
    JOB("4"),
    JOB("5"),
    JOB("6"),
    JOB("7"),
    JOB("8"),
    JOB("9"),
    JOB("a"),
    "..",
    "%2e%2e",
    "%2F",
    "%00",
    "%ff",
    "%C3%A9",
    "v1",
    "openai",
    "new",
    "tuned:6:ckpt-step-10",
    "file-00000000000000000000000000000005",
    "upload_00000000000000000000000000000002",
    "ftchkpt-00000000000000000000000000000001",
};
static const char *const query_members[] = {
    "limit=1",    "limit=0",       "limit=10000",       "limit=-1",        "limit=x",
    "after=",     "after=$1",      "order=asc",         "order=desc",      "purpose=fine-tune",
    "purpose=",   "metadata[k]=v", "metadata[]=",       "metadata[a]=%00", "metadata[k]=",
    "metadata[k", "api-version=1", ("after=" JOB("6")), ("after=" FILE1),  "a=%zz",
};
static const char *const values[] = {
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "2",
    "3.5",
    "1e308",
    "-0.0",
    "9007199254740993",
    "2147483648",
    "50",
    "51",
    "256",
    "257",
    "0.0001",
    "[]",
    "{}",
    "[[]]",
    "\"\"",
    "\"a\"",
    "\"auto\"",
    "\"base\"",
    "\"tuned:6\"",
    "\"tuned:6:ckpt-step-10\"",
    "\"$1\"",
    "\"$2\"",
    "\"" FILE1 "\"",
    "\"" FILE3 "\"",
    "\"" JOB("6") "\"",
    "\"fine-tune\"",
    "\"assistants\"",
    "\"supervised\"",
    "\"dpo\"",
    "\"reinforcement\"",
    "\"standard\"",
    "\"created_at\"",
    "\"\xc3\xa9\xf0\x9f\x98\x80\"",
    "\"a/b\"",
    "\"../x\"",
    "\"\\n\\u0001\\\"\\\\\"",
    "\"fail\"",
    "\"die\"",
    "\"busy\"",
    "\"call\"",
    "\"user\"",
    "\"assistant\"",
    "\"system\"",
    "\"tool\"",
    "{\"k\":\"v\"}",
    "{\"type\":\"supervised\"}",
    "[\"a\",\"b\"]",
    "\"all-linear\"",
    "\"$%$s%n\"",
    "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}",
    "\"json_object\"",
    "\"none\"",
    "\"2024-01-01\"",
    "\"cosine\"",
    "\"bfloat16\"",
    "\"cpu\"",
};
static const char *const names[] = {
    "model",
    "training_file",
    "validation_file",
    "suffix",
    "seed",
    "method",
    "hyperparameters",
    "n_epochs",
    "batch_size",
    "learning_rate_multiplier",
    "prompt_loss_weight",
    "integrations",
    "metadata",
    "lorac",
    "trainingType",
    "type",
    "supervised",
    "dpo",
    "rank",
    "alpha",
    "dropout",
    "target_modules",
    "layers_to_transform",
    "init_adapter",
    "chat_template",
    "template_date",
    "chat_template_kwargs",
    "learning_rate",
    "schedule",
    "warmup_ratio",
    "weight_decay",
    "grad_clip",
    "max_seq_len",
    "packing",
    "shuffle",
    "device",
    "dtype",
    "recompute",
    "use_rslora",
    "bytes",
    "filename",
    "mime_type",
    "purpose",
    "expires_after",
    "anchor",
    "seconds",
    "part_ids",
    "md5",
    "content_url",
    "name",
    "sku",
    "capacity",
    "properties",
    "format",
    "version",
    "messages",
    "role",
    "content",
    "stream",
    "stream_options",
    "include_usage",
    "n",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "logprobs",
    "top_logprobs",
    "tools",
    "tool_choice",
    "tool_calls",
    "tool_call_id",
    "function",
    "parameters",
    "response_format",
    "user",
    "logit_bias",
    "presence_penalty",
    "frequency_penalty",
    "weight",
    "chat_template_kwargs",
    "k",
    "",
};

/* ---- requests of an input ---- */

typedef struct part {
    char line[MAX_PART], body[MAX_PART];
    size_t body_bytes;
} part;

static part parts[MAX_REQUESTS + 1];
static int part_count;

/* As api_fuzz.c cuts it; what is too long is cut. */
static void take_apart(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data, *end = at + size;
    part_count = 0;
    while (at < end && *at == '>' && part_count < MAX_REQUESTS) {
        part *p = &parts[part_count++];
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        line_end = line_end != NULL ? line_end : end;
        (void)snprintf(p->line, sizeof p->line, "%.*s", (int)(line_end - at), at);
        const char *body = line_end < end ? line_end + 1 : end;
        const char *next = body < end ? memmem(body - 1, (size_t)(end - body) + 1, "\n>", 2) : NULL;
        const char *body_end = next != NULL ? next : end;
        p->body_bytes = body_end > body ? (size_t)(body_end - body) : 0;
        p->body_bytes = p->body_bytes < MAX_PART ? p->body_bytes : MAX_PART;
        memcpy(p->body, body, p->body_bytes);
        at = next != NULL ? next + 1 : end;
    }
}

static size_t put_together(uint8_t *out, size_t max_size)
{
    size_t size = 0;
    for (int i = 0; i < part_count; i++) {
        const size_t line_bytes = strlen(parts[i].line);
        const size_t bytes = line_bytes + parts[i].body_bytes + 2;
        if (bytes > max_size - size) {
            break;
        }
        memcpy(out + size, parts[i].line, line_bytes);
        out[size + line_bytes] = '\n';
        memcpy(out + size + line_bytes + 1, parts[i].body, parts[i].body_bytes);
        size += bytes;
        out[size - 1] = '\n';
    }
    return size;
}

/* ---- bodies ---- */

static cJSON *draw_value(void)
{
    return cJSON_Parse(PICK(values));
}

static void add_member(cJSON *item)
{
    if (cJSON_IsObject(item)) {
        const char *name = PICK(names);
        cJSON_DeleteItemFromObjectCaseSensitive(item, name);
        (void)cJSON_AddItemToObject(item, name, draw_value());
    } else {
        (void)cJSON_AddItemToArray(item, draw_value());
    }
}

static void replace(cJSON *parent, cJSON *child)
{
    cJSON *made = draw_value();
    if (made == NULL) {
        return;
    }
    if (cJSON_IsObject(parent)) {
        char name[256];
        (void)snprintf(name, sizeof name, "%s", child->string);
        (void)cJSON_ReplaceItemInObjectCaseSensitive(parent, name, made);
    } else {
        (void)cJSON_ReplaceItemViaPointer(parent, child, made);
    }
}

/* One member somewhere comes, goes or takes another value. */
static void change_tree(cJSON *root)
{
    cJSON *item = root;
    while (true) {
        const int count = cJSON_GetArraySize(item);
        if (count == 0 || draw(4) == 0) {
            if (cJSON_IsObject(item) || cJSON_IsArray(item)) {
                add_member(item);
            }
            return;
        }
        cJSON *child = cJSON_GetArrayItem(item, (int)draw((size_t)count));
        if (cJSON_GetArraySize(child) == 0 || draw(8) == 0) {
            if (draw(6) == 0) {
                cJSON_Delete(cJSON_DetachItemViaPointer(item, child));
            } else {
                replace(item, child);
            }
            return;
        }
        item = child;
    }
}

static void change_body(part *p)
{
    cJSON *root = cJSON_ParseWithLength(p->body, p->body_bytes);
    if (!cJSON_IsObject(root) || draw(12) == 0) {
        cJSON_Delete(root);
        p->body_bytes = LLVMFuzzerMutate((uint8_t *)p->body, p->body_bytes, MAX_PART / 2);
        return;
    }
    for (size_t count = 1 + draw(3); count > 0; count--) {
        change_tree(root);
    }
    char *text = cJSON_PrintUnformatted(root);
    if (text != NULL && strlen(text) < MAX_PART) {
        p->body_bytes = strlen(text);
        memcpy(p->body, text, p->body_bytes);
    }
    cJSON_free(text);
    cJSON_Delete(root);
}

/* ---- lines ---- */

static void set_line(part *p, const char *a, const char *b, const char *c)
{
    char line[MAX_PART];
    (void)snprintf(line, sizeof line, "%s%s%s", a, b, c);
    memcpy(p->line, line, sizeof line);
}

/* A segment of the path becomes another, or one more. */
static void change_path(part *p)
{
    char *path = strchr(p->line, '/');
    char *end = path != NULL ? path + strcspn(path, "?") : NULL;
    size_t slashes = 0;
    if (path == NULL) {
        return;
    }
    for (const char *c = path; c < end; c++) {
        slashes += *c == '/';
    }
    char *slash = path;
    for (size_t which = draw(slashes); which > 0; which--) {
        slash = strchr(slash + 1, '/');
    }
    char *next = draw(6) == 0 ? slash + 1 : slash + 1 + strcspn(slash + 1, "/?");
    char rest[MAX_PART];
    (void)snprintf(rest, sizeof rest, "%s%s", next == slash + 1 ? "/" : "", next);
    slash[1] = '\0';
    set_line(p, p->line, PICK(words), rest);
}

static void change_line(part *p)
{
    static const char *const methods[] = {"> GET ", "> POST ", "> DELETE ",
                                          "> PUT ", "> HEAD ", "> PATCH "};
    static const char *const askers[] = {">", ">B", ">X", ">-", ">A"};
    const char *path = strchr(p->line, '/');
    switch (draw(6)) {
    case 0:
        if (path != NULL) {
            const bool is_asking = strchr("BX-A", p->line[1]) != NULL && p->line[1] != '\0';
            char rest[MAX_PART];
            (void)snprintf(rest, sizeof rest, "%s", p->line + 1 + (is_asking ? 1 : 0));
            set_line(p, PICK(askers), rest, "");
        }
        break;
    case 1:
        if (path != NULL) {
            char rest[MAX_PART];
            (void)snprintf(rest, sizeof rest, "%s", path);
            set_line(p, PICK(methods), rest, "");
        }
        break;
    case 2:
        set_line(p, p->line, strchr(p->line, '?') != NULL ? "&" : "?", PICK(query_members));
        break;
    case 3: {
        const size_t bytes = strlen(p->line);
        const size_t made =
            bytes > 2 ? LLVMFuzzerMutate((uint8_t *)p->line + 2, bytes - 2, MAX_PART / 2) : 0;
        p->line[bytes > 2 ? made + 2 : bytes] = '\0';
        break;
    }
    default:
        change_path(p);
    }
}

/* ---- inputs ---- */

static void insert_request(void)
{
    if (part_count < MAX_REQUESTS) {
        const size_t which = draw(LENGTH(requests));
        const size_t at = draw((size_t)part_count + 1);
        memmove(&parts[at + 1], &parts[at], ((size_t)part_count - at) * sizeof *parts);
        part_count++;
        (void)snprintf(parts[at].line, sizeof parts[at].line, "> %s", requests[which].line);
        parts[at].body_bytes = strlen(requests[which].body);
        memcpy(parts[at].body, requests[which].body, parts[at].body_bytes);
    }
}

static void change(void)
{
    if (part_count == 0 || draw(5) == 0) {
        insert_request();
        return;
    }
    const size_t at = draw((size_t)part_count);
    switch (draw(8)) {
    case 0:
        memmove(&parts[at], &parts[at + 1], ((size_t)part_count - at - 1) * sizeof *parts);
        part_count--;
        break;
    case 1: /* once more, somewhere else */
        parts[part_count < MAX_REQUESTS ? part_count++ : (int)draw(MAX_REQUESTS)] = parts[at];
        break;
    case 2:
    case 3:
        change_line(&parts[at]);
        break;
    default:
        if (parts[at].body_bytes > 0) {
            change_body(&parts[at]);
        } else {
            change_line(&parts[at]);
        }
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    state = seed;
    if (draw(16) == 0) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    take_apart(data, size);
    for (size_t count = 1 + draw(3); count > 0; count--) {
        change();
    }
    const size_t made = put_together(data, max_size);
    return made > 0 ? made : LLVMFuzzerMutate(data, size, max_size);
}

/* The beginning of one, then the end of the other. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
                                 size_t size2, uint8_t *out, size_t max_out, unsigned int seed)
{
    static part kept[MAX_REQUESTS];
    state = seed;
    take_apart(data1, size1);
    const int first = part_count > 0 ? (int)draw((size_t)part_count) + 1 : 0;
    memcpy(kept, parts, (size_t)first * sizeof *kept);
    take_apart(data2, size2);
    const int from = part_count > 0 ? (int)draw((size_t)part_count) : 0;
    int count = part_count - from;
    count = count < MAX_REQUESTS - first ? count : MAX_REQUESTS - first;
    memmove(parts + first, parts + from, (size_t)count * sizeof *parts);
    memcpy(parts, kept, (size_t)first * sizeof *kept);
    part_count = first + count;
    return put_together(out, max_out);
}
