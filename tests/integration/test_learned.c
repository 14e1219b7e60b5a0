/* test_learned.c: what real daemons have learned is found again after a kill, goes with the model
 * that it was learned of, and is forgotten on request, of one task and for good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LONG_ENOUGH 20000
#define PICTURES    6
#define TEXTS       2

static struct site site;
static struct tandem *tandem;
static char learned_path[128];

/* A task whose cascade asks the edge whatever local says, so that both answer. */
static void task_write(const char *name, const char *kind, const char *local, const char *edge)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/tasks/%s.conf", site.dir, name);
    site_write(path,
               "[task]\nkind = %s\nconfidence_threshold = 1\n[local]\nmodel = "
               "%s/deploy/models/%s\n[edge]\nmodel = %s/deploy/models/%s\n",
               kind, site.top, local, site.top, edge);
}

/* True: both sides answered, and the edge's answer was delivered. */
static bool both_answer(const char *task, int which)
{
    static const char *const pictures[PICTURES] = {
        SITE_SAMPLES "cat-0153.jpg",      SITE_SAMPLES "dog-1657.jpg",
        SITE_SAMPLES "airplane-0574.jpg", SITE_SAMPLES "ship-0445.jpg",
        SITE_SAMPLES "horse-0130.jpg",    SITE_SAMPLES "truck-1737.jpg"};
    struct tandem_answer *answer = NULL;
    bool both;

    if (strcmp(task, "commands") == 0) {
        assert_int_equal(site_generate(tandem, which ? "walk twice" : "jump left", "cascade",
                                       LONG_ENOUGH, &answer),
                         0);
    } else {
        assert_int_equal(site_classify(tandem, pictures[which], "cascade", LONG_ENOUGH, &answer),
                         0);
    }
    both = strcmp(tandem_answer_outcome_route(answer), "edge:den") == 0;
    tandem_answer_free(answer);
    return both;
}

/* Until both have answered: on a starved machine the edge may seem to be silent for a while. */
static void cascade(const char *task, int which)
{
    for (int waited = 0; !both_answer(task, which); waited += 10) {
        assert_true(waited < SITE_PATIENCE_MS);
        site_pause();
    }
}

