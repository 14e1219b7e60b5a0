/* The blocking calls, against a daemon in another thread. */
#include "fake_daemon.h"

/* The daemon's part: answers requests in turn until the application hangs up. */
struct script {
    struct fake fake;
    unsigned requests;
    struct local_submit submit; /* the last one */
    struct buf payload;
    bool hang_up_on_first;
};

static void *serve(void *user)
{
    struct script *script = user;
    uint64_t id;

    (void)fake_accept_thread(&script->fake);
    while (fake_request(&script->fake, &script->submit, &script->payload, &id) == 0) {
        script->requests++;
        if (script->hang_up_on_first) {
            script->hang_up_on_first = false;
            fake_hang_up(&script->fake);
            (void)fake_accept_thread(&script->fake);
            continue;
        }
        if (strcmp(script->submit.task, "nothing") == 0) {
            fake_send_error(&script->fake, id, TANDEM_ENOTASK, "no task nothing", "9");
        } else {
            fake_send_label(&script->fake, id, "cup");
        }
    }
    return NULL;
}

static struct tandem *script_start(struct script *script)
{
    struct tandem *tandem;

    fake_start(&script->fake);
    buf_init(&script->payload, 0);
    assert_int_equal(pthread_create(&script->fake.thread, NULL, serve, script), 0);
    assert_int_equal(tandem_open(script->fake.path, &tandem), 0);
    return tandem;
}

static void script_stop(struct script *script, struct tandem *tandem)
{
    tandem_close(tandem);
    fake_greet_end(&script->fake);
    buf_fini(&script->payload);
    fake_stop(&script->fake);
}

static void test_call(void **state)
{
    struct script script = {.requests = 0};
    struct tandem *tandem = script_start(&script);
    struct tandem_answer *answer = NULL;

    (void)state;
    assert_int_equal(tandem_generate(tandem, "commands", "walk", 5000, &answer), 0);
    assert_string_equal(tandem_answer_label(answer, 0), "cup");
    tandem_answer_free(answer);
    answer = NULL;
    assert_int_equal(tandem_generate(tandem, "nothing", "walk", 5000, &answer), TANDEM_ENOTASK);
    assert_null(answer);
    assert_string_equal(tandem_last_error(tandem), "no task nothing");
    assert_string_equal(tandem_answer_id(tandem_last_failure(tandem)), "9");
    assert_int_equal(tandem_generate(tandem, "com mands", "walk", 5000, &answer), TANDEM_EINVAL);
    assert_null(tandem_last_failure(tandem));
    script_stop(&script, tandem);
    assert_int_equal(script.requests, 2);
}

/* The callback of an asynchronous request runs inside a blocking call, and neither disturbs the
 * other's error. */
static void test_call_beside_submit(void **state)
{
    struct script script = {.requests = 0};
    struct tandem *tandem = script_start(&script);
    struct tandem_request request;
    struct tandem_answer *answer = NULL;
    struct end end = {0};

    (void)state;
    tandem_request_init(&request, "nothing");
    request.text = "walk";
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &end, NULL), 0);
    assert_int_equal(tandem_generate(tandem, "commands", "walk", 5000, &answer), 0);
    assert_int_equal(end.count, 1);
    assert_int_equal(end.error, TANDEM_ENOTASK);
    tandem_answer_free(answer);
    script_stop(&script, tandem);
}

static void test_gone_then_back(void **state)
{
    struct script script = {.hang_up_on_first = true};
    struct tandem *tandem = script_start(&script);
    struct tandem_answer *answer = NULL;

    (void)state;
    assert_int_equal(tandem_generate(tandem, "commands", "walk", 5000, &answer), TANDEM_EGONE);
    assert_int_equal(tandem_generate(tandem, "commands", "walk", 5000, &answer), 0);
    tandem_answer_free(answer);
    script_stop(&script, tandem);
    assert_int_equal(script.requests, 2);
}

static void file_write(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void test_classify_file(void **state)
{
    struct script script = {.requests = 0};
    struct tandem *tandem = script_start(&script);
    struct tandem_answer *answer = NULL;
    char path[128];
    char *big = calloc(1, LIMIT_PICTURE_BYTES + (size_t)1);

    (void)state;
    assert_non_null(big);
    snprintf(path, sizeof(path), "%s/picture", script.fake.dir);
    file_write(path, "not really a picture", 20);
    assert_int_equal(tandem_classify_file(tandem, "objects", path, 5000, &answer), 0);
    assert_string_equal(tandem_answer_label(answer, 0), "cup");
    assert_int_equal(script.submit.deadline_us, 5000000);
    assert_int_equal(script.submit.picture.format, TANDEM_PIXELS_ENCODED);
    assert_memory_equal(script.payload.data, "not really a picture", 20);
    tandem_answer_free(answer);
    file_write(path, "", 0);
    assert_int_equal(tandem_classify_file(tandem, "objects", path, 0, &answer), TANDEM_EFORMAT);
    file_write(path, big, LIMIT_PICTURE_BYTES);
    assert_int_equal(tandem_classify_file(tandem, "objects", path, 0, &answer), 0);
    tandem_answer_free(answer);
    file_write(path, big, LIMIT_PICTURE_BYTES + (size_t)1);
    assert_int_equal(tandem_classify_file(tandem, "objects", path, 0, &answer), TANDEM_ETOOBIG);
    assert_int_equal(tandem_classify_file(tandem, "objects", "/dev/zero", 0, &answer),
                     TANDEM_ETOOBIG);
    unlink(path);
    assert_int_equal(tandem_classify_file(tandem, "objects", path, 0, &answer), TANDEM_EIO);
    assert_non_null(strstr(tandem_last_error(tandem), path));
    assert_int_equal(tandem_classify_file(tandem, "objects", script.fake.dir, 0, &answer),
                     TANDEM_EIO);
    free(big);
    script_stop(&script, tandem);
    assert_int_equal(script.requests, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call),
        cmocka_unit_test(test_call_beside_submit),
        cmocka_unit_test(test_gone_then_back),
        cmocka_unit_test(test_classify_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
