#include "common/model/calibration_fit.h"

#include "common/base/error.h"

#include <math.h>
#include <stdlib.h>

#define RAW_MARGIN  1e-6 /* log-odds of 0 and 1 are taken this far inside */
#define STEPS       50   /* of a search: each leaves 0.62 of where the best may lie */
#define GROUPS      10   /* of the table */
#define GROUP_LEAST 20   /* examples of a group */

/* The examples that a fit is made from. */
struct sample {
    const struct calibration_data *data;
    const size_t *indices;
    size_t count;
};

/* ---- temperature ---- */

/* Largest of logits / temperature after softmax, and -log of class `truth`. */
static double classes_read(const float *logits, uint32_t n, double temperature, uint32_t truth,
                           double *ret_surprise)
{
    float best = logits[0];
    double sum = 0;

    for (uint32_t i = 1; i < n; i++) {
        best = logits[i] > best ? logits[i] : best;
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += exp((double)(logits[i] - best) / temperature);
    }
    *ret_surprise = log(sum) - (double)(logits[truth] - best) / temperature;
    return 1 / sum;
}

static double surprise_of(const struct sample *sample, double temperature)
{
    const struct calibration_data *data = sample->data;
    double total = 0;

    for (size_t i = 0; i < sample->count; i++) {
        const size_t at = sample->indices[i];
        double surprise;

        (void)classes_read(data->logits + at * data->n_class, data->n_class, temperature,
                           data->truths[at], &surprise);
        total += surprise;
    }
    return total;
}

/* Cross-entropy is convex in 1 / T and so has one valley in log T: golden sections of it. */
static int temperature_fit(const struct sample *sample, struct calibration *calibration)
{
    const double golden = (sqrt(5) - 1) / 2;
    double low = log(CALIBRATION_TEMPERATURE_MIN * 2), high = log(CALIBRATION_TEMPERATURE_MAX / 2);
    double left = high - golden * (high - low), right = low + golden * (high - low);
    double at_left = surprise_of(sample, exp(left)), at_right = surprise_of(sample, exp(right));

    for (int i = 0; i < STEPS; i++) {
        if (at_left <= at_right) {
            high = right;
            right = left;
            at_right = at_left;
            left = high - golden * (high - low);
            at_left = surprise_of(sample, exp(left));
        } else {
            low = left;
            left = right;
            at_left = at_right;
            right = low + golden * (high - low);
            at_right = surprise_of(sample, exp(right));
        }
    }
    calibration->temperature = (double)(float)exp((low + high) / 2);
    return 0;
}

/* ---- points of a table ---- */

/* Appends a point, rounded to what a file holds. One that does not lie right of the last changes
 * nothing, and none falls below the last. */
static void point_add(struct calibration *calibration, double x, double y)
{
    const size_t last = calibration->count;

    x = (double)(float)x;
    y = (double)(float)y;
    if (last == LIMIT_CALIBRATION_POINTS || (last > 0 && x <= calibration->x[last - 1])) {
        return;
    }
    calibration->x[last] = x;
    calibration->y[last] = last > 0 && y < calibration->y[last - 1] ? calibration->y[last - 1] : y;
    calibration->count++;
}

/* ---- logistic ---- */

static double log_odds(double raw)
{
    const double inside = fmin(fmax(raw, RAW_MARGIN), 1 - RAW_MARGIN);

    return log(inside / (1 - inside));
}

static double sigmoid(double z)
{
    return 1 / (1 + exp(-z));
}

struct logistic {
    double a, b;
    double target[2]; /* of a wrong and of a right answer: not quite 0 and 1 */
};

static double logistic_surprise(const struct sample *sample, const struct logistic *line)
{
    double total = 0;

    for (size_t i = 0; i < sample->count; i++) {
        const size_t at = sample->indices[i];
        const double z = line->a * log_odds(sample->data->raw[at]) + line->b;
        const double target = line->target[sample->data->right[at]];

        /* log(1 + e^z) - target * z, without overflow */
        total += fmax(z, 0) + log1p(exp(-fabs(z))) - target * z;
    }
    return total;
}

/* One step of Newton's, shortened until it does not climb. False when there is nowhere to go. */
static bool logistic_step(const struct sample *sample, struct logistic *line)
{
    double g_a = 0, g_b = 0, h_aa = 1e-9, h_ab = 0, h_bb = 1e-9, before, determinant;

    for (size_t i = 0; i < sample->count; i++) {
        const size_t at = sample->indices[i];
        const double odds = log_odds(sample->data->raw[at]);
        const double p = sigmoid(line->a * odds + line->b);
        const double off = p - line->target[sample->data->right[at]], weight = p * (1 - p);

        g_a += off * odds;
        g_b += off;
        h_aa += weight * odds * odds;
        h_ab += weight * odds;
        h_bb += weight;
    }
    before = logistic_surprise(sample, line);
    determinant = h_aa * h_bb - h_ab * h_ab;
    for (double part = 1; determinant > 0 && part > 1e-6; part /= 2) {
        struct logistic next = *line;

        next.a -= part * (h_bb * g_a - h_ab * g_b) / determinant;
        next.b -= part * (h_aa * g_b - h_ab * g_a) / determinant;
        if (logistic_surprise(sample, &next) < before) {
            *line = next;
            return true;
        }
    }
    return false;
}

