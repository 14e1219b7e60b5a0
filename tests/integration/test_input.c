/* test_input.c: inputs that are not what they say, or too much, through the library and real
 * daemons: each ends in one stated error within its time, and the next good one is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "tests/support/site.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

static struct site site;
static struct tandem *tandem;
static uint8_t *sample; /* a good JPEG */
static size_t sample_bytes;

static int setup(void **state)
{
    (void)state;
    site_init(&site, NULL);
    site_server_start(&site);
    site_client_start(&site);
    site_edge_wait(&site, "up");
    sample = site_file(SITE_PICTURE, &sample_bytes);
    return tandem_open(site.app_socket, &tandem);
}

static int teardown(void **state)
{
    (void)state;
    tandem_close(tandem);
    free(sample);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    assert_int_equal(site_server_stop(&site, SIGTERM), 0);
    site_fini(&site);
    return 0;
}

static int picture_ask(const void *data, size_t bytes, const char *route,
                       struct tandem_answer **ret_answer)
{
    struct tandem_request request;

    tandem_request_init(&request, "objects");
    request.picture.data = data;
    request.picture.bytes = bytes;
    request.route = route;
    return tandem_call(tandem, &request, ret_answer);
}

/* The record of the last one has the line that its caller was told: what the input was refused for.
 */
static void assert_record(const char *error_text)
{
    char *line = site_ask(site.status_socket, "decisions 1\n"), wanted[512];

    assert_non_null(line);
    snprintf(wanted, sizeof(wanted), "\"error_text\":\"%s\"", error_text);
    if (!strstr(line, wanted)) {
        fail_msg("no %s in %s", wanted, line);
    }
    free(line);
}

/* Refused by both sides with this code and a line; a good one is answered after it. */
static void assert_picture_refused(const void *data, size_t bytes, int error)
{
    static const char *const routes[] = {"local", "edge", "cascade", NULL};
    struct tandem_answer *answer = NULL;

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const int result = picture_ask(data, bytes, routes[i], &answer);

        if (result != error) {
            fail_msg("by %s: %d, not %d", routes[i] ? routes[i] : "auto", result, error);
        }
        assert_null(answer);
        assert_true(tandem_last_error(tandem)[0] != '\0');
        assert_string_not_equal(tandem_last_error(tandem), tandem_strerror(TANDEM_EINTERNAL));
        assert_record(tandem_last_error(tandem));
    }
    assert_int_equal(picture_ask(sample, sample_bytes, "local", &answer), 0);
    tandem_answer_free(answer);
}

static void test_not_a_picture(void **state)
{
    size_t bytes;
    void *data = site_file("Makefile", &bytes);
    uint8_t *noise = calloc(1, 100000);

    (void)state;
    assert_non_null(noise);
    assert_picture_refused(data, bytes, TANDEM_EFORMAT);
    assert_picture_refused(data, 1, TANDEM_EFORMAT);
    site_log_wait(&site, "client", ", failed: neither a JPEG nor a PNG picture");
    for (size_t i = 0; i < 100000; i++) {
        noise[i] = (uint8_t)(i * i >> 3);
    }
    assert_picture_refused(noise, 100000, TANDEM_EFORMAT); /* this one travels as a memfd */
    free(noise);
    free(data);
}

static void test_truncated_jpeg(void **state)
{
    (void)state;
    assert_picture_refused(sample, sample_bytes / 2, TANDEM_EFORMAT);
    assert_picture_refused(sample, 20, TANDEM_EFORMAT);
}

/* The frame header says 65000 x 65000; there is no need to decode a row to see it. */
static void test_jpeg_says_huge(void **state)
{
    uint8_t *huge = malloc(sample_bytes);
    size_t at = 2;

    (void)state;
    assert_non_null(huge);
    memcpy(huge, sample, sample_bytes);
    while (at + 9 < sample_bytes &&
           !(huge[at] == 0xff && (huge[at + 1] == 0xc0 || huge[at + 1] == 0xc2))) {
        at += 2 + (size_t)(huge[at + 2] << 8 | huge[at + 3]);
    }
    assert_true(at + 9 < sample_bytes);
    memcpy(huge + at + 5, "\xfd\xe8\xfd\xe8", 4);
    assert_picture_refused(huge, sample_bytes, TANDEM_ETOOBIG);
    free(huge);
}

