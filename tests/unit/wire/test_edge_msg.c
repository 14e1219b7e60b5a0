#include "tests/unit/wire/samples.h"

static void test_hello(void **state)
{
    struct edge_task tasks[2] = {{"objects", 1, 10, DIGEST, DIGEST, 64, 48},
                                 {"commands", 3, 0, "", DIGEST, 0, 0}};
    struct edge_hello hello = {.version_low = 1,
                               .version_high = 3,
                               .features = UINT64_MAX,
                               .software = "tandem-client 0.1.0",
                               .boot_id = {1, 2, 3},
                               .token = "secret",
                               .tasks = tasks,
                               .task_count = 2,
                               .has_load = true,
                               .load = sample_load};
    struct edge_hello back;
    struct buf out = {0};

    (void)state;
    assert_int_equal(edge_hello_pack(&hello, &out), 0);
    assert_int_equal(edge_hello_unpack(out.data, out.bytes, &back), 0);
    assert_int_equal(back.version_low, 1);
    assert_int_equal(back.version_high, 3);
    assert_true(back.features == UINT64_MAX);
    assert_string_equal(back.software, hello.software);
    assert_string_equal(back.token, "secret");
    assert_memory_equal(back.boot_id, hello.boot_id, EDGE_BOOT_ID_BYTES);
    assert_int_equal(back.task_count, 2);
    assert_memory_equal(back.tasks, tasks, sizeof(tasks));
    assert_true(back.has_load);
    assert_memory_equal(&back.load, &sample_load, sizeof(sample_load));
    edge_hello_fini(&back);
    for (size_t bytes = 0; bytes < out.bytes; bytes++) { /* no prefix hurts */
        if (edge_hello_unpack(out.data, bytes, &back) == 0) {
            edge_hello_fini(&back);
        }
    }
    hello.version_high = 0;
    assert_int_equal(edge_hello_pack(&hello, &out), TANDEM_EINVAL);
    buf_fini(&out);
}

static void put_task(struct buf *out, const char *name, uint64_t kind)
{
    struct buf task = {0};

    put_text(&task, 1, name);
    put_number(&task, 2, kind);
    put_bytes(out, 7, task.data, task.bytes);
    buf_fini(&task);
}

static struct buf raw_hello(uint64_t low, uint64_t high, size_t boot_id_bytes)
{
    static const uint8_t boot_id[64];
    struct buf out = {0};

    put_number(&out, 1, low);
    put_number(&out, 2, high);
    put_bytes(&out, 5, boot_id, boot_id_bytes);
    return out;
}

static void hello_gives(struct buf *out, int expected)
{
    struct edge_hello back;
    const int result = edge_hello_unpack(out->data, out->bytes, &back);

    assert_int_equal(result, expected);
    if (result == 0) {
        edge_hello_fini(&back);
    }
    buf_fini(out);
}

static void test_label_count_limit(void **state)
{
    (void)state;
    for (uint64_t over = 0; over < 2; over++) {
        struct buf out = raw_hello(1, 1, 16);
        struct buf task = {0};

        put_text(&task, 1, "a");
        put_number(&task, 2, 1);
        put_number(&task, 3, LIMIT_MODEL_CLASSES + over);
        put_bytes(&out, 7, task.data, task.bytes);
        buf_fini(&task);
        hello_gives(&out, over ? TANDEM_ETOOBIG : 0);
    }
}

/* What the edge's model looks at, which a client's smaller pictures go by. */
static void test_picture_side_limit(void **state)
{
    (void)state;
    for (unsigned number = 6; number <= 7; number++) {
        for (uint64_t over = 0; over < 2; over++) {
            struct buf out = raw_hello(1, 1, 16);
            struct buf task = {0};

            put_text(&task, 1, "a");
            put_number(&task, 2, 1);
            put_number(&task, number, LIMIT_PICTURE_SIDE_PIXELS + over);
            put_bytes(&out, 7, task.data, task.bytes);
            buf_fini(&task);
            hello_gives(&out, over ? TANDEM_ETOOBIG : 0);
        }
    }
}

