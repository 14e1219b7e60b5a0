#include "tests/sim/measure.h"

#include "common/base/error.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Two kinds of SVG, written by hand: bars of costs, and a run over time. */
#define BAR_PX       14
#define LABEL_PX     110
#define WIDTH_PX     900
#define PANEL_PX     110
#define TEXT         "font-family=\"sans-serif\" font-size=\"11\""
#define COLOUR_OWN   "#c0392b"
#define COLOUR_KNOWS "#7f8c8d"
#define COLOUR_OTHER "#2980b9"

static FILE *svg_open(const char *path, int width, int height)
{
    FILE *file = fopen(path, "we");

    if (!file) {
        fprintf(stderr, "%s cannot be written\n", path);
        return NULL;
    }
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            width, height);
    return file;
}

static int svg_close(FILE *file)
{
    fprintf(file, "</svg>\n");
    return fclose(file) == 0 ? 0 : TANDEM_EIO;
}

static void text_draw(FILE *file, double x, double y, const char *text)
{
    fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" " TEXT ">%s</text>\n", x, y, text);
}

static const char *colour_of(const char *policy)
{
    static const char *const knowing[] = {"hindsight", "informed", "oracle"};

    for (size_t i = 0; i < sizeof(knowing) / sizeof(knowing[0]); i++) {
        if (strcmp(policy, knowing[i]) == 0) {
            return COLOUR_KNOWS;
        }
    }
    return strcmp(policy, "tandem") == 0 ? COLOUR_OWN : COLOUR_OTHER;
}

static double bar_cost(const struct measures *rows, size_t seeds, size_t per_world, size_t policy)
{
    double sum = 0;

    for (size_t seed = 0; seed < seeds; seed++) {
        const struct measures *row = &rows[seed * per_world + policy];

        sum += row->total_cost / (double)row->requests;
    }
    return sum / (double)seeds;
}

static size_t seeds_of(const struct measures *rows, size_t count, size_t per_world)
{
    size_t seeds = 0;

    while (seeds * per_world < count && rows[seeds * per_world].scene == rows->scene &&
           rows[seeds * per_world].clients == rows->clients) {
        seeds++;
    }
    return seeds;
}

/* One block of bars; the longest that fits is three times tandem's, what is longer is cut and says
 * its number. */
static void block_draw(FILE *file, const struct measures *rows, size_t seeds, size_t per_world,
                       double top)
{
    char text[128];
    double own = 1;

    for (size_t at = 0; at < per_world; at++) {
        if (strcmp(rows[at].policy, "tandem") == 0) {
            own = bar_cost(rows, seeds, per_world, at);
        }
    }
    snprintf(text, sizeof(text), "%s, %zu clients: cost of a request in ms", rows->scene->name,
             rows->clients);
    text_draw(file, 8, top + 14, text);
    for (size_t at = 0; at < per_world; at++) {
        const double cost = bar_cost(rows, seeds, per_world, at);
        const double width = fmin(cost / (3 * own), 1) * (WIDTH_PX - LABEL_PX - 80);
        const double y = top + 20 + (double)at * BAR_PX;

        text_draw(file, 8, y + 11, rows[at].policy);
        fprintf(file, "<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n",
                LABEL_PX, y, width, BAR_PX - 3, colour_of(rows[at].policy));
        snprintf(text, sizeof(text), "%.1f", cost);
        text_draw(file, LABEL_PX + width + 4, y + 11, text);
    }
}

int picture_costs(const char *path, const struct measures *rows, size_t count, size_t per_world)
{
    const double block = 34 + (double)per_world * BAR_PX;
    size_t blocks = 0, first = 0;
    FILE *file;

    for (size_t at = 0; at < count; blocks++) {
        at += per_world * seeds_of(&rows[at], count - at, per_world);
    }
    file = svg_open(path, WIDTH_PX, (int)(block * (double)blocks) + 10);
    if (!file) {
        return TANDEM_EIO;
    }
    for (size_t i = 0; i < blocks; i++) {
        const size_t seeds = seeds_of(&rows[first], count - first, per_world);

        block_draw(file, &rows[first], seeds, per_world, block * (double)i);
        first += per_world * seeds;
    }
    return svg_close(file);
}

