#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/base/task_config.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static int dir_open(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/tandem-tasks-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int dir_remove(void **state)
{
    char path[512];
    struct dirent *entry;
    DIR *open_dir = opendir(dir);

    (void)state;
    while (open_dir && (entry = readdir(open_dir)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        unlink(path);
    }
    closedir(open_dir);
    return rmdir(dir);
}

static void task_write(const char *file, const char *text)
{
    char path[256];
    FILE *out;

    snprintf(path, sizeof(path), "%s/%s", dir, file);
    out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

/* Loading the folder fails and the line ends in `tail`. */
static void assert_refused(int code, const char *tail)
{
    struct task_config *tasks = NULL;
    size_t count = 77;
    char error[CONFIG_ERROR_BYTES];

    assert_int_equal(task_config_load_dir(dir, NULL, &tasks, &count, error), code);
    assert_null(tasks);
    assert_int_equal(count, 77);
    assert_true(strlen(error) >= strlen(tail));
    assert_string_equal(error + strlen(error) - strlen(tail), tail);
    assert_int_equal(strncmp(error, dir, strlen(dir)), 0);
}

static void test_two_tasks_in_order(void **state)
{
    struct task_config *tasks;
    size_t count;
    char error[CONFIG_ERROR_BYTES];
    char path[128];

    (void)state;
    task_write("objects.conf",
               "[task]\nkind = classify\nlabels = cat , dog,red car\nlate = deliver\n"
               "upload = original\n"
               "[local]\nmodel = small.gguf\n[edge]\nmodel = /big.gguf\n"
               "upload_effects = big.csv\n");
    task_write("commands.conf",
               "[task]\nkind = generate\nleaves_device = desk\nconfidence_threshold = 0.5\n"
               "max_new_tokens = 9\ndefault_deadline_ms = 100\n[local]\nmodel = c.gguf\n");
    task_write("notes.txt", "not a task");
    task_write(".hidden.conf", "not a task");
    assert_int_equal(task_config_load_dir(dir, NULL, &tasks, &count, error), 0);
    assert_int_equal(count, 2);
    assert_string_equal(tasks[0].name, "commands");
    assert_int_equal(tasks[0].kind, TASK_GENERATE);
    assert_string_equal(tasks[0].leaves_device, "desk");
    assert_true(fabs(tasks[0].confidence_threshold - 0.5) < 1e-12);
    assert_int_equal(tasks[0].max_new_tokens, 9);
    assert_int_equal(tasks[0].default_deadline_ms, 100);
    assert_int_equal(tasks[0].label_count, 0);
    assert_int_equal(tasks[0].late, TASK_LATE_ERROR);
    assert_string_equal(tasks[0].edge.model, "");
    assert_string_equal(tasks[1].name, "objects");
    assert_string_equal(task_kind_text(tasks[1].kind), "classify");
    assert_int_equal(tasks[1].label_count, 3);
    assert_string_equal(tasks[1].labels[0], "cat");
    assert_string_equal(tasks[1].labels[1], "dog");
    assert_string_equal(tasks[1].labels[2], "red car");
    assert_int_equal(tasks[1].late, TASK_LATE_DELIVER);
    assert_int_equal(tasks[0].upload, TASK_UPLOAD_AUTO);
    assert_int_equal(tasks[1].upload, TASK_UPLOAD_ORIGINAL);
    assert_string_equal(tasks[0].edge_upload_effects, "");
    snprintf(path, sizeof(path), "%s/big.csv", dir);
    assert_string_equal(tasks[1].edge_upload_effects, path);
    snprintf(path, sizeof(path), "%s/small.gguf", dir);
    assert_string_equal(tasks[1].local.model, path);
    assert_string_equal(tasks[1].edge.model, "/big.gguf");
    assert_ptr_equal(task_config_find(tasks, count, "objects"), &tasks[1]);
    assert_null(task_config_find(tasks, count, "people"));
    task_config_free(tasks, count);

    assert_int_equal(task_config_load_dir(dir, "/models", &tasks, &count, error), 0);
    assert_string_equal(tasks[1].local.model, "/models/small.gguf");
    task_config_free(tasks, count);
}

static void test_refusals(void **state)
{
    char labels[4 * LIMIT_LABELS];
    char text[4 * LIMIT_LABELS + 128];

    (void)state;
    assert_refused(TANDEM_ECONFIG, ": 0 task files (NAME.conf); there must be 1 to 64");
    task_write("a.conf", "[local]\nmodel = m\n");
    assert_refused(TANDEM_ECONFIG, "/a.conf: [task] kind: required, but missing");
    task_write("a.conf", "[task]\nkind = sing\n");
    assert_refused(TANDEM_ECONFIG,
                   "/a.conf:2: [task] kind: 'sing' is not one of classify, detect, generate");
    task_write("a.conf", "[task]\nkind = detect\n");
    assert_refused(TANDEM_ECONFIG, "/a.conf: neither [local] nor [edge] names a model");
    task_write("a.conf", "[task]\nkind = detect\n[local]\nmodel = m\nbackend = exec:/usr/bin/x\n");
    assert_refused(
        TANDEM_ECONFIG,
        "/a.conf:5: [local] backend: exec: is not supported yet; engine is the one backend");
    task_write("a.conf", "[task]\nkind = detect\n[edge]\nmodel = m\nbackend = magic\n");
    assert_refused(TANDEM_ECONFIG, "/a.conf:5: [edge] backend: 'magic' is not engine");
    task_write("a.conf", "[task]\nkind = detect\nlabels = a,,b\n[edge]\nmodel = m\n");
    assert_refused(TANDEM_ECONFIG, "/a.conf:3: [task] labels: label 2 is empty");
    {
        char long_label[LIMIT_LABEL_BYTES + 128];

        snprintf(long_label, sizeof(long_label),
                 "[task]\nkind = detect\nlabels = a,%0*d\n[edge]\nmodel = m\n",
                 LIMIT_LABEL_BYTES + 1, 0);
        task_write("a.conf", long_label);
        assert_refused(TANDEM_ECONFIG,
                       "/a.conf:3: [task] labels: label 2 is longer than 255 bytes");
    }
    task_write("a.conf", "[task]\nkind = detect\nleaves_device = a b\n[edge]\nmodel = m\n");
    assert_refused(TANDEM_ECONFIG,
                   "/a.conf:3: [task] leaves_device: any_edge, never or the name of an edge");
    task_write("a.conf", "[task]\nkind = detect\nconfidence_threshold = 1.1\n[edge]\nmodel = m\n");
    assert_refused(TANDEM_ECONFIG,
                   "/a.conf:3: [task] confidence_threshold: must be between 0 and 1");
    task_write("a.conf", "[task]\nkind = detect\npositive_label = cat\n[edge]\nmodel = m\n");
    assert_refused(TANDEM_ECONFIG,
                   "/a.conf:3: [task] positive_label: only for kind = classify, this is detect");
    task_write("a.conf", "[task]\nkind = classify\nfalse_positive_cost = 2\n[local]\nmodel = m\n");
    assert_refused(TANDEM_ECONFIG, "/a.conf:3: [task] false_positive_cost: needs a positive_label");
    task_write("a.conf", "[task]\nkind = classify\npositive_label = cat\nfalse_negative_cost = 0\n"
                         "[local]\nmodel = m\n");
    assert_refused(TANDEM_ECONFIG,
                   "false_negative_cost: must be between 0.001 and 1000 times one_error_ms");
    task_write("a.conf", "[task]\nkind = classify\nlabels = dog,cow\npositive_label = cat\n"
                         "[local]\nmodel = m\n");
    assert_refused(TANDEM_ECONFIG, "/a.conf:4: [task] positive_label: 'cat' is none of labels");
    task_write("a.conf", "[task]\nkind = classify\npositive_label = cat\n[edge]\nmodel = m\n");
    assert_refused(
        TANDEM_ECONFIG,
        "/a.conf:3: [task] positive_label: needs labels where there is no [local] model");
    task_write("a.conf", "[task]\nkind = detect\nmax_new_tokens = 32769\n[edge]\nmodel = m\n");
    assert_refused(TANDEM_ECONFIG, "max_new_tokens: must be between 1 and 32768 tokens");
    task_write("a.conf",
               "[task]\nkind = detect\ndefault_deadline_ms = 3600001\n[edge]\nmodel = m\n");
    assert_refused(TANDEM_ECONFIG, "default_deadline_ms: must be between 0 and 3600000 ms");
    labels[0] = '\0';
    for (int i = 0; i < LIMIT_LABELS + 1; i++) {
        strcat(labels, i ? ",l" : "l");
    }
    snprintf(text, sizeof(text), "[task]\nkind = detect\nlabels = %s\n[edge]\nmodel = m\n", labels);
    task_write("a.conf", text);
    assert_refused(TANDEM_ECONFIG, "/a.conf:3: [task] labels: more than 1024");
    task_write("a.conf", "[task]\nkind = detect\n[edge]\nmodel = m\n");
    task_write("b c.conf", "");
    assert_refused(TANDEM_ECONFIG,
                   "/b c.conf: a task's name is 1 to 63 characters of A-Z a-z 0-9 . _ -");
}

/* What there is to choose from, what counts where nothing is said, and what an error may cost. */
static void test_choices(void **state)
{
    static const struct {
        const char *line;
        int no_reserve, upload;
    } cases[] = {
        {"", TASK_NO_RESERVE_LOCAL, TASK_UPLOAD_AUTO},
        {"no_reserve = local\nupload = auto\n", TASK_NO_RESERVE_LOCAL, TASK_UPLOAD_AUTO},
        {"no_reserve = drop\nupload = original\n", TASK_NO_RESERVE_DROP, TASK_UPLOAD_ORIGINAL},
        {"no_reserve = accept_risk\n", TASK_NO_RESERVE_ACCEPT_RISK, TASK_UPLOAD_AUTO}};
    static const char *const wrong[][2] = {
        {"no_reserve = edge", "no_reserve: 'edge' is not one of local, drop, accept_risk"},
        {"upload = smaller", "upload: 'smaller' is not one of auto, original"},
        {"positive_label = cat\nfalse_negative_cost = 1000.5",
         "false_negative_cost: must be between 0.001 and 1000 times one_error_ms"},
        {"positive_label = cat\nfalse_positive_cost = 1000.5",
         "false_positive_cost: must be between 0.001 and 1000 times one_error_ms"},
        {"positive_label = cat\nfalse_positive_cost = 0.0009",
         "false_positive_cost: must be between 0.001 and 1000 times one_error_ms"},
        {"false_negative_cost = 2", "false_negative_cost: needs a positive_label"},
    };
    struct task_config *tasks;
    size_t count;
    char text[256], error[CONFIG_ERROR_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text), "[task]\nkind = classify\n%s[local]\nmodel = m\n",
                 cases[i].line);
        task_write("a.conf", text);
        assert_int_equal(task_config_load_dir(dir, NULL, &tasks, &count, error), 0);
        assert_int_equal(tasks[0].no_reserve, cases[i].no_reserve);
        assert_int_equal(tasks[0].upload, cases[i].upload);
        assert_string_equal(tasks[0].positive_label, "");
        assert_true(tasks[0].false_negative_cost == 1 && tasks[0].false_positive_cost == 1);
        task_config_free(tasks, count);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(text, sizeof(text), "[task]\nkind = classify\n%s\n[local]\nmodel = m\n",
                 wrong[i][0]);
        task_write("a.conf", text);
        assert_refused(TANDEM_ECONFIG, wrong[i][1]);
    }
    task_write("a.conf", "[task]\nkind = classify\npositive_label = cat\n"
                         "false_negative_cost = 1000\nfalse_positive_cost = 0.001\n"
                         "[local]\nmodel = m\n");
    assert_int_equal(task_config_load_dir(dir, NULL, &tasks, &count, error), 0);
    assert_string_equal(tasks[0].positive_label, "cat");
    assert_true(tasks[0].false_negative_cost == 1000 && tasks[0].false_positive_cost == 0.001);
    task_config_free(tasks, count);
}