static uint8_t *jpeg_make(unsigned width, unsigned height, size_t *ret_bytes)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *out = NULL;
    unsigned long bytes = 0;
    JSAMPROW row = malloc((size_t)width * 3);

    assert_non_null(row);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &out, &bytes);
    jpeg.image_width = width;
    jpeg.image_height = height;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < height) {
        for (size_t x = 0; x < (size_t)width * 3; x++) {
            row[x] = (JSAMPLE)(x + jpeg.next_scanline * 7 + (x * jpeg.next_scanline >> 9));
        }
        (void)jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    free(row);
    *ret_bytes = bytes;
    return out;
}

/* As a camera makes them. */
static void test_twelve_megapixels(void **state)
{
    struct tandem_answer *answer = NULL;
    size_t bytes;
    uint8_t *data = jpeg_make(4000, 3000, &bytes);

    (void)state;
    assert_true(bytes > (64u << 10));
    assert_int_equal(picture_ask(data, bytes, "local", &answer), 0);
    assert_int_equal(tandem_answer_label_count(answer), 10);
    tandem_answer_free(answer);
    assert_int_equal(picture_ask(data, bytes, "edge", &answer), 0);
    assert_string_equal(tandem_answer_outcome_route(answer), "edge:den");
    tandem_answer_free(answer);
    free(data);
}

/* Within the limit of a side, over that of the area. */
static void test_too_many_pixels(void **state)
{
    size_t bytes;
    uint8_t *data = jpeg_make(8192, 4104, &bytes);

    (void)state;
    assert_picture_refused(data, bytes, TANDEM_ETOOBIG);
    free(data);
}

static void test_raw_pictures(void **state)
{
    struct tandem_answer *answer = NULL;
    struct tandem_request request;
    const size_t bytes = (size_t)640 * 480 * 3;
    uint8_t *pixels = calloc(1, bytes);

    (void)state;
    assert_non_null(pixels);
    tandem_request_init(&request, "objects");
    request.picture.format = TANDEM_PIXELS_RGB;
    request.picture.width = 640;
    request.picture.height = 480;
    request.picture.data = pixels;
    request.picture.bytes = bytes;
    request.route = "local";
    assert_int_equal(tandem_call(tandem, &request, &answer), 0);
    tandem_answer_free(answer);
    answer = NULL;
    request.picture.bytes = bytes - 1; /* less than it says */
    assert_true(tandem_call(tandem, &request, &answer) == TANDEM_EFORMAT);
    request.picture.bytes = bytes;
    request.picture.stride_bytes = 3;
    assert_true(tandem_call(tandem, &request, &answer) == TANDEM_EFORMAT);
    request.picture.stride_bytes = 0;
    request.picture.width = LIMIT_PICTURE_SIDE_PIXELS + 1;
    assert_int_equal(tandem_call(tandem, &request, &answer), TANDEM_ETOOBIG);
    assert_null(answer);
    free(pixels);
}

static void test_files(void **state)
{
    struct tandem_answer *answer = NULL;
    char path[128];

    (void)state;
    snprintf(path, sizeof(path), "%s/empty.jpg", site.dir);
    site_write(path, "%s", "");
    assert_int_equal(tandem_classify_file(tandem, "objects", path, 0, &answer), TANDEM_EFORMAT);
    assert_int_equal(tandem_classify_file(tandem, "objects", "/no/such/file.jpg", 0, &answer),
                     TANDEM_EIO);
    assert_non_null(strstr(tandem_last_error(tandem), "/no/such/file.jpg"));
    assert_int_equal(tandem_classify_file(tandem, "objects", "/tmp", 0, &answer), TANDEM_EIO);
    assert_int_equal(tandem_classify_file(tandem, "objects", "/dev/zero", 0, &answer),
                     TANDEM_ETOOBIG);
    assert_null(answer);
}

