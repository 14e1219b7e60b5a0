#include "client/ctl/ctl.h"

#include "client/ctl/when.h"
#include "common/base/help_line.h"
#include "common/base/error.h"
#include "common/base/names.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TANDEM_APP_SOCKET    "/run/tandem-client/app.sock" /* libtandem's own default */
#define CLIENT_STATUS_SOCKET "/run/tandem-client/status.sock"
#define SERVER_STATUS_SOCKET "/run/tandem-server/status.sock"

enum option_type {
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_NUMBER,
    OPTION_MAYBE_NUMBER, /* a flag with a number of its own, or without; the flag comes first */
};

/* Which options a command takes; --json and --socket belong to every one. */
enum {
    TAKES_ALWAYS = 1,
    TAKES_SERVER = 2,
    TAKES_COUNT = 4,
    TAKES_FOLLOW = 8,
    TAKES_RUN = 16,
    TAKES_PAST = 32,
    TAKES_FILE = 64,
    TAKES_EXPLAIN = 128,
    TAKES_REPLAY = 256,
    TAKES_TASK = 512,
};

struct ctl_option {
    const char *name;
    const char *value; /* for the help; NULL: a flag */
    enum option_type type;
    size_t offset; /* in struct ctl_options */
    unsigned takes;
    const char *help;
};

#define AT(member) offsetof(struct ctl_options, member)
static const struct ctl_option options_table[] = {
    {"--json", NULL, OPTION_FLAG, AT(json), TAKES_ALWAYS,
     "JSON, one object a line, as the daemon says it"},
    {"--socket", "PATH", OPTION_TEXT, AT(socket), TAKES_ALWAYS, "the socket to ask; see below"},
    {"--server", NULL, OPTION_FLAG, AT(server), TAKES_SERVER,
     "ask tandem-server, not tandem-client"},
    {"-n", "N", OPTION_NUMBER, AT(count), TAKES_COUNT,
     "so many decisions (20), or screens of top (until q; 1 where output is no terminal)"},
    {"--follow", NULL, OPTION_FLAG, AT(follow), TAKES_FOLLOW,
     "go on printing decisions as they come"},
    {"--deadline-ms", "N", OPTION_NUMBER, AT(deadline_ms), TAKES_RUN,
     "when the answer is needed, and how long run waits (the task's default)"},
    {"--late", NULL, OPTION_FLAG, AT(late), TAKES_RUN,
     "wait for a late answer too, marked; so it is without --deadline-ms"},
    {"--session", "NAME", OPTION_TEXT, AT(session), TAKES_RUN,
     "requests of one name continue one conversation"},
    {"--route", "ROUTE", OPTION_TEXT, AT(route), TAKES_RUN | TAKES_PAST,
     "auto, local, edge, edge:NAME or cascade (auto); of decisions also cache"},
    {"--since", "WHEN", OPTION_TEXT, AT(since), TAKES_PAST,
     "decisions from then on, from disk: " WHEN_HELP},
    {"--until", "WHEN", OPTION_TEXT, AT(until), TAKES_PAST, "decisions before then"},
    {"--slow", "[N]", OPTION_MAYBE_NUMBER, AT(slow), TAKES_PAST,
     "the N slowest (20), the slowest first"},
    {"--missed", NULL, OPTION_FLAG, AT(missed), TAKES_PAST, "only those that came late or failed"},
    {"--task", "TASK", OPTION_TEXT, AT(task), TAKES_PAST | TAKES_TASK,
     "only those of this task; of forget: the task"},
    {"--file", "FILE", OPTION_TEXT, AT(file), TAKES_FILE,
     "a decisions.jsonl instead of a daemon; - is standard input"},
    {"--policy", "POLICY", OPTION_TEXT, AT(policy), TAKES_REPLAY,
     "tandem, local, edge, threshold, availability or latency (tandem)"},
    {"--prefer", "P", OPTION_TEXT, AT(prefer), TAKES_REPLAY,
     "balanced, accuracy, bandwidth or battery, as in [policy]"},
    {"--one-miss-ms", "X", OPTION_TEXT, AT(one_miss_ms), TAKES_REPLAY,
     "and the next three: other weights than the recorded ones"},
    {"--one-megabyte-ms", "X", OPTION_TEXT, AT(one_megabyte_ms), TAKES_REPLAY, ""},
    {"--one-error-ms", "X", OPTION_TEXT, AT(one_error_ms), TAKES_REPLAY, ""},
    {"--one-joule-ms", "X", OPTION_TEXT, AT(one_joule_ms), TAKES_REPLAY, ""},
    {"--threshold", "T", OPTION_TEXT, AT(threshold), TAKES_REPLAY,
     "how sure a local answer of a cascade has to be, 0 to 1"},
    {"--full", NULL, OPTION_FLAG, AT(full), TAKES_EXPLAIN, "every number, as tables"},
};
#define OPTION_COUNT (sizeof(options_table) / sizeof(options_table[0]))

