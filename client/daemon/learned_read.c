/* learned_read.c: the reader of learned.h's text. One line at a time; each kind of line has a
 * function that takes its words. */
#include "client/daemon/learned.h"

#include "common/base/error.h"
#include "common/base/names.h"
#include "common/base/task_config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX         1e12 /* of anything that is measured */
#define COUNT_MAX         1e15
#define AGE_MAX_MS        (INT64_C(366) * 86400 * 1000)
#define TAIL_LOG_MAX      3.0
#define SPREAD_WEIGHT_MAX 100.0
#define ODDS_MIN          (TASK_ERROR_COST_MIN / TASK_ERROR_COST_MAX)

struct reader {
    struct learned *learned;
    char *words; /* what is left of the line */
    int64_t now_ns, unix_ns, saved_unix_ms;
    struct learned_link *link; /* the one that lines now speak of; NULL: none */
    struct learned_task *task;
    struct learned_pair *pair;
    bool ended;
    char *error;
};

static int wrong(const struct reader *reader, const char *what)
{
    snprintf(reader->error, LEARNED_ERROR_BYTES, "%s", what);
    return TANDEM_EFORMAT;
}

/* The next word of the line, NULL: there is none. */
static char *word_take(struct reader *reader)
{
    char *word = reader->words;

    if (!word || !*word) {
        return NULL;
    }
    reader->words = strchr(word, ' ');
    if (reader->words) {
        *reader->words++ = '\0';
    }
    return word;
}

static bool number_parse(const char *word, double low, double high, double *ret_value)
{
    char *end;
    double value;

    if (!word || !*word || strspn(word, "+-.0123456789eE") != strlen(word)) {
        return false; /* no spaces, "nan", "inf" or hexadecimal */
    }
    value = strtod(word, &end);
    if (*end || !isfinite(value) || value < low || value > high) {
        return false;
    }
    *ret_value = value;
    return true;
}

static bool number_take(struct reader *reader, double low, double high, double *ret_value)
{
    return number_parse(word_take(reader), low, high, ret_value);
}

static bool name_take(struct reader *reader, char ret_name[LIMIT_NAME_BYTES + 1])
{
    const char *word = word_take(reader);

    if (!word || !name_is_valid(word)) {
        return false;
    }
    memcpy(ret_name, word, strlen(word) + 1);
    return true;
}

static bool digest_take(struct reader *reader, char ret_digest[LEARNED_DIGEST_BYTES])
{
    const char *word = word_take(reader);

    if (word && strcmp(word, "-") == 0) {
        ret_digest[0] = '\0';
        return true;
    }
    if (!word || !*word || strlen(word) >= LEARNED_DIGEST_BYTES ||
        strspn(word, "0123456789abcdef") != strlen(word)) {
        return false;
    }
    memcpy(ret_digest, word, strlen(word) + 1);
    return true;
}

/* What was kept is old, whatever the wall clock has done meanwhile. */
static int64_t age_ns(const struct reader *reader, double age_ms)
{
    const int64_t since_ms = reader->unix_ns / NS_PER_MS - reader->saved_unix_ms;
    int64_t ms = (int64_t)age_ms + (since_ms > 0 ? since_ms : 0);

    ms = ms < AGE_MAX_MS ? ms : AGE_MAX_MS;
    return ms * NS_PER_MS > LEARNED_AGE_MIN_NS ? ms * NS_PER_MS : LEARNED_AGE_MIN_NS;
}

static int samples_read(struct reader *reader, struct estimate_samples *samples, double low)
{
    char *word;

    if (samples->count > 0) {
        return wrong(reader, "samples come twice");
    }
    while ((word = word_take(reader)) != NULL) {
        char *colon = strchr(word, ':');
        double age_ms, value;

        if (colon) {
            *colon = '\0';
        }
        if (samples->count == ESTIMATE_SAMPLES || !colon ||
            !number_parse(word, 0, COUNT_MAX, &age_ms) ||
            !number_parse(colon + 1, low, VALUE_MAX, &value)) {
            return wrong(reader, "a sample is not AGE:VALUE, or there are too many");
        }
        estimate_samples_add(samples, value, reader->now_ns - age_ns(reader, age_ms));
    }
    return 0;
}

