#include "client/daemon/request.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct session *session_get(struct requests *all, const char *name, uid_t uid)
{
    struct session **oldest = NULL, *session;

    for (struct session **at = &all->sessions; *at; at = &(*at)->next) {
        if ((*at)->uid == uid && strcmp((*at)->name, name) == 0) {
            return *at;
        }
        if (!(*at)->busy && (!oldest || (*at)->used_ns < (*oldest)->used_ns)) {
            oldest = at;
        }
    }
    if (all->session_count >= LIMIT_SESSIONS) {
        if (!oldest) {
            return NULL;
        }
        session = *oldest;
        *oldest = session->next;
        buf_fini(&session->transcript);
        free(session);
        all->session_count--;
    }
    session = calloc(1, sizeof(*session));
    if (session) {
        strcpy(session->name, name);
        session->uid = uid;
        buf_init(&session->transcript, LIMIT_TRANSCRIPT_BYTES);
        session->next = all->sessions;
        all->sessions = session;
        all->session_count++;
    }
    return session;
}

int session_begin(struct request *request)
{
    struct session *session =
        session_get(request->all, request->submit.session, app_peer_uid(request->peer));
    int result;

    if (!session) {
        snprintf(request->why, sizeof(request->why), "all %d sessions are in use", LIMIT_SESSIONS);
        return TANDEM_EBUSY;
    }
    if (session->busy) {
        snprintf(request->why, sizeof(request->why), "another turn of this session is under way");
        return TANDEM_EBUSY;
    }
    buf_init(&request->transcript, LIMIT_TRANSCRIPT_BYTES);
    result = buf_append(&request->transcript, session->transcript.data, session->transcript.bytes);
    if (result == 0) {
        result = transcript_append(&request->transcript, TURN_USER,
                                   (const char *)request->input.data, request->input.bytes);
    }
    if (result == 0) {
        session->busy = true;
        request->session = session;
    }
    return result;
}

void session_end(struct request *request, const struct answer *answer, int edge)
{
    struct session *session = request->session;

    if (!session) {
        return;
    }
    if (answer && transcript_append(&request->transcript, TURN_ANSWER, answer->text,
                                    answer->text_bytes) == 0) {
        buf_fini(&session->transcript);
        session->transcript = request->transcript;
        request->transcript = (struct buf){0};
        if (edge >= 0) {
            session->edge_bytes[edge] = session->transcript.bytes;
        }
    }
    session->busy = false;
    session->used_ns = clock_now_ns();
    request->session = NULL;
}

void sessions_free(struct session *sessions)
{
    while (sessions) {
        struct session *next = sessions->next;

        buf_fini(&sessions->transcript);
        free(sessions);
        sessions = next;
    }
}