/* ---- texts ---- */

/* A text of `bytes` bytes of words that the model knows. Owned. */
static char *text_make(size_t bytes)
{
    char *text = malloc(bytes + 1);

    assert_non_null(text);
    for (size_t i = 0; i < bytes; i++) {
        text[i] = "walk and "[i % 9];
    }
    text[bytes] = '\0';
    return text;
}

static void assert_text_refused(const char *text, const char *route, int error)
{
    struct tandem_answer *answer = NULL;
    const int result = site_generate(tandem, text, route, 0, &answer);

    if (result != error) {
        fail_msg("by %s: %d, not %d: %s", route ? route : "auto", result, error,
                 tandem_last_error(tandem));
    }
    assert_null(answer);
    assert_true(tandem_last_error(tandem)[0] != '\0');
    assert_int_equal(site_generate(tandem, "jump twice", "local", 0, &answer), 0);
    assert_string_equal(tandem_answer_text(answer, NULL), "I_JUMP I_JUMP");
    tandem_answer_free(answer);
}

static void test_text_too_long_for_the_model(void **state)
{
    char *text = text_make(9 * 1000); /* 2000 tokens */

    (void)state;
    assert_text_refused(text, "local", TANDEM_ETOOBIG);
    assert_text_refused(text, "edge", TANDEM_ETOOBIG);
    assert_text_refused(text, NULL, TANDEM_ETOOBIG);
    free(text);
}

static void test_text_at_and_over_the_limit(void **state)
{
    char *text = text_make(LIMIT_TEXT_BYTES + 1);

    (void)state;
    assert_text_refused(text, NULL, TANDEM_ETOOBIG);
    text[LIMIT_TEXT_BYTES] = '\0';
    text[LIMIT_TEXT_BYTES - 1] = ' '; /* no half word at the end */
    assert_text_refused(text, "local",
                        TANDEM_ETOOBIG); /* comes to the daemon, and is too long for the model */
    assert_text_refused(text, "edge", TANDEM_ETOOBIG);
    free(text);
}

static void test_empty_text(void **state)
{
    (void)state;
    assert_text_refused("", NULL, TANDEM_EINVAL);
}

/* Not in what is asked for, nor in what is kept. */
static void expect_nowhere(const char *word)
{
    char *lines = site_ask(site.status_socket, "decisions 1000\n");
    char path[128];
    size_t bytes;
    char *file;

    assert_non_null(lines);
    assert_null(strstr(lines, word));
    free(lines);
    for (int wait = 0; wait < 15; wait++) { /* it is written at most once a second */
        site_pause();
    }
    snprintf(path, sizeof(path), "%s/state/decisions.jsonl", site.dir);
    file = site_file(path, &bytes);
    assert_non_null(file);
    assert_null(memmem(file, bytes, word, strlen(word)));
    free(file);
    assert_int_equal(site_log_count(&site, "client", word), 0);
    assert_int_equal(site_log_count(&site, "server", word), 0);
}

/* Words that are in no vocabulary, and bytes that are no text. */
static void test_strange_text(void **state)
{
    static const char *const texts[] = {"xyzzy", "\xff\xfe\x01", "\n", "walk \xc3", "I_JUMP <unk>"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        for (int edge = 0; edge < 2; edge++) {
            struct tandem_answer *answer = NULL;
            const int result = site_generate(tandem, texts[i], edge ? "edge" : "local", 0, &answer);

            if (result != 0) {
                assert_true(result == TANDEM_EFORMAT || result == TANDEM_EINVAL ||
                            result == TANDEM_EUNSUPPORTED);
                assert_true(tandem_last_error(tandem)[0] != '\0');
            }
            if (i == 0) { /* the caller is told the word, and nobody else */
                assert_int_not_equal(result, 0);
                assert_non_null(strstr(tandem_last_error(tandem), texts[i]));
                assert_record(edge ? "the edge refused it and said why, which may quote the text: "
                                     "only the application was told"
                                   : "this model has no token for a part of the text, which only "
                                     "the application was told");
                expect_nowhere(texts[i]);
            }
            tandem_answer_free(answer);
        }
    }
    assert_text_refused("", NULL, TANDEM_EINVAL);
}

