/* With K=V a head's output is a mean of the rows in the cache, weighted by a softmax: it lies in
 * their convex hull, whatever the shape, the chunks and the positions. For random rows straight
 * through attention, next to a plain softmax in double, and for whole models. */
#include "common/engine/forward.h"
#include "common/engine/kernels.h"
#include "common/engine/pages.h"
#include "tests/unit/engine/models.h"

#include <math.h>

#define CONTEXT    128
#define SHAPES     40
#define DIRECTIONS 24
#define DK_MAX     96
#define BASE       10000.0

enum turning { TURN_NONE, TURN_UNROTATED, TURN_RELATIVE };

static uint32_t seed = 1;

static uint32_t pick(uint32_t from, uint32_t to) /* both ends included */
{
    seed = seed * 1664525u + 1013904223u;
    return from + (seed >> 8) % (to - from + 1);
}

static float number(void)
{
    return (float)pick(0, 1u << 20) / (1u << 19) - 1;
}

/* ---- the cached rows a query sees, and the hull ---- */

struct cloud {
    double rows[CONTEXT][DK_MAX];
    uint32_t count, dk;
};

static void cloud_read(struct cloud *cloud, const struct engine_seq *seq, uint32_t layer,
                       uint32_t head, uint32_t count)
{
    const struct engine_pool *pool = seq->pool;

    cloud->count = count;
    cloud->dk = pool->model->info.head_dim;
    for (uint32_t j = 0; j < count; j++) {
        const void *rows = pages_rows(pool, seq->pages[j / ENGINE_PAGE_TOKENS], layer, 0, head);
        const size_t at = (size_t)(j % ENGINE_PAGE_TOKENS) * cloud->dk;

        for (uint32_t i = 0; i < cloud->dk; i++) {
            cloud->rows[j][i] = pool->type == ENGINE_KV_F16
                                    ? (double)half_to_float(((const uint16_t *)rows)[at + i])
                                    : (double)((const float *)rows)[at + i];
        }
    }
}

/* min_j u.row_j <= u.output <= max_j u.row_j, but for rounding. */
static void direction_check(const struct cloud *cloud, const double *output, const double *u)
{
    double low = INFINITY, high = -INFINITY, at = 0, size = 0;

    for (uint32_t i = 0; i < cloud->dk; i++) {
        at += u[i] * output[i];
    }
    for (uint32_t j = 0; j < cloud->count; j++) {
        double dot = 0, length = 0;

        for (uint32_t i = 0; i < cloud->dk; i++) {
            dot += u[i] * cloud->rows[j][i];
            length += fabs(u[i] * cloud->rows[j][i]);
        }
        low = dot < low ? dot : low;
        high = dot > high ? dot : high;
        size = length > size ? length : size;
    }
    if (!(at >= low - 2e-6 * size && at <= high + 2e-6 * size)) {
        fail_msg("%u rows of %u: %.9g is not between %.9g and %.9g", cloud->count, cloud->dk, at,
                 low, high);
    }
}

static void hull_check(const struct cloud *cloud, const double *output)
{
    double u[DK_MAX];

    for (uint32_t axis = 0; axis < cloud->dk; axis++) {
        for (uint32_t i = 0; i < cloud->dk; i++) {
            u[i] = i == axis;
        }
        direction_check(cloud, output, u);
    }
    for (uint32_t n = 0; n < DIRECTIONS; n++) {
        for (uint32_t i = 0; i < cloud->dk; i++) {
            u[i] = (double)number();
        }
        direction_check(cloud, output, u);
    }
}

/* ---- positions, by the formula ---- */

static void turn(double *x, uint32_t dk, uint32_t position)
{
    for (uint32_t k = 0; k < dk / 2; k++) {
        const double angle = position * pow(BASE, -2.0 * k / dk);
        const double a = x[2 * k], b = x[2 * k + 1];

        x[2 * k] = a * cos(angle) - b * sin(angle);
        x[2 * k + 1] = a * sin(angle) + b * cos(angle);
    }
}

/* ---- random rows through attention ---- */

struct rig {
    struct engine_model model;
    struct engine_context context;
    struct lane lane;
    struct engine_pool *pool;
    struct engine_seq seq;
    enum turning turning;
    float *asked; /* [CONTEXT, width] lines as they were before attention turned them */
};

static float *floats(size_t count)
{
    float *block = calloc(count, sizeof(float));

    assert_non_null(block);
    return block;
}