static void test_hello_limits(void **state)
{
    static const uint64_t versions[][2] = {{0, 1}, {2, 1}, {1, 0}};
    char text[300];
    struct buf out;

    (void)state;
    out = raw_hello(1, 1, 16);
    hello_gives(&out, 0);
    for (size_t i = 0; i < 3; i++) {
        out = raw_hello(versions[i][0], versions[i][1], 16);
        hello_gives(&out, TANDEM_EPROTO);
    }
    out = raw_hello(1, 1, 15);
    hello_gives(&out, TANDEM_EPROTO);
    out = raw_hello(1, 1, 17);
    hello_gives(&out, TANDEM_EPROTO);
    memset(text, 'x', sizeof(text));
    for (size_t over = 0; over < 2; over++) {
        out = raw_hello(1, 1, 16);
        put_bytes(&out, 4, text, 127 + over);
        hello_gives(&out, over ? TANDEM_ETOOBIG : 0);
        out = raw_hello(1, 1, 16);
        put_bytes(&out, 6, text, 255 + over);
        hello_gives(&out, over ? TANDEM_ETOOBIG : 0);
        out = raw_hello(1, 1, 16);
        for (size_t i = 0; i < LIMIT_TASKS + over; i++) {
            snprintf(text, 10, "t%zu", i);
            put_task(&out, text, 1);
        }
        hello_gives(&out, over ? TANDEM_ETOOBIG : 0);
        memset(text, 'x', 10);
    }
    out = raw_hello(1, 1, 16);
    put_task(&out, "a", 1);
    put_task(&out, "a", 1);
    hello_gives(&out, TANDEM_EPROTO);
    out = raw_hello(1, 1, 16);
    put_task(&out, "../../etc", 1);
    hello_gives(&out, TANDEM_EPROTO);
    out = raw_hello(1, 1, 16);
    put_task(&out, "a", 200); /* of a later version */
    hello_gives(&out, 0);
    out = raw_hello(1, 1, 16);
    put_text(&out, 900, "a field of a later version");
    hello_gives(&out, 0);
}

static void test_request(void **state)
{
    const struct edge_request request = sample_request();
    struct edge_request back;
    struct buf out = {0};

    (void)state;
    assert_int_equal(edge_request_pack(&request, &out), 0);
    memset(&back, 0xff, sizeof(back));
    assert_int_equal(edge_request_unpack(out.data, out.bytes, &back), 0);
    assert_string_equal(back.task, "objects");
    assert_int_equal(back.budget_us, 90000);
    assert_int_equal(back.payload_bytes, 3072);
    assert_true(back.has_picture && back.stream);
    assert_memory_equal(&back.picture, &request.picture, sizeof(back.picture));
    assert_memory_equal(&back.sampling, &request.sampling, sizeof(back.sampling));
    assert_int_equal(back.max_new_tokens, 64);
    assert_string_equal(back.session, "s-1");
    assert_int_equal(back.prefix_bytes, 10);
    assert_string_equal(back.prefix_digest, DIGEST);
    assert_string_equal(back.decision_id, "18446744073709551615");
    for (size_t bytes = 0; bytes < out.bytes; bytes++) {
        (void)edge_request_unpack(out.data, bytes, &back);
    }
    buf_fini(&out);
}

/* One value of a good request replaced, in the packed form: the later field of the same number
 * wins. */
static void request_with(void (*put)(struct buf *out), int expected)
{
    struct edge_request request = sample_request();
    struct edge_request back = {.budget_us = 1};
    struct buf out = {0};

    request.prefix_bytes = 0;
    request.prefix_digest[0] = '\0';
    request.has_picture = false;
    assert_int_equal(edge_request_pack(&request, &out), 0);
    put(&out);
    assert_int_equal(edge_request_unpack(out.data, out.bytes, &back), expected);
    if (expected != 0) {
        assert_int_equal(back.budget_us, 1); /* untouched */
    }
    buf_fini(&out);
}

