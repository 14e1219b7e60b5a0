/* demo.c: the main job, seen through libtandem. Sends real pictures and robot commands to a running
 * tandem-client, kills the edge server in the middle, prints every answer with its decision, then
 * says whether all that was promised held. Run by demo.sh, which starts and stops the daemons. Exit
 * status 0 only if every check at the end holds. */
#include <tandem.h>

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#define LINE_BYTES        1024
#define ANSWER_SECONDS    15 /* far past every deadline asked for here */
#define PICTURES_MIN      20
#define COMMANDS_MIN      10
#define COMMANDS_MAX      64 /* lines of the sample file that are looked at */
#define PICTURE_BYTES_MAX (1 << 20)

/* What the demo asks of the daemon for one input, in turn. */
struct way {
    const char *name;
    const char *route;
    int never_leave_device;
    uint32_t deadline_ms;
};

static const struct way ways[] = {
    {"auto", "auto", 0, 1000},    {"auto", "auto", 0, 1000}, {"cascade", "cascade", 0, 1000},
    {"private", "auto", 1, 1000}, {"edge", "edge", 0, 1000}, {"cascade", "cascade", 0, 1000},
};

enum kind { KIND_LOCAL, KIND_EDGE, KIND_CASCADE_STAYED, KIND_CASCADE_WENT, KIND_COUNT };
static const char *const kind_names[KIND_COUNT] = {"local", "edge", "cascade that stayed",
                                                   "cascade that went"};

struct tally {
    unsigned asked, answered, right, late, errors;
    double latency_ms;
};

struct pending {
    bool done;
    int error;
    struct tandem_answer *answer;
};

struct demo {
    struct tandem *tandem;
    const char *samples;
    pid_t edge_pid; /* 0 once it was killed */
    struct tally objects, commands, after_kill;
    unsigned kinds[KIND_COUNT];
    unsigned row;
    struct pending pending; /* here, not on a stack: closing the handle ends a request that is still
                               under way */
    bool broken;            /* the daemon did not end a request it had accepted */
};

