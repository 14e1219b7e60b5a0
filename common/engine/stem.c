/* stem.c: from a picture to tokens: convolutions by unrolled windows and a product, ReLU, max pool.
 * Feature maps are [h, w, channels]. */
#include "common/engine/forward.h"
#include "common/engine/kernels.h"

#include <math.h>
#include <string.h>

/* One window of the input as the packed weight's rows are laid out: y, then x, then channel.
 * Outside the picture is 0. */
static void window_unroll(const struct stem_layer *layer, const float *in, uint32_t at,
                          float *ret_window)
{
    int64_t top = (int64_t)(at / layer->conv_width) * layer->stride - layer->padding;
    int64_t left = (int64_t)(at % layer->conv_width) * layer->stride - layer->padding;
    int64_t kernel = layer->kernel, channels = layer->in_channels;
    int64_t skip = left < 0 ? -left : 0; /* columns left of the picture */
    int64_t end = left + kernel > layer->in_width ? layer->in_width - left : kernel;

    for (int64_t y = 0; y < kernel; y++, ret_window += kernel * channels) {
        int64_t row = top + y;

        if (row < 0 || row >= layer->in_height || end <= skip) {
            memset(ret_window, 0, (size_t)(kernel * channels) * sizeof(float));
            continue;
        }
        memset(ret_window, 0, (size_t)(skip * channels) * sizeof(float));
        memcpy(ret_window + skip * channels, in + (row * layer->in_width + left + skip) * channels,
               (size_t)((end - skip) * channels) * sizeof(float));
        memset(ret_window + end * channels, 0, (size_t)((kernel - end) * channels) * sizeof(float));
    }
}

struct convolution {
    struct engine_context *context;
    const struct stem_layer *layer;
    const float *in;
    float *out;
};

/* Positions from .. to-1, at most STEM_ROWS. */
static void convolution_run(void *user, uint32_t member, size_t from, size_t to)
{
    const struct convolution *job = user;
    const struct stem_layer *layer = job->layer;
    const size_t window = layer->weight.weight.columns, channels = layer->out_channels,
                 count = to - from;
    float *columns = job->context->lanes[member].columns, *out = job->out + from * channels;

    for (size_t i = 0; i < count; i++) {
        window_unroll(layer, job->in, (uint32_t)(from + i), columns + i * window);
    }
    kernels_gemm_nt(count, channels, window, columns, window, layer->packed, window, out, channels);
    kernels_add_bias(out, channels, layer->weight.bias, count, channels);
    if (job->context->model->stem_relu) {
        kernels_relu(out, count * channels);
    }
}

static void layer_convolve(struct engine_context *context, const struct stem_layer *layer,
                           const float *in, float *out)
{
    struct convolution job = {context, layer, in, out};
    const size_t total = (size_t)layer->conv_height * layer->conv_width;
    struct team *team =
        forward_team(context, total * layer->weight.weight.columns * layer->out_channels);
    const size_t half = (total + 1) / 2; /* so that a small map makes two pieces as well */

    team_run(team, total, team && half < STEM_ROWS ? half : STEM_ROWS, convolution_run, &job);
}

static void layer_pool(const struct stem_layer *layer, const float *in, float *out)
{
    int64_t padding = (layer->pool - 1) / 2;
    size_t channels = layer->out_channels;

    for (uint32_t y = 0; y < layer->out_height; y++) {
        for (uint32_t x = 0; x < layer->out_width; x++, out += channels) {
            for (size_t channel = 0; channel < channels; channel++) {
                out[channel] = -INFINITY;
            }
            for (uint32_t i = 0; i < layer->pool * layer->pool; i++) {
                int64_t row = (int64_t)2 * y - padding + i / layer->pool,
                        column = (int64_t)2 * x - padding + i % layer->pool;
                const float *pixel;

                if (row < 0 || row >= layer->conv_height || column < 0 ||
                    column >= layer->conv_width) {
                    continue;
                }
                pixel = in + ((size_t)row * layer->conv_width + (size_t)column) * channels;
                kernels()->max(out, pixel, channels);
            }
        }
    }
}

void stem_run(struct engine_context *context, const float *pixels, float *ret_tokens)
{
    const struct engine_model *model = context->model;
    const float *in = pixels;

    for (uint32_t i = 0; i < model->stem_count; i++) {
        const struct stem_layer *layer = &model->stem[i];
        bool last = i + 1 == model->stem_count;
        float *other = in == context->maps[0] ? context->maps[1]
                                              : context->maps[0]; /* not the one that is read */
        float *out = last && !layer->pool ? ret_tokens : other;

        layer_convolve(context, layer, in, out);
        if (layer->pool) { /* what the convolution read is free now */
            float *pooled = last                        ? ret_tokens
                            : other == context->maps[0] ? context->maps[1]
                                                        : context->maps[0];

            layer_pool(layer, out, pooled);
            out = pooled;
        }
        in = out;
    }
}
