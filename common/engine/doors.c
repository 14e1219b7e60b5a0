/* doors.c: the public calls that only hand a model's tokenizer or picture target to the file that does the work. */
#include "common/engine/model.h"

#include <stdio.h>

static int tokenizer_missing(const struct engine_model *model, char *error)
{
    snprintf(error, ENGINE_ERROR_BYTES, "%s has no tokenizer", model->info.path);
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
    return model->tokenizer ? tokenizer_decode(model->tokenizer, id, first, out)
                            : TANDEM_EUNSUPPORTED;
}

bool engine_is_end_token(const struct engine_model *model, uint32_t id)
{
    return model->tokenizer && tokenizer_is_end(model->tokenizer, id);
}

size_t engine_picture_floats(const struct engine_model *model)
{
    return (size_t)model->picture.width * model->picture.height * model->picture.channels;
}

int engine_picture_prepare(const struct engine_model *model, const struct engine_picture *picture,
                           float *ret_pixels, char error[ENGINE_ERROR_BYTES])
{
    if (model->info.architecture != ENGINE_VIT) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s does not take pictures", model->info.path);
        return TANDEM_EUNSUPPORTED;
    }
    return picture_prepare(&model->picture, picture, ret_pixels, error);
}