static void put_picture(struct buf *out, uint64_t format, uint64_t width, uint64_t height,
                        uint64_t stride)
{
    struct buf picture = {0};

    put_number(&picture, 1, format);
    put_number(&picture, 2, width);
    put_number(&picture, 3, height);
    put_number(&picture, 4, stride);
    put_bytes(out, 4, picture.data, picture.bytes);
    buf_fini(&picture);
}
static void put_sampling(struct buf *out, float temperature, float top_p)
{
    struct buf sampling = {0};

    put_float(&sampling, 1, temperature);
    put_float(&sampling, 3, top_p);
    put_bytes(out, 5, sampling.data, sampling.bytes);
    buf_fini(&sampling);
}
static void no_task(struct buf *out)
{
    put_text(out, 1, "");
}
static void bad_task(struct buf *out)
{
    put_text(out, 1, "a/b");
}
static void long_task(struct buf *out)
{
    put_text(out, 1, "0123456789012345678901234567890123456789012345678901234567890123");
}
static void big_payload(struct buf *out)
{
    put_number(out, 3, LIMIT_PAYLOAD_BYTES + 1);
}
static void full_payload(struct buf *out)
{
    put_number(out, 3, LIMIT_PAYLOAD_BYTES);
}
static void many_tokens(struct buf *out)
{
    put_number(out, 6, LIMIT_MAX_NEW_TOKENS + 1);
}
static void bad_session(struct buf *out)
{
    put_text(out, 8, "a b");
}
static void prefix_without_digest(struct buf *out)
{
    put_number(out, 9, 5);
}
static void digest_without_prefix(struct buf *out)
{
    put_text(out, 10, DIGEST);
}
static void bad_digest(struct buf *out)
{
    put_number(out, 9, 5), put_text(out, 10, "0123456789abcdef0123456789abcdeX");
}
static void short_digest(struct buf *out)
{
    put_number(out, 9, 5), put_text(out, 10, "0123");
}
static void bad_id(struct buf *out)
{
    put_text(out, 11, "12a");
}
static void long_id(struct buf *out)
{
    put_text(out, 11, "123456789012345678901");
}
static void bad_format(struct buf *out)
{
    put_picture(out, 7, 1, 1, 0);
}
static void wide_picture(struct buf *out)
{
    put_picture(out, 1, LIMIT_PICTURE_SIDE_PIXELS + 1, 1, 0);
}
static void no_height(struct buf *out)
{
    put_picture(out, 1, 1, 0, 0);
}
static void wide_stride(struct buf *out)
{
    put_picture(out, 1, 1, 1, LIMIT_STRIDE_BYTES + 1);
}
static void nan_temperature(struct buf *out)
{
    put_sampling(out, NAN, 1);
}
static void cold(struct buf *out)
{
    put_sampling(out, -1, 1);
}
static void hot(struct buf *out)
{
    put_sampling(out, LIMIT_TEMPERATURE + 1, 1);
}
static void wide_top_p(struct buf *out)
{
    put_sampling(out, 0, 1.5f);
}
static void infinite_top_p(struct buf *out)
{
    put_sampling(out, 0, INFINITY);
}
static void garbage(struct buf *out)
{
    assert_int_equal(buf_append(out, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11), 0);
}

