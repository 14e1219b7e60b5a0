/* The life of requests on a healthy connection: what goes out, what comes back, in which order. */
#include "fake_daemon.h"

#include "common/base/clock.h"

#include <sys/mman.h>

struct pieces {
    unsigned count;
    unsigned begun; /* pieces at offset 0 */
    size_t next_offset;
    char text[256];
};

static void test_open(void **state)
{
    struct fake fake;
    struct tandem *tandem;
    char long_path[200];

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    assert_int_equal(tandem_task_count(tandem), 2);
    assert_string_equal(tandem_task_name(tandem, 1), "commands");
    assert_null(tandem_task_name(tandem, 2));
    assert_string_equal(tandem_last_error(tandem), "");
    assert_null(tandem_last_failure(tandem));
    assert_int_equal(tandem_in_flight(tandem), 0);
    assert_int_equal(tandem_timeout_ms(tandem), -1);
    assert_true(tandem_fd(tandem) >= 0);
    assert_true(fcntl(tandem_fd(tandem), F_GETFD) & FD_CLOEXEC);
    assert_int_equal(tandem_process(tandem), 0);
    assert_int_equal(tandem_wait(tandem, -1), 0); /* at once: nothing is under way */
    tandem_close(tandem);
    tandem_close(NULL);

    memset(long_path, 'x', sizeof(long_path));
    long_path[sizeof(long_path) - 1] = '\0';
    tandem = (struct tandem *)&fake;
    assert_int_equal(tandem_open(long_path, &tandem), TANDEM_EINVAL);
    assert_null(tandem);
    fake_stop(&fake);
}

static void test_open_environment(void **state)
{
    struct fake fake;
    struct tandem *tandem;

    (void)state;
    fake_start(&fake);
    assert_int_equal(setenv("TANDEM_SOCKET", fake.path, 1), 0);
    fake_greet_begin(&fake);
    assert_int_equal(tandem_open(NULL, &tandem), 0);
    fake_greet_end(&fake);
    unsetenv("TANDEM_SOCKET");
    tandem_close(tandem);
    fake_stop(&fake);
}

static void note_piece(struct tandem *tandem, uint64_t id, size_t offset, const char *text,
                       size_t bytes, void *user)
{
    (void)tandem;
    (void)id;
    (void)offset;
    (void)text;
    (void)bytes;
    (void)user;
}

static void test_text_out(void **state)
{
    struct fake fake;
    struct tandem *tandem;
    struct tandem_request request;
    struct local_submit submit;
    struct end end = {0};
    struct buf payload;
    uint64_t id = 0, seen = 0;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    buf_init(&payload, 0);
    tandem_request_init(&request, "commands");
    request.text = "walk\0left";
    request.text_bytes = 9;
    request.deadline_ms = 250;
    request.session = "s1";
    request.route = "edge:hall";
    request.never_leave_device = 1;
    request.deliver_late = 1;
    request.max_new_tokens = 12;
    request.temperature = 0.5f;
    request.top_k = 3;
    request.top_p = 0.25f;
    request.seed = UINT64_MAX;
    request.capture_age_ms = 40;
    assert_int_equal(tandem_submit(tandem, &request, end_note, note_piece, &end, &id), 0);
    assert_int_equal(tandem_in_flight(tandem), 1);
    assert_int_equal(fake_request(&fake, &submit, &payload, &seen), 0);
    assert_int_equal(seen, id);
    assert_string_equal(submit.task, "commands");
    assert_int_equal(submit.deadline_us, 250000);
    assert_int_equal(submit.payload_bytes, 9);
    assert_memory_equal(payload.data, "walk\0left", 9);
    assert_false(submit.memfd);
    assert_false(submit.has_picture);
    assert_true(submit.stream);
    assert_true(submit.deliver_late);
    assert_int_equal(submit.leaves_device, 1);
    assert_string_equal(submit.session, "s1");
    assert_string_equal(submit.route, "edge:hall");
    assert_int_equal(submit.max_new_tokens, 12);
    assert_true(submit.sampling.temperature == 0.5f && submit.sampling.top_p == 0.25f);
    assert_int_equal(submit.sampling.top_k, 3);
    assert_true(submit.sampling.seed == UINT64_MAX);
    assert_int_equal(submit.capture_age_us, 40000);
    assert_int_equal(tandem_timeout_ms(tandem), -1); /* deliver_late: no guard */
    tandem_close(tandem);
    assert_int_equal(end.error, TANDEM_ECANCELED);
    buf_fini(&payload);
    fake_stop(&fake);
}

