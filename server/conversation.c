#include "server/conversation.h"

#include <stdlib.h>
#include <string.h>

static void conversation_remove(struct conversations *store, size_t index)
{
    struct conversation *conversation = store->items[index];

    engine_seq_fini(&conversation->seq);
    buf_fini(&conversation->transcript);
    free(conversation->ids);
    served_model_unref(conversation->model);
    free(conversation);
    store->items[index] = store->items[--store->count];
}

bool conversation_evict(struct conversations *store, const struct engine_pool *pool)
{
    size_t oldest = store->count;

    for (size_t i = 0; i < store->count; i++) {
        const struct conversation *item = store->items[i];

        if (!item->busy && (!pool || (item->model->pool == pool && item->seq.page_count > 0)) &&
            (oldest == store->count || item->used_ns < store->items[oldest]->used_ns)) {
            oldest = i;
        }
    }
    if (oldest == store->count) {
        return false;
    }
    store->evicted++;
    conversation_remove(store, oldest);
    return true;
}

void conversations_trim(struct conversations *store, const struct catalog *catalog)
{
    for (size_t i = store->count; i-- > 0;) {
        bool served = store->items[i]->busy;

        for (size_t k = 0; catalog && k < catalog->task_count; k++) {
            served |= catalog->tasks[k].model == store->items[i]->model;
        }
        if (!served) {
            conversation_remove(store, i);
        }
    }
}

static int conversation_new(struct conversations *store, const char *tenant, const char *session,
                            struct served_model *model, struct conversation **ret_conversation)
{
    struct conversation *conversation;

    if (store->count == LIMIT_SESSIONS && !conversation_evict(store, NULL)) {
        return TANDEM_EBUSY; /* every one has a turn running */
    }
    conversation = calloc(1, sizeof(*conversation));
    if (!conversation) {
        return TANDEM_ENOMEM;
    }
    strncpy(conversation->tenant, tenant, LIMIT_NAME_BYTES);
    strncpy(conversation->session, session, LIMIT_NAME_BYTES);
    conversation->model = model;
    served_model_ref(model);
    buf_init(&conversation->transcript, LIMIT_TRANSCRIPT_BYTES);
    engine_seq_init(&conversation->seq, model->pool);
    store->items[store->count++] = conversation;
    *ret_conversation = conversation;
    return 0;
}

static bool prefix_is_held(const struct conversation *conversation, uint64_t bytes,
                           const char *digest)
{
    char hex[33];

    if (bytes > conversation->transcript.bytes) {
        return false;
    }
    digest_hex(conversation->transcript.data, (size_t)bytes, hex);
    return strcmp(hex, digest) == 0;
}

int conversation_begin(struct conversations *store, const char *tenant, const char *session,
                       struct served_model *model, uint64_t prefix_bytes, const char *prefix_digest,
                       int64_t now_ns, struct conversation **ret_conversation)
{
    struct conversation *found = NULL;
    int result = 0;

    for (size_t i = 0; i < store->count && !found; i++) {
        if (strcmp(store->items[i]->session, session) == 0 &&
            strcmp(store->items[i]->tenant, tenant) == 0) {
            found = store->items[i];
            if (found->busy) {
                return TANDEM_EBUSY;
            }
            if (found->model != model) { /* reloaded, or the session changed its task */
                conversation_remove(store, i);
                found = NULL;
                break;
            }
        }
    }
    if (prefix_bytes > 0 && (!found || !prefix_is_held(found, prefix_bytes, prefix_digest))) {
        return TANDEM_EPREFIX;
    }
    if (!found) {
        result = conversation_new(store, tenant, session, model, &found);
    }
    if (result != 0) {
        return result;
    }
    found->transcript.bytes = (size_t)prefix_bytes;
    found->busy = true;
    found->used_ns = now_ns;
    *ret_conversation = found;
    return 0;
}

void conversation_end(struct conversations *store, struct conversation *conversation,
                      struct engine_seq *seq, uint32_t *ids, const struct buf *transcript,
                      int64_t now_ns)
{
    (void)store;
    engine_seq_fini(&conversation->seq);
    conversation->seq = *seq;
    memset(seq, 0, sizeof(*seq));
    if (engine_seq_truncate(&conversation->seq, conversation->seq.length) != 0 ||
        (!ids && conversation->seq.length > 0)) {
        engine_seq_fini(&conversation->seq); /* rows that nobody can name are worth nothing */
        engine_seq_init(&conversation->seq, conversation->model->pool);
    }
    free(conversation->ids);
    conversation->ids = ids;
    if (transcript) {
        buf_clear(&conversation->transcript);
        if (buf_append(&conversation->transcript, transcript->data, transcript->bytes) != 0) {
            buf_clear(
                &conversation->transcript); /* the next turn is told EPREFIX and sends the whole */
        }
    }
    conversation->busy = false;
    conversation->used_ns = now_ns;
}
