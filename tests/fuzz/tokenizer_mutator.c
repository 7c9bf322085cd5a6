/*
 * Makes inputs for tokenizer_fuzz.c out of others: parts of the pipeline come, go and join in
 * sequences, tokens and merges are added, flags turn; ids are then made to follow each other again,
 * so that most of what is made loads. Every few times the bytes are changed as libFuzzer does it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
                                 size_t size2, uint8_t *out, size_t max_out, unsigned int seed);

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

static uint64_t state;

/* A number below `limit`. */
static size_t draw(size_t limit)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(state >> 33) % limit;
}

/* ---- what is put in ---- */

static const char *const normalizers[] = {
    "{\"type\":\"NFC\"}",
    "{\"type\":\"NFD\"}",
    "{\"type\":\"NFKC\"}",
    "{\"type\":\"NFKD\"}",
    "{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"}",
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}",
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a+|\\\\s{2,}\"},\"content\":\"\"}",
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(b|\\\\p{L})\"},\"content\":\"\xc3\xa9 a\"}",
};
static const char *const pre_tokenizers[] = {
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}",
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
    "{\"type\":\"Digits\",\"individual_digits\":true}",
    "{\"type\":\"Digits\",\"individual_digits\":false}",
    "{\"type\":\"Punctuation\",\"behavior\":\"MergedWithNext\"}",
    "{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":\"always\"}",
    "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\",\"split\":false}",
    "{\"type\":\"Metaspace\",\"replacement\":\"\xc3\xa9\",\"prepend_scheme\":\"never\"}",
    "{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"Removed\"}",
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"behavior\":\"MergedWithPrevious\"}",
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{N}{1,3}\"},\"behavior\":\"Contiguous\","
    "\"invert\":true}",
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| "
    "?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\"}",
};
static const char *const post_processors[] = {
    "{\"type\":\"ByteLevel\",\"trim_offsets\":true,\"add_prefix_space\":false}",
    "{\"type\":\"ByteLevel\",\"trim_offsets\":true,\"add_prefix_space\":true}",
    "{\"type\":\"ByteLevel\",\"trim_offsets\":false}",
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\",\"type_id\":0}},"
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"x\",\"type_id\":0}}],"
    "\"pair\":[],\"special_tokens\":{\"x\":{\"id\":\"x\",\"ids\":[0,1],\"tokens\":[\"a\",\"b\"]}}}",
};
static const char *const decoders[] = {
    "{\"type\":\"ByteLevel\"}",
    "{\"type\":\"ByteFallback\"}",
    "{\"type\":\"Fuse\"}",
    "{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":\"always\"}",
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xe2\x96\x81\"},\"content\":\" \"}",
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"<0x41>\"}",
    "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}",
    "{\"type\":\"Strip\",\"content\":\"a\",\"start\":3,\"stop\":0}",
};
static const char *const paddings[] = {
    "{\"strategy\":\"BatchLongest\",\"direction\":\"Right\",\"pad_to_multiple_of\":8,\"pad_id\":1,"
    "\"pad_type_id\":0,\"pad_token\":\"b\"}",
    "{\"strategy\":{\"Fixed\":9},\"direction\":\"Left\",\"pad_to_multiple_of\":null,\"pad_id\":0,"
    "\"pad_type_id\":0,\"pad_token\":\"a\"}",
};
static const char *const truncations[] = {
    "{\"direction\":\"Right\",\"max_length\":5,\"strategy\":\"LongestFirst\",\"stride\":0}",
    "{\"direction\":\"Left\",\"max_length\":1,\"strategy\":\"OnlySecond\",\"stride\":2}",
};

/* A part of the file, the list in its Sequence, and what may stand there. */
static const struct {
    const char *name, *list;
    const char *const *choices;
    size_t count;
} parts[] = {
    {"normalizer", "normalizers", normalizers, LENGTH(normalizers)},
    {"pre_tokenizer", "pretokenizers", pre_tokenizers, LENGTH(pre_tokenizers)},
    {"post_processor", "processors", post_processors, LENGTH(post_processors)},
    {"decoder", "decoders", decoders, LENGTH(decoders)},
    {"padding", NULL, paddings, LENGTH(paddings)},
    {"truncation", NULL, truncations, LENGTH(truncations)},
};

static const char *const texts[] = {
    "a",
    "b",
    "<s>",
    "<unk>",
    " ",
    "\xe2\x96\x81",
    "\xc4\xa0",
    "<0x00>",
    "<0xE2>",
    "<0xC3>",
    "<0xA9>",
    "\xc3\xa9",
    "e\xcc\x81",
    "\xef\xac\x81",
    "\n",
    "\xc2\xa0",
    "1",
    "\xe1\x84\x80\xe1\x85\xa1",
    "Z\xcc\xa3\xcc\x87",
    "ab",
    "\xc3\xa2",
};