struct ctl_command {
    const char *name;
    const char *arguments;
    int argument_count;
    unsigned takes;
    int (*run)(const struct ctl_options *options);
    const char *help;
};

static const struct ctl_command commands[] = {
    {"status", "", 0, TAKES_SERVER, command_status, "how the daemon is"},
    {"decisions", "", 0, TAKES_COUNT | TAKES_FOLLOW | TAKES_PAST | TAKES_FILE, command_decisions,
     "the last decisions, newest last; with --since, --until, --slow or --missed from disk"},
    {"explain", "ID", 1, TAKES_FILE | TAKES_EXPLAIN, command_explain,
     "one decision: what was possible, why this one, what came of it, what others would have cost"},
    {"replay", "FILE", 1, TAKES_REPLAY, command_replay,
     "recorded decisions (JSON lines; -: standard input) through another policy or other weights"},
    {"top", "", 0, TAKES_SERVER | TAKES_COUNT, command_top,
     "rates, latencies, edges and the last decisions, again every second; q quits"},
    {"cache", "", 0, TAKES_SERVER, command_cache, "what is kept of work already done"},
    {"edges", "", 0, 0, command_edges, "the edge nodes this device knows"},
    {"forget", "", 0, TAKES_TASK, command_forget,
     "what was learned of the task --task, and its cached answers"},
    {"feedback", "ID right|wrong", 2, 0, command_feedback,
     "what the answer of a decision was; Tandem learns from it"},
    {"run", "TASK INPUT", 2, TAKES_RUN, command_run,
     "one request by hand; INPUT: a file for pictures, text for text tasks, @FILE, - for standard "
     "input"},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

/* NULL when it is not set, or set to nothing. */
static const char *environment(const char *name)
{
    const char *value = getenv(name);

    return value && value[0] ? value : NULL;
}

const char *ctl_status_socket(const struct ctl_options *options)
{
    const char *path = options->socket;

    if (!path && !options->server) {
        path = environment("TANDEM_STATUS_SOCKET");
    }
    return path ? path : options->server ? SERVER_STATUS_SOCKET : CLIENT_STATUS_SOCKET;
}

int ctl_fail(int code, const char *format, ...)
{
    va_list arguments;

    fputs("tandemctl: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return code == TANDEM_EGONE ? CTL_NOT_RUNNING : CTL_FAILED;
}

static int ctl_wrong_use(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int ctl_wrong_use(const char *format, ...)
{
    va_list arguments;

    fputs("tandemctl: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputs("; `tandemctl --help` says what there is\n", stderr);
    return CTL_WRONG_USE;
}

#define HELP_COLUMN 22

static void help_option(FILE *out, const struct ctl_option *option)
{
    char left[32];

    snprintf(left, sizeof(left), "%s %s", option->name, option->value ? option->value : "");
    help_line(out, left, HELP_COLUMN, option->help);
}

static void ctl_help(FILE *out)
{
    fputs("usage: tandemctl COMMAND [ARGUMENTS] [OPTIONS]\n\ncommands:\n", out);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        char left[32];

        snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].arguments);
        help_line(out, left, HELP_COLUMN, commands[i].help);
        for (size_t k = 0; k < OPTION_COUNT; k++) {
            if (options_table[k].takes & commands[i].takes) {
                fprintf(out, "  %-19s   [%s%s%s]\n", "", options_table[k].name,
                        options_table[k].value ? " " : "",
                        options_table[k].value ? options_table[k].value : "");
            }
        }
    }
    fputs("\noptions:\n", out);
    for (size_t k = 0; k < OPTION_COUNT; k++) {
        help_option(out, &options_table[k]);
    }
    fputs("  --help, --version\n"
          "Options may stand before the command, too.\n"
          "\nsockets:\n"
          "  run and feedback ask the application socket: --socket PATH, else\n"
          "  $TANDEM_SOCKET, else " TANDEM_APP_SOCKET ";\n"
          "  PATH may also be the status socket of tandem-client.\n"
          "  The others ask the status socket: --socket PATH, else\n"
          "  $TANDEM_STATUS_SOCKET, else " CLIENT_STATUS_SOCKET ";\n"
          "  with --server: --socket PATH, else " SERVER_STATUS_SOCKET ".\n"
          "\nexit status: 0 done, 1 failed, 2 wrong use, 3 daemon not running\n",
          out);
}

static const struct ctl_command *command_find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static const struct ctl_option *option_find(const char *word, size_t name_bytes)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (strlen(options_table[i].name) == name_bytes &&
            strncmp(options_table[i].name, word, name_bytes) == 0) {
            return &options_table[i];
        }
    }
    return NULL;
}

