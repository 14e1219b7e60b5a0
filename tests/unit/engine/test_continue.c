/* A cache that is saved, loaded and continued gives the tokens of a run that was never interrupted:
 * in a fresh engine, and in a fresh process that has nothing but the model file and the bytes. For
 * every way to share, grouped heads and rotary positions, cut at and around the borders of pages.
 */
#include "tests/unit/engine/models.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROMPT 20
#define TOKENS 90 /* of a context of 96 */

static const char *const names[] = {
    "decoder_qkv_f32",    "decoder_qk_f32",     "decoder_kv_f32",    "decoder_q_f32",
    "decoder_qkv_g2_f32", "decoder_qkv_g1_f32", "decoder_kv_g2_f16", "decoder_kv_g1_f16",
    "llama_qkv_g2",       "llama_kv",           "llama_kv_g2_f16",   "llama_kv_relative",
};
#define NAMES (sizeof(names) / sizeof(names[0]))
static const uint32_t cuts[] = {31, 32, 33, 63, 64, 65, 80};
#define CUTS (sizeof(cuts) / sizeof(cuts[0]))

static const char *program;

struct engine {
    struct engine_model *model;
    struct engine_pool *pool;
    struct engine_context *context;
    struct engine_seq seq;
};

static void engine_open(struct engine *engine, const char *name, enum engine_kv_type type)
{
    const struct engine_context_params params = {
        .max_tokens = 128, .max_sequences = 1, .threads = 1};
    char error[ENGINE_ERROR_BYTES] = "";

    engine->model = model_get(name);
    assert_int_equal(engine_pool_new(engine->model, type, 1u << 20, &engine->pool, error), 0);
    assert_int_equal(engine_context_new(engine->model, &params, &engine->context, error), 0);
    engine_seq_init(&engine->seq, engine->pool);
}

static void engine_close(struct engine *engine)
{
    engine_seq_fini(&engine->seq);
    engine_context_free(engine->context);
    engine_pool_free(engine->pool);
    engine_model_unref(engine->model);
}

/* Runs `count` tokens; the most probable next one. */
static uint32_t feed(struct engine *engine, const uint32_t *tokens, uint32_t count)
{
    struct engine_chunk chunk = {&engine->seq, tokens, count, ENGINE_LOGITS_LAST, 0};
    struct engine_sampler sampler;
    const float *logits = NULL;

    assert_int_equal(engine_seq_reserve(&engine->seq, count), 0);
    assert_int_equal(engine_step(engine->context, &chunk, 1, NULL, &logits), 0);
    engine_sampler_init(&sampler, &(struct engine_sampling){.top_p = 1});
    return engine_sample(&sampler, logits, engine_model_info(engine->model)->n_vocab, NULL, NULL);
}

static void prompt_make(const struct engine *engine, uint32_t *tokens)
{
    for (uint32_t i = 0; i < PROMPT; i++) {
        tokens[i] = i * 7919 % engine_model_info(engine->model)->n_vocab;
    }
}

/* tokens[count .. end-1] one by one, after the `count` that are in the cache, of which `next`
 * follows. */
static void generate(struct engine *engine, uint32_t *tokens, uint32_t count, uint32_t end,
                     uint32_t next)
{
    while (count < end) {
        tokens[count++] = next;
        if (count < end) {
            next = feed(engine, tokens + count - 1, 1);
        }
    }
}

static void whole_run(const char *name, enum engine_kv_type type, uint32_t tokens[TOKENS])
{
    struct engine engine;

    engine_open(&engine, name, type);
    prompt_make(&engine, tokens);
    generate(&engine, tokens, PROMPT, TOKENS, feed(&engine, tokens, PROMPT));
    engine_close(&engine);
}

/* The first `cut` tokens into the cache, and its full pages into `bytes`, one after the other. */
static void save(const char *name, enum engine_kv_type type, uint32_t cut, struct buf *bytes)
{
    uint32_t tokens[TOKENS];
    struct engine engine;

    engine_open(&engine, name, type);
    prompt_make(&engine, tokens);
    generate(&engine, tokens, PROMPT, cut, feed(&engine, tokens, PROMPT));
    (void)feed(&engine, tokens + cut - 1, 1);
    assert_int_equal(engine.seq.length, cut);
    for (uint32_t i = 0; i < cut / ENGINE_PAGE_TOKENS; i++) {
        assert_int_equal(engine_seq_export_page(&engine.seq, i, bytes), 0);
    }
    engine_close(&engine);
}

/* The pages of `bytes`, then what follows the last of them anew, and on to the end. `tokens` has
 * the first `cut`. */