static void on_done(struct tandem *tandem, uint64_t id, int error, struct tandem_answer *answer,
                    void *user)
{
    struct pending *pending = user;

    (void)tandem;
    (void)id;
    pending->done = true;
    pending->error = error;
    pending->answer = answer;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void kinds_count(struct demo *demo, const struct tandem_answer *answer)
{
    const char *route = tandem_answer_route(answer);
    bool local = strcmp(tandem_answer_outcome_route(answer), "local") == 0;

    if (strcmp(route, "local") == 0) {
        demo->kinds[KIND_LOCAL]++;
    } else if (strcmp(route, "cascade") == 0) {
        demo->kinds[local ? KIND_CASCADE_STAYED : KIND_CASCADE_WENT]++;
    } else if (starts_with(route, "edge:") && !local) {
        demo->kinds[KIND_EDGE]++;
    }
}

/* "jump twice" as "2 actions: jump jump"; long sequences are cut short. */
static void actions_print(const char *text)
{
    char shown[30] = "";
    size_t at = 0;
    unsigned words = *text != '\0';

    for (const char *from = text; *from; from++) {
        words += *from == ' ';
        if ((from == text || from[-1] == ' ') && starts_with(from, "I_")) {
            from++; /* SCAN writes I_JUMP */
        } else if (at + 1 < sizeof(shown)) {
            shown[at++] = (char)(*from >= 'A' && *from <= 'Z' ? *from + 'a' - 'A' : *from);
        }
    }
    shown[at] = '\0';
    printf("%2u actions: %s%s ", words, shown, at + 1 == sizeof(shown) ? "..." : "");
}

static void answer_print(const struct tandem_answer *answer, const char *truth, bool right)
{
    const bool picture = tandem_answer_kind(answer) == TANDEM_CLASSIFY;

    if (picture) {
        printf("%-10s %3.0f%%  ", tandem_answer_label(answer, 0),
               100 * tandem_answer_score(answer, 0));
    } else {
        actions_print(tandem_answer_text(answer, NULL));
        printf("%.0f%%  ", 100 * tandem_answer_confidence(answer));
    }
    printf("%s", right ? "right" : "wrong");
    if (!right && picture) {
        printf(" (is %s)", truth);
    }
    printf("\n");
}

static void row_print(const struct demo *demo, const char *input, const struct way *way,
                      const struct tandem_answer *answer)
{
    char decided[96];
    double predicted = tandem_answer_predicted_ms(answer);

    snprintf(decided, sizeof(decided), "%s>%s", tandem_answer_route(answer),
             tandem_answer_outcome_route(answer));
    printf("%3u %-28.28s %-8s %-18s ", demo->row, input, way->name, decided);
    if (predicted < 0) {
        printf("%7s ", "-");
    } else {
        printf("%7.1f ", predicted);
    }
    printf("%7.1f  %-44.44s  ", tandem_answer_latency_ms(answer), tandem_answer_reason(answer));
}

static bool answer_right(const struct tandem_answer *answer, const char *truth)
{
    if (tandem_answer_kind(answer) == TANDEM_CLASSIFY) {
        return tandem_answer_label_count(answer) > 0 &&
               strcmp(tandem_answer_label(answer, 0), truth) == 0;
    }
    return strcmp(tandem_answer_text(answer, NULL), truth) == 0;
}

/* Kills the edge while the request is on its way, and tells so. */
static void edge_kill(struct demo *demo)
{
    kill(demo->edge_pid, SIGKILL);
    printf("    -------- the edge server (pid %d) is killed now, with the next request under way "
           "--------\n",
           (int)demo->edge_pid);
    demo->edge_pid = 0;
}

static void ask(struct demo *demo, struct tally *tally, struct tandem_request *request,
                const struct way *way, const char *input, const char *truth, bool kill_edge)
{
    struct pending *pending = &demo->pending;
    bool after_kill = demo->edge_pid == 0 || kill_edge;
    int error;
    bool right;

    request->route = way->route;
    request->never_leave_device = way->never_leave_device;
    request->deadline_ms = way->deadline_ms;
    demo->row++;
    tally->asked++;
    demo->after_kill.asked += after_kill;
    *pending = (struct pending){.done = false};
    error = tandem_submit(demo->tandem, request, on_done, NULL, pending, NULL);
    if (error == 0 && kill_edge) {
        edge_kill(demo);
    }
    for (time_t start = time(NULL); error == 0 && !pending->done;) {
        int result = tandem_wait(demo->tandem, 1000);

        if (!pending->done && (result < 0 || time(NULL) - start > ANSWER_SECONDS)) {
            error = result < 0 ? result : TANDEM_ETIMEDOUT;
            demo->broken = true;
        }
    }
    error = error ? error : pending->error;
    if (error) {
        tally->errors++;
        printf("%3u %-28.28s %-8s %s: %s\n", demo->row, input, way->name, tandem_strerror(error),
               tandem_last_error(demo->tandem));
        return;
    }
    right = answer_right(pending->answer, truth);
    row_print(demo, input, way, pending->answer);
    answer_print(pending->answer, truth, right);
    tally->answered++;
    tally->right += right;
    tally->late += !tandem_answer_met_deadline(pending->answer);
    tally->latency_ms += tandem_answer_latency_ms(pending->answer);
    demo->after_kill.answered += after_kill;
    demo->after_kill.late += after_kill && !tandem_answer_met_deadline(pending->answer);
    kinds_count(demo, pending->answer);
    tandem_answer_free(pending->answer);
}

static void header_print(const char *title)
{
    printf("\n%s\n%3s %-28s %-8s %-18s %7s %7s  %-44s  %s\n", title, "#", "input", "asked",
           "decided>computed", "pred ms", "real ms", "reason", "answer");
}

static int picture_read(const char *path, void *buffer, size_t *ret_bytes)
{
    FILE *file = fopen(path, "rb");

    if (!file) {
        perror(path);
        return -1;
    }
    *ret_bytes = fread(buffer, 1, PICTURE_BYTES_MAX, file);
    fclose(file);
    return *ret_bytes > 0 ? 0 : -1;
}

/* labels.csv: a header line, then file,label. */
static int run_objects(struct demo *demo, unsigned count)
{
    char path[LINE_BYTES], line[LINE_BYTES];
    void *picture = malloc(PICTURE_BYTES_MAX);
    FILE *labels;
    int result = -1;

    snprintf(path, sizeof(path), "%s/labels.csv", demo->samples);
    labels = fopen(path, "r");
    if (!labels || !picture || !fgets(line, sizeof(line), labels)) {
        perror(path);
        goto out;
    }
    header_print("Pictures (task objects): ask what is in 32x32 photographs");
    for (unsigned i = 0; i < count && !demo->broken && fgets(line, sizeof(line), labels); i++) {
        const struct way *way = &ways[i % (sizeof(ways) / sizeof(ways[0]))];
        struct tandem_request request;
        char *file = strtok(line, ",\r\n"), *label = strtok(NULL, ",\r\n");
        size_t bytes;

        if (!file || !label) {
            fprintf(stderr, "%s: a line without file,label\n", path);
            goto out;
        }
        snprintf(path, sizeof(path), "%.500s/%.400s", demo->samples, file);
        if (picture_read(path, picture, &bytes)) {
            goto out;
        }
        tandem_request_init(&request, "objects");
        request.picture.data = picture;
        request.picture.bytes = bytes;
        ask(demo, &demo->objects, &request, way, file, label, false);
    }
    result = 0;
out:
    if (labels) {
        fclose(labels);
    }
    free(picture);
    return result;
}

/* commands.txt: command TAB expected actions, the short ones first. Reads up to COMMANDS_MAX lines,
 * returns how many; 0 with a line when something is wrong. */
static unsigned commands_read(const char *path, char lines[COMMANDS_MAX][LINE_BYTES])
{
    FILE *file = fopen(path, "r");
    unsigned count = 0;

    if (!file) {
        perror(path);
        return 0;
    }
    while (count < COMMANDS_MAX && fgets(lines[count], LINE_BYTES, file)) {
        if (!strchr(lines[count++], '\t')) {
            fprintf(stderr, "%s: line %u is not command TAB actions\n", path, count);
            count = 0;
            break;
        }
    }
    fclose(file);
    return count;
}

/* Short and long commands in turn. The edge dies in the middle; nothing here forces it. */
static int run_commands(struct demo *demo, unsigned count)
{
    static const struct way freely = {"auto", "auto", 0, 2000};
    static char lines[COMMANDS_MAX][LINE_BYTES];
    char path[LINE_BYTES];
    unsigned found;

    snprintf(path, sizeof(path), "%s/commands.txt", demo->samples);
    found = commands_read(path, lines);
    if (found < count) {
        return -1;
    }
    header_print("Commands (task commands): turn a sentence into robot actions");
    for (unsigned i = 0; i < count && !demo->broken; i++) {
        struct tandem_request request;
        char *line = lines[i % 2 == 0 ? i / 2 : found - 1 - i / 2];
        const char *text = strtok(line, "\t\r\n"), *actions = strtok(NULL, "\t\r\n");

        tandem_request_init(&request, "commands");
        request.text = text;
        ask(demo, &demo->commands, &request, &freely, text, actions ? actions : "", i == count / 2);
    }
    return 0;
}

static void tally_print(const char *name, const struct tally *tally)
{
    printf(
        "  %-9s %3u asked, %3u answered, %3u right (%.0f %%), %u late, %u errors, mean %.1f ms\n",
        name, tally->asked, tally->answered, tally->right,
        tally->answered ? 100.0 * tally->right / tally->answered : 0.0, tally->late, tally->errors,
        tally->answered ? tally->latency_ms / tally->answered : 0.0);
}

static bool check(bool holds, const char *what)
{
    printf("  [%s] %s\n", holds ? "ok" : "FAILED", what);
    return holds;
}

static bool checks_print(const struct demo *demo)
{
    char line[128];
    bool good = true;

    printf("\nChecks\n");
    good &= check(demo->objects.answered >= PICTURES_MIN &&
                      demo->objects.answered == demo->objects.asked,
                  "at least 20 pictures, every one answered");
    good &= check(demo->commands.answered >= COMMANDS_MIN &&
                      demo->commands.answered == demo->commands.asked,
                  "at least 10 commands, every one answered");
    for (int i = 0; i < KIND_COUNT; i++) {
        snprintf(line, sizeof(line), "at least one decision of the kind: %s (%u)", kind_names[i],
                 demo->kinds[i]);
        good &= check(demo->kinds[i] > 0, line);
    }
    snprintf(line, sizeof(line),
             "the edge was killed and all %u requests from then on were answered in time",
             demo->after_kill.asked);
    good &=
        check(demo->edge_pid == 0 && demo->after_kill.asked > 1 &&
                  demo->after_kill.answered == demo->after_kill.asked && demo->after_kill.late == 0,
              line);
    good &= check(demo->objects.late + demo->commands.late == 0, "no answer was late");
    good &= check(2 * demo->objects.right > demo->objects.asked,
                  "more than half of the pictures are right");
    good &= check(2 * demo->commands.right > demo->commands.asked,
                  "more than half of the commands are right");
    return good;
}

int main(int argc, char **argv)
{
    struct demo demo = {0};
    bool good;

    if (argc != 4) {
        fprintf(stderr, "usage: %s APP_SOCKET SAMPLES_DIR EDGE_PID\n", argv[0]);
        return 2;
    }
    demo.samples = argv[2];
    demo.edge_pid = (pid_t)atoi(argv[3]);
    if (tandem_open(argv[1], &demo.tandem)) {
        fprintf(stderr, "demo: %s\n", demo.tandem ? tandem_last_error(demo.tandem) : "cannot open");
        tandem_close(demo.tandem);
        return 1;
    }
    good = run_objects(&demo, 24) == 0 && run_commands(&demo, 16) == 0;
    printf("\nTotals\n");
    tally_print("pictures", &demo.objects);
    tally_print("commands", &demo.commands);
    good = checks_print(&demo) && good;
    tandem_close(demo.tandem);
    return good ? 0 : 1;
}