static void rig_open(struct rig *rig)
{
    struct engine_model_info *info = &rig->model.info;
    struct projection_layout *layout = &rig->model.layout;
    char error[ENGINE_ERROR_BYTES];

    memset(rig, 0, sizeof(*rig));
    rig->turning = (enum turning)pick(TURN_NONE, TURN_RELATIVE);
    info->n_head_kv = pick(1, 4);
    info->n_head = info->n_head_kv * pick(1, 4);
    info->head_dim = 2 * pick(1, DK_MAX / 2);
    info->n_embd = info->n_head * info->head_dim;
    info->n_layer = pick(1, 3);
    info->n_context = CONTEXT;
    info->kv_tensors_per_layer = 1;
    info->kv_bytes_per_token =
        engine_kv_bytes_per_token(ENGINE_KV_SHARED, info->n_layer, info->n_head_kv, info->head_dim);
    info->kv_bytes_per_page = info->kv_bytes_per_token * ENGINE_PAGE_TOKENS;
    layout->v_is_k = true;
    layout->q_is_k = info->n_head == info->n_head_kv && pick(0, 1);
    layout->k_at = layout->v_at = layout->q_is_k ? 0 : info->n_embd;
    layout->width = layout->k_at + info->n_head_kv * info->head_dim;
    rig->model.relative_values = rig->turning == TURN_RELATIVE;
    if (rig->turning != TURN_NONE) {
        assert_int_equal(
            rotation_init(&rig->model.rotation, info->head_dim / 2, false, (float)BASE, CONTEXT),
            0);
    }
    atomic_init(&rig->model.references, 2);
    rig->context.model = &rig->model;
    rig->context.params.threads = 1;
    rig->context.projected = floats((size_t)CONTEXT * layout->width);
    rig->context.mixed = floats((size_t)CONTEXT * info->n_embd);
    rig->context.state = floats((size_t)CONTEXT * info->n_head * 2);
    rig->context.lanes = &rig->lane;
    rig->lane.rows = floats((size_t)2 * ENGINE_PAGE_TOKENS * info->head_dim);
    rig->lane.query = floats(info->head_dim);
    rig->asked = floats((size_t)CONTEXT * layout->width);
    assert_int_equal(engine_pool_new(&rig->model, pick(0, 1) ? ENGINE_KV_F16 : ENGINE_KV_F32,
                                     4 * info->kv_bytes_per_page * 2, &rig->pool, error),
                     0);
    engine_seq_init(&rig->seq, rig->pool);
}

static void rig_close(struct rig *rig)
{
    engine_seq_fini(&rig->seq);
    engine_pool_free(rig->pool);
    rotation_fini(&rig->model.rotation);
    free(rig->context.projected);
    free(rig->context.mixed);
    free(rig->context.state);
    free(rig->lane.rows);
    free(rig->lane.query);
    free(rig->asked);
}

/* What the query at `position` and head `head` must give: sum_j w_j row_j with w = softmax. */
static void reference(const struct rig *rig, const struct cloud *cloud, uint32_t position,
                      uint32_t head, double *ret_output)
{
    const uint32_t dk = cloud->dk;
    double query[DK_MAX], scores[CONTEXT], highest = -INFINITY, sum = 0;

    for (uint32_t i = 0; i < dk; i++) {
        query[i] = (double)rig->asked[position * rig->model.layout.width + head * dk + i];
        ret_output[i] = 0;
    }
    if (rig->turning != TURN_NONE) {
        turn(query, dk, position);
    }
    for (uint32_t j = 0; j < cloud->count; j++) {
        double key[DK_MAX];

        memcpy(key, cloud->rows[j], dk * sizeof(*key));
        if (rig->turning == TURN_UNROTATED) {
            turn(key, dk, j);
        }
        scores[j] = 0;
        for (uint32_t i = 0; i < dk; i++) {
            scores[j] += query[i] * key[i] / sqrt(dk);
        }
        highest = scores[j] > highest ? scores[j] : highest;
    }
    for (uint32_t j = 0; j < cloud->count; j++) {
        scores[j] = exp(scores[j] - highest);
        sum += scores[j];
    }
    for (uint32_t j = 0; j < cloud->count; j++) {
        for (uint32_t i = 0; i < dk; i++) {
            ret_output[i] += scores[j] / sum * cloud->rows[j][i];
        }
    }
}

