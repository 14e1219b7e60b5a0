/* forms.c: pictures that are sent smaller: what was recorded of each form of each picture, which
 * forms are candidates, and making one. As client/daemon/request_upload.c does; the form that was
 * sent is what counts, in bytes, in time and in whether its answer is right. */
#include "tests/sim/run.h"

#include "common/base/error.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EFFECTS_PATH "deploy/models/objects-edge.forms.csv" /* of other pictures than these */
#define MODEL_SIDE   32
#define PICTURE_SIDE 512 /* the thumbnail's, 16 times */
#define LINE_BYTES   1024

/* Decoding and shrinking 512x512 and encoding 32, 64 or 128 pixels a side: the middle of 200
 * pictures on a core of the machine that recorded. The quality makes no difference. */
static double made_ms(unsigned scale)
{
    return DEVICE_SLOWER * (scale == 1 ? 0.31 : scale == 2 ? 0.42 : 0.83);
}

/* ---- what was recorded ---- */

static const char *header_parse(const char *line, struct pairs *pairs)
{
    for (size_t i = 0; i < SIM_FORMS; i++) {
        int used = 0;

        if (sscanf(line, "%ux%u,%*ux%*u_is%n", &pairs->forms[i].scale, &pairs->forms[i].quality,
                   &used) != 2 ||
            used == 0) {
            return NULL;
        }
        line += used + (line[used] == ',');
    }
    return line;
}

static bool row_parse(char *line, struct pair *pair)
{
    char *at = line, *rest = NULL;

    for (size_t i = 0; i < SIM_FORMS; i++) {
        struct pair_form *form = &pair->forms[i];
        unsigned long is;

        form->bytes = (double)strtoul(at, &rest, 10);
        if (rest == at || *rest != ',') {
            return false;
        }
        at = rest + 1;
        is = strtoul(at, &rest, 10);
        if (rest == at || is > 3) {
            return false;
        }
        form->right = is & 1;
        form->agree = is & 2;
        at = rest + (*rest == ',');
    }
    return *at == '\n';
}

int forms_load(const char *path, struct pairs *pairs)
{
    FILE *file = fopen(path, "re");
    char line[LINE_BYTES], why[256] = "";
    size_t rows = 0, pictures = 0;
    int result = TANDEM_EFORMAT;

    if (file && fgets(line, sizeof(line), file) && header_parse(line, pairs)) {
        for (size_t i = 0; i < pairs->count; i++) {
            if (pairs->items[i].task == 0) {
                pictures++;
                rows += fgets(line, sizeof(line), file) && row_parse(line, &pairs->items[i]);
            }
        }
        result = rows == pictures && !fgets(line, sizeof(line), file) ? 0 : TANDEM_EFORMAT;
    }
    if (result != 0) {
        fprintf(stderr, "%s is not of the same pictures\n", path);
    } else if (picture_effects_load(EFFECTS_PATH, &pairs->effects, why, sizeof(why)) != 0) {
        fprintf(stderr, "%s\n", why);
        result = TANDEM_EFORMAT;
    }
    if (file) {
        (void)fclose(file);
    }
    return result;
}

static const struct sim_form *form_find(const struct pairs *pairs, const struct upload_form *form)
{
    for (size_t i = 0; form->width > 0 && i < SIM_FORMS; i++) {
        if (pairs->forms[i].scale == upload_priors[form->row].scale &&
            pairs->forms[i].quality == form->quality) {
            return &pairs->forms[i];
        }
    }
    return NULL;
}

/* ---- which there are ---- */

static struct upload_source source_of(const struct request *request)
{
    return (struct upload_source){.kind = UPLOAD_JPEG,
                                  .width = PICTURE_SIDE,
                                  .height = PICTURE_SIDE,
                                  .bytes = request->pair->bytes};
}

void forms_fill(const struct run *run, const struct request *request, size_t edge,
                struct decide_edge *ret_edge)
{
    const struct client *client = &run->clients[request->client];
    const struct upload_source source = source_of(request);
    struct upload_terms terms = decide_fill_terms(
        &sim_weights, &sim_energy, &client->links[edge].estimate, INFINITY, run->now_ns);
    struct upload_form forms[LIMIT_UPLOAD_FORMS];
    size_t count;

    terms.width = terms.height = MODEL_SIDE;
    count = upload_forms(&client->upload, &run->pairs->effects, &source, &terms, forms);
    ret_edge->form_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (forms[i].width == 0 || form_find(run->pairs, &forms[i])) {
            ret_edge->forms[ret_edge->form_count++].upload = forms[i];
        } /* only compressed: that was not recorded */
    }
}

/* ---- one that was chosen ---- */

double form_made_ms(const struct pairs *pairs, size_t form)
{
    return made_ms(pairs->forms[form].scale);
}

void form_take_number(const struct run *run, struct request *request, size_t form)
{
    const struct sim_form *recorded = &run->pairs->forms[form];

    for (uint32_t row = 0; row < UPLOAD_ROWS; row++) {
        if (upload_priors[row].scale == recorded->scale) {
            form_take(run, request,
                      &(struct upload_form){.width = MODEL_SIDE * recorded->scale,
                                            .height = MODEL_SIDE * recorded->scale,
                                            .quality = recorded->quality,
                                            .row = row});
            return;
        }
    }
}

void form_take(const struct run *run, struct request *request, const struct upload_form *form)
{
    const struct sim_form *recorded = form_find(run->pairs, form);

    if (recorded) {
        request->upload = *form;
        request->sent = &request->pair->forms[recorded - run->pairs->forms];
        request->sent_bytes = request->sent->bytes;
    }
}

bool form_begin(struct run *run, struct request *request)
{
    if (!request->sent || request->asked_ns != 0) {
        return false;
    }
    request->asked_ns = run->now_ns;
    request->making = true;
    request->made_ms = made_ms(upload_priors[request->upload.row].scale);
    event_add(
        run, &(struct event){.at_ns = run->now_ns + (int64_t)(request->made_ms * (double)NS_PER_MS),
                             .kind = EVENT_MADE,
                             .index = (size_t)(request - run->requests)});
    return true;
}

void on_made(struct run *run, const struct event *event)
{
    struct request *request = &run->requests[event->index];
    const struct upload_source source = source_of(request);

    request->making = false;
    upload_made(&run->clients[request->client].upload, &source, &request->upload,
                (uint64_t)request->sent_bytes, request->made_ms);
    if (!request->ended && request->job.side[JOB_SIDE_EDGE] == JOB_SIDE_RUNNING) {
        edge_send(run, request);
    }
}
