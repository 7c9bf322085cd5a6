/*
 * What `lorac train` shows while it runs: a bar on a terminal, plain lines in a pipe, JSON lines
 * for scripts. And a bar for whoever reads a large file.
 */
#ifndef LC_CLI_PROGRESS_H
#define LC_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdio.h>

#include "lorac/event.h"

typedef enum lc_progress_style {
    LC_PROGRESS_BAR,
    LC_PROGRESS_LINES,
    LC_PROGRESS_JSON
} lc_progress_style;

typedef struct lc_progress_view {
    lc_progress_style style;
    bool has_colour;
    int columns;
    FILE *out;           /* borrowed */
    double last_drawn;   /* monotonic seconds; 0: never */
    double begun;        /* when the reading of a file began; 0: it has not */
    bool is_bar_visible; /* the cursor stands behind a bar */
    lc_metrics metrics;  /* the newest */
    bool has_metrics;
    bool is_stopping; /* set by the caller: say so in the bar */
} lc_progress_view;

void lc_progress_init(lc_progress_view *view, FILE *out, bool json);

/* An lc_event_fn whose context is a view. */
void lc_progress_show(void *view, const lc_event *event);

/* A bar over the bytes of a file, with rate and remaining time; nothing but on a terminal. */
void lc_progress_show_bytes(lc_progress_view *view, int64_t bytes, int64_t total_bytes);

/* Takes a bar away. */
void lc_progress_clear(lc_progress_view *view);

/* Ends a bar, so that other text begins on a line of its own. */
void lc_progress_finish(lc_progress_view *view);

#endif