/* A site that has compared PICTURES pictures and TEXTS texts. */
static int setup(void **state)
{
    (void)state;
    site_init(&site, &(struct site_config){.results = true});
    snprintf(learned_path, sizeof(learned_path), "%s/state/learned", site.dir);
    task_write("objects", "classify", "objects-local.gguf", "objects-edge.gguf");
    task_write("commands", "generate", "commands-local.gguf", "commands-edge.gguf");
    if (site_open(&site, &tandem) != 0) {
        return 1;
    }
    for (int i = 0; i < PICTURES; i++) {
        cascade("objects", i);
    }
    for (int i = 0; i < TEXTS; i++) {
        cascade("commands", i);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    site_close(&site, tandem);
    return 0;
}

/* One of the counts that the status has of a task, or with `edge` of the task on the edge. */
static double count_of(const char *task, bool edge, const char *key)
{
    cJSON *status = site_status(site.status_socket);
    const cJSON *item;
    double count = -1;

    cJSON_ArrayForEach(item, cJSON_GetObjectItem(status, "tasks"))
    {
        if (strcmp(cJSON_GetObjectItem(item, "name")->valuestring, task) == 0) {
            const cJSON *of =
                edge ? cJSON_GetArrayItem(cJSON_GetObjectItem(item, "edges"), 0) : item;

            count = cJSON_GetObjectItem(cJSON_GetObjectItem(of, "learned"), key)->valuedouble;
        }
    }
    cJSON_Delete(status);
    return count;
}

static void assert_counts(const char *task, int compared)
{
    assert_int_equal(count_of(task, false, "compared"), compared);
    assert_int_equal(count_of(task, true, "compared"), compared);
    assert_true(count_of(task, false, "answers") >= compared);
}

/* Ends the client and starts it again; the handle is a new one. */
static void restart(int signal)
{
    tandem_close(tandem);
    (void)site_client_stop(&site, signal);
    site_client_start(&site);
    site_edge_wait(&site, "up");
    assert_int_equal(tandem_open(site.app_socket, &tandem), 0);
}

/* The first line that begins so, behind `from`; NULL: there is none. Borrowed from `text`. */
static const char *line_find(const char *text, const char *from, const char *begins)
{
    const char *at = strstr(text, from);

    return at ? strstr(at, begins) : NULL;
}

static long line_sum(const char *line)
{
    char *end;
    long sum = 0, number;

    for (line = strchr(line, ' '); *line == ' '; line = end) {
        number = strtol(line, &end, 10);
        sum += number;
    }
    return sum;
}

/* Until the disk has as many comparisons of both tasks: it is written some seconds later. */
static void kept_wait(int pictures, int texts)
{
    for (int waited = 0; waited < SITE_PATIENCE_MS; waited += 10) {
        struct stat state;
        bool done = false;

        if (stat(learned_path, &state) == 0) {
            char *text = site_file(learned_path, NULL);
            const char *objects = line_find(text, "\ntask objects ", "\nboth "),
                       *commands = line_find(text, "\ntask commands ", "\nboth ");

            done =
                objects && commands && line_sum(objects) == pictures && line_sum(commands) == texts;
            free(text);
        }
        if (done) {
            return;
        }
        site_pause();
    }
    fail_msg("%s never had %d and %d comparisons", learned_path, pictures, texts);
}

static void test_found_again_after_a_kill(void **state)
{
    const double agreed = count_of("objects", false, "agreed"),
                 answers = count_of("objects", false, "answers");

    (void)state;
    assert_counts("objects", PICTURES);
    assert_counts("commands", TEXTS);
    kept_wait(PICTURES, TEXTS);
    restart(SIGKILL);
    assert_counts("objects", PICTURES);
    assert_counts("commands", TEXTS);
    assert_true(count_of("objects", false, "agreed") == agreed);
    assert_true(count_of("objects", false, "answers") == answers);
    assert_true(count_of("objects", false, "runs") >= PICTURES);
    assert_int_equal(site_log_count(&site, "client", "forgotten"), 0);
    cascade("objects", 0); /* and it goes on from there */
    assert_counts("objects", PICTURES + 1);
}

/* One bit of a number, as a bad card has it: still a number, and only the checksum tells. */
static void test_damaged_file(void **state)
{
    char damaged[160], *text, *at;
    size_t bytes;
    FILE *file;

    (void)state;
    kept_wait(PICTURES, TEXTS);
    tandem_close(tandem);
    assert_int_equal(site_client_stop(&site, SIGKILL), SIGKILL);
    text = site_file(learned_path, &bytes);
    at = strstr(text, "\nseen ");
    assert_non_null(at);
    at[strlen("\nseen ")] ^= 1;
    file = fopen(learned_path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    site_client_start(&site);
    site_edge_wait(&site, "up");
    site_log_wait(&site, "client", "set aside as");
    assert_counts("objects", 0);
    assert_counts("commands", 0);
    snprintf(damaged, sizeof(damaged), "%s.damaged", learned_path);
    free(text);
    text = site_file(damaged, &bytes); /* for who wants to know why */
    assert_true(bytes > 0);
    free(text);
    assert_int_equal(tandem_open(site.app_socket, &tandem), 0);
    cascade("objects", 0); /* requests go on, and what they teach is kept anew */
    kept_wait(1, 0);
    restart(SIGKILL);
    assert_counts("objects", 1);
    assert_int_equal(site_log_count(&site, "client", "set aside as"), 1);
}

/* Another model at the edge: what was learned with the old one goes, and nothing else. */
static void test_another_edge_model(void **state)
{
    const double runs = count_of("objects", false, "runs");

    (void)state;
    task_write("objects", "classify", "objects-local.gguf", "objects-local.gguf");
    assert_int_equal(site_server_stop(&site, SIGTERM), 0);
    site_edge_wait(&site, "waiting");
    site_server_start(&site);
    site_edge_wait(&site, "up");
    site_log_wait(&site, "client", "edge den: task objects: another model, what was learned");
    assert_counts("objects", 0);
    assert_true(count_of("objects", false, "runs") == runs);
    assert_counts("commands", TEXTS);
    assert_int_equal(site_log_count(&site, "client", "is forgotten"), 1);
    cascade("objects", 0);
    assert_int_equal(count_of("objects", true, "agreed"), 1); /* it is the same model now */
}

/* The same while the client was away, and another model here. */
static void test_another_local_model(void **state)
{
    (void)state;
    kept_wait(PICTURES, TEXTS);
    task_write("objects", "classify", "objects-edge.gguf", "objects-edge.gguf");
    restart(SIGKILL);
    site_log_wait(&site, "client", "task objects: another local model, what was learned");
    assert_counts("objects", 0);
    assert_int_equal(count_of("objects", false, "answers"), 0);
    assert_counts("commands", TEXTS);
    assert_int_equal(site_log_count(&site, "client", "is forgotten"), 1);
}

/* An exact repeat, where Tandem may choose. */
static bool is_cached(void)
{
    struct tandem_answer *answer = NULL;
    bool cached;

    assert_int_equal(site_classify(tandem, SITE_PICTURE, "auto", LONG_ENOUGH, &answer), 0);
    cached = strcmp(tandem_answer_route(answer), "cache") == 0;
    tandem_answer_free(answer);
    return cached;
}

static int forget(const char *task, char **ret_out, char **ret_error)
{
    return site_run(ret_out, ret_error, "tandemctl", "forget", "--task", task, "--socket",
                    site.status_socket, NULL);
}

static void test_forget(void **state)
{
    char *out, *error;

    (void)state;
    assert_true(is_cached());
    assert_int_equal(forget("objects", &out, NULL), 0);
    assert_string_equal(out, "what was learned of task objects is forgotten\n");
    free(out);
    assert_counts("objects", 0);
    assert_int_equal(count_of("objects", false, "answers"), 0);
    assert_counts("commands", TEXTS);
    restart(SIGKILL); /* it was on disk before it was said */
    assert_counts("objects", 0);
    assert_counts("commands", TEXTS);
    assert_int_equal(forget("nosuch", &out, &error), 1);
    assert_string_equal(out, "");
    assert_non_null(strstr(error, "nosuch"));
    assert_ptr_equal(strchr(error, '\n'), error + strlen(error) - 1);
    free(out);
    free(error);
    assert_counts("commands", TEXTS);
}

/* The answers that were kept of the task are no more given. */
static void test_forget_answers(void **state)
{
    (void)state;
    assert_true(is_cached());
    assert_int_equal(forget("commands", NULL, NULL), 0);
    assert_true(is_cached());
    assert_int_equal(forget("objects", NULL, NULL), 0);
    assert_false(is_cached());
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        FRESH(test_found_again_after_a_kill),
        FRESH(test_damaged_file),
        FRESH(test_another_edge_model),
        FRESH(test_another_local_model),
        FRESH(test_forget),
        FRESH(test_forget_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