/* Points at equal steps of the log-odds over those of the sample. */
static void logistic_points(const struct sample *sample, const struct logistic *line,
                            struct calibration *calibration)
{
    double low = INFINITY, high = -INFINITY;

    for (size_t i = 0; i < sample->count; i++) {
        const double odds = log_odds(sample->data->raw[sample->indices[i]]);

        low = fmin(low, odds);
        high = fmax(high, odds);
    }
    for (size_t i = 0; i < LIMIT_CALIBRATION_POINTS; i++) {
        const double odds = low + (high - low) * (double)i / (LIMIT_CALIBRATION_POINTS - 1);

        point_add(calibration, sigmoid(odds), sigmoid(line->a * odds + line->b));
    }
}

static int logistic_fit(const struct sample *sample, struct calibration *calibration)
{
    struct logistic line = {.a = 1};
    double right = 0;

    for (size_t i = 0; i < sample->count; i++) {
        right += sample->data->right[sample->indices[i]];
    }
    line.target[1] = (right + 1) / (right + 2);
    line.target[0] = 1 / ((double)sample->count - right + 2);
    for (int i = 0; i < STEPS && logistic_step(sample, &line); i++) {
    }
    if (line.a < 0) { /* the surer, the more often wrong: then it says nothing */
        const double share = (right + 1) / ((double)sample->count + 2);

        line.a = 0;
        line.b = log(share / (1 - share));
    }
    logistic_points(sample, &line, calibration);
    return 0;
}

/* ---- table ---- */

struct group {
    double raw, right, count; /* sums */
};

/* Puts the last group and the one before together while the later is not right more often, or not
 * surer as a file has it: equal confidences are one point. */
static size_t groups_pool(struct group *groups, size_t count)
{
    while (count > 1) {
        struct group *last = &groups[count - 1], *before = last - 1;

        if (before->right / before->count < last->right / last->count &&
            (float)(before->raw / before->count) < (float)(last->raw / last->count)) {
            break;
        }
        before->raw += last->raw;
        before->right += last->right;
        before->count += last->count;
        count--;
    }
    return count;
}

/* A group without a wrong answer is not certain: one half of each is added. */
static void groups_points(const struct group *groups, size_t count, struct calibration *calibration)
{
    for (size_t i = 0; i < count; i++) {
        point_add(calibration, groups[i].raw / groups[i].count,
                  (groups[i].right + 0.5) / (groups[i].count + 1));
    }
}

static int table_fit(const struct sample *sample, struct calibration *calibration)
{
    const size_t wanted = sample->count / GROUP_LEAST;
    const size_t group_count = wanted < 1 ? 1 : wanted < GROUPS ? wanted : GROUPS;
    struct calibration_point *points = malloc(sizeof(*points) * sample->count);
    struct group groups[GROUPS];
    size_t used = 0, at = 0;

    if (!points) {
        return TANDEM_ENOMEM;
    }
    for (size_t i = 0; i < sample->count; i++) {
        points[i] = (struct calibration_point){sample->data->raw[sample->indices[i]],
                                               sample->data->right[sample->indices[i]]};
    }
    calibration_points_sort(points, sample->count);
    for (size_t i = 0; i < group_count; i++) {
        groups[used] = (struct group){0, 0, 0};
        for (; at < sample->count * (i + 1) / group_count; at++) {
            groups[used].raw += points[at].confidence;
            groups[used].right += points[at].right;
            groups[used].count++;
        }
        used = groups_pool(groups, used + 1);
    }
    free(points);
    groups_points(groups, used, calibration);
    return 0;
}

/* ---- all of them ---- */

static int none_fit(const struct sample *sample, struct calibration *calibration)
{
    (void)sample;
    (void)calibration;
    return 0;
}

static const struct {
    const char *text;
    bool of_classes; /* and not of texts */
    int (*fit)(const struct sample *sample, struct calibration *calibration);
} methods[CALIBRATION_METHODS] = {
    [CALIBRATION_AS_IT_IS] = {"as it is", false, none_fit},
    [CALIBRATION_TEMPERATURE] = {"temperature", true, temperature_fit},
    [CALIBRATION_LOGISTIC] = {"logistic", false, logistic_fit},
    [CALIBRATION_TABLE] = {"table", false, table_fit},
};

const char *calibration_method_text(enum calibration_method method)
{
    return methods[method].text;
}

bool calibration_method_fits(enum calibration_method method, const struct calibration_data *data)
{
    return !methods[method].of_classes || data->logits != NULL;
}

int calibration_fit(enum calibration_method method, const struct calibration_data *data,
                    const size_t *indices, size_t count, struct calibration *ret_calibration)
{
    const struct sample sample = {data, indices, count};
    struct calibration calibration;
    int result;

    calibration_init(&calibration);
    result = methods[method].fit(&sample, &calibration);
    if (result == 0) {
        *ret_calibration = calibration;
    }
    return result;
}

double calibration_confidence(const struct calibration *calibration,
                              const struct calibration_data *data, size_t index)
{
    double raw = data->raw[index], surprise;

    if (data->logits && calibration->temperature != 1) {
        raw = classes_read(data->logits + index * data->n_class, data->n_class,
                           calibration->temperature, data->truths[index], &surprise);
    }
    return calibration_apply(calibration, raw);
}