static void test_request_limits(void **state)
{
    static const struct {
        void (*put)(struct buf *out);
        int expected;
    } cases[] = {
        {no_task, TANDEM_EPROTO},
        {bad_task, TANDEM_EPROTO},
        {long_task, TANDEM_ETOOBIG},
        {big_payload, TANDEM_ETOOBIG},
        {full_payload, 0},
        {many_tokens, TANDEM_ETOOBIG},
        {bad_session, TANDEM_EPROTO},
        {prefix_without_digest, TANDEM_EPROTO},
        {digest_without_prefix, TANDEM_EPROTO},
        {bad_digest, TANDEM_EPROTO},
        {short_digest, TANDEM_EPROTO},
        {bad_id, TANDEM_EPROTO},
        {long_id, TANDEM_ETOOBIG},
        {bad_format, TANDEM_ETOOBIG},
        {wide_picture, TANDEM_ETOOBIG},
        {no_height, TANDEM_EPROTO},
        {wide_stride, TANDEM_ETOOBIG},
        {nan_temperature, TANDEM_EPROTO},
        {cold, TANDEM_EPROTO},
        {hot, TANDEM_EPROTO},
        {wide_top_p, TANDEM_EPROTO},
        {infinite_top_p, TANDEM_EPROTO},
        {garbage, TANDEM_EPROTO},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        request_with(cases[i].put, cases[i].expected);
    }
}

/* What is brought into range instead of refused. */
static void test_request_clamps(void **state)
{
    struct edge_request request = sample_request();
    struct edge_request back;
    struct buf out = {0};

    (void)state;
    request.budget_us = UINT64_MAX;
    request.sampling.top_k = UINT32_MAX;
    request.sampling.top_p = 0;
    request.picture.format = 0;
    assert_int_equal(edge_request_pack(&request, &out), 0);
    assert_int_equal(edge_request_unpack(out.data, out.bytes, &back), 0);
    assert_int_equal(back.budget_us, LIMIT_DURATION_US);
    assert_int_equal(back.sampling.top_k, LIMIT_MODEL_VOCABULARY);
    assert_true(back.sampling.top_p == 1);
    assert_int_equal(back.picture.width, 0); /* an encoded picture says its own size */
    buf_fini(&out);
}

static void result_round_trip(uint32_t kind)
{
    struct edge_result result = {.answer = sample_answer(kind),
                                 .wait_us = 1,
                                 .run_us = 2,
                                 .cached_tokens = 3,
                                 .prompt_tokens = 4,
                                 .model_digest = DIGEST,
                                 .load = sample_load};
    struct edge_result back;
    struct buf out = {0};

    assert_int_equal(edge_result_pack(&result, &out), 0);
    assert_int_equal(edge_result_unpack(out.data, out.bytes, &back), 0);
    assert_answer_equal(&back.answer, &result.answer);
    assert_int_equal(back.wait_us, 1);
    assert_int_equal(back.run_us, 2);
    assert_int_equal(back.cached_tokens, 3);
    assert_int_equal(back.prompt_tokens, 4);
    assert_string_equal(back.model_digest, DIGEST);
    assert_memory_equal(&back.load, &sample_load, sizeof(sample_load));
    edge_result_fini(&back);
    for (size_t bytes = 0; bytes < out.bytes; bytes++) {
        if (edge_result_unpack(out.data, bytes, &back) == 0) {
            edge_result_fini(&back);
        }
    }
    buf_fini(&out);
}

static void test_result(void **state)
{
    (void)state;
    result_round_trip(WIRE_CLASSIFY);
    result_round_trip(WIRE_DETECT);
    result_round_trip(WIRE_GENERATE);
}

static void put_score(struct buf *out, unsigned field, const char *label, double score)
{
    struct buf item = {0};

    put_text(&item, 1, label);
    put_double(&item, 2, score);
    put_bytes(out, field, item.data, item.bytes);
    buf_fini(&item);
}

static void result_gives(struct buf *out, int expected, double first_score)
{
    struct edge_result back;
    const int result = edge_result_unpack(out->data, out->bytes, &back);

    assert_int_equal(result, expected);
    if (result == 0) {
        if (back.answer.label_count > 0) {
            assert_true(back.answer.labels[0].score == first_score);
        }
        edge_result_fini(&back);
    }
    buf_fini(out);
}

