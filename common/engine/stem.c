/* stem.c: from a picture to tokens: convolutions by unrolled windows and a product, ReLU, max pool.
 * Feature maps are [h, w, channels]. */
#include "common/engine/forward.h"
#include "common/engine/kernels.h"

#include <math.h>
#include <string.h>

/* One window of the input as the weight's rows are laid out: channel, then y, then x. Outside the
 * picture is 0. */
static void window_unroll(const struct stem_layer *layer, const float *in, uint32_t at,
                          float *ret_window)
{
    int64_t top = (int64_t)(at / layer->conv_width) * layer->stride - layer->padding;
    int64_t left = (int64_t)(at % layer->conv_width) * layer->stride - layer->padding;
    size_t kernel = layer->kernel, channels = layer->in_channels;

    for (size_t y = 0; y < kernel; y++) {
        for (size_t x = 0; x < kernel; x++) {
            int64_t row = top + (int64_t)y, column = left + (int64_t)x;
            bool inside =
                row >= 0 && row < layer->in_height && column >= 0 && column < layer->in_width;
            const float *pixel =
                inside ? in + ((size_t)row * layer->in_width + (size_t)column) * channels : NULL;
            float *out = ret_window + y * kernel + x;

            for (size_t channel = 0; channel < channels; channel++) {
                out[channel * kernel * kernel] = pixel ? pixel[channel] : 0;
            }
        }
    }
}

static void layer_convolve(struct engine_context *context, const struct stem_layer *layer,
                           const float *in, float *out)
{
    uint32_t total = layer->conv_height * layer->conv_width;
    size_t window = layer->weight.weight.columns, channels = layer->out_channels;

    for (uint32_t first = 0; first < total; first += STEM_ROWS) {
        uint32_t count = total - first < STEM_ROWS ? total - first : STEM_ROWS;

        for (uint32_t i = 0; i < count; i++) {
            window_unroll(layer, in, first + i, context->columns + i * window);
        }
        linear_apply(context, &layer->weight, context->columns, count, out + first * channels,
                     channels);
    }
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
                for (size_t channel = 0; channel < channels; channel++) {
                    out[channel] = pixel[channel] > out[channel] ? pixel[channel] : out[channel];
                }
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
        if (model->stem_relu) {
            kernels_relu(out, (size_t)layer->conv_height * layer->conv_width * layer->out_channels);
        }
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
