/* The public calls on texts and pictures: they find the model's tokenizer or picture target and
 * pass it on. */
#include "common/engine/model.h"

#include <stdio.h>

static int tokenizer_missing(const struct engine_model *model, char error[ENGINE_ERROR_BYTES])
{
    snprintf(error, ENGINE_ERROR_BYTES, "%s: the model has no tokenizer", model->info.path);
    return TANDEM_EUNSUPPORTED;
}

int engine_tokenize(const struct engine_model *model, const char *text, size_t text_bytes,
                    uint32_t *ids, size_t capacity, size_t *ret_count,
                    char error[ENGINE_ERROR_BYTES])
{
    if (!model->tokenizer) {
        return tokenizer_missing(model, error);
    }
    return tokenizer_encode(model->tokenizer, text, text_bytes, ids, capacity, ret_count, error);
}

int engine_tokenize_prompt(const struct engine_model *model, const char *text, size_t text_bytes,
                           uint32_t *ids, size_t capacity, size_t *ret_count,
                           char error[ENGINE_ERROR_BYTES])
{
    if (!model->tokenizer) {
        return tokenizer_missing(model, error);
    }
    return tokenizer_encode_prompt(model->tokenizer, text, text_bytes, ids, capacity, ret_count,
                                   error);
}

int engine_detokenize(const struct engine_model *model, uint32_t id, bool first, struct buf *out)
{
    if (!model->tokenizer) {
        return TANDEM_EUNSUPPORTED;
    }
    return tokenizer_decode(model->tokenizer, id, first, out);
}

bool engine_is_end_token(const struct engine_model *model, uint32_t id)
{
    return model->tokenizer && tokenizer_is_end(model->tokenizer, id);
}

bool engine_bos_token(const struct engine_model *model, uint32_t *ret_id)
{
    return model->tokenizer && tokenizer_bos(model->tokenizer, ret_id);
}

size_t engine_picture_floats(const struct engine_model *model)
{
    const struct picture_target *target = &model->picture;

    return (size_t)target->width * target->height * target->channels;
}

int engine_picture_prepare(const struct engine_model *model, const struct engine_picture *picture,
                           float *ret_pixels, char error[ENGINE_ERROR_BYTES])
{
    if (model->info.architecture != ENGINE_VIT) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s: the model takes no pictures", model->info.path);
        return TANDEM_EUNSUPPORTED;
    }
    return picture_prepare(&model->picture, picture, ret_pixels, error);
}