/* ---- a run over time ---- */

struct axes {
    double from_s, length_s;
};

static double x_of(const struct axes *axes, int64_t at_ns)
{
    const double at_s = (double)(at_ns - NS_PER_S) / (double)NS_PER_S;

    return LABEL_PX + (at_s - axes->from_s) / axes->length_s * (WIDTH_PX - LABEL_PX - 20);
}

static void rate_draw(FILE *file, const struct run *run, const struct axes *axes, double top)
{
    static const char *const colours[SIM_EDGES_MAX] = {"#27ae60", "#8e44ad"};
    const int64_t step_ns = 100 * NS_PER_MS;
    double most = 0;
    char text[64];

    for (size_t edge = 0; edge < run->scene->edges; edge++) {
        for (size_t i = 0; i < run->scene->up[edge].count; i++) {
            most = fmax(most, run->scene->up[edge].bins[i].bytes_per_ns);
        }
    }
    for (size_t edge = 0; edge < run->scene->edges; edge++) {
        const struct pipe *pipe = &run->clients[0].links[edge].up;

        fprintf(file, "<polyline fill=\"none\" stroke=\"%s\" points=\"", colours[edge]);
        for (int64_t at_ns = NS_PER_S; at_ns < NS_PER_S + run->length_ns; at_ns += step_ns) {
            const double rate = trace_at(pipe->trace, at_ns + pipe->offset_ns)->bytes_per_ns;

            fprintf(file, "%.1f,%.1f ", x_of(axes, at_ns), top + PANEL_PX * (1 - rate / most));
        }
        fprintf(file, "\"/>\n");
    }
    snprintf(text, sizeof(text), "to %.0f Mbit/s", most * 8 * 1e3);
    text_draw(file, 8, top + 12, "capacity");
    text_draw(file, 8, top + 26, text);
}

static const char *dot_colour(const struct request *request)
{
    if (request->late) {
        return "black";
    }
    if (request->by == JOB_SIDE_EDGE) {
        return request->plan.route == JOB_CASCADE ? "#e67e22" : COLOUR_OWN;
    }
    return request->plan.route == JOB_LOCAL ? COLOUR_OTHER : "#1abc9c";
}

static void dots_draw(FILE *file, const struct run *run, const struct axes *axes, double top)
{
    const double most = log10(2000.0);

    for (size_t i = 0; i < run->count; i++) {
        const struct request *request = &run->requests[i];
        const double share = log10(fmax(request->latency_ms, 1)) / most;

        fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" fill=\"%s\"/>\n",
                x_of(axes, request->start_ns), top + 2 * PANEL_PX * (1 - fmin(share, 1)),
                request->late ? "3.5" : "2", dot_colour(request));
    }
    text_draw(file, 8, top + 12, "latency");
    text_draw(file, 8, top + 26, "1 to 2000 ms, log");
}

static void legend_draw(FILE *file, double top)
{
    static const struct {
        const char *colour, *text;
    } entries[] = {{COLOUR_OTHER, "local"},
                   {"#1abc9c", "cascade or edge, local answered"},
                   {"#e67e22", "cascade, edge answered"},
                   {COLOUR_OWN, "edge"},
                   {"black", "late or failed"}};
    double x = LABEL_PX;

    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", x, top,
                entries[i].colour);
        text_draw(file, x + 8, top + 4, entries[i].text);
        x += 30 + 6.2 * (double)strlen(entries[i].text);
    }
}

int picture_trace(const char *path, const struct run *run, double from_s, double length_s)
{
    const struct axes axes = {from_s, length_s};
    FILE *file = svg_open(path, WIDTH_PX, 3 * PANEL_PX + 90);
    char text[128];

    if (!file) {
        return TANDEM_EIO;
    }
    snprintf(text, sizeof(text), "%s: %s, %.0f s", run->policy->name, run->scene->name, length_s);
    text_draw(file, 8, 16, text);
    rate_draw(file, run, &axes, 26);
    dots_draw(file, run, &axes, PANEL_PX + 50);
    legend_draw(file, 3 * PANEL_PX + 72);
    return svg_close(file);
}