static int spread_read(struct reader *reader, struct estimate_spread *spread)
{
    double age_ms, squares, weight;

    if (spread->weight > 0 || !number_take(reader, 0, COUNT_MAX, &age_ms) ||
        !number_take(reader, 0, VALUE_MAX, &squares) ||
        !number_take(reader, 0, SPREAD_WEIGHT_MAX, &weight)) {
        return wrong(reader, "a spread is not AGE SQUARES WEIGHT, or comes twice");
    }
    if (squares > 2 * weight * ESTIMATE_SPREAD_ERROR_MAX * ESTIMATE_SPREAD_ERROR_MAX) {
        return wrong(reader, "a spread is wider than any error");
    }
    *spread = (struct estimate_spread){squares, weight, reader->now_ns - age_ns(reader, age_ms)};
    return 0;
}

static int rate_read(struct reader *reader, struct ewma *mean, struct quantile_window *window)
{
    double count, value, deviation;

    if (mean->count > 0 || !number_take(reader, 1, COUNT_MAX, &count) ||
        !number_take(reader, 0, VALUE_MAX, &value) ||
        !number_take(reader, 0, VALUE_MAX, &deviation)) {
        return wrong(reader, "a rate is not COUNT MEAN DEVIATION, or comes twice");
    }
    mean->count = (uint64_t)count;
    mean->mean = value;
    mean->deviation = deviation;
    while (reader->words && *reader->words) {
        if (window->count == window->capacity || !number_take(reader, 0, VALUE_MAX, &value)) {
            return wrong(reader, "a rate has too many values, or a wrong one");
        }
        quantile_window_add(window, value);
    }
    return window->count > 0 ? 0 : wrong(reader, "a rate has no values");
}

static int counts_read(struct reader *reader, uint32_t ret_counts[CONFIDENCE_BINS])
{
    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        double count;

        if (!number_take(reader, 0, LIMIT_LEARNED_COUNT, &count)) {
            return wrong(reader, "a count is wrong, or missing");
        }
        ret_counts[i] = (uint32_t)count;
    }
    return 0;
}

/* ---- the lines ---- */

static int saved_read(struct reader *reader)
{
    double ms;

    if (!number_take(reader, 0, COUNT_MAX, &ms)) {
        return wrong(reader, "the time is wrong");
    }
    reader->saved_unix_ms = (int64_t)ms;
    return 0;
}

static int edge_read(struct reader *reader)
{
    struct learned *learned = reader->learned;

    reader->task = NULL;
    reader->pair = NULL;
    if (learned->link_count == LIMIT_EDGES) {
        return wrong(reader, "too many edges");
    }
    reader->link = &learned->links[learned->link_count++];
    estimate_link_init(&reader->link->link);
    return name_take(reader, reader->link->name) && digest_take(reader, reader->link->digest)
               ? 0
               : wrong(reader, "an edge has no name and digest");
}

static int task_read(struct reader *reader)
{
    struct learned *learned = reader->learned;
    struct learned_task *more;
    double kind;

    reader->link = NULL;
    reader->pair = NULL;
    if (learned->task_count == LIMIT_TASKS) {
        return wrong(reader, "too many tasks");
    }
    more = realloc(learned->tasks, (learned->task_count + 1) * sizeof(*more));
    if (!more) {
        return TANDEM_ENOMEM;
    }
    learned->tasks = more;
    reader->task = &more[learned->task_count++];
    memset(reader->task, 0, sizeof(*reader->task));
    estimate_local_init(&reader->task->run);
    estimate_text_init(&reader->task->text);
    if (!name_take(reader, reader->task->name) || !number_take(reader, 0, 100, &kind) ||
        !digest_take(reader, reader->task->digest)) {
        return wrong(reader, "a task has no name, kind and digest");
    }
    reader->task->kind = (int)kind;
    return 0;
}

static int pair_read(struct reader *reader)
{
    struct learned_task *task = reader->task;

    if (task->pair_count == LIMIT_EDGES) {
        return wrong(reader, "too many edges of a task");
    }
    reader->pair = &task->pairs[task->pair_count++];
    estimate_edge_init(&reader->pair->estimate);
    return name_take(reader, reader->pair->edge) && digest_take(reader, reader->pair->digest)
               ? 0
               : wrong(reader, "an edge of a task has no name and digest");
}