static void load(const char *name, enum engine_kv_type type, uint32_t cut, const uint8_t *bytes,
                 size_t size, uint32_t tokens[TOKENS])
{
    const uint32_t pages = cut / ENGINE_PAGE_TOKENS;
    uint32_t at = pages * ENGINE_PAGE_TOKENS, next;
    char error[ENGINE_ERROR_BYTES] = "";
    struct engine engine;

    engine_open(&engine, name, type);
    for (uint32_t i = 0; i < pages; i++) {
        if (engine_seq_import_page(&engine.seq, bytes + size / pages * i, size / pages, error) !=
            0) {
            fail_msg("%s", error);
        }
    }
    assert_int_equal(engine.seq.length, at);
    if (at == cut) { /* the cache has all of them; the last one tells what follows */
        assert_int_equal(engine_seq_truncate(&engine.seq, --at), 0);
    }
    next = feed(&engine, tokens + at, cut - at);
    generate(&engine, tokens, cut, TOKENS, next);
    engine_close(&engine);
}

static void fresh_engine_check(const char *name, enum engine_kv_type type)
{
    uint32_t whole[TOKENS], tokens[TOKENS];

    whole_run(name, type, whole);
    for (size_t i = 0; i < CUTS; i++) {
        struct buf bytes;

        buf_init(&bytes, 0);
        save(name, type, cuts[i], &bytes);
        memset(tokens, 0, sizeof(tokens));
        memcpy(tokens, whole, cuts[i] * sizeof(*tokens));
        load(name, type, cuts[i], bytes.data, bytes.bytes, tokens);
        if (memcmp(tokens, whole, sizeof(whole)) != 0) {
            fail_msg("%s, cut at %u: other tokens", name, cuts[i]);
        }
        buf_fini(&bytes);
    }
}

static void test_fresh_engine(void **state)
{
    (void)state;
    for (size_t i = 0; i < NAMES; i++) {
        fresh_engine_check(names[i], ENGINE_KV_F16);
        fresh_engine_check(names[i], ENGINE_KV_F32);
    }
}

/* ---- another process: "CONTINUE NAME CUT PAGES" with the tokens on both ends of pipes ---- */

static int continue_main(const char *name, const char *cut_text, const char *path)
{
    const uint32_t cut = (uint32_t)strtoul(cut_text, NULL, 10);
    uint32_t tokens[TOKENS] = {0};
    size_t size;
    uint8_t *bytes = file_get(path, &size);

    if (read(0, tokens, cut * sizeof(*tokens)) != (ssize_t)(cut * sizeof(*tokens))) {
        return 1;
    }
    load(name, ENGINE_KV_F16, cut, bytes, size, tokens);
    free(bytes);
    return write(1, tokens, sizeof(tokens)) == (ssize_t)sizeof(tokens) ? 0 : 1;
}

#define EMULATED 126 /* exit status: programs of this processor do not start by themselves here */

/* False: a fresh process cannot be had. */
static bool fresh_process_check(const char *name, uint32_t cut, const char *path)
{
    uint32_t whole[TOKENS], tokens[TOKENS] = {0};
    int to[2], from[2], status = -1;
    char cut_text[16];
    struct buf bytes;
    FILE *file = fopen(path, "wb");
    ssize_t got;
    pid_t child;

    whole_run(name, ENGINE_KV_F16, whole);
    buf_init(&bytes, 0);
    save(name, ENGINE_KV_F16, cut, &bytes);
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.bytes, file), bytes.bytes);
    assert_int_equal(fclose(file), 0);
    buf_fini(&bytes);
    snprintf(cut_text, sizeof(cut_text), "%u", cut);
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (dup2(to[0], 0) == 0 && dup2(from[1], 1) == 1) {
            execl("/proc/self/exe", program, "CONTINUE", name, cut_text, path, (char *)NULL);
        }
        _exit(errno == ENOEXEC ? EMULATED : 127);
    }
    close(from[1]);
    assert_int_equal(write(to[1], whole, cut * sizeof(*whole)), cut * sizeof(*whole));
    close(to[0]); /* not before: a child that never starts shall not end us by SIGPIPE */
    close(to[1]);
    got = read(from[0], tokens, sizeof(tokens));
    close(from[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == EMULATED) {
        return false;
    }
    assert_int_equal(got, sizeof(tokens));
    assert_int_equal(status, 0);
    assert_memory_equal(tokens, whole, sizeof(whole));
    return true;
}

static void test_fresh_process(void **state)
{
    static const char *const some[] = {"decoder_qkv_f32", "decoder_kv_f32", "decoder_kv_g1_f16",
                                       "llama_kv"};
    char path[] = "/tmp/tandem-pages.XXXXXX";
    const int file = mkstemp(path);
    bool can_start = true;

    (void)state;
    assert_true(file >= 0);
    close(file);
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]) && can_start; i++) {
        can_start =
            fresh_process_check(some[i], 64, path) && fresh_process_check(some[i], 71, path);
    }
    unlink(path);
    if (!can_start) {
        skip();
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh_engine),
        cmocka_unit_test(test_fresh_process),
    };

    program = argv[0];
    if (argc == 5 && strcmp(argv[1], "CONTINUE") == 0) {
        return continue_main(argv[2], argv[3], argv[4]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
