/*
 * The job file: the body of Azure's create call plus one "lorac" object (docs/architecture.md).
 * Parsed, checked field by field, and written back resolved. Knows nothing of models or data.
 */
#ifndef LC_JOB_SPEC_H
#define LC_JOB_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/file.h"
#include "base/json.h"
#include "lorac/mem.h"
#include "lorac/backend.h"
#include "text/template.h"
#include "train/schedule.h"

#define LC_MAX_JOB_FILE_BYTES ((size_t)1 << 20)
#define LC_MAX_SUFFIX         64
#define LC_MAX_TARGETS        64
#define LC_MAX_EPOCHS         50  /* OpenAI's bound */
#define LC_MAX_BATCH_SIZE     256 /* OpenAI's bound */
#define LC_MAX_SEED           2147483647
#define LC_MAX_METADATA       16 /* pairs; bounds of Azure, in characters */
#define LC_MAX_METADATA_KEY   64
#define LC_MAX_METADATA_VALUE 512
#define LC_AUTO               (-1) /* an integer or number field left to lorac */
#define LC_EVAL_EXAMPLES      64 /* valid_*: the first min(n, 64) examples of the validation file */

/* What the backward pass computes again so that less has to be kept. */
typedef enum lc_recompute {
    LC_RECOMPUTE_AUTO, /* as little as the memory that is there asks for */
    LC_RECOMPUTE_NONE,
    LC_RECOMPUTE_ALL
} lc_recompute;

/* All strings live in `arena`. LC_AUTO where the file says "auto", null, -1 or nothing. */
typedef struct lc_job_spec {
    const char *model;
    const char *training_file;
    const char *validation_file;     /* NULL: none */
    const char *suffix;              /* NULL: none */
    int64_t seed;                    /* LC_AUTO: drawn at open, stored */
    int64_t n_epochs;                /* LC_AUTO or 1..LC_MAX_EPOCHS */
    int64_t batch_size;              /* LC_AUTO or 1..LC_MAX_BATCH_SIZE; counts examples */
    double learning_rate_multiplier; /* LC_AUTO or > 0 */
    int64_t rank;                    /* 1..1024 */
    double alpha;
    double dropout; /* [0, 1) */
    bool use_rslora;
    bool all_linear;
    const char **targets; /* target_modules as a list */
    int32_t target_count;
    const char *target_regex; /* target_modules as another string than "all-linear" */
    const int32_t *layers;    /* layers_to_transform, NULL: all */
    int32_t layer_count;
    const char *chat_template; /* file of a Jinja template in place of the model's; NULL: none */
    const char *template_date; /* "YYYY-MM-DD" that strftime_now tells; NULL: auto, the job's day */
    cJSON *chat_template_kwargs; /* more variables of the template; NULL: none; owned */
    const char *init_adapter;    /* directory of a PEFT adapter, NULL: fresh */
    const char *shadowed; /* fields in the file that init_adapter decides instead, NULL: none */
    double learning_rate; /* LC_AUTO: base rate x multiplier */
    lc_schedule schedule;
    double warmup_ratio; /* [0, 1] */
    double weight_decay;
    double grad_clip; /* 0: off */
    int64_t max_seq_len;
    int64_t micro_batch_tokens; /* LC_AUTO or >= 1 */
    bool packing;
    bool shuffle;
    lc_device_kind device;
    int dtype; /* LC_AUTO, LC_F32 or LC_BF16 */
    bool deterministic;
    lc_recompute recompute;
    int64_t log_every_steps;
    int64_t eval_every_steps;       /* LC_AUTO or >= 1 */
    int64_t checkpoint_every_steps; /* LC_AUTO or >= 1 */
    int64_t keep_checkpoints;       /* >= 1 */
    cJSON *metadata;                /* echoed; NULL: none; owned */
    const char *training_type; /* "standard", "globalStandard", "developerTier"; NULL: not given */
    const char *id;        /* not of the file: the id that who runs the job gives it; NULL: drawn */
    bool has_integrations; /* some were asked for; none is run */
    const char *canonical; /* see lc_job_spec_difference */
    uint8_t sha256[32];    /* of it, without the fields that may change on a resume: what "the
                                  same job file" means */
    lc_arena arena;
} lc_job_spec;