static int rtt_read(struct reader *reader)
{
    return samples_read(reader, &reader->link->link.rtt_ms, 1e-6);
}

static int up_read(struct reader *reader)
{
    return samples_read(reader, &reader->link->link.up_bytes_per_ms, 1e-9); /* its logarithm */
}

static int rtt_spread_read(struct reader *reader)
{
    return spread_read(reader, &reader->link->link.rtt_spread);
}

static int up_spread_read(struct reader *reader)
{
    return spread_read(reader, &reader->link->link.up_spread);
}

static int question_read(struct reader *reader)
{
    struct learned_task *task = reader->task;

    return !task->question[0] && digest_take(reader, task->question) && task->question[0] &&
                   number_take(reader, ODDS_MIN, 1 / ODDS_MIN, &task->confidence.odds)
               ? 0
               : wrong(reader, "a question is not DIGEST ODDS, or comes twice");
}

static int run_read(struct reader *reader)
{
    return rate_read(reader, &reader->task->run.run, &reader->task->run.window);
}

static int density_read(struct reader *reader)
{
    return rate_read(reader, &reader->task->text.density.mean, &reader->task->text.density.window);
}

static int prefill_read(struct reader *reader)
{
    return rate_read(reader, &reader->task->text.prefill.mean, &reader->task->text.prefill.window);
}

static int decode_read(struct reader *reader)
{
    return rate_read(reader, &reader->task->text.decode.mean, &reader->task->text.decode.window);
}

static int answer_read(struct reader *reader)
{
    return rate_read(reader, &reader->task->text.answer.mean, &reader->task->text.answer.window);
}

static int seen_read(struct reader *reader)
{
    return counts_read(reader, reader->task->confidence.seen);
}

static int told_read(struct reader *reader)
{
    return counts_read(reader, reader->task->confidence.told);
}

static int right_read(struct reader *reader)
{
    return counts_read(reader, reader->task->confidence.right);
}

static int rest_read(struct reader *reader)
{
    return samples_read(reader, &reader->pair->estimate.rest, 0);
}

static int rest_spread_read(struct reader *reader)
{
    return spread_read(reader, &reader->pair->estimate.rest_spread);
}

static int failed_read(struct reader *reader)
{
    return samples_read(reader, &reader->pair->estimate.failed, 0);
}

static int tail_read(struct reader *reader)
{
    return number_take(reader, -TAIL_LOG_MAX, TAIL_LOG_MAX, &reader->pair->estimate.tail_log)
               ? 0
               : wrong(reader, "tail_log is wrong");
}

static int both_read(struct reader *reader)
{
    return counts_read(reader, reader->pair->agreement.both);
}

static int agreed_read(struct reader *reader)
{
    return counts_read(reader, reader->pair->agreement.agreed);
}

static int claimed_read(struct reader *reader)
{
    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        if (!number_take(reader, 0, LIMIT_LEARNED_COUNT, &reader->pair->agreement.claimed[i])) {
            return wrong(reader, "a sum of confidences is wrong, or missing");
        }
    }
    return 0;
}

static int truth_read(struct reader *reader)
{
    double told, wrong_ones;

    if (!number_take(reader, 0, LIMIT_LEARNED_COUNT, &told) ||
        !number_take(reader, 0, told, &wrong_ones)) {
        return wrong(reader, "what was told of an edge is wrong");
    }
    reader->pair->truth = (struct edge_truth){(uint32_t)told, (uint32_t)wrong_ones};
    return 0;
}

static int end_read(struct reader *reader)
{
    reader->ended = true;
    return 0;
}