static void test_answer_back(void **state)
{
    struct answer_label labels[2] = {{(char *)"cat", 0.75}, {(char *)"dog", 0.25}};
    struct answer_box boxes[1] = {{(char *)"cup", 0.5, 1, 2, 3, 4}};
    struct local_answer answer = {
        .id = "18446744073709551615",
        .answer = {.kind = WIRE_CLASSIFY, .labels = labels, .label_count = 2, .confidence = 0.75},
        .route = "cascade",
        .outcome_route = "edge:hall",
        .reason = "not sure enough",
        .latency_us = 12500,
        .predicted_ms = 11.5,
        .met_deadline = true,
        .hedged = true};
    struct tandem_request request;
    struct fake fake;
    struct tandem *tandem;
    struct end end = {0};
    size_t bytes = 9;
    uint64_t id;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    tandem_request_init(&request, "commands");
    request.text = "walk";
    request.timestamp_ns = INT64_MIN;
    request.cookie = UINT64_MAX;
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &end, &id), 0);
    fake_send_answer(&fake, id, &answer);
    assert_int_equal(tandem_wait(tandem, 1000), 1);
    assert_int_equal(end.count, 1);
    assert_int_equal(end.error, 0);
    assert_int_equal(tandem_in_flight(tandem), 0);
    assert_int_equal(tandem_answer_kind(end.answer), TANDEM_CLASSIFY);
    assert_int_equal(tandem_answer_label_count(end.answer), 2);
    assert_string_equal(tandem_answer_label(end.answer, 0), "cat");
    assert_true(tandem_answer_score(end.answer, 1) == 0.25);
    assert_null(tandem_answer_label(end.answer, 2));
    assert_true(tandem_answer_score(end.answer, 2) == 0);
    assert_int_equal(tandem_answer_box_count(end.answer), 0);
    assert_null(tandem_answer_box(end.answer, 0));
    assert_string_equal(tandem_answer_text(end.answer, &bytes), "");
    assert_int_equal(bytes, 0);
    assert_string_equal(tandem_answer_id(end.answer), "18446744073709551615");
    assert_string_equal(tandem_answer_route(end.answer), "cascade");
    assert_string_equal(tandem_answer_outcome_route(end.answer), "edge:hall");
    assert_string_equal(tandem_answer_reason(end.answer), "not sure enough");
    assert_true(tandem_answer_latency_ms(end.answer) == 12.5);
    assert_true(tandem_answer_predicted_ms(end.answer) == 11.5);
    assert_true(tandem_answer_confidence(end.answer) == 0.75);
    assert_true(tandem_answer_elapsed_ms(end.answer) >= 0);
    assert_true(tandem_answer_met_deadline(end.answer) && tandem_answer_hedged(end.answer));
    assert_false(tandem_answer_partial(end.answer));
    assert_true(tandem_answer_timestamp_ns(end.answer) == INT64_MIN);
    assert_true(tandem_answer_cookie(end.answer) == UINT64_MAX);
    end_fini(&end);

    answer.answer = (struct answer){.kind = WIRE_DETECT, .boxes = boxes, .box_count = 1};
    id = submit_text(tandem, "find", &end);
    fake_send_answer(&fake, id, &answer);
    wait_end(tandem, &end);
    assert_int_equal(tandem_answer_box_count(end.answer), 1);
    assert_string_equal(tandem_answer_box(end.answer, 0)->label, "cup");
    assert_true(tandem_answer_box(end.answer, 0)->h == 4 &&
                tandem_answer_box(end.answer, 0)->score == 0.5);
    assert_null(tandem_answer_box(end.answer, 1));
    end_fini(&end);
    tandem_close(tandem);
    fake_stop(&fake);
}