/* Unknown fields, wrong types and values out of bounds are errors that name the field's path
 * ("lorac.rank: expected an integer from 1 to 1024, found 0"). */
LC_WARN_UNUSED lc_code lc_job_spec_load(const char *path, lc_job_spec *out, lc_err *err);
LC_WARN_UNUSED lc_code lc_job_spec_parse(const char *text, size_t bytes, const char *what,
                                         lc_job_spec *out, lc_err *err);
void lc_job_spec_release(lc_job_spec *spec);

/* The canonical text is one flat JSON object, "lorac.rank": 16 and so on: every field by its path,
 * defaults filled in, lists sorted, so that equivalent spellings of a job are the same job.
 * lorac.deterministic and lorac.recompute may change on a resume: they do not count.
 * Compares this spec with an older one's canonical object: puts "lorac.rank was 16 and is 8 now"
 * into out (cut to its size; the first difference in file order), or an empty string when there is
 * none. */
#define LC_JOB_DIFFERENCE_BYTES 512
void lc_job_spec_difference(const lc_job_spec *spec, const cJSON *older,
                            char out[LC_JOB_DIFFERENCE_BYTES]);

/* The template of the job's data: the fields above, and for an open date the day (UTC) that the job
 * was made on, which a resume finds again in job.json. `date` keeps it. */
lc_template_source lc_job_template_source(const lc_job_spec *spec, int64_t created_at,
                                          char date[LC_TEMPLATE_DATE_BYTES]);

/* Rates and sizes behind "auto" (docs/architecture.md has the table). */
typedef struct lc_job_resolved {
    int64_t n_epochs;
    int64_t batch_size;
    double learning_rate_multiplier;
    double learning_rate; /* peak */
    int64_t seed;
    int64_t micro_batch_tokens;
    int64_t eval_every_steps;
    int64_t checkpoint_every_steps;
    int64_t max_tokens; /* of one row: min(max_seq_len, model context) */
    lc_dtype dtype;
    lc_device_kind device;
    int64_t total_steps;
    int64_t steps_per_epoch;
    int64_t warmup_steps;
} lc_job_resolved;

/* Facts the rules depend on; never the thread count or the free memory. */
typedef struct lc_job_facts {
    int64_t example_count;
    int64_t longest_example; /* tokens, training and validation */
    int64_t model_context;
    lc_device_kind device; /* the one that will run */
} lc_job_facts;

/* The rules, a function of the spec and of these facts alone (n: training examples):
 *
 *   n_epochs            3; 3n < 100: 100/n, at most 25; 3n > 25000: 25000/n, at least 1
 *   batch_size          n/500 (0.2 %), within 1..256
 *   learning rate       2e-4 x multiplier (auto: 1); lorac.learning_rate replaces the product
 *   max_tokens          min(max_seq_len, model context)
 *   micro_batch_tokens  512 on the CPU, 8192 on a GPU, never below the longest example; a smaller
 *                       one that was asked for is an error
 *   seed                given, or drawn_seed
 *   eval_every_steps    10
 *   checkpoint_every    total_steps/20 rounded up, within 5..50; each epoch end besides
 *   warmup_steps        warmup_ratio x total_steps rounded up (as transformers)
 *   dtype               fp32 on the CPU, bf16 on a GPU
 */
LC_WARN_UNUSED lc_code lc_job_resolve(const lc_job_spec *spec, const lc_job_facts *facts,
                                      uint32_t drawn_seed, lc_job_resolved *out, lc_err *err);

/* JSON object with every resolved value, and back (resume reads it instead of resolving again). */
void lc_job_resolved_write(const lc_job_resolved *resolved, lc_text *out);
LC_WARN_UNUSED lc_code lc_job_resolved_read(const cJSON *object, lc_job_resolved *out, lc_err *err);

#endif
