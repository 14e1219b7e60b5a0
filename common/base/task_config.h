/* task_config.h: the task files, tasks.d/NAME.conf: what a caller asks for by name. One table, read
 * by both daemons, so that the two sides of a task cannot be described differently by accident.
 * Start-up and reload only. */
#ifndef TANDEM_BASE_TASK_CONFIG_H
#define TANDEM_BASE_TASK_CONFIG_H

#include "common/base/config_source.h"

enum task_kind { TASK_CLASSIFY, TASK_DETECT, TASK_GENERATE };
/* AUTO: pictures EXACT, text OFF. */
enum task_cache { TASK_CACHE_AUTO, TASK_CACHE_OFF, TASK_CACHE_EXACT, TASK_CACHE_SIMILAR };
/* AUTO: pictures may be sent smaller or more compressed than they came, where it was measured what
 * that does to the answers. */
enum task_upload { TASK_UPLOAD_AUTO, TASK_UPLOAD_ORIGINAL };
enum task_late { TASK_LATE_ERROR, TASK_LATE_DELIVER };
/* In the order of enum decide_no_reserve. */
enum task_no_reserve { TASK_NO_RESERVE_LOCAL, TASK_NO_RESERVE_DROP, TASK_NO_RESERVE_ACCEPT_RISK };

#define TASK_ERROR_COST_MIN 0.001
#define TASK_ERROR_COST_MAX 1000

struct task_side {
    char *model; /* path, made absolute or relative to the task file's models; "" when this side has
                    no model */
    char *backend; /* "engine" */
};

struct task_config {
    struct config_source source; /* where its keys stand */
    char *name;                  /* the file's name without .conf */
    int kind;                    /* enum task_kind */
    char *labels_text;
    char **labels; /* labels_text split; NULL: the model's own */
    size_t label_count;
    struct task_side local;
    struct task_side edge;
    double edge_expected_error;  /* 0: not stated */
    char *edge_upload_effects;   /* path, made absolute as a model's; "": nothing was measured */
    int64_t default_deadline_ms; /* 0: none */
    char
        *leaves_device; /* "any_edge", "never" or the name of the one edge that may see the input */
    double confidence_threshold; /* cascade: a local answer at least this sure stays */
    char *positive_label;        /* "": every label counts alike; else the yes of a question */
    double false_negative_cost;  /* times one_error_ms: a no that should be a yes, */
    double false_positive_cost;  /* and a yes that should be a no */
    int64_t max_new_tokens;
    int late;                /* enum task_late */
    int no_reserve;          /* enum task_no_reserve */
    int result_cache;        /* enum task_cache */
    int64_t result_age_ms;   /* of the same input; 0: no bound */
    double similar_distance; /* steps of brightness, frame_print.h */
    int64_t similar_age_ms;
    int upload; /* enum task_upload */
};

/* The table of one task file (for the annotated example and for printing). The target is struct
 * task_config. */
extern const struct config_schema task_config_schema;

/* Reads every NAME.conf of `dir`, in the order of their names; other files are ignored. Relative
 * model paths are taken from `models_dir`, or, when that is NULL or empty, from the folder of the
 * task file. 0 with an owned array (at most LIMIT_TASKS; none is an error); TANDEM_EIO or
 * TANDEM_ECONFIG with one line in `error`, and nothing is returned then. */
int task_config_load_dir(const char *dir, const char *models_dir, struct task_config **ret_tasks,
                         size_t *ret_count, char error[CONFIG_ERROR_BYTES]);
/* Frees the array; NULL is fine. */
void task_config_free(struct task_config *tasks, size_t count);
/* The task of this name, borrowed, or NULL. */
const struct task_config *task_config_find(const struct task_config *tasks, size_t count,
                                           const char *name);
/* The word of a kind: "classify", "detect", "generate". */
const char *task_kind_text(int kind);
/* Whether `label` is one of these. */
bool task_has_label(const char *const *labels, size_t count, const char *label);

#endif
