/* What the order of a peer's frames, the compute thread's returns, deadlines and failures can do to
 * a request on the server: the first part of the input is read as events of the state machine, the
 * rest as turns of conversations, whose prefixes are what an edge is told that it holds. */
#include "common/base/error.h"
#include "server/conversation.h"
#include "server/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES 3
#define PAGES 8
#define MODEL "tests/fuzz/seeds/gguf/decoder_kv_g1_f16.gguf"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct input {
    const uint8_t *at, *end;
};

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static unsigned next(struct input *input)
{
    return input->at < input->end ? *input->at++ : 0;
}

/* ---- one request ---- */

/* Whether the owner of a request may say this to it: a thread returns only what it holds. */
static bool may_happen(const struct session *session, enum session_event event, bool computing)
{
    switch (event) {
    case SESSION_PREPARED:
        return computing && !session->tokens;
    case SESSION_STEPPED:
    case SESSION_FINISHED:
        return computing;
    case SESSION_STEP:
        return session->state == SESSION_WAITING || session->state == SESSION_QUEUED;
    case SESSION_FAILED:
        return computing || session->state == SESSION_RECEIVING ||
               session->state == SESSION_WAITING || session->state == SESSION_QUEUED;
    default:
        return true;
    }
}

/* One answer or one error and no more; memory is let go once, last, and never under the thread. */
static void request_run(struct input *input)
{
    struct session session;
    unsigned words = 0, events = next(input);
    bool computing = false, quiet = false, released = false;

    session_init(&session, events & 1, events & 2 ? 100 : 0);
    for (int64_t now = 0; events-- > 0; now += next(input) & 15) {
        const enum session_event event = next(input) % (SESSION_DRAIN + 1);
        struct session_actions actions;

        if (!may_happen(&session, event, computing)) {
            continue;
        }
        if (event == SESSION_STEPPED && session.state == SESSION_RUNNING) {
            session.tokens++;
        }
        quiet |= !released && words == 0 && (event == SESSION_CANCEL || event == SESSION_GONE);
        computing &= event != SESSION_PREPARED && event != SESSION_STEPPED &&
                     event != SESSION_FINISHED && event != SESSION_FAILED;
        actions = session_event(&session, event, TANDEM_EINTERNAL, now);
        check(!released || actions.mask == 0);
        words += (actions.mask & SESSION_SEND_RESULT) != 0;
        words += (actions.mask & SESSION_SEND_ERROR) != 0;
        check(words <= 1 && !(words && quiet));
        check(!(actions.mask & SESSION_SEND_ERROR) || actions.error < 0);
        check(!actions.partial || session.tokens > 0);
        computing |= event == SESSION_STEP &&
                     (session.state == SESSION_PREPARING || session.state == SESSION_RUNNING);
        released |= (actions.mask & SESSION_RELEASE) != 0;
        check(!released || (!computing && session.state == SESSION_ENDED && (words == 1 || quiet)));
        check(session_state_text(session.state) != NULL);
    }
}

/* ---- conversations ---- */

struct stage {
    struct served_model model;
    struct conversations store;
    struct conversation *busy[NAMES * NAMES];
    char said[NAMES * NAMES][64]; /* what the last turn left behind */
    size_t said_bytes[NAMES * NAMES];
};

static void turn_begin(struct stage *stage, struct input *input, unsigned who)
{
    char tenant[2] = {(char)('a' + who % NAMES)}, session[2] = {(char)('a' + who / NAMES)};
    struct conversation *conversation = NULL;
    const uint64_t prefix = next(input) % 80;
    const bool wrong = next(input) & 1;
    char digest[33];
    int result;

    digest_hex(stage->said[who], prefix <= stage->said_bytes[who] ? prefix : 0, digest);
    digest[0] = (char)(wrong ? 'x' : digest[0]);
    result = conversation_begin(&stage->store, tenant, session, &stage->model, prefix, digest,
                                next(input), &conversation);
    if (stage->busy[who]) {
        check(result == TANDEM_EBUSY);
    } else if (result == 0) {
        check(prefix == 0 || (!wrong && prefix <= stage->said_bytes[who]));
        check(conversation->busy && conversation->transcript.bytes == prefix);
        check(memcmp(conversation->transcript.data ? conversation->transcript.data
                                                   : (const uint8_t *)"",
                     stage->said[who], prefix) == 0);
        stage->busy[who] = conversation;
    } else {
        check(result == TANDEM_EPREFIX && prefix > 0);
    }
}

static void turn_end(struct stage *stage, struct input *input, unsigned who)
{
    struct conversation *conversation = stage->busy[who];
    const unsigned length = next(input) % (sizeof(stage->said[0]) + 1);
    uint32_t rows = next(input) % 40, *ids = NULL;
    struct engine_seq seq;
    struct buf transcript;

    if (!conversation) {
        return;
    }
    engine_seq_init(&seq, stage->model.pool);
    if (engine_seq_reserve(&seq, rows) == 0) {
        ids = calloc(rows + 1, sizeof(*ids));
        check(ids != NULL);
        seq.length = rows; /* as if a step had written them */
    }
    buf_init(&transcript, LIMIT_TRANSCRIPT_BYTES);
    memset(stage->said[who], (int)('a' + length % 26), length);
    check(buf_append(&transcript, stage->said[who], length) == 0);
    stage->said_bytes[who] = length;
    conversation_end(&stage->store, conversation, &seq, next(input) & 1 ? ids : (free(ids), NULL),
                     &transcript, next(input));
    check(!conversation->busy && seq.page_count == 0);
    buf_fini(&transcript);
    stage->busy[who] = NULL;
}

static void turns_run(struct stage *stage, struct input *input)
{
    while (input->at < input->end) {
        const unsigned what = next(input), who = next(input) % (NAMES * NAMES);

        if (what % 8 < 4) {
            turn_begin(stage, input, who);
        } else if (what % 8 < 7) {
            turn_end(stage, input, who);
        } else if (!conversation_evict(&stage->store, what & 8 ? stage->model.pool : NULL)) {
            check(what & 8 || stage->store.count == 0 || stage->store.items[0]->busy);
        }
        check(stage->store.count <= NAMES * NAMES);
    }
    for (unsigned who = 0; who < NAMES * NAMES; who++) {
        turn_end(stage, input, who);
    }
    conversations_trim(&stage->store, NULL);
    check(stage->store.count == 0 && stage->model.references == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct engine_model *model; /* opened once: it never changes */
    struct input input = {data, data + bytes};
    struct stage stage = {.model = {.references = 1}};
    struct engine_pool_stats stats;
    char error[ENGINE_ERROR_BYTES];

    if (!model && engine_model_open(MODEL, &model, error) != 0) {
        fprintf(stderr, "%s\n", error);
        abort();
    }
    request_run(&input);
    stage.model.model = model;
    check(engine_pool_new(model, ENGINE_KV_F16, PAGES * engine_model_info(model)->kv_bytes_per_page,
                          &stage.model.pool, error) == 0);
    turns_run(&stage, &input);
    engine_pool_stats(stage.model.pool, &stats);
    check(stats.pages_free == stats.pages_total);
    engine_pool_free(stage.model.pool);
    return 0;
}