/* Sends `bytes` of picture and returns what the daemon got in `payload`; large ones must be sealed
 * memory. */
static void picture_round(struct fake *fake, struct tandem *tandem, size_t bytes, bool expect_memfd)
{
    struct tandem_request request;
    struct local_submit submit;
    struct buf payload;
    struct end end = {0};
    uint8_t *data = malloc(bytes);
    uint64_t id = 0, seen = 0;
    size_t before = fake->read_bytes;

    assert_non_null(data);
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)(i * 7 + i / 251);
    }
    buf_init(&payload, 0);
    tandem_request_init(&request, "objects");
    request.picture.data = data;
    request.picture.bytes = bytes;
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &end, &id), 0);
    assert_int_equal(fake_request(fake, &submit, &payload, &seen), 0);
    assert_int_equal(submit.payload_bytes, bytes);
    assert_true(submit.has_picture);
    assert_int_equal(submit.memfd, expect_memfd);
    if (expect_memfd) {
        const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
        struct stat status;
        void *map;

        assert_true(fake->memfd >= 0);
        assert_int_equal(fake->memfd_before, before); /* it came with the first byte of the frame */
        assert_int_equal(fcntl(fake->memfd, F_GET_SEALS) & seals, seals);
        assert_int_equal(fstat(fake->memfd, &status), 0);
        assert_int_equal(status.st_size, bytes);
        assert_int_equal(write(fake->memfd, "x", 1), -1);
        map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fake->memfd, 0);
        assert_ptr_not_equal(map, MAP_FAILED);
        assert_memory_equal(map, data, bytes);
        munmap(map, bytes);
    } else {
        assert_memory_equal(payload.data, data, bytes);
    }
    fake_send_label(fake, id, "cup");
    wait_end(tandem, &end);
    assert_int_equal(end.error, 0);
    end_fini(&end);
    buf_fini(&payload);
    free(data);
}

static void test_pictures(void **state)
{
    unsigned fds = open_fds();
    struct fake fake;
    struct tandem *tandem;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    picture_round(&fake, tandem, 1, false);
    picture_round(&fake, tandem, LIMIT_FRAME_DATA_BYTES, false);
    picture_round(&fake, tandem, LOCAL_MEMFD_BYTES - 1, false);
    picture_round(&fake, tandem, LOCAL_MEMFD_BYTES, true);
    picture_round(&fake, tandem, 3u << 20, true);
    picture_round(&fake, tandem, LIMIT_PICTURE_BYTES, true);
    tandem_close(tandem);
    fake_stop(&fake);
    assert_int_equal(open_fds(), fds);
}

static void test_memfd_of_caller(void **state)
{
    struct tandem_request request;
    struct local_submit submit;
    struct fake fake;
    struct tandem *tandem;
    struct buf payload;
    struct end end = {0};
    struct stat mine, theirs;
    uint64_t id = 0, seen = 0;
    int fd = memfd_create("frame", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    buf_init(&payload, 0);
    assert_int_equal(ftruncate(fd, 24), 0);
    tandem_request_init(&request, "objects");
    request.picture = (struct tandem_picture){
        .format = TANDEM_PIXELS_BGR, .width = 4, .height = 2, .bytes = 24, .memfd = fd};
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &end, &id),
                     TANDEM_EINVAL); /* not sealed */
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
    request.picture.bytes = 25;
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &end, &id),
                     TANDEM_EINVAL); /* too small */
    assert_true(strlen(tandem_last_error(tandem)) > 0);
    request.picture.bytes = 24;
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &end, &id), 0);
    assert_int_equal(tandem_in_flight(tandem), 1);
    assert_int_equal(fstat(fd, &mine), 0);
    assert_int_equal(close(fd), 0); /* borrowed: the caller may close it now */
    assert_int_equal(fake_request(&fake, &submit, &payload, &seen), 0);
    assert_true(submit.memfd);
    assert_int_equal(submit.picture.format, TANDEM_PIXELS_BGR);
    assert_int_equal(submit.picture.width, 4);
    assert_int_equal(submit.picture.height, 2);
    assert_int_equal(fstat(fake.memfd, &theirs), 0);
    assert_true(mine.st_ino == theirs.st_ino); /* the same memory, not a copy */
    tandem_close(tandem);
    buf_fini(&payload);
    fake_stop(&fake);
}