static void test_count_and_missing_folder(void **state)
{
    struct task_config *tasks;
    size_t count;
    char error[CONFIG_ERROR_BYTES];
    char file[32];

    (void)state;
    for (int i = 0; i < LIMIT_TASKS; i++) {
        snprintf(file, sizeof(file), "t%d.conf", i);
        task_write(file, "[task]\nkind = detect\n[edge]\nmodel = m\n");
    }
    assert_int_equal(task_config_load_dir(dir, NULL, &tasks, &count, error), 0);
    assert_int_equal(count, LIMIT_TASKS);
    task_config_free(tasks, count);
    task_write("one-more.conf", "[task]\nkind = detect\n[edge]\nmodel = m\n");
    assert_refused(TANDEM_ECONFIG, ": 65 task files (NAME.conf); there must be 1 to 64");
    assert_int_equal(task_config_load_dir("/nonexistent", NULL, &tasks, &count, error), TANDEM_EIO);
    assert_string_equal(error, "/nonexistent: cannot be read: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_two_tasks_in_order, dir_open, dir_remove),
        cmocka_unit_test_setup_teardown(test_refusals, dir_open, dir_remove),
        cmocka_unit_test_setup_teardown(test_choices, dir_open, dir_remove),
        cmocka_unit_test_setup_teardown(test_count_and_missing_folder, dir_open, dir_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
