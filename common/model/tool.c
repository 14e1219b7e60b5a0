/* tool.c: the tables of commands and options, and what the command line means. */
#include "common/base/help_line.h"
#include "common/base/limits.h"
#include "common/model/tool.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    FOR_INFO = 1,
    FOR_RUN = 2,
    FOR_LOGITS = 4,
    FOR_CONVERT = 8,
    FOR_PERPLEXITY = 16,
    FOR_QUANTIZE = 32,
    FOR_SYNTH = 64,
    FOR_BENCH = 128,
    FOR_EVALUATE = 256,
    FOR_CALIBRATE = 512
};

#define AT(field) offsetof(struct tool_options, field)

/* A word of a command that is no option. */
struct word {
    const char *name; /* NULL: no more */
    size_t offset;    /* in struct tool_options */
};

struct command {
    const char *name;
    unsigned bit;
    struct word words[3];
    bool computes; /* the kernels are checked first */
    bool opens;    /* the model at its first word */
    int (*run)(struct tool *tool);
    const char *help;
};

#define FILE_IN                                                                                    \
    {                                                                                              \
        "FILE", AT(file)                                                                           \
    }
#define FILES                                                                                      \
    {"IN", AT(file)},                                                                              \
    {                                                                                              \
        "OUT", AT(output)                                                                          \
    }

static const struct command commands[] = {
    {"info",
     FOR_INFO,
     {FILE_IN},
     false,
     true,
     info_run,
     "what is in a model file, and what its KV cache costs"},
    {"run",
     FOR_RUN,
     {FILE_IN},
     true,
     true,
     run_run,
     "answers: a decoder continues --prompt, a vision model names --image"},
    {"logits",
     FOR_LOGITS,
     {FILE_IN},
     true,
     true,
     logits_run,
     "the raw outputs as JSON, for --tokens or --image"},
    {"perplexity",
     FOR_PERPLEXITY,
     {FILE_IN, {"TEXT", AT(text)}},
     true,
     true,
     perplexity_run,
     "of a decoder over a text file, cut into chunks"},
    {"evaluate",
     FOR_EVALUATE,
     {FILE_IN, {"LIST", AT(text)}},
     true,
     true,
     evaluate_run,
     "how often an encoder is right: a line of LIST is input, tab, truth"},
    {"calibrate",
     FOR_CALIBRATE,
     {FILE_IN, {"LIST", AT(text)}, {"OUT", AT(output)}},
     true,
     true,
     calibrate_run,
     "OUT is FILE with how far its confidence can be believed, measured on LIST"},
    {"bench",
     FOR_BENCH,
     {FILE_IN},
     true,
     true,
     bench_run,
     "tokens a second: prefill, generation, after 2048 tokens, eight at once; pictures"},
    {"convert",
     FOR_CONVERT,
     {FILES},
     false,
     false,
     convert_run,
     "a checkpoint (.pt, .safetensors or its folder, llama2.c) becomes a model file"},
    {"quantize",
     FOR_QUANTIZE,
     {FILES, {"TYPE", AT(type)}},
     false,
     false,
     quantize_run,
     "the same model with its matrices in another type: " TOOL_TYPES},
    {"synth",
     FOR_SYNTH,
     {{"OUT", AT(output)}},
     false,
     false,
     synth_run,
     "a random decoder of a given --shape, for benchmarks"},
};

enum kind { KIND_FLAG, KIND_TEXT, KIND_COUNT, KIND_REAL };

struct option {
    const char *name, *argument; /* argument NULL: a flag */
    enum kind kind;
    unsigned commands;
    size_t offset; /* in struct tool_options */
    double max;    /* numbers are 0..max */
    const char *help;
};