static void test_out_of_order(void **state)
{
    struct fake fake;
    struct tandem *tandem;
    struct end ends[5] = {{0}};
    uint64_t ids[5];
    static const size_t order[5] = {3, 0, 4, 2, 1};

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    for (size_t i = 0; i < 5; i++) {
        ids[i] = submit_text(tandem, "walk", &ends[i]);
    }
    ends_seen = 0;
    for (size_t i = 0; i < 5; i++) {
        char label[8];

        snprintf(label, sizeof(label), "%zu", order[i]);
        fake_send_label(&fake, ids[order[i]], label);
    }
    while (tandem_in_flight(tandem) > 0) {
        assert_true(tandem_wait(tandem, 1000) > 0);
    }
    for (size_t i = 0; i < 5; i++) {
        char label[8];

        snprintf(label, sizeof(label), "%zu", order[i]);
        assert_int_equal(ends[order[i]].count, 1);
        assert_int_equal(ends[order[i]].order, i + 1);
        assert_int_equal(ends[order[i]].id, ids[order[i]]);
        assert_string_equal(tandem_answer_label(ends[order[i]].answer, 0), label);
        end_fini(&ends[order[i]]);
    }
    tandem_close(tandem);
    fake_stop(&fake);
}

struct partial_user {
    struct end end; /* first: end_note writes it */
    struct pieces pieces;
};

static void collect_piece(struct tandem *tandem, uint64_t id, size_t offset, const char *text,
                          size_t bytes, void *user)
{
    struct pieces *pieces = &((struct partial_user *)user)->pieces;

    assert_int_equal(tandem_process(tandem), TANDEM_EINVAL); /* not from inside */
    assert_true(id > 0);
    pieces->count++;
    if (offset == 0) {
        pieces->next_offset = 0; /* the text begins again */
        pieces->begun++;
    }
    assert_int_equal(offset, pieces->next_offset);
    assert_true(offset + bytes < sizeof(pieces->text));
    memcpy(pieces->text + offset, text, bytes);
    pieces->next_offset = offset + bytes;
}

static void fake_send_piece(struct fake *fake, uint64_t id, const char *text, bool restart)
{
    struct answer_piece partial = {
        .text = (const uint8_t *)text, .text_bytes = strlen(text), .restart = restart};
    struct buf header;

    buf_init(&header, 0);
    assert_int_equal(answer_piece_pack(&partial, &header), 0);
    fake_send_header(fake, FRAME_TOKENS, 0, id, &header);
    buf_fini(&header);
}

static void test_partials(void **state)
{
    struct local_answer answer = {.id = "5", .predicted_ms = -1, .partial = true};
    struct tandem_request request;
    struct partial_user user = {.end = {0}};
    struct fake fake;
    struct tandem *tandem;
    size_t bytes;
    uint64_t id;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    tandem_request_init(&request, "commands");
    request.text = "walk";
    assert_int_equal(tandem_submit(tandem, &request, end_note, collect_piece, &user, &id), 0);
    fake_send_piece(&fake, id, "I_JUMP ", false);
    assert_int_equal(tandem_wait(tandem, 1000), 0);
    assert_int_equal(user.pieces.count, 1);
    assert_int_equal(user.end.count, 0);
    fake_send_piece(&fake, id, "I_JUMP", false);
    fake_send_piece(&fake, id, "I_WALK ", true);
    fake_send_piece(&fake, id, "I_TURN_LEFT", false);
    answer.answer = (struct answer){.kind = WIRE_GENERATE,
                                    .text = (char *)"I_WALK I_TURN_LEFT",
                                    .text_bytes = 18,
                                    .tokens = 2,
                                    .finish = WIRE_FINISH_DEADLINE,
                                    .confidence = 0.5};
    fake_send_answer(&fake, id, &answer);
    wait_end(tandem, &user.end);
    assert_int_equal(user.pieces.count, 4);
    assert_int_equal(user.pieces.begun, 2);
    assert_int_equal(user.pieces.next_offset, 18);
    assert_string_equal(user.pieces.text, "I_WALK I_TURN_LEFT");
    assert_string_equal(tandem_answer_text(user.end.answer, &bytes), "I_WALK I_TURN_LEFT");
    assert_int_equal(bytes, 18);
    assert_int_equal(tandem_answer_tokens(user.end.answer), 2);
    assert_int_equal(tandem_answer_finish(user.end.answer), TANDEM_FINISH_DEADLINE);
    assert_int_equal(tandem_answer_kind(user.end.answer), TANDEM_GENERATE);
    assert_true(tandem_answer_partial(user.end.answer));
    assert_true(tandem_answer_predicted_ms(user.end.answer) < 0);
    end_fini(&user.end);
    tandem_close(tandem);
    fake_stop(&fake);
}