/* `count` tokens more of random lines through attention, then each of their outputs. */
static void rig_feed(struct rig *rig, uint32_t count)
{
    const struct engine_model_info *info = &rig->model.info;
    const struct projection_layout *layout = &rig->model.layout;
    const uint32_t before = rig->seq.length, dk = info->head_dim,
                   layer = pick(0, info->n_layer - 1);
    const struct engine_chunk chunk = {.seq = &rig->seq, .count = count};
    const struct attend_chunks all = {&chunk, 1};
    static struct cloud cloud;

    assert_int_equal(engine_seq_reserve(&rig->seq, count), 0);
    for (size_t i = 0; i < (size_t)count * layout->width; i++) {
        rig->context.projected[i] = 3 * number();
    }
    for (uint32_t t = 0; t < count; t++) { /* one number that all keys share: their weights' sum */
        for (uint32_t head = 0; rig->turning != TURN_RELATIVE && head < info->n_head_kv; head++) {
            rig->context.projected[t * layout->width + layout->k_at + head * dk] = 1;
        }
    }
    memcpy(rig->asked + (size_t)before * layout->width, rig->context.projected,
           (size_t)count * layout->width * sizeof(float));
    for (uint32_t i = 0; i < info->n_layer; i++) { /* every layer has the rows of the last call */
        memcpy(rig->context.projected, rig->asked + (size_t)before * layout->width,
               (size_t)count * layout->width * sizeof(float));
        attention_cached(&rig->context, (layer + 1 + i) % info->n_layer, (void *)(uintptr_t)&all);
    }
    for (uint32_t t = 0; t < count; t++) {
        for (uint32_t head = 0; head < info->n_head; head++) {
            double output[DK_MAX], wanted[DK_MAX];

            cloud_read(&cloud, &rig->seq, layer, head / (info->n_head / info->n_head_kv),
                       before + t + 1);
            for (uint32_t i = 0; i < dk; i++) {
                output[i] = (double)rig->context.mixed[t * info->n_embd + head * dk + i];
            }
            if (rig->turning == TURN_RELATIVE) { /* it was turned back by its own position */
                turn(output, dk, before + t);
            }
            hull_check(&cloud, output);
            reference(rig, &cloud, before + t, head, wanted);
            for (uint32_t i = 0; i < dk; i++) {
                if (!(fabs(output[i] - wanted[i]) < 2e-4)) {
                    fail_msg("head %u of %u, %u rows: %g, not %g", head, info->n_head, cloud.count,
                             output[i], wanted[i]);
                }
            }
            if (rig->turning != TURN_RELATIVE) {
                assert_true(fabs(output[0] - 1) < 2e-6);
            }
        }
    }
    rig->seq.length += count;
}

static void test_random_rows(void **state)
{
    uint32_t turnings[3] = {0};

    (void)state;
    for (uint32_t i = 0; i < SHAPES; i++) {
        struct rig rig;

        rig_open(&rig);
        turnings[rig.turning]++;
        rig_feed(&rig, pick(1, 70));
        rig_feed(&rig, 1);
        rig_feed(&rig, pick(1, 40));
        rig_close(&rig);
    }
    assert_true(turnings[0] > 5 && turnings[1] > 5 && turnings[2] > 5);
}

/* ---- whole models: what the last layer left in the context ---- */

static void model_check(const char *name, enum turning turning)
{
    const struct engine_context_params params = {
        .max_tokens = 70, .max_sequences = 1, .threads = 1};
    struct engine_model *model = model_get(name);
    const struct engine_model_info *info = engine_model_info(model);
    const uint32_t dk = info->head_dim, shared = info->n_head / info->n_head_kv;
    struct engine_context *context = NULL;
    struct engine_pool *pool = NULL;
    struct engine_chunk chunk;
    struct engine_seq seq;
    static struct cloud cloud;
    uint32_t tokens[70];
    char error[ENGINE_ERROR_BYTES];
    const float *logits;

    assert_int_equal(engine_pool_new(model, ENGINE_KV_F16, 1u << 20, &pool, error), 0);
    assert_int_equal(engine_context_new(model, &params, &context, error), 0);
    engine_seq_init(&seq, pool);
    for (int i = 0; i < 70; i++) {
        tokens[i] = pick(0, info->n_vocab - 1);
    }
    chunk = (struct engine_chunk){&seq, tokens, 70, ENGINE_LOGITS_NONE, 0};
    assert_int_equal(engine_seq_reserve(&seq, 70), 0);
    assert_int_equal(engine_step(context, &chunk, 1, NULL, &logits), 0);
    for (uint32_t t = 0; t < 70; t++) {
        for (uint32_t head = 0; head < info->n_head; head++) {
            double output[DK_MAX];

            cloud_read(&cloud, &seq, info->n_layer - 1, head / shared, t + 1);
            for (uint32_t i = 0; i < dk; i++) {
                output[i] = (double)context->mixed[t * info->n_embd + head * dk + i];
            }
            if (turning == TURN_RELATIVE) {
                turn(output, dk, t);
            }
            hull_check(&cloud, output);
        }
    }
    engine_seq_fini(&seq);
    engine_context_free(context);
    engine_pool_free(pool);
    engine_model_unref(model);
}

static void test_models(void **state)
{
    (void)state;
    model_check("decoder_kv_f32", TURN_NONE);
    model_check("decoder_q_f32", TURN_NONE);
    model_check("decoder_kv_g2_f16", TURN_NONE);
    model_check("decoder_kv_g1_f32", TURN_NONE);
    model_check("llama_kv", TURN_UNROTATED);
    model_check("llama_kv_g2_f16", TURN_UNROTATED);
    model_check("llama_q", TURN_UNROTATED);
    model_check("llama_kv_relative", TURN_RELATIVE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_rows),
        cmocka_unit_test(test_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