static const struct option options[] = {
    {"--json", NULL, KIND_FLAG, FOR_INFO | FOR_EVALUATE | FOR_CALIBRATE | FOR_BENCH, AT(json), 0,
     "one JSON object instead of lines"},
    {"--csv", NULL, KIND_FLAG, FOR_BENCH | FOR_EVALUATE, AT(csv), 0,
     "CSV with a header line instead; evaluate: of --forms"},
    {"--forms", NULL, KIND_FLAG, FOR_EVALUATE, AT(forms), 0,
     "what it costs in answers to send the pictures smaller or more compressed"},
    {"--each", NULL, KIND_FLAG, FOR_EVALUATE, AT(each), 0,
     "with --forms: a line of CSV for each picture and form instead"},
    {"-p", "N", KIND_COUNT, FOR_BENCH, AT(prompt_tokens), LIMIT_MODEL_CONTEXT_TOKENS,
     "tokens of prefill; 512 is the default, 0: none"},
    {"-n", "N", KIND_COUNT, FOR_BENCH, AT(generate_tokens), LIMIT_MODEL_CONTEXT_TOKENS,
     "tokens to generate; 128 is the default, 0: none"},
    {"-t", "N", KIND_COUNT, FOR_BENCH, AT(threads), LIMIT_STEP_THREADS,
     "threads of a step; as many as processors is the default"},
    {"-r", "N", KIND_COUNT, FOR_BENCH, AT(rounds), 1000,
     "rounds, of which each test's best counts; 3 is the default"},
    {"--prompt", "TEXT", KIND_TEXT, FOR_RUN, AT(prompt), 0, "what to continue"},
    {"--image", "FILE", KIND_TEXT, FOR_RUN | FOR_LOGITS, AT(image), 0, "a JPEG or PNG picture"},
    {"--tokens", "1,2,3", KIND_TEXT, FOR_LOGITS, AT(tokens), 0, "token ids"},
    {"--all", NULL, KIND_FLAG, FOR_LOGITS, AT(all), 0,
     "a decoder's row for every position, not the last alone"},
    {"--temperature", "X", KIND_REAL, FOR_RUN, AT(temperature), 1000,
     "0 (the default) always takes the most probable token"},
    {"--top-k", "N", KIND_COUNT, FOR_RUN, AT(top_k), UINT32_MAX,
     "choose among the N most probable; 0: all"},
    {"--top-p", "X", KIND_REAL, FOR_RUN, AT(top_p), 1,
     "choose among the fewest whose probabilities reach X; 1: all"},
    {"--seed", "N", KIND_COUNT, FOR_RUN | FOR_SYNTH, AT(seed), 0x1p64,
     "of the random numbers; 0 is the default"},
    {"--max-tokens", "N", KIND_COUNT, FOR_RUN | FOR_CALIBRATE, AT(max_tokens), UINT32_MAX,
     "stop after N tokens; 128 is the default"},
    {"--ctx", "N", KIND_COUNT, FOR_PERPLEXITY, AT(ctx), 1u << 20,
     "tokens of a chunk, of whose second half each is scored; 512, or what the model takes"},
    {"--type", "TYPE", KIND_TEXT, FOR_CONVERT | FOR_SYNTH, AT(type), 0,
     "of the matrices: " TOOL_TYPES "; F16 is the default"},
    {"--shape", "NAME", KIND_TEXT, FOR_SYNTH, AT(shape), 0,
     "300M or 1.2B, as the paper has them, or tiny"},
    {"--projection", "P", KIND_TEXT, FOR_SYNTH, AT(projection), 0,
     "QKV (the default), Q=K-V, Q-K=V or Q=K=V"},
    {"--kv-heads", "N", KIND_COUNT, FOR_SYNTH, AT(kv_heads), 65536,
     "heads of the cache; as many as query heads is the default"},
    {"--layers", "N", KIND_COUNT, FOR_SYNTH, AT(layers), UINT32_MAX, "in place of the shape's"},
    {"--context", "N", KIND_COUNT, FOR_SYNTH, AT(context), UINT32_MAX,
     "positions, in place of the shape's"},
    {"--vocabulary", "N", KIND_COUNT, FOR_SYNTH, AT(vocabulary), UINT32_MAX,
     "tokens, 256 or more, in place of the shape's"},
    {"--heads", "N", KIND_COUNT, FOR_CONVERT, AT(heads), 65536,
     "query heads, when the checkpoint does not say"},
    {"--tokenizer", "FILE", KIND_TEXT, FOR_CONVERT, AT(tokenizer), 0,
     "tokenizer.json or .model, vocab.json with --merges, llama2.c's; none: not the one beside"},
    {"--merges", "FILE", KIND_TEXT, FOR_CONVERT, AT(merges), 0, "merges.txt"},
    {"--labels", "FILE", KIND_TEXT, FOR_CONVERT, AT(labels), 0, "names of the classes, one a line"},
    {"--mean", "A,B,C", KIND_TEXT, FOR_CONVERT, AT(mean), 0,
     "of a picture's channels, when the checkpoint's task does not tell"},
    {"--std", "A,B,C", KIND_TEXT, FOR_CONVERT, AT(std), 0, "the same for the deviations"},
    {"--name", "TEXT", KIND_TEXT, FOR_CONVERT, AT(name), 0, "general.name"},
    {"--license", "TEXT", KIND_TEXT, FOR_CONVERT, AT(license), 0, "general.license"},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

int tool_say(const struct tool *tool, int status, const char *format, ...)
{
    va_list arguments;

    fputs("tandem-model: ", tool->notes);
    va_start(arguments, format);
    vfprintf(tool->notes, format, arguments);
    va_end(arguments);
    fputc('\n', tool->notes);
    return status;
}

int tool_say_file(const struct tool *tool, const char *error)
{
    const char *file = tool->options.file;

    return strncmp(error, file, strlen(file)) == 0
               ? tool_say(tool, TOOL_FAILED, "%s", error)
               : tool_say(tool, TOOL_FAILED, "%s: %s", file, error);
}

void tool_json_begin(struct json_writer *json, struct buf *buf)
{
    buf_init(buf, 0);
    json_begin(json, buf);
    json_object_open(json, NULL);
}

int tool_json_end(const struct tool *tool, struct json_writer *json, struct buf *buf)
{
    int rc;

    json_object_close(json);
    rc = json_end(json);
    if (rc == 0) {
        fprintf(tool->out, "%.*s\n", (int)buf->bytes, (const char *)buf->data);
    }
    buf_fini(buf);
    return rc == 0 ? TOOL_DONE : tool_say(tool, TOOL_FAILED, "%s", tandem_error_text(rc));
}

static bool output_has(const struct tool *tool, const struct stat *input)
{
    struct stat output;

    return stat(tool->options.output, &output) == 0 && output.st_dev == input->st_dev &&
           output.st_ino == input->st_ino;
}

bool tool_output_is_open(const struct tool *tool, int fd)
{
    struct stat input;

    return fstat(fd, &input) == 0 && output_has(tool, &input);
}

bool tool_output_is(const struct tool *tool, const char *path)
{
    struct stat input;

    return path && stat(path, &input) == 0 && output_has(tool, &input);
}

int tool_say_same(const struct tool *tool)
{
    return tool_say(tool, TOOL_WRONG_USE, "%s: OUT is a file that is read: give it another name",
                    tool->options.output);
}

/* "quantize IN OUT TYPE" */
static void usage_make(const struct command *command, char ret_usage[40])
{
    int used = snprintf(ret_usage, 40, "%s", command->name);

    for (size_t i = 0; i < COUNT(command->words) && command->words[i].name; i++) {
        used += snprintf(ret_usage + used, 40 - (size_t)used, " %s", command->words[i].name);
    }
}

#define COMMANDS_COLUMN 24
#define OPTIONS_COLUMN  20

static void help_print(FILE *file)
{
    fprintf(file, "usage: tandem-model COMMAND FILES... [OPTIONS]\n"
                  "       tandem-model --help | --version\n\ncommands:\n");
    for (size_t i = 0; i < COUNT(commands); i++) {
        char left[40];

        usage_make(&commands[i], left);
        help_line(file, left, COMMANDS_COLUMN, commands[i].help);
    }
    fprintf(file, "\noptions:\n");
    for (size_t i = 0; i < COUNT(options); i++) {
        char left[40], text[512];
        size_t used = 0;

        snprintf(left, sizeof left, "%s%s%s", options[i].name, options[i].argument ? " " : "",
                 options[i].argument ? options[i].argument : "");
        for (size_t j = 0; j < COUNT(commands) && used < sizeof(text); j++) {
            if (options[i].commands & commands[j].bit) {
                used += (size_t)snprintf(text + used, sizeof(text) - used, "%s ", commands[j].name);
            }
        }
        if (used < sizeof(text)) {
            snprintf(text + used, sizeof(text) - used, "- %s", options[i].help);
        }
        help_line(file, left, OPTIONS_COLUMN, text);
    }
    fprintf(file, "\nResults go to standard output, everything else to standard error.\n"
                  "Exit status: 0 done, 1 failed, 2 wrong use.\n");
}

static bool number_parse(const struct option *option, const char *text, void *at)
{
    char *end = NULL;

    errno = 0;
    if (option->kind == KIND_COUNT) {
        const unsigned long long value = strtoull(text, &end, 10);

        if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 ||
            (double)value > option->max) {
            return false;
        }
        *(uint64_t *)at = value;
        return true;
    }
    {
        const double value = strtod(text, &end);

        if (end == text || *end != '\0' || !(value >= 0 && value <= option->max)) {
            return false;
        }
        *(double *)at = value;
        return true;
    }
}