static void test_cancel(void **state)
{
    struct fake fake;
    struct tandem *tandem;
    struct frame frame;
    struct end end = {0}, second = {0};
    uint64_t id, second_id;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    assert_int_equal(tandem_cancel(tandem, 0), TANDEM_ENOTFOUND);
    assert_int_equal(tandem_cancel(tandem, 9), TANDEM_ENOTFOUND);
    id = submit_text(tandem, "walk", &end);
    second_id = submit_text(tandem, "run", &second);
    assert_int_equal(tandem_cancel(tandem, id), 0);
    assert_int_equal(tandem_cancel(tandem, id), 0); /* once is enough */
    assert_int_equal(tandem_cancel(tandem, second_id), 0);
    assert_int_equal(fake_take(&fake), id);
    assert_int_equal(fake_take(&fake), second_id);
    assert_true(fake_frame(&fake, &frame));
    assert_int_equal(frame.kind, FRAME_CANCEL);
    assert_int_equal(frame.request_id, id);
    assert_true(fake_frame(&fake, &frame));
    assert_int_equal(frame.kind, FRAME_CANCEL);
    assert_int_equal(frame.request_id, second_id);
    assert_int_equal(end.count, 0);
    fake_send_error(&fake, id, TANDEM_ECANCELED, "cancelled", "");
    fake_send_label(&fake, second_id, "cup"); /* it was already on its way */
    wait_end(tandem, &second);
    assert_int_equal(end.error, TANDEM_ECANCELED);
    assert_int_equal(second.error, 0);
    end_fini(&second);
    assert_int_equal(tandem_cancel(tandem, id), TANDEM_ENOTFOUND);
    tandem_close(tandem);
    fake_stop(&fake);
}

static void test_busy_requests(void **state)
{
    struct fake fake;
    struct tandem *tandem;
    struct tandem_request request;
    struct end ends[LIMIT_LIB_REQUESTS] = {{0}}, extra = {0};
    uint64_t ids[LIMIT_LIB_REQUESTS], id = 0;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    for (size_t i = 0; i < LIMIT_LIB_REQUESTS; i++) {
        ids[i] = submit_text(tandem, "walk", &ends[i]);
    }
    tandem_request_init(&request, "commands");
    request.text = "walk";
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &extra, &id), TANDEM_EBUSY);
    assert_int_equal(extra.count, 0);
    fake_send_label(&fake, ids[7], "x");
    wait_end(tandem, &ends[7]);
    end_fini(&ends[7]);
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &extra, NULL), 0);
    tandem_close(tandem);
    assert_int_equal(extra.error, TANDEM_ECANCELED);
    for (size_t i = 0; i < LIMIT_LIB_REQUESTS; i++) {
        assert_int_equal(ends[i].count, i == 7 ? 0 : 1);
    }
    fake_stop(&fake);
}