static void test_result_limits(void **state)
{
    char label[300];
    struct buf out = {0};

    (void)state;
    memset(label, 'x', sizeof(label));
    put_number(&out, 1, WIRE_CLASSIFY);
    result_gives(&out, TANDEM_EPROTO, 0); /* no label at all */
    for (size_t over = 0; over < 2; over++) {
        put_number(&out, 1, WIRE_CLASSIFY);
        for (size_t i = 0; i < LIMIT_LABELS + over; i++) {
            put_score(&out, 2, "l", 0.5);
        }
        result_gives(&out, over ? TANDEM_ETOOBIG : 0, 0.5);
        put_number(&out, 1, WIRE_DETECT);
        for (size_t i = 0; i < LIMIT_BOXES + over; i++) {
            put_score(&out, 3, "l", 0.5);
        }
        result_gives(&out, over ? TANDEM_ETOOBIG : 0, 0.5);
        label[LIMIT_LABEL_BYTES + over] = '\0';
        put_number(&out, 1, WIRE_CLASSIFY);
        put_score(&out, 2, label, 0.5);
        result_gives(&out, over ? TANDEM_ETOOBIG : 0, 0.5);
        label[LIMIT_LABEL_BYTES + over] = 'x';
    }
    put_number(&out, 1, WIRE_CLASSIFY);
    put_score(&out, 2, "l", 7);
    result_gives(&out, 0, 1); /* brought into range */
    put_number(&out, 1, WIRE_CLASSIFY);
    put_score(&out, 2, "l", NAN);
    result_gives(&out, TANDEM_EPROTO, 0);
    put_number(&out, 1, WIRE_GENERATE);
    put_double(&out, 7, INFINITY);
    result_gives(&out, TANDEM_EPROTO, 0);
    put_number(&out, 1, WIRE_GENERATE);
    put_number(&out, 6, 4);
    result_gives(&out, TANDEM_ETOOBIG, 0);
    put_number(&out, 1, 4);
    result_gives(&out, TANDEM_ETOOBIG, 0);
    result_gives(&out, TANDEM_EPROTO, 0); /* nothing: no kind */
}

static void test_boxes_are_brought_in(void **state)
{
    struct edge_result back;
    struct buf out = {0};
    struct buf box = {0};

    (void)state;
    put_text(&box, 1, "l");
    put_float(&box, 3, 1e9f);
    put_float(&box, 4, -1e9f);
    put_float(&box, 5, -3);
    put_float(&box, 6, 12);
    put_number(&out, 1, WIRE_DETECT);
    put_bytes(&out, 3, box.data, box.bytes);
    assert_int_equal(edge_result_unpack(out.data, out.bytes, &back), 0);
    assert_true(back.answer.boxes[0].x == LIMIT_BOX_PIXELS &&
                back.answer.boxes[0].y == -LIMIT_BOX_PIXELS);
    assert_true(back.answer.boxes[0].w == 0 && back.answer.boxes[0].h == 12);
    edge_result_fini(&back);
    buf_fini(&box);
    buf_fini(&out);
}

/* A header within the limit that would unpack to many times its size. */
static void test_many_empty_parts(void **state)
{
    struct edge_result back;
    struct buf out = {0};

    (void)state;
    put_number(&out, 1, WIRE_DETECT);
    while (out.bytes + 2 <= LIMIT_FRAME_HEADER_BYTES) {
        put_bytes(&out, 3, "", 0);
    }
    assert_int_equal(edge_result_unpack(out.data, out.bytes, &back), TANDEM_ETOOBIG);
    put_bytes(&out, 3, "", 0);
    assert_int_equal(edge_result_unpack(out.data, out.bytes, &back),
                     TANDEM_ETOOBIG); /* over the header's limit */
    buf_fini(&out);
}

