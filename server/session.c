#include "server/session.h"

#include "common/base/error.h"

void session_init(struct session *session, bool generates, int64_t deadline_ns)
{
    *session = (struct session){
        .state = SESSION_RECEIVING, .generates = generates, .deadline_ns = deadline_ns};
}

static bool is_held(const struct session *session)
{
    return session->state == SESSION_PREPARING || session->state == SESSION_RUNNING;
}

/* Says the last word, if there is one, and lets go as soon as nobody computes on it. `returned`:
 * the compute thread just gave it back. */
static struct session_actions session_end(struct session *session, uint32_t word, int error,
                                          bool partial, bool returned)
{
    struct session_actions actions = {word, error, partial};

    if (is_held(session) && !returned) {
        session->state = SESSION_LEAVING;
    } else {
        session->state = SESSION_ENDED;
        actions.mask |= SESSION_RELEASE;
    }
    return actions;
}

static struct session_actions session_late(struct session *session, bool returned)
{
    if (session->generates && session->tokens > 0) {
        return session_end(session, SESSION_SEND_RESULT, 0, true, returned);
    }
    return session_end(session, SESSION_SEND_ERROR, TANDEM_ELATE, false, returned);
}

/* Events that carry the request one state further. */
static struct session_actions session_advance(struct session *session, enum session_event event)
{
    static const struct {
        enum session_state from;
        enum session_event event;
        enum session_state to;
        uint32_t mask;
    } steps[] = {
        {SESSION_WAITING, SESSION_STEP, SESSION_PREPARING, 0},
        {SESSION_PREPARING, SESSION_PREPARED, SESSION_QUEUED, SESSION_ENQUEUE},
        {SESSION_QUEUED, SESSION_STEP, SESSION_RUNNING, 0},
        {SESSION_RUNNING, SESSION_STEPPED, SESSION_QUEUED, SESSION_ENQUEUE},
    };

    if (session->state == SESSION_RECEIVING && event == SESSION_INPUT) {
        session->state = session->generates ? SESSION_WAITING : SESSION_QUEUED;
        return (struct session_actions){.mask =
                                            session->generates ? SESSION_PREPARE : SESSION_ENQUEUE};
    }
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (steps[i].from == session->state && steps[i].event == event) {
            session->state = steps[i].to;
            return (struct session_actions){.mask = steps[i].mask};
        }
    }
    return (struct session_actions){0};
}

static bool is_return(enum session_event event)
{
    return event == SESSION_PREPARED || event == SESSION_STEPPED || event == SESSION_FINISHED ||
           event == SESSION_FAILED;
}

struct session_actions session_event(struct session *session, enum session_event event, int error,
                                     int64_t now_ns)
{
    const bool due = session->deadline_ns != 0 && now_ns >= session->deadline_ns;
    const bool returned = is_return(event);

    if (session->state == SESSION_ENDED) {
        return (struct session_actions){0};
    }
    if (session->state == SESSION_LEAVING) {
        if (returned) {
            session->state = SESSION_ENDED;
            return (struct session_actions){.mask = SESSION_RELEASE};
        }
        return (struct session_actions){0};
    }
    switch (event) {
    case SESSION_CANCEL:
    case SESSION_GONE:
        return session_end(session, 0, 0, false, false);
    case SESSION_FAILED:
        return session_end(session, SESSION_SEND_ERROR, error, false, true);
    case SESSION_DRAIN:
        return session_end(session, SESSION_SEND_ERROR, TANDEM_EDRAINING, false, false);
    case SESSION_FINISHED:
        /* The work is done: an answer that is a moment late is worth more than an error, the client
         * knows its own deadline. */
        return session->state == SESSION_RUNNING
                   ? session_end(session, SESSION_SEND_RESULT, 0, false, true)
                   : (struct session_actions){0};
    case SESSION_INPUT:
    case SESSION_PREPARED:
    case SESSION_STEP:
    case SESSION_STEPPED:
    case SESSION_DEADLINE:
        break;
    }
    if (due) {
        return session_late(session, returned && is_held(session));
    }
    return session_advance(session, event);
}

const char *session_state_text(enum session_state state)
{
    static const char *const texts[] = {"receiving", "waiting", "preparing", "queued",
                                        "running",   "leaving", "ended"};

    return texts[state];
}
