/* session.h: the life of one request on the server, as a pure state machine: an event goes in,
 * actions come out, and whoever owns the request (requests.c, or a test) carries them out. No
 * sockets, no engine, no clock of its own.
 *
 *   RECEIVING --INPUT--> WAITING --STEP--> PREPARING --PREPARED--> QUEUED <--> RUNNING --> ENDED
 *            (a picture: --INPUT--> QUEUED)
 *
 * PREPARING and RUNNING mean that a compute thread holds the request's memory. What ends a request
 * there is answered at once, and the memory is given back when the thread returns it (LEAVING).
 * Every accepted request gets exactly one RESULT or ERROR, unless its peer is gone or cancelled it
 * itself. */
#ifndef TANDEM_SERVER_SESSION_H
#define TANDEM_SERVER_SESSION_H

#include <stdbool.h>
#include <stdint.h>

enum session_state {
    SESSION_RECEIVING,
    SESSION_WAITING, /* a text, for the compute thread to make tokens of it */
    SESSION_PREPARING,
    SESSION_QUEUED,
    SESSION_RUNNING,
    SESSION_LEAVING,
    SESSION_ENDED
};

enum session_event {
    SESSION_INPUT,    /* the whole payload is there */
    SESSION_PREPARED, /* the compute thread made tokens of a text */
    SESSION_STEP,     /* the compute thread takes it: to prepare it, or as the batcher picked it */
    SESSION_STEPPED,  /* the step came back: go on */
    SESSION_FINISHED, /* the step came back: that was the last one */
    SESSION_FAILED,   /* stated failure, `error` says which; from a step or from the loop */
    SESSION_CANCEL,   /* the peer wants no answer any more */
    SESSION_GONE,     /* the peer is gone */
    SESSION_DEADLINE, /* the deadline has passed */
    SESSION_DRAIN,    /* the daemon ends now */
};

enum session_action {
    SESSION_PREPARE = 1u << 0,     /* the compute thread may take it for tokens */
    SESSION_ENQUEUE = 1u << 1,     /* the batcher may take it */
    SESSION_SEND_RESULT = 1u << 2, /* whole, or partial with finish DEADLINE when `partial` */
    SESSION_SEND_ERROR = 1u << 3,  /* with `error` */
    SESSION_RELEASE = 1u << 4, /* pages, payload and the request itself go; nothing may follow */
};

struct session {
    enum session_state state;
    bool generates;      /* text: needs preparing, and may end with a partial answer */
    uint32_t tokens;     /* generated so far; kept by the owner */
    int64_t deadline_ns; /* 0: none */
};

struct session_actions {
    uint32_t mask;
    int error;    /* with SESSION_SEND_ERROR */
    bool partial; /* with SESSION_SEND_RESULT */
};

void session_init(struct session *session, bool generates, int64_t deadline_ns);
/* `error` counts with SESSION_FAILED only. Events that mean nothing in a state change nothing. A
 * deadline event before its time is ignored, and one that is due is seen at any event. */
struct session_actions session_event(struct session *session, enum session_event event, int error,
                                     int64_t now_ns);
const char *session_state_text(enum session_state state);

#endif
