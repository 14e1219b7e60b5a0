#include "client/policy/upload.h"

#include <math.h>

#define FORMS_ALL (UPLOAD_ROWS + 1)
#define LEARN_MIN 0.1 /* the weight of one more picture: scenes change */
#define LOG_MAX   3.0 /* a factor of 20 either way; beyond that something else is wrong */
#define ROW_SHARE 0.5 /* of what a picture teaches, to its own form; the rest to all */
#define BITS      8.0
#define TIMES_MAX 1000 /* more say nothing more */

/* ns a pixel, on one core of a desktop processor: to read one of the source and mix it into a
 * smaller one, and to write one. Estimates that the first pictures correct. */
static const double read_ns[UPLOAD_SOURCE_KINDS] = {
    [UPLOAD_RAW] = 4, [UPLOAD_JPEG] = 8, [UPLOAD_PNG] = 15};
#define WRITE_NS 15.0
#define NS_IN_MS 1e6

static double pixels(uint32_t width, uint32_t height)
{
    return (double)width * (double)height;
}

static double prepare_prior_ms(const struct upload_source *source, const struct upload_form *form)
{
    return (pixels(source->width, source->height) * read_ns[source->kind] +
            pixels(form->width, form->height) * WRITE_NS) /
           NS_IN_MS;
}

static double bytes_prior(const struct upload_form *form)
{
    return UPLOAD_HEADER_BYTES +
           pixels(form->width, form->height) * upload_priors[form->row].bits_per_pixel / BITS;
}

/* The sides of a row's form. False: it is no smaller than the source, or the model's side is not
 * known. */
static bool sides_of(const struct upload_prior *prior, const struct upload_source *source,
                     const struct upload_terms *terms, struct upload_form *form)
{
    double factor = 1;

    if (prior->scale > 0) {
        factor = prior->scale *
                 fmax((double)terms->width / source->width, (double)terms->height / source->height);
        if (terms->width == 0 || terms->height == 0 || factor >= 1) {
            return false;
        }
    }
    form->width = (uint32_t)fmax(round(factor * source->width), 1);
    form->height = (uint32_t)fmax(round(factor * source->height), 1);
    return true;
}

/* How large the form is against what the edge's model looks at, of both sides the smaller ratio;
 * 0: not known. */
static double scale_of(const struct upload_prior *prior, const struct upload_source *source,
                       const struct upload_terms *terms)
{
    if (prior->scale > 0 || terms->width == 0 || terms->height == 0) {
        return prior->scale;
    }
    return fmin((double)source->width / terms->width, (double)source->height / terms->height);
}

static double price(const struct upload_terms *terms, const struct upload_form *form)
{
    return form->bytes * terms->ms_per_byte + form->prepare_ms * terms->ms_per_prepare_ms +
           form->error * terms->one_error_ms;
}

static bool is_worse(const struct upload_form *form, const struct upload_form *than)
{
    return form->bytes >= than->bytes && form->prepare_ms >= than->prepare_ms &&
           form->error >= than->error;
}

/* Into its place by price; of equals the earlier stays before. */
static void insert(struct upload_form *forms, size_t *count, const struct upload_form *form,
                   const struct upload_terms *terms)
{
    size_t at = (*count)++;

    while (at > 0 && price(terms, &forms[at - 1]) > price(terms, form)) {
        forms[at] = forms[at - 1];
        at--;
    }
    forms[at] = *form;
}

static size_t forms_all(const struct upload_state *state, const struct picture_effects *effects,
                        const struct upload_source *source, const struct upload_terms *terms,
                        struct upload_form forms[FORMS_ALL])
{
    size_t count = 0;

    if (!source->too_big) {
        forms[count++] = (struct upload_form){.bytes = (double)source->bytes};
    }
    for (uint32_t row = 0; row < UPLOAD_ROWS && source->width > 0 && source->height > 0; row++) {
        const struct upload_prior *prior = &upload_priors[row];
        struct upload_form form = {.row = row, .quality = prior->quality};

        if (!sides_of(prior, source, terms, &form) ||
            !picture_effects_find(effects, scale_of(prior, source, terms), form.quality,
                                  &form.error)) {
            continue;
        }
        form.bytes = bytes_prior(&form) * exp(state->bytes_log + state->row_log[row]);
        form.prepare_ms =
            prepare_prior_ms(source, &form) * exp(state->time_log + state->row_time_log[row]);
        if (form.bytes <= LIMIT_PAYLOAD_BYTES) {
            insert(forms, &count, &form, terms);
        }
    }
    return count;
}

/* What came is tried in any case: where it is neither the first nor the second, the second makes
 * way. */
static size_t original_keep(struct upload_form *forms, size_t count, size_t place,
                            const struct upload_form *original)
{
    if (place <= 1) {
        return count;
    }
    if (place == count && count < LIMIT_UPLOAD_FORMS) {
        count++;
    }
    for (size_t at = place < count ? place : count - 1; at > 1; at--) {
        forms[at] = forms[at - 1];
    }
    forms[1] = *original;
    return count;
}

size_t upload_forms(const struct upload_state *state, const struct picture_effects *effects,
                    const struct upload_source *source, const struct upload_terms *terms,
                    struct upload_form ret_forms[LIMIT_UPLOAD_FORMS])
{
    const struct upload_form original = {.bytes = (double)source->bytes};
    struct upload_form all[FORMS_ALL];
    const size_t all_count = forms_all(state, effects, source, terms, all);
    size_t count = 0, place = 0;

    for (size_t i = 0; i < all_count && count < LIMIT_UPLOAD_FORMS; i++) {
        bool worse = false;

        for (size_t j = 0; j < i && !worse; j++) {
            worse = is_worse(&all[i], &all[j]);
        }
        if (!worse) {
            place += all[i].width != 0 && place == count;
            ret_forms[count++] = all[i];
        }
    }
    return source->too_big ? count : original_keep(ret_forms, count, place, &original);
}

static double weight_of(unsigned times)
{
    return fmax(1.0 / (times + 1.0), LEARN_MIN);
}

static void learn(double *factor_log, double weight, double error)
{
    *factor_log = fmin(fmax(*factor_log + weight * error, -LOG_MAX), LOG_MAX);
}

/* A slow device is slow at all forms, so that all learn first; what is left is the form's own, and
 * its first picture tells all of it: else what one form takes would be believed of the others. */
static void time_learn(struct upload_state *state, const struct upload_form *form, double log_ratio)
{
    const double error = log_ratio - state->time_log - state->row_time_log[form->row];
    const double weight = weight_of(state->times);

    learn(&state->time_log, weight, error);
    learn(&state->row_time_log[form->row], weight_of(state->row_times[form->row]),
          (1 - weight) * error);
}

void upload_made(struct upload_state *state, const struct upload_source *source,
                 const struct upload_form *form, uint64_t bytes, double ms)
{
    const double weight = weight_of(state->times);
    double error;

    if (bytes > 0) {
        error =
            log((double)bytes / bytes_prior(form)) - state->bytes_log - state->row_log[form->row];
        learn(&state->bytes_log, (1 - ROW_SHARE) * weight, error);
        learn(&state->row_log[form->row], ROW_SHARE * weight, error);
    }
    if (ms > 0) {
        time_learn(state, form, log(ms / prepare_prior_ms(source, form)));
    }
    state->times += state->times < TIMES_MAX;
    state->row_times[form->row] += state->row_times[form->row] < TIMES_MAX;
}