/* 0, or CTL_WRONG_USE. A number is from 1 to UINT32_MAX. */
static int option_set(const struct ctl_option *option, const char *value,
                      struct ctl_options *options)
{
    char *at = (char *)options + option->offset;
    unsigned long long number;
    char *end;

    switch (option->type) {
    case OPTION_FLAG:
        *(bool *)(void *)at = true;
        return 0;
    case OPTION_TEXT:
        *(const char **)(void *)at = value;
        return 0;
    case OPTION_MAYBE_NUMBER:
        *(bool *)(void *)at = true;
        if (!value) {
            return 0;
        }
        at = (char *)&options->slow_count;
        /* fallthrough */
    case OPTION_NUMBER:
        errno = 0;
        number = strtoull(value, &end, 10);
        if (errno != 0 || end == value || *end != '\0' || value[0] == '-' || number == 0 ||
            number > UINT32_MAX) {
            return ctl_wrong_use("%s needs a number from 1, not '%s'", option->name, value);
        }
        *(uint32_t *)(void *)at = (uint32_t)number;
        return 0;
    }
    return CTL_WRONG_USE;
}

/* Takes the option at argv[*at] with its value ("--x V" or "--x=V"); *given gets its bit. */
static int option_take(int argc, char **argv, int *at, struct ctl_options *options, unsigned *given)
{
    const char *word = argv[*at];
    const char *equals = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
    const struct ctl_option *option =
        option_find(word, equals ? (size_t)(equals - word) : strlen(word));
    const char *value = equals ? equals + 1 : NULL;

    if (!option) {
        return ctl_wrong_use("there is no option %s", word);
    }
    if (option->type == OPTION_FLAG && value) {
        return ctl_wrong_use("%s takes no value", option->name);
    }
    if (option->type == OPTION_MAYBE_NUMBER && !value && *at + 1 < argc && argv[*at + 1][0] &&
        argv[*at + 1][strspn(argv[*at + 1], "0123456789")] == '\0') {
        value = argv[++*at];
    }
    if ((option->type == OPTION_TEXT || option->type == OPTION_NUMBER) && !value) {
        if (*at + 1 >= argc) {
            return ctl_wrong_use("%s needs a value", option->name);
        }
        value = argv[++*at];
    }
    *given |= 1u << (option - options_table);
    return option_set(option, value, options);
}