static void test_busy_bytes(void **state)
{
    struct fake fake;
    struct tandem *tandem;
    struct tandem_request request;
    struct end ends[3] = {{0}};
    size_t half = (LIMIT_LIB_BYTES / 2) + 1;
    void *data = calloc(1, LIMIT_LIB_BYTES + (size_t)1);
    uint64_t id = 0;

    (void)state;
    assert_non_null(data);
    fake_start(&fake);
    tandem = fake_open(&fake);
    tandem_request_init(&request, "objects");
    request.picture = (struct tandem_picture){.format = TANDEM_PIXELS_GREY,
                                              .width = 8192,
                                              .height = 8192,
                                              .data = data,
                                              .bytes = LIMIT_LIB_BYTES + (size_t)1};
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &ends[0], &id),
                     0); /* alone, even a larger one */
    request.picture.bytes = 1;
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &ends[1], NULL), TANDEM_EBUSY);
    fake_take(&fake);
    fake_send_label(&fake, id, "x");
    wait_end(tandem, &ends[0]);
    end_fini(&ends[0]);
    request.picture.bytes = half;
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &ends[1], NULL), 0);
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &ends[2], NULL), TANDEM_EBUSY);
    request.picture.bytes = LIMIT_LIB_BYTES - half;
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &ends[2], NULL), 0);
    tandem_close(tandem);
    free(data);
    fake_stop(&fake);
}

struct chain {
    struct end end; /* first: end_note writes it */
    unsigned left;
    int nested_errors[3];
};

static void chain_next(struct tandem *tandem, uint64_t id, int error, struct tandem_answer *answer,
                       void *user)
{
    struct chain *chain = user;
    struct tandem_request request;
    struct tandem_answer *unused;

    end_note(tandem, id, error, answer, &chain->end);
    tandem_request_init(&request, "commands");
    request.text = "walk";
    chain->nested_errors[0] = tandem_process(tandem);
    chain->nested_errors[1] = tandem_wait(tandem, 0);
    chain->nested_errors[2] = tandem_call(tandem, &request, &unused);
    tandem_close(tandem); /* does nothing here */
    if (chain->left > 0) {
        chain->left--;
        assert_int_equal(tandem_submit(tandem, &request, chain_next, NULL, chain, NULL), 0);
    }
}

static void test_callback_submits(void **state)
{
    struct chain chain = {.left = 3};
    struct fake fake;
    struct tandem *tandem;
    struct tandem_request request;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    tandem_request_init(&request, "commands");
    request.text = "walk";
    assert_int_equal(tandem_submit(tandem, &request, chain_next, NULL, &chain, NULL), 0);
    for (unsigned i = 1; i <= 4; i++) {
        fake_send_label(&fake, fake_take(&fake), "x");
        assert_int_equal(tandem_wait(tandem, 1000), 1);
        assert_int_equal(chain.end.count, i);
        for (size_t n = 0; n < 3; n++) {
            assert_int_equal(chain.nested_errors[n], TANDEM_EINVAL);
        }
    }
    assert_int_equal(tandem_in_flight(tandem), 0);
    end_fini(&chain.end);
    tandem_close(tandem);
    fake_stop(&fake);
}

/* A loop of the caller's own, with nothing but the three questions and tandem_process. */
static void test_foreign_loop(void **state)
{
    struct end ends[8] = {{0}};
    struct fake fake;
    struct tandem *tandem;
    size_t asked = 0, answered = 0;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    while (answered < 8) {
        struct pollfd polls[2];

        if (asked < 8) {
            (void)submit_text(tandem, "walk", &ends[asked++]);
        }
        polls[0] = (struct pollfd){.fd = tandem_fd(tandem), .events = POLLIN};
        polls[0].events |= tandem_wants_write(tandem) ? POLLOUT : 0;
        polls[1] = (struct pollfd){.fd = fake.fd, .events = POLLIN};
        assert_true(poll(polls, 2, tandem_timeout_ms(tandem)) > 0);
        if (polls[0].revents) {
            int done = tandem_process(tandem);

            assert_true(done >= 0);
            answered += (size_t)done;
        }
        if (polls[1].revents) {
            fake_send_label(&fake, fake_take(&fake), "x");
        }
    }
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(ends[i].count, 1);
        end_fini(&ends[i]);
    }
    tandem_close(tandem);
    fake_stop(&fake);
}

