/* test_reload_tasks.c: SIGHUP of either daemon with other task files: the two agree anew on the
 * connection that they have, and what is under way on it is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <stdio.h>
#include <cmocka.h>

#include "tests/support/site.h"

#include "common/base/clock.h"

static struct site site;

static void task_write(const char *name, const char *labels)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/tasks/%s.conf", site.dir, name);
    site_write(path,
               "[task]\nkind = classify\ndefault_deadline_ms = 20000\n%s[local]\nmodel = "
               "%s/deploy/models/objects-local.gguf\n[edge]\nmodel = "
               "%s/deploy/models/objects-edge.gguf\n",
               labels, site.top, site.top);
}

/* What the client's status says against this task on its only edge: "" when nothing, owned. */
static char *task_trouble(const char *name)
{
    cJSON *status = site_status(site.status_socket);
    const cJSON *task;
    char *why = NULL;

    cJSON_ArrayForEach(task, cJSON_GetObjectItemCaseSensitive(status, "tasks"))
    {
        if (strcmp(cJSON_GetObjectItemCaseSensitive(task, "name")->valuestring, name) == 0) {
            const cJSON *edge =
                cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(task, "edges"), 0);
            const cJSON *said = cJSON_GetObjectItemCaseSensitive(edge, "why");

            assert_non_null(edge);
            why = strdup(cJSON_IsString(said) ? said->valuestring : "");
        }
    }
    cJSON_Delete(status);
    return why ? why : strdup("no such task");
}

static void trouble_wait(const char *name, const char *trouble)
{
    const int64_t end_ns = clock_now_ns() + (int64_t)SITE_PATIENCE_MS * NS_PER_MS;
    bool there = false;

    while (!there) {
        char *why = task_trouble(name);

        there = trouble[0] ? strstr(why, trouble) != NULL : why[0] == '\0';
        if (!there && clock_now_ns() > end_ns) {
            fail_msg("task %s: \"%s\" and not \"%s\"", name, why, trouble);
        }
        free(why);
        site_pause();
    }
}

static void assert_by_edge(const char *name)
{
    char *out, *error;
    const int status = site_run(&out, &error, "tandemctl", "run", name, SITE_PICTURE, "--route",
                                "edge", "--json", "--socket", site.status_socket, NULL);

    if (status != 0 || !strstr(out, "\"outcome_route\":\"edge:den\"")) {
        fail_msg("task %s: %d: %s%s", name, status, out, error);
    }
    free(out);
    free(error);
}

static double dials(void)
{
    return site_number(site.status_socket, "edges.0.dials");
}

#define WRONG "labels = a,b,c,d,e,f,g,h,i,j\n"
#define OTHER "labels differ"

static int setup(void **state)
{
    (void)state;
    site_init(&site, NULL);
    site_server_start(&site);
    task_write("late", "");
    site_client_start(&site);
    site_edge_wait(&site, "up");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    assert_int_equal(site_server_stop(&site, SIGTERM), 0);
    site_fini(&site);
    return 0;
}

static void test_server_reads_a_new_task(void **state)
{
    (void)state;
    trouble_wait("late", "edge does not serve this task");
    assert_int_equal(kill(site.server, SIGHUP), 0);
    trouble_wait("late", "");
    assert_by_edge("late");
    assert_true(dials() == 1);
}

static void test_client_reads_other_labels(void **state)
{
    (void)state;
    task_write("late", WRONG);
    assert_int_equal(kill(site.client, SIGHUP), 0);
    trouble_wait("late", OTHER);
    assert_by_edge("objects");
    task_write("late", "");
    assert_int_equal(kill(site.client, SIGHUP), 0);
    trouble_wait("late", "");
    assert_by_edge("late");
    assert_true(dials() == 1);
}

static void test_server_reads_other_labels(void **state)
{
    (void)state;
    task_write("late", WRONG);
    assert_int_equal(kill(site.server, SIGHUP), 0);
    trouble_wait("late", OTHER);
    task_write("late", "");
    assert_int_equal(kill(site.server, SIGHUP), 0);
    trouble_wait("late", "");
    assert_by_edge("late");
    assert_true(dials() == 1);
}

struct seen {
    bool ended;
    int error;
    struct tandem_answer *answer;
};

static void on_end(struct tandem *tandem, uint64_t id, int error, struct tandem_answer *answer,
                   void *user)
{
    struct seen *seen = user;

    (void)tandem;
    (void)id;
    *seen = (struct seen){true, error, answer};
}

/* The server has accepted a long text when both sides get other task files. */
static void test_what_is_under_way_goes_on(void **state)
{
    struct tandem_request request;
    struct tandem *tandem;
    struct seen seen = {0};

    (void)state;
    assert_int_equal(tandem_open(site.app_socket, &tandem), 0);
    assert_int_equal(kill(site.server, SIGSTOP), 0);
    tandem_request_init(&request, "commands");
    request.text = "jump around left thrice after walk around right thrice";
    request.route = "edge";
    request.deadline_ms = SITE_PATIENCE_MS;
    assert_int_equal(tandem_submit(tandem, &request, on_end, NULL, &seen, NULL), 0);
    task_write("more", "");
    assert_int_equal(kill(site.server, SIGHUP), 0);
    assert_int_equal(kill(site.client, SIGHUP), 0);
    assert_int_equal(kill(site.server, SIGCONT), 0);
    while (!seen.ended) {
        assert_true(tandem_wait(tandem, SITE_PATIENCE_MS) >= 0);
    }
    assert_int_equal(seen.error, 0);
    assert_string_equal(tandem_answer_outcome_route(seen.answer), "edge:den");
    tandem_answer_free(seen.answer);
    tandem_close(tandem);
    trouble_wait("more", "");
    assert_by_edge("more");
    assert_true(dials() == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_reads_a_new_task),
        cmocka_unit_test(test_client_reads_other_labels),
        cmocka_unit_test(test_server_reads_other_labels),
        cmocka_unit_test(test_what_is_under_way_goes_on),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
