/* evaluate against what logits prints for each example, and against lists that are wrong. */
#include "tests/unit/model/model_tool.h"

#include <dirent.h>
#include <math.h>
#include <unistd.h>

#define OBJECTS "deploy/models/objects-local.gguf"
#define SAMPLES "deploy/models/samples"
#define ENCODER "tests/golden/data/encoder_kv.gguf"
#define DECODER "tests/golden/data/decoder_kv_f32.gguf"

static const char *const labels[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                     "dog",      "frog",       "horse", "ship", "truck"};

static double value_of(const char *out, const char *key)
{
    const char *at = strstr(out, key);

    assert_non_null(at);
    return strtod(at + strlen(key), NULL);
}

/* The position of the largest of the numbers that stand from `at` to the next bracket. */
static unsigned best_of(const char **at)
{
    unsigned best = 0;
    double most = -INFINITY;

    for (unsigned i = 0; **at != ']'; i++) {
        char *end;
        const double value = strtod(*at, &end);

        assert_true(end > *at);
        *at = *end == ',' ? end + 1 : end;
        if (value > most) {
            most = value;
            best = i;
        }
    }
    return best;
}

static unsigned picture_class(const char *path)
{
    struct tool_result result = TOOL("logits", OBJECTS, "--image", path);
    const char *at;
    unsigned best;

    assert_int_equal(result.status, TOOL_DONE);
    at = strchr(result.out, '[') + 1;
    best = best_of(&at);
    tool_free(&result);
    return best;
}

/* Every sample, half by name and half by number. */
static void test_pictures(void **state)
{
    char path[512];
    const char *list = work_path("pictures.tsv");
    FILE *file = fopen(list, "w");
    DIR *folder = opendir(SAMPLES);
    unsigned count = 0, right = 0;
    struct tool_result result;
    char here[256];

    (void)state;
    assert_non_null(getcwd(here, sizeof(here)));
    assert_non_null(file);
    assert_non_null(folder);
    for (const struct dirent *at; (at = readdir(folder));) {
        for (unsigned i = 0; i < 10; i++) {
            if (strncmp(at->d_name, labels[i], strlen(labels[i])) != 0) {
                continue;
            }
            if (count % 2) {
                fprintf(file, "%s/" SAMPLES "/%s\t%s\n", here, at->d_name, labels[i]);
            } else {
                fprintf(file, "%s/" SAMPLES "/%s\t%u\n\n", here, at->d_name, i);
            }
            snprintf(path, sizeof(path), SAMPLES "/%s", at->d_name);
            right += picture_class(path) == i;
            count++;
        }
    }
    closedir(folder);
    fclose(file);
    result = TOOL("evaluate", OBJECTS, list);
    assert_int_equal(result.status, TOOL_DONE);
    assert_true(count >= 20 && right < count && right > count / 2);
    assert_int_equal((unsigned)value_of(result.out, "answers: "), count);
    assert_int_equal((unsigned)value_of(result.out, "right: "), right);
    assert_true(fabs(value_of(result.out, "accuracy: ") - (double)right / count) < 1e-6);
    tool_free(&result);
}

static const char *list_make(const char *text)
{
    const char *path = work_path("list.tsv");

    text_write(path, text);
    return path;
}

/* One truth a token: the two that the model says are right, the third is not. */
static void test_tokens(void **state)
{
    struct tool_result result = TOOL("logits", ENCODER, "--tokens", "3,1,4");
    const char *at = strchr(result.out, '[') + 1, *list;
    unsigned best[3];
    char line[64];

    (void)state;
    assert_int_equal(result.status, TOOL_DONE);
    for (int i = 0; i < 3; i++) {
        at = strchr(at, '[') + 1;
        best[i] = best_of(&at);
    }
    tool_free(&result);
    snprintf(line, sizeof(line), "3,1,4\t%u,%u,%u\n", best[0], best[1], best[2] == 0);
    list = list_make(line);
    result = TOOL("evaluate", ENCODER, list, "--json");
    assert_int_equal(result.status, TOOL_DONE);
    assert_int_equal((unsigned)value_of(result.out, "\"examples\": "), 1);
    assert_int_equal((unsigned)value_of(result.out, "\"answers\": "), 3);
    assert_int_equal((unsigned)value_of(result.out, "\"right\": "), 2);
    assert_true(value_of(result.out, "\"cross_entropy\": ") > 0);
    tool_free(&result);
}

static void test_bad_lists(void **state)
{
    static const struct {
        const char *model, *text, *says;
    } cases[] = {
        {OBJECTS, "a.jpg\n", ":1: an input, one tab"},
        {OBJECTS, "a.jpg\tcat\tdog\n", ":1: an input, one tab"},
        {OBJECTS, "\n\n", "no examples"},
        {OBJECTS, "a.jpg\tunicorn\n", ":1: \"unicorn\" is no class"},
        {OBJECTS, "a.jpg\t10\n", "no class"},
        {OBJECTS, "\nno-such.jpg\t3\n", "/no-such.jpg: "}, /* beside the list */
        {ENCODER, "1,2\t1\n", "one a token"},
        {ENCODER, "1,2\t1,4000000\n", "no class"},
        {ENCODER, "1;2\t1,1\n", "ids with commas"},
        {DECODER, "1\t1\n", "perplexity measures it"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *list = list_make(cases[i].text);
        struct tool_result result = TOOL("evaluate", cases[i].model, list);

        if (result.status != TOOL_FAILED || !strstr(result.notes, cases[i].says) || result.out[0]) {
            fail_msg("case %zu: status %d, %s", i, result.status, result.notes);
        }
        tool_free(&result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_bad_lists),
    };

    return cmocka_run_group_tests(tests, work_begin, work_end);
}