/* More than the socket takes: the rest waits in the handle, in order and unharmed. */
static void test_slow_reader(void **state)
{
    enum { COUNT = 20 };
    struct end ends[COUNT] = {{0}};
    char *text = malloc(LIMIT_TEXT_BYTES + (size_t)1);
    struct fake fake;
    struct tandem *tandem;
    struct buf payload;

    (void)state;
    assert_non_null(text);
    fake_start(&fake);
    tandem = fake_open(&fake);
    buf_init(&payload, 0);
    for (int i = 0; i < COUNT; i++) {
        memset(text, 'a' + i, LIMIT_TEXT_BYTES);
        text[LIMIT_TEXT_BYTES] = '\0';
        (void)submit_text(tandem, text, &ends[i]);
    }
    assert_true(tandem_wants_write(tandem));
    for (int i = 0; i < COUNT; i++) {
        struct local_submit submit;
        uint64_t id = 0;

        /* Both sides take turns, as two processes would. */
        while (fake.inbox.bytes - fake.used < LIMIT_TEXT_BYTES + 4096 &&
               tandem_wants_write(tandem)) {
            assert_true(tandem_process(tandem) >= 0);
            assert_true(fake_read(&fake));
        }
        assert_int_equal(fake_request(&fake, &submit, &payload, &id), 0);
        memset(text, 'a' + i, LIMIT_TEXT_BYTES);
        assert_int_equal(payload.bytes, LIMIT_TEXT_BYTES);
        assert_memory_equal(payload.data, text, LIMIT_TEXT_BYTES);
        fake_send_label(&fake, id, "x");
    }
    assert_false(tandem_wants_write(tandem));
    while (tandem_in_flight(tandem) > 0) {
        assert_true(tandem_wait(tandem, 1000) > 0);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(ends[i].count, 1);
        end_fini(&ends[i]);
    }
    tandem_close(tandem);
    buf_fini(&payload);
    free(text);
    fake_stop(&fake);
}

/* Answers that arrive byte by byte. */
static void test_dribble(void **state)
{
    struct local_answer answer = {.id = "3", .predicted_ms = -1};
    struct end end = {0};
    struct fake fake;
    struct tandem *tandem;
    struct buf header, out;
    struct frame frame = {.kind = FRAME_RESULT};

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    answer.answer = (struct answer){
        .kind = WIRE_GENERATE, .text = (char *)"I_WALK", .text_bytes = 6, .finish = 1};
    buf_init(&header, 0);
    buf_init(&out, 0);
    frame.request_id = submit_text(tandem, "walk", &end);
    assert_int_equal(local_answer_pack(&answer, &header), 0);
    frame.header = header.data;
    frame.header_bytes = (uint32_t)header.bytes;
    assert_int_equal(frame_encode(&frame, &out), 0);
    for (size_t i = 0; i < out.bytes; i++) {
        assert_int_equal(end.count, 0);
        fake_send_bytes(&fake, out.data + i, 1);
        assert_int_equal(tandem_process(tandem), i + 1 == out.bytes ? 1 : 0);
    }
    assert_string_equal(tandem_answer_text(end.answer, NULL), "I_WALK");
    end_fini(&end);
    buf_fini(&header);
    buf_fini(&out);
    tandem_close(tandem);
    fake_stop(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),         cmocka_unit_test(test_open_environment),
        cmocka_unit_test(test_text_out),     cmocka_unit_test(test_answer_back),
        cmocka_unit_test(test_pictures),     cmocka_unit_test(test_memfd_of_caller),
        cmocka_unit_test(test_out_of_order), cmocka_unit_test(test_partials),
        cmocka_unit_test(test_cancel),       cmocka_unit_test(test_busy_requests),
        cmocka_unit_test(test_busy_bytes),   cmocka_unit_test(test_callback_submits),
        cmocka_unit_test(test_foreign_loop), cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_dribble),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