/* The command, or one more of its arguments. */
static int word_take(const char *word, const struct ctl_command **command,
                     struct ctl_options *options)
{
    if (!*command) {
        *command = command_find(word);
        return *command ? 0 : ctl_wrong_use("there is no command '%s'", word);
    }
    if (options->argument_count == (*command)->argument_count) {
        return ctl_wrong_use("%s takes no '%s'", (*command)->name, word);
    }
    options->arguments[options->argument_count++] = word;
    return 0;
}

/* As libtandem has it, or of the past, where "auto" says nothing; NULL: none was given. */
static bool route_is_valid(const char *route, bool past)
{
    const char *const words[] = {past ? "cache" : "auto", "local", "edge", "cascade"};

    for (size_t i = 0; route && i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(route, words[i]) == 0) {
            return true;
        }
    }
    return !route || (strncmp(route, "edge:", 5) == 0 && name_is_valid(route + 5));
}

/* What came together fits together. */
static int words_check(const struct ctl_command *command, const struct ctl_options *options,
                       unsigned given)
{
    if (!command) {
        return ctl_wrong_use("a command is missing");
    }
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if ((given & 1u << i) && !(options_table[i].takes & (command->takes | TAKES_ALWAYS))) {
            return ctl_wrong_use("%s does not take %s", command->name, options_table[i].name);
        }
    }
    if (options->argument_count < command->argument_count) {
        return ctl_wrong_use("%s needs %s", command->name, command->arguments);
    }
    if (!route_is_valid(options->route, command->takes & TAKES_PAST)) {
        return ctl_wrong_use("--route is %s, local, edge, edge:NAME or cascade, not '%s'",
                             command->takes & TAKES_PAST ? "cache" : "auto", options->route);
    }
    if (options->follow && (options->since || options->until || options->slow || options->file)) {
        return ctl_wrong_use("--follow does not go with --since, --until, --slow or --file");
    }
    return 0;
}

/* Options stand anywhere, also before the command; "-" alone is an argument, and so is all that
 * follows "--". */
static int words_take(int argc, char **argv, const struct ctl_command **ret_command,
                      struct ctl_options *options)
{
    const struct ctl_command *command = NULL;
    bool only_arguments = false;
    unsigned given = 0;
    int result = 0;

    for (int i = 1; i < argc && result == 0; i++) {
        if (!only_arguments && strcmp(argv[i], "--") == 0) {
            only_arguments = true;
        } else if (!only_arguments && argv[i][0] == '-' && argv[i][1] != '\0') {
            result = option_take(argc, argv, &i, options, &given);
        } else {
            result = word_take(argv[i], &command, options);
        }
    }
    *ret_command = command;
    return result == 0 ? words_check(command, options, given) : result;
}

/* Whether one of the words before "--" asks for this. */
static bool word_is_there(int argc, char **argv, const char *word)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], word) == 0) {
            return true;
        }
    }
    return false;
}

int ctl_main(int argc, char **argv)
{
    struct ctl_options options = {.socket = NULL};
    const struct ctl_command *command;
    int result;

    if (word_is_there(argc, argv, "--help") || word_is_there(argc, argv, "-h")) {
        ctl_help(stdout);
        return CTL_DONE;
    }
    if (word_is_there(argc, argv, "--version")) {
        printf("tandemctl %s\n", TANDEM_VERSION);
        return CTL_DONE;
    }
    if (argc < 2) {
        ctl_help(stderr);
        return CTL_WRONG_USE;
    }
    result = words_take(argc, argv, &command, &options);
    if (result != 0) {
        return result;
    }
    result = command->run(&options);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return ctl_fail(TANDEM_EIO, "standard output: %s", strerror(errno));
    }
    return result;
}
