/*
 * The routes table's search; see route.h. A path is cut at its slashes before anything is decoded,
 * so that %2F is part of a name.
 */
#include "serve/route.h"

#include <stdio.h>
#include <string.h>

#include "text/utf8.h"

#define MAX_SEGMENTS 16

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    const char lower = (char)(digit | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool lc_percent_decode(char *text, bool is_query)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (*from == '+' && is_query) {
            *to++ = ' ';
        } else if (*from == '%') {
            const int high = hex_value(from[1]);
            const int low = high < 0 ? -1 : hex_value(from[2]);
            if (low < 0 || (high == 0 && low == 0)) {
                return false;
            }
            *to++ = (char)(high * 16 + low);
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    const size_t bytes = (size_t)(to - text);
    return lc_utf8_valid_prefix(text, bytes) == bytes;
}

/* Cuts a path into its segments; -1: too many, or one is empty (but for the root's). */
static int cut(char *path, char **segments)
{
    int count = 0;
    if (path[0] != '/') {
        return -1;
    }
    char *next = path + 1;
    if (*next == '\0') {
        return 0;
    }
    while (next != NULL) {
        char *begin = next;
        char *slash = strchr(begin, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        next = slash == NULL ? NULL : slash + 1;
        if (next != NULL && *next == '\0') { /* one slash at the end says nothing */
            next = NULL;
        }
        if (*begin == '\0' || count == MAX_SEGMENTS) {
            return -1;
        }
        segments[count++] = begin;
    }
    return count;
}

/* How many segments the prefix of a family takes. */
static int family_of(char **segments, int count, lc_url_family *family)
{
    int at = 0;
    if (count >= 4 && strcmp(segments[0], "api") == 0 && strcmp(segments[1], "projects") == 0 &&
        strcmp(segments[3], "openai") == 0) {
        at = 4;
    } else if (count >= 1 && strcmp(segments[0], "openai") == 0) {
        at = 1;
    } else if (count >= 1 && strcmp(segments[0], "v1") == 0) {
        *family = LC_URL_V1;
        return 1;
    } else {
        *family = LC_URL_ROOT;
        return 0;
    }
    if (count > at && strcmp(segments[at], "v1") == 0) {
        *family = LC_URL_V1;
        return at + 1;
    }
    *family = LC_URL_CLASSIC;
    return at;
}

/* How many parameters the pattern has, their places into params; -1: the segments do not fit. */
static int fit(const char *pattern, char **segments, int count, char **params)
{
    int at = 0, param = 0;
    while (pattern[0] == '/' && pattern[1] != '\0') {
        pattern++;
        const size_t length = strcspn(pattern, "/");
        if (at == count) {
            return -1;
        }
        if (pattern[0] == '{') {
            params[param++] = segments[at];
        } else if (strlen(segments[at]) != length || strncmp(segments[at], pattern, length) != 0) {
            return -1;
        }
        pattern += length;
        at++;
    }
    return at == count ? param : -1;
}

static void note_method(lc_route_match *match, const char *method)
{
    const size_t used = strlen(match->allow);
    if (strstr(match->allow, method) == NULL) {
        (void)snprintf(match->allow + used, sizeof match->allow - used, "%s%s",
                       used > 0 ? ", " : "", method);
    }
}

/* A path that is itself some route's pattern is not also another's parameter. */
static void look(const lc_route *route, const char *method, char **segments, int count,
                 lc_route_match *match)
{
    char *params[LC_MAX_ROUTE_PARAMS] = {NULL};
    const bool is_root = (route->flags & LC_ROUTE_ROOT) != 0;
    if (is_root != (match->family == LC_URL_ROOT)) {
        return;
    }
    const int param_count = fit(route->pattern, segments, count, params);
    if (param_count < 0 || (match->has_path && param_count > match->param_count)) {
        return;
    }
    if (match->has_path && param_count < match->param_count) {
        match->route = NULL;
        match->allow[0] = '\0';
    }
    match->has_path = true;
    match->param_count = param_count;
    note_method(match, route->method);
    const bool is_head = strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0;
    if (match->route == NULL && (is_head || strcmp(method, route->method) == 0)) {
        match->route = route;
        memcpy(match->params, params, sizeof params);
    }
}

lc_code lc_route_find(const lc_route_table *tables, int table_count, const char *method, char *path,
                      lc_route_match *match, lc_err *err)
{
    char *segments[MAX_SEGMENTS];
    memset(match, 0, sizeof *match);
    const int count = cut(path, segments);
    if (count < 0) {
        return LC_OK;
    }
    const int prefix = family_of(segments, count, &match->family);
    for (int i = prefix; i < count; i++) {
        if (!lc_percent_decode(segments[i], false)) {
            return lc_fail(err, LC_ERR_INVALID, "the path is not valid UTF-8 with percent signs");
        }
    }
    for (int t = 0; t < table_count; t++) {
        for (int r = 0; r < tables[t].count; r++) {
            look(&tables[t].routes[r], method, segments + prefix, count - prefix, match);
        }
    }
    return LC_OK;
}