static void test_wrong_task(void **state)
{
    struct tandem_answer *answer = NULL;
    struct tandem_request request;

    (void)state;
    tandem_request_init(&request, "nosuch");
    request.text = "jump";
    assert_int_equal(tandem_call(tandem, &request, &answer), TANDEM_ENOTASK);
    assert_non_null(strstr(tandem_last_error(tandem), "task"));
    request.task = "objects"; /* a text for a picture task */
    assert_int_equal(tandem_call(tandem, &request, &answer), TANDEM_EINVAL);
    assert_non_null(strstr(tandem_last_error(tandem), "picture"));
    tandem_request_init(&request, "commands"); /* and the other way round */
    request.picture.data = sample;
    request.picture.bytes = sample_bytes;
    assert_int_equal(tandem_call(tandem, &request, &answer), TANDEM_EINVAL);
    assert_non_null(strstr(tandem_last_error(tandem), "text"));
    tandem_request_init(&request, "../objects");
    request.picture.data = sample;
    request.picture.bytes = sample_bytes;
    assert_int_equal(tandem_call(tandem, &request, &answer), TANDEM_EINVAL);
    assert_null(answer);
}

static void test_bad_options(void **state)
{
    struct tandem_answer *answer = NULL;
    struct tandem_request good, bad;

    (void)state;
    tandem_request_init(&good, "commands");
    good.text = "jump";
    bad = good;
    bad.temperature = -1;
    assert_int_equal(tandem_call(tandem, &bad, &answer), TANDEM_EINVAL);
    bad = good;
    bad.top_p = 1.5F;
    assert_int_equal(tandem_call(tandem, &bad, &answer), TANDEM_EINVAL);
    bad = good;
    bad.max_new_tokens = LIMIT_MAX_NEW_TOKENS + 1;
    assert_int_equal(tandem_call(tandem, &bad, &answer), TANDEM_EINVAL);
    bad = good;
    bad.route = "cloud";
    assert_int_equal(tandem_call(tandem, &bad, &answer), TANDEM_EINVAL);
    bad = good;
    bad.session = "a b";
    assert_int_equal(tandem_call(tandem, &bad, &answer), TANDEM_EINVAL);
    bad = good;
    bad.deadline_ms = LIMIT_DEADLINE_MS + 1;
    assert_int_equal(tandem_call(tandem, &bad, &answer), TANDEM_EINVAL);
    assert_null(answer);
    assert_int_equal(tandem_call(tandem, &good, &answer), 0);
    tandem_answer_free(answer);
}

/* What was captured longer ago than the deadline allows is late before it starts. */
static void test_old_capture(void **state)
{
    struct tandem_answer *answer = NULL;
    struct tandem_request request;

    (void)state;
    tandem_request_init(&request, "objects");
    request.picture.data = sample;
    request.picture.bytes = sample_bytes;
    request.deadline_ms = 1000;
    request.capture_age_ms = 5000;
    assert_int_equal(tandem_call(tandem, &request, &answer), TANDEM_ELATE);
    request.deliver_late = 1;
    assert_int_equal(tandem_call(tandem, &request, &answer), 0);
    assert_false(tandem_answer_met_deadline(answer));
    tandem_answer_free(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_a_picture),
        cmocka_unit_test(test_truncated_jpeg),
        cmocka_unit_test(test_jpeg_says_huge),
        cmocka_unit_test(test_twelve_megapixels),
        cmocka_unit_test(test_too_many_pixels),
        cmocka_unit_test(test_raw_pictures),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_text_too_long_for_the_model),
        cmocka_unit_test(test_text_at_and_over_the_limit),
        cmocka_unit_test(test_empty_text),
        cmocka_unit_test(test_strange_text),
        cmocka_unit_test(test_wrong_task),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_old_capture),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