/* ---- changes ---- */

static void put(cJSON *object, const char *name, cJSON *item)
{
    cJSON_DeleteItemFromObjectCaseSensitive(object, name);
    (void)cJSON_AddItemToObject(object, name, item);
}

/* Another part: alone, none, or in a Sequence with the one that is there. */
static void change_part(cJSON *root)
{
    const size_t part = draw(LENGTH(parts));
    const char *name = parts[part].name;
    cJSON *old = cJSON_DetachItemFromObjectCaseSensitive(root, name);
    cJSON *made = draw(8) == 0 ? cJSON_CreateNull()
                               : cJSON_Parse(parts[part].choices[draw(parts[part].count)]);
    if (cJSON_IsObject(old) && cJSON_IsObject(made) && parts[part].list != NULL && draw(3) > 0) {
        cJSON *list = cJSON_CreateArray(), *sequence = cJSON_CreateObject();
        const int behind = (int)draw(2);
        (void)cJSON_AddItemToArray(list, behind ? old : made);
        (void)cJSON_AddItemToArray(list, behind ? made : old);
        (void)cJSON_AddStringToObject(sequence, "type", "Sequence");
        (void)cJSON_AddItemToObject(sequence, parts[part].list, list);
        made = sequence;
        old = NULL;
    }
    cJSON_Delete(old);
    (void)cJSON_AddItemToObject(root, name, made);
}

static const char *draw_token(const cJSON *vocab)
{
    const int count = cJSON_GetArraySize(vocab);
    return count > 0 ? cJSON_GetArrayItem(vocab, (int)draw((size_t)count))->string : "a";
}

static void add_token(cJSON *vocab, const char *text)
{
    if (cJSON_GetObjectItemCaseSensitive(vocab, text) == NULL) {
        (void)cJSON_AddNumberToObject(vocab, text, cJSON_GetArraySize(vocab));
    }
}

static void add_merge(cJSON *vocab, cJSON *merges)
{
    char whole[512];
    const char *left = draw_token(vocab), *right = draw_token(vocab);
    const char *pair[2] = {left, right};
    if (draw(2) == 0) {
        (void)cJSON_AddItemToArray(merges, cJSON_CreateStringArray(pair, 2));
    } else {
        (void)snprintf(whole, sizeof whole, "%s %s", left, right);
        (void)cJSON_AddItemToArray(merges, cJSON_CreateString(whole));
    }
    (void)snprintf(whole, sizeof whole, "%s%s", left, right);
    add_token(vocab, whole);
}

static void change_model(cJSON *model)
{
    static const char *const flags[] = {"ignore_merges", "byte_fallback", "fuse_unk"};
    cJSON *vocab = cJSON_GetObjectItemCaseSensitive(model, "vocab");
    cJSON *merges = cJSON_GetObjectItemCaseSensitive(model, "merges");
    switch (draw(4)) {
    case 0:
        put(model, flags[draw(LENGTH(flags))], cJSON_CreateBool((cJSON_bool)draw(2)));
        break;
    case 1:
        put(model, "unk_token",
            draw(3) == 0 ? cJSON_CreateNull() : cJSON_CreateString(draw_token(vocab)));
        break;
    case 2:
        add_token(vocab, texts[draw(LENGTH(texts))]);
        break;
    default:
        add_merge(vocab, merges);
    }
}

static void add_added(cJSON *root)
{
    static const char *const flags[] = {"single_word", "lstrip", "rstrip", "normalized", "special"};
    cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "added_tokens");
    cJSON *token = cJSON_CreateObject();
    char text[64];
    if (!cJSON_IsArray(list)) {
        put(root, "added_tokens", cJSON_CreateArray());
        list = cJSON_GetObjectItemCaseSensitive(root, "added_tokens");
    }
    (void)snprintf(text, sizeof text, "%s%s", texts[draw(LENGTH(texts))],
                   draw(2) ? texts[draw(LENGTH(texts))] : "");
    (void)cJSON_AddNumberToObject(token, "id", 0);
    (void)cJSON_AddStringToObject(token, "content", text);
    for (size_t i = 0; i < LENGTH(flags); i++) {
        (void)cJSON_AddBoolToObject(token, flags[i], (cJSON_bool)draw(2));
    }
    (void)cJSON_AddItemToArray(list, token);
}