static void test_pack_refuses(void **state)
{
    struct answer_label labels[1] = {{"cat", NAN}};
    struct edge_result result = {
        .answer = {.kind = WIRE_CLASSIFY, .labels = labels, .label_count = 1}};
    struct edge_error error = {.code = 0};
    struct edge_load load = {.decode_tokens_per_s = -1};
    struct buf out = {0};

    (void)state;
    assert_int_equal(edge_result_pack(&result, &out), TANDEM_EINVAL);
    labels[0].score = 1;
    result.answer.confidence = NAN;
    assert_int_equal(edge_result_pack(&result, &out), TANDEM_EINVAL);
    result.answer = (struct answer){.kind = WIRE_GENERATE,
                                    .text = calloc(1, LIMIT_FRAME_HEADER_BYTES + 1),
                                    .text_bytes = LIMIT_FRAME_HEADER_BYTES};
    assert_int_equal(edge_result_pack(&result, &out), TANDEM_ETOOBIG);
    free(result.answer.text);
    assert_int_equal(edge_error_pack(&error, &out), TANDEM_EINVAL);
    assert_int_equal(edge_accepted_pack(&load, &out), TANDEM_EINVAL);
    assert_int_equal(out.bytes, 0);
    buf_fini(&out);
}

static void test_tokens(void **state)
{
    uint8_t *text = calloc(1, LIMIT_TOKENS_BYTES + 1);
    struct answer_piece tokens = {.text = text, .text_bytes = LIMIT_TOKENS_BYTES, .count = 9};
    struct answer_piece back;
    struct buf out = {0};

    (void)state;
    assert_int_equal(answer_piece_pack(&tokens, &out), 0);
    assert_int_equal(answer_piece_unpack(out.data, out.bytes, &back), 0);
    assert_int_equal(back.text_bytes, LIMIT_TOKENS_BYTES);
    assert_int_equal(back.count, 9);
    answer_piece_fini(&back);
    tokens.text_bytes++;
    assert_int_equal(answer_piece_pack(&tokens, &out), TANDEM_ETOOBIG);
    buf_clear(&out);
    put_bytes(&out, 1, text, LIMIT_TOKENS_BYTES + 1);
    assert_int_equal(answer_piece_unpack(out.data, out.bytes, &back), TANDEM_ETOOBIG);
    free(text);
    buf_fini(&out);
}

static void test_error(void **state)
{
    struct edge_error error = {.code = TANDEM_ELATE,
                               .text = "too\nlate \xff \xc3\xa9",
                               .retry_after_ms = UINT64_MAX,
                               .has_load = true,
                               .load = sample_load};
    struct edge_error back;
    struct buf out = {0};
    char text[300];

    (void)state;
    assert_int_equal(edge_error_pack(&error, &out), 0);
    assert_int_equal(edge_error_unpack(out.data, out.bytes, &back), 0);
    assert_int_equal(back.code, TANDEM_ELATE);
    assert_string_equal(back.text, "too late ? \xc3\xa9"); /* one line of whole characters */
    assert_int_equal(back.retry_after_ms, LIMIT_DEADLINE_MS);
    assert_true(back.has_load && back.load.queued == 3);
    buf_clear(&out);
    put_number(&out, 1, 2); /* sint32: +1 */
    assert_int_equal(edge_error_unpack(out.data, out.bytes, &back), TANDEM_EPROTO);
    buf_clear(&out);
    put_number(&out, 1, 1); /* -1 */
    memset(text, 'x', sizeof(text));
    put_bytes(&out, 2, text, LIMIT_LINE_BYTES + 1);
    assert_int_equal(edge_error_unpack(out.data, out.bytes, &back), TANDEM_ETOOBIG);
    buf_fini(&out);
}