static const struct option *option_find(const char *name)
{
    for (size_t i = 0; i < COUNT(options); i++) {
        if (strcmp(options[i].name, name) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

static int option_take(struct tool *tool, const struct option *option, const char *value)
{
    void *at = (char *)&tool->options + option->offset;

    if (option->kind == KIND_FLAG) {
        *(bool *)at = true;
        return TOOL_DONE;
    }
    if (!value) {
        return tool_say(tool, TOOL_WRONG_USE, "%s needs %s", option->name, option->argument);
    }
    if (option->kind == KIND_TEXT) {
        *(const char **)at = value;
        return TOOL_DONE;
    }
    if (!number_parse(option, value, at)) {
        return tool_say(tool, TOOL_WRONG_USE, "%s: \"%s\" is not a number it can be", option->name,
                        value);
    }
    return TOOL_DONE;
}

static int options_parse(struct tool *tool, const struct command *command, int argc, char **argv)
{
    char usage[40];
    size_t words = 0;

    for (int i = 0; i < argc; i++) {
        const struct option *option = option_find(argv[i]);
        int status;

        if (argv[i][0] != '-' && words < COUNT(command->words) && command->words[words].name) {
            const char **at =
                (const char **)(void *)((char *)&tool->options + command->words[words++].offset);

            *at = argv[i];
            continue;
        }
        if (!option || !(option->commands & command->bit)) {
            return tool_say(tool, TOOL_WRONG_USE, "%s does not know \"%s\"; see tandem-model help",
                            command->name, argv[i]);
        }
        status = option_take(tool, option,
                             option->kind != KIND_FLAG && i + 1 < argc ? argv[i + 1] : NULL);
        if (status != TOOL_DONE) {
            return status;
        }
        i += option->kind != KIND_FLAG;
    }
    if (words < COUNT(command->words) && command->words[words].name) {
        usage_make(command, usage);
        return tool_say(tool, TOOL_WRONG_USE, "no %s: tandem-model %s", command->words[words].name,
                        usage);
    }
    return TOOL_DONE;
}

static int command_run(struct tool *tool, const struct command *command)
{
    char error[ENGINE_ERROR_BYTES] = "";
    int status;

    if (command->computes && engine_self_check(error) != 0) {
        return tool_say(tool, TOOL_FAILED, "%s", error);
    }
    if (!command->opens) {
        return command->run(tool);
    }
    if (engine_model_open(tool->options.file, &tool->model, error) != 0) {
        return tool_say(tool, TOOL_FAILED, "%s", error);
    }
    status = command->run(tool);
    engine_model_unref(tool->model);
    if (fflush(tool->out) != 0 || ferror(tool->out)) {
        return tool_say(tool, TOOL_FAILED, "cannot write the result: %s", strerror(errno));
    }
    return status;
}

/* `help` in place of a command; --help also behind one, where no option can mean it as its value.
 */
static bool help_wanted(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "help") == 0) {
        return true;
    }
    for (int i = 1; i < argc && i <= 2; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

int tool_main(int argc, char **argv, FILE *out, FILE *notes)
{
    struct tool tool = {.out = out,
                        .notes = notes,
                        .options = {.top_p = 1,
                                    .max_tokens = 128,
                                    .prompt_tokens = 512,
                                    .generate_tokens = 128,
                                    .rounds = 3}};
    const char *name = argc > 1 ? argv[1] : NULL;

    if (help_wanted(argc, argv)) {
        help_print(out);
        return TOOL_DONE;
    }
    if (name && strcmp(name, "--version") == 0) {
        fprintf(out, "tandem-model %s\n", TANDEM_VERSION);
        return TOOL_DONE;
    }
    for (size_t i = 0; name && i < COUNT(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            const int status = options_parse(&tool, &commands[i], argc - 2, argv + 2);

            return status == TOOL_DONE ? command_run(&tool, &commands[i]) : status;
        }
    }
    if (!name) {
        help_print(notes);
        return TOOL_WRONG_USE;
    }
    return tool_say(&tool, TOOL_WRONG_USE, "no command \"%s\"; see tandem-model help", name);
}