enum line_of { OF_ALL, OF_LINK, OF_TASK, OF_PAIR };
static const struct line {
    const char *word;
    enum line_of of; /* what a line before it must have named */
    int (*read)(struct reader *reader);
} lines[] = {
    {"saved_unix_ms", OF_ALL, saved_read},
    {"edge", OF_ALL, edge_read},
    {"task", OF_ALL, task_read},
    {"end", OF_ALL, end_read},
    {"rtt_ms", OF_LINK, rtt_read},
    {"up_bytes_per_ms", OF_LINK, up_read},
    {"rtt_spread", OF_LINK, rtt_spread_read},
    {"up_spread", OF_LINK, up_spread_read},
    {"question", OF_TASK, question_read},
    {"run", OF_TASK, run_read},
    {"density", OF_TASK, density_read},
    {"prefill", OF_TASK, prefill_read},
    {"decode", OF_TASK, decode_read},
    {"answer", OF_TASK, answer_read},
    {"seen", OF_TASK, seen_read},
    {"told", OF_TASK, told_read},
    {"right", OF_TASK, right_read},
    {"with", OF_TASK, pair_read},
    {"rest", OF_PAIR, rest_read},
    {"rest_spread", OF_PAIR, rest_spread_read},
    {"failed", OF_PAIR, failed_read},
    {"tail_log", OF_PAIR, tail_read},
    {"both", OF_PAIR, both_read},
    {"agreed", OF_PAIR, agreed_read},
    {"claimed", OF_PAIR, claimed_read},
    {"truth", OF_PAIR, truth_read},
};

static int line_read(struct reader *reader, char *text)
{
    const char *word;

    reader->words = text;
    word = word_take(reader);
    for (size_t i = 0; word && i < sizeof(lines) / sizeof(lines[0]); i++) {
        const enum line_of of = lines[i].of;

        if (strcmp(lines[i].word, word) != 0) {
            continue;
        }
        if ((of == OF_LINK && !reader->link) || (of == OF_TASK && !reader->task) ||
            (of == OF_PAIR && !reader->pair) || reader->ended) {
            break;
        }
        {
            const int result = lines[i].read(reader);

            return result == 0 && reader->words && *reader->words
                       ? wrong(reader, "a line says too much")
                       : result;
        }
    }
    return wrong(reader, "a line is not known, or out of its place");
}

/* What every line alone cannot know; and the sums. */
static int task_finish(const struct reader *reader, struct learned_task *task)
{
    const struct confidence *confidence = &task->confidence;

    for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
        uint64_t both = 0;

        for (size_t i = 0; i < task->pair_count; i++) {
            const struct confidence_pair *pair = &task->pairs[i].agreement;

            if (pair->agreed[bin] > pair->both[bin]) {
                return wrong(reader, "more agreed than were compared");
            }
            both += pair->both[bin];
            if (both > LIMIT_LEARNED_COUNT) {
                return wrong(reader, "more were compared than are counted");
            }
        }
        if (confidence->right[bin] > confidence->told[bin]) {
            return wrong(reader, "more were right than were told");
        }
    }
    for (size_t i = 0; i < task->pair_count; i++) {
        confidence_pair_add(&task->confidence, &task->pairs[i].agreement);
    }
    return 0;
}

static int lines_read(struct reader *reader, char *text)
{
    char *next = strchr(text, '\n');
    int result = 0;

    if (!next || strncmp(text, "tandem-learned 1\n", (size_t)(next - text) + 1) != 0) {
        return wrong(reader, "of another version");
    }
    for (char *line = next + 1; result == 0 && *line; line = next + 1) {
        next = strchr(line, '\n');
        if (!next) {
            return wrong(reader, "cut short");
        }
        *next = '\0';
        result = line_read(reader, line);
    }
    if (result == 0 && !reader->ended) {
        result = wrong(reader, "cut short");
    }
    for (size_t i = 0; result == 0 && i < reader->learned->task_count; i++) {
        result = task_finish(reader, &reader->learned->tasks[i]);
    }
    return result;
}

int learned_read(const void *text, size_t bytes, int64_t now_ns, int64_t unix_ns,
                 struct learned *ret_learned, char error[LEARNED_ERROR_BYTES])
{
    struct learned learned = {.link_count = 0};
    struct reader reader = {
        .learned = &learned, .now_ns = now_ns, .unix_ns = unix_ns, .error = error};
    char *copy = malloc(bytes + 1);
    int result;

    error[0] = '\0';
    if (!copy) {
        return TANDEM_ENOMEM;
    }
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    result = memchr(copy, '\0', bytes) ? wrong(&reader, "not a text") : lines_read(&reader, copy);
    free(copy);
    if (result != 0) {
        learned_fini(&learned);
        return result;
    }
    *ret_learned = learned;
    return 0;
}
