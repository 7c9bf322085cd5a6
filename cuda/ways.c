/* Sites, their ways, and the texts of both; see ways.h. */
#include "ways.h"

#include <stdio.h>
#include <string.h>

#include "tuning.h"

#define MOST_WAYS 3

static const char *const way_names[LC_WAY_COUNT] = {
    [LC_WAY_KERNEL] = "kernel", [LC_WAY_PRODUCTS] = "products", [LC_WAY_BORDERED] = "bordered",
    [LC_WAY_FUSED] = "fused",   [LC_WAY_APART] = "apart",       [LC_WAY_WIDENED] = "widened"};

static const struct {
    const char *name;
    int count;
    lc_cuda_way ways[MOST_WAYS];
} sites[LC_SITE_COUNT] = {
    [LC_SITE_NONE] = {"", 0, {0}},
    [LC_SITE_LORA_FORWARD] = {"lora_forward", 2, {LC_WAY_KERNEL, LC_WAY_PRODUCTS}},
    [LC_SITE_LORA_DY] = {"lora_dy", 2, {LC_WAY_KERNEL, LC_WAY_PRODUCTS}},
    [LC_SITE_LORA_DX] = {"lora_dx", 2, {LC_WAY_KERNEL, LC_WAY_PRODUCTS}},
    [LC_SITE_LORA_DX_NORMED] = {"lora_dx_normed", 2, {LC_WAY_KERNEL, LC_WAY_PRODUCTS}},
    [LC_SITE_LINEAR] = {"linear", 2, {LC_WAY_BORDERED, LC_WAY_APART}},
    [LC_SITE_LINEAR_BACKWARD] = {"linear_backward",
                                 3,
                                 {LC_WAY_BORDERED, LC_WAY_APART, LC_WAY_WIDENED}},
    [LC_SITE_NORM_BACKWARD] = {"rmsnorm_backward", 2, {LC_WAY_FUSED, LC_WAY_APART}},
};

int lc_cuda_ways_of(lc_cuda_site site, const lc_cuda_way **ways)
{
    *ways = sites[site].ways;
    return sites[site].count;
}

lc_cuda_way_key lc_cuda_way_class(lc_cuda_site site, int64_t rows, int64_t in, int64_t out,
                                  const lc_lora_parts *parts)
{
    lc_cuda_way_key key;
    memset(&key, 0, sizeof key);
    key.rows = lc_cuda_round_rows(rows);
    key.in = in;
    key.out = out;
    key.site = (int32_t)site;
    key.part_count = parts->count;
    for (int32_t i = 0; i < parts->count; i++) {
        key.part_row[i] = parts->part[i].row;
        key.part_out[i] = parts->part[i].out;
        key.part_width[i] = parts->part[i].width;
    }
    return key;
}

lc_code lc_cuda_take_way(lc_cuda_choices *choices, const lc_cuda_way_key *key, lc_cuda_way *way,
                         lc_err *err)
{
    for (int i = 0; i < choices->count; i++) {
        if (memcmp(&choices->items[i].site, key, sizeof *key) == 0) {
            *way = choices->items[i].way;
            return LC_OK;
        }
    }
    lc_cuda_choice choice;
    memset(&choice, 0, sizeof choice);
    choice.site = *key;
    choice.way = *way = sites[key->site].ways[0];
    return lc_cuda_choices_add(choices, &choice, err);
}

/* ---- texts ---- */

void lc_cuda_way_write(const lc_cuda_way_key *key, lc_cuda_way way, lc_choice *out)
{
    int used = snprintf(out->product, sizeof out->product, "%s %lldx%lldx%lld parts",
                        sites[key->site].name, (long long)key->rows, (long long)key->in,
                        (long long)key->out);
    for (int32_t i = 0; i < key->part_count && used < LC_PRODUCT_BYTES; i++) {
        used += snprintf(out->product + used, sizeof out->product - (size_t)used, " %d+%dx%d",
                         key->part_row[i], key->part_out[i], key->part_width[i]);
    }
    (void)snprintf(out->algorithm, sizeof out->algorithm, "%s", way_names[way]);
}

static bool find_names(const char *site, const char *name, lc_cuda_way_key *key, lc_cuda_way *way)
{
    for (int i = LC_SITE_NONE + 1; i < LC_SITE_COUNT; i++) {
        for (int k = 0; k < sites[i].count && strcmp(sites[i].name, site) == 0; k++) {
            if (strcmp(way_names[sites[i].ways[k]], name) == 0) {
                key->site = i;
                *way = sites[i].ways[k];
                return true;
            }
        }
    }
    return false;
}

/* Reads loosely, then compares with the text that the result gives. */
bool lc_cuda_way_read(const lc_choice *text, lc_cuda_way_key *key, lc_cuda_way *way)
{
    char site[20] = "";
    long long rows = 0, in = 0, out = 0;
    int row[LC_MAX_LORA_PARTS] = {0}, height[LC_MAX_LORA_PARTS] = {0},
        width[LC_MAX_LORA_PARTS] = {0};
    lc_choice again;
    memset(key, 0, sizeof *key);
    const int found = sscanf(
        text->product, "%19[a-z_] %18lldx%18lldx%18lld parts %9d+%9dx%9d %9d+%9dx%9d %9d+%9dx%9d",
        site, &rows, &in, &out, &row[0], &height[0], &width[0], &row[1], &height[1], &width[1],
        &row[2], &height[2], &width[2]);
    if (found < 4 || rows < 1 || !find_names(site, text->algorithm, key, way)) {
        return false;
    }
    key->rows = rows;
    key->in = in;
    key->out = out;
    key->part_count = (found - 4) / 3;
    for (int32_t i = 0; i < key->part_count; i++) {
        key->part_row[i] = row[i];
        key->part_out[i] = height[i];
        key->part_width[i] = width[i];
    }
    memset(&again, 0, sizeof again);
    lc_cuda_way_write(key, *way, &again);
    return strcmp(again.product, text->product) == 0;
}