/* Something somewhere in the tree, but for the vocabulary. */
static void change_any(cJSON *item)
{
    for (int depth = 0; depth < 12; depth++) {
        const int count = cJSON_GetArraySize(item);
        if (count == 0) {
            break;
        }
        cJSON *child = cJSON_GetArrayItem(item, (int)draw((size_t)count));
        if (draw(24) == 0) {
            cJSON_Delete(cJSON_DetachItemViaPointer(item, child));
            return;
        }
        item = child;
        if (item->string != NULL && strcmp(item->string, "vocab") == 0) {
            return;
        }
    }
    if (cJSON_IsBool(item)) {
        item->type ^= cJSON_True | cJSON_False;
    } else if (cJSON_IsNumber(item)) {
        (void)cJSON_SetNumberHelper(item, (double)draw(10) - 1.0);
    } else if (cJSON_IsString(item)) {
        (void)cJSON_SetValuestring(item, texts[draw(LENGTH(texts))]);
    }
}

/* Ids of the vocabulary in turn, those of the added tokens as Hugging Face gives them. */
static void renumber(cJSON *root)
{
    cJSON *vocab =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, "model"), "vocab");
    cJSON *item = NULL;
    int next = 0;
    cJSON_ArrayForEach(item, vocab)
    {
        (void)cJSON_SetNumberHelper(item, next++);
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "added_tokens"))
    {
        const char *content =
            cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "content"));
        const cJSON *entry =
            content != NULL ? cJSON_GetObjectItemCaseSensitive(vocab, content) : NULL;
        if (cJSON_IsObject(item)) {
            put(item, "id", cJSON_CreateNumber(entry != NULL ? entry->valuedouble : next++));
        }
    }
}

static void change(cJSON *root)
{
    cJSON *model = cJSON_GetObjectItemCaseSensitive(root, "model");
    switch (draw(5)) {
    case 0:
    case 1:
        change_part(root);
        break;
    case 2:
        if (cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(model, "vocab")) &&
            cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(model, "merges"))) {
            change_model(model);
        }
        break;
    case 3:
        add_added(root);
        break;
    default:
        change_any(root);
    }
    if (draw(16) > 0) {
        renumber(root);
    }
}

/* ---- inputs ---- */

static cJSON *parse(const uint8_t *data, size_t size, size_t *file_bytes)
{
    const uint8_t *zero = memchr(data, '\0', size);
    *file_bytes = zero != NULL ? (size_t)(zero - data) : size;
    cJSON *root = cJSON_ParseWithLength((const char *)data, *file_bytes);
    if (!cJSON_IsObject(root)) {
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

/* The tree and a text into out; 0: there is no room. Takes the tree. */
static size_t print(cJSON *root, const uint8_t *text, size_t text_bytes, uint8_t *out,
                    size_t max_size)
{
    char *file = cJSON_PrintUnformatted(root);
    const size_t bytes = file != NULL ? strlen(file) + 1 : SIZE_MAX;
    size_t size = 0;
    cJSON_Delete(root);
    if (bytes <= max_size && text_bytes <= max_size - bytes) {
        memmove(out + bytes, text, text_bytes); /* the text may lie in out */
        memcpy(out, file, bytes);
        size = bytes + text_bytes;
    }
    cJSON_free(file);
    return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    state = seed;
    size_t file_bytes = 0;
    cJSON *root = draw(6) > 0 ? parse(data, size, &file_bytes) : NULL;
    if (root == NULL) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    const size_t begin = file_bytes + (file_bytes < size);
    if (draw(4) == 0) {
        cJSON_Delete(root);
        return begin + LLVMFuzzerMutate(data + begin, size - begin, max_size - begin);
    }
    for (size_t count = 1 + draw(4); count > 0; count--) {
        change(root);
    }
    const size_t made = print(root, data + begin, size - begin, data, max_size);
    return made > 0 ? made : LLVMFuzzerMutate(data, size, max_size);
}

/* A part of one file in the other, with the text of either. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
                                 size_t size2, uint8_t *out, size_t max_out, unsigned int seed)
{
    state = seed;
    size_t bytes1 = 0, bytes2 = 0;
    cJSON *root = parse(data1, size1, &bytes1), *other = parse(data2, size2, &bytes2);
    const char *name = parts[draw(LENGTH(parts))].name;
    cJSON *part = cJSON_DetachItemFromObjectCaseSensitive(other, name);
    cJSON_Delete(other);
    if (root == NULL || part == NULL) {
        cJSON_Delete(root);
        cJSON_Delete(part);
        return 0;
    }
    put(root, name, part);
    const size_t begin1 = bytes1 + (bytes1 < size1), begin2 = bytes2 + (bytes2 < size2);
    return draw(2) == 0 ? print(root, data1 + begin1, size1 - begin1, out, max_out)
                        : print(root, data2 + begin2, size2 - begin2, out, max_out);
}