static void test_small_ones(void **state)
{
    struct edge_load load;
    struct buf out = {0};
    uint64_t value;
    bool has_load;

    (void)state;
    assert_int_equal(edge_accepted_pack(&sample_load, &out), 0);
    assert_int_equal(edge_accepted_unpack(out.data, out.bytes, &load), 0);
    assert_memory_equal(&load, &sample_load, sizeof(load));
    buf_clear(&out);
    assert_int_equal(edge_data_ack_pack(LIMIT_PAYLOAD_BYTES, &out), 0);
    assert_int_equal(edge_data_ack_unpack(out.data, out.bytes, &value), 0);
    assert_int_equal(value, LIMIT_PAYLOAD_BYTES);
    assert_int_equal(edge_data_ack_pack(LIMIT_PAYLOAD_BYTES + 1, &out), TANDEM_EINVAL);
    buf_clear(&out);
    put_number(&out, 1, LIMIT_PAYLOAD_BYTES + 1);
    assert_int_equal(edge_data_ack_unpack(out.data, out.bytes, &value), TANDEM_ETOOBIG);
    buf_clear(&out);
    assert_int_equal(edge_ping_pack(1, LIMIT_PROBE_BYTES + 1, &out), TANDEM_ETOOBIG);
    assert_int_equal(edge_ping_pack(7, LIMIT_PROBE_BYTES, &out), 0);
    assert_true(out.bytes > LIMIT_PROBE_BYTES);
    assert_int_equal(edge_ping_unpack(out.data, out.bytes, &value), 0);
    assert_int_equal(value, 7);
    buf_clear(&out);
    assert_int_equal(edge_ping_pack(UINT64_MAX, 0, &out), 0);
    assert_int_equal(edge_ping_unpack(out.data, out.bytes, &value), 0);
    assert_true(value == UINT64_MAX);
    buf_clear(&out);
    assert_int_equal(edge_pong_pack(5, NULL, &out), 0);
    assert_int_equal(edge_pong_unpack(out.data, out.bytes, &value, &has_load, &load), 0);
    assert_false(has_load);
    buf_clear(&out);
    assert_int_equal(edge_pong_pack(6, &sample_load, &out), 0);
    assert_int_equal(edge_pong_unpack(out.data, out.bytes, &value, &has_load, &load), 0);
    assert_true(has_load && value == 6 && load.kv_pages_free == 99);
    buf_fini(&out);
}

static void test_versions(void **state)
{
    (void)state;
    assert_int_equal(wire_version_agree(1, 1, 1, 1), 1);
    assert_int_equal(wire_version_agree(1, 3, 2, 5), 3);
    assert_int_equal(wire_version_agree(1, 1, 2, 3), 0);
    assert_int_equal(wire_version_agree(4, 9, 1, 3), 0);
}

/* What the other side would refuse is not sent. */
static void test_boxes_are_bounded_on_both_sides(void **state)
{
    static struct answer_box boxes[LIMIT_BOXES + 1];
    struct edge_result result = {.answer = {.kind = WIRE_DETECT, .boxes = boxes}}, back;
    struct buf out = {0};

    (void)state;
    for (size_t i = 0; i <= LIMIT_BOXES; i++) {
        boxes[i].label = (char *)"a";
    }
    result.answer.box_count = LIMIT_BOXES;
    assert_int_equal(edge_result_pack(&result, &out), 0);
    assert_int_equal(edge_result_unpack(out.data, out.bytes, &back), 0);
    assert_int_equal(back.answer.box_count, LIMIT_BOXES);
    edge_result_fini(&back);
    result.answer.box_count = LIMIT_BOXES + 1;
    assert_int_equal(edge_result_pack(&result, &out), TANDEM_ETOOBIG);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boxes_are_bounded_on_both_sides),
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_hello_limits),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_request_limits),
        cmocka_unit_test(test_request_clamps),
        cmocka_unit_test(test_result),
        cmocka_unit_test(test_result_limits),
        cmocka_unit_test(test_many_empty_parts),
        cmocka_unit_test(test_pack_refuses),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_small_ones),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_label_count_limit),
        cmocka_unit_test(test_picture_side_limit),
        cmocka_unit_test(test_boxes_are_brought_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
