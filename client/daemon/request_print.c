/* request_print.c: the print of an encoded picture, by which it is compared with earlier frames. A
 * thread of the loop's pool decodes a small grey copy before anything is decided; what it touches
 * meanwhile is the request's input (read only) and request->cache_print. An encoded picture that
 * cannot be decoded, or has more than LIMIT_PRINT_PIXELS, is compared by its bytes alone. */
#include "client/daemon/request.h"

#include "common/base/error.h"
#include "common/engine/engine.h"

#include <stdlib.h>

static void print_make(struct request *request)
{
    const struct engine_picture picture = {.format = ENGINE_PIXELS_ENCODED,
                                           .data = request->input.data,
                                           .bytes = request->input.bytes};
    char error[ENGINE_ERROR_BYTES];
    uint8_t *grey;
    uint32_t width, height;

    if (engine_picture_grey(&picture, FRAME_PRINT_CELLS, &grey, &width, &height, error) != 0) {
        return; /* whoever runs it says what is wrong with it */
    }
    request->cache_print = malloc(sizeof(*request->cache_print));
    if (request->cache_print) { /* without memory it is compared by its bytes alone */
        const struct frame_view view = {grey, width, height, width, 1, 1};

        frame_print_make(&view, request->cache_print);
    }
    free(grey);
}

static void on_print(uv_work_t *work)
{
    struct request *request = work->data;
    const int64_t began_ns = clock_now_ns();

    print_make(request);
    request->print.made_ns = clock_now_ns() - began_ns;
}

static void on_printed(uv_work_t *work, int status)
{
    struct request *request = work->data;

    (void)status; /* called back before it began: then nobody wants it */
    request->print.out = false;
    requests_computed(request->all, ms_between(0, request->print.made_ns));
    request_begin(request, request->print.unwanted ? TANDEM_ECANCELED : 0);
}

bool request_print_begin(struct request *request)
{
    if (!request_cache_wants_print(request)) {
        return false;
    }
    request->print.work.data = request;
    request->print.out =
        uv_queue_work(request->all->loop, &request->print.work, on_print, on_printed) == 0;
    return request->print.out;
}

void request_print_cancel(struct request *request)
{
    request->print.unwanted = true;
    (void)uv_cancel((uv_req_t *)&request->print.work); /* on_printed still comes */
}
