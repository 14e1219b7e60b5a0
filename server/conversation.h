/* conversation.h: what the server remembers between the turns of a session: the transcript's bytes
 * and the KV rows of its tokens, by (tenant, session). Losing one costs the client a resend and
 * time, never correctness. Bounded by LIMIT_SESSIONS and by the pages of the pools; the longest
 * unused goes first. Loop thread. */
#ifndef TANDEM_SERVER_CONVERSATION_H
#define TANDEM_SERVER_CONVERSATION_H

#include "common/engine/engine.h"
#include "server/catalog.h"

struct conversation {
    char tenant[LIMIT_NAME_BYTES + 1], session[LIMIT_NAME_BYTES + 1];
    struct served_model *model; /* one reference */
    struct buf transcript;
    struct engine_seq seq; /* empty while a request has it */
    uint32_t *ids;         /* the tokens whose rows `seq` holds; owned; NULL: none */
    bool busy;             /* a turn is running */
    int64_t used_ns;
};

struct conversations {
    struct conversation *items[LIMIT_SESSIONS];
    size_t count;
    uint64_t evicted;
};

/* Begins a turn. The client believes that the server holds `prefix_bytes` with this digest; 0
 * begins anew. TANDEM_EPREFIX when that is not so, TANDEM_EBUSY while another turn runs,
 * TANDEM_ENOMEM. The transcript is cut to the prefix. Borrowed until conversation_end. */
int conversation_begin(struct conversations *store, const char *tenant, const char *session,
                       struct served_model *model, uint64_t prefix_bytes, const char *prefix_digest,
                       int64_t now_ns, struct conversation **ret_conversation);
/* Ends the turn: takes `seq` (zeroes the caller's) and `ids` (may be NULL), of which seq->length
 * are rows. `transcript` replaces the stored one when it is not NULL (copied); else the stored
 * prefix stays. */
void conversation_end(struct conversations *store, struct conversation *conversation,
                      struct engine_seq *seq, uint32_t *ids, const struct buf *transcript,
                      int64_t now_ns);
/* Frees the longest unused idle conversation with pages in `pool` (NULL: any). False when there is
 * none. */
bool conversation_evict(struct conversations *store, const struct engine_pool *pool);
/* Frees every idle conversation of models that `catalog` (NULL: none) does not serve. Busy ones go
 * when their turn ends and this is called again. */
void conversations_trim(struct conversations *store, const struct catalog *catalog);

#endif
