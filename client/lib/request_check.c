#include "client/lib/request_check.h"

#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/base/names.h"

#include <math.h>
#include <string.h>

/* The struct as the first version of the header had it; none is smaller. */
#define REQUEST_FIRST_BYTES (offsetof(struct tandem_request, cookie) + sizeof(uint64_t))

static int check_fail(int code, const char *why, const char **ret_why)
{
    *ret_why = why;
    return code;
}

bool request_has_picture(const struct tandem_request *request)
{
    return request->picture.data != NULL || request->picture.memfd > 0;
}

size_t request_text_bytes(const struct tandem_request *request)
{
    if (request->text_bytes > 0) {
        return request->text_bytes;
    }
    return strnlen(request->text, LIMIT_TEXT_BYTES + 1);
}

size_t request_input_bytes(const struct tandem_request *request)
{
    return request_has_picture(request) ? request->picture.bytes : request_text_bytes(request);
}

/* Takes what this library knows of the caller's struct; a newer header's fields may be there, but
 * must say nothing. */
static int check_struct(const struct tandem_request *caller, struct tandem_request *ret_request,
                        const char **ret_why)
{
    size_t bytes = caller->struct_bytes;

    if (bytes < REQUEST_FIRST_BYTES || bytes > 64 * sizeof(*caller)) {
        return check_fail(TANDEM_EINVAL, "struct_bytes is wrong: tandem_request_init sets it",
                          ret_why);
    }
    for (size_t i = sizeof(*caller); i < bytes; i++) {
        if (((const unsigned char *)caller)[i] != 0) {
            return check_fail(TANDEM_EUNSUPPORTED, "the request uses a field of a newer library",
                              ret_why);
        }
    }
    memset(ret_request, 0, sizeof(*ret_request));
    memcpy(ret_request, caller, bytes < sizeof(*caller) ? bytes : sizeof(*caller));
    return 0;
}

static bool route_is_valid(const char *route)
{
    static const char *const words[] = {"", "auto", "local", "edge", "cascade"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(route, words[i]) == 0) {
            return true;
        }
    }
    return strncmp(route, "edge:", 5) == 0 && name_is_valid(route + 5);
}

static int check_names(const struct tandem_request *request, const char **ret_why)
{
    if (!request->task || !name_is_valid(request->task)) {
        return check_fail(TANDEM_EINVAL, "task must be a name: at most 63 bytes of [A-Za-z0-9._-]",
                          ret_why);
    }
    if (request->session && request->session[0] != '\0' && !name_is_valid(request->session)) {
        return check_fail(TANDEM_EINVAL,
                          "session must be a name: at most 63 bytes of [A-Za-z0-9._-]", ret_why);
    }
    if (request->route && !route_is_valid(request->route)) {
        return check_fail(TANDEM_EINVAL, "route must be auto, local, edge, edge:NAME or cascade",
                          ret_why);
    }
    return 0;
}

static int check_raw_size(const struct tandem_picture *picture, const char **ret_why)
{
    if (picture->width == 0 || picture->height == 0) {
        return check_fail(TANDEM_EINVAL, "a raw picture needs its width and height", ret_why);
    }
    if (picture->width > LIMIT_PICTURE_SIDE_PIXELS || picture->height > LIMIT_PICTURE_SIDE_PIXELS) {
        return check_fail(TANDEM_ETOOBIG, "a side of the picture is over 8192 pixels", ret_why);
    }
    if (picture->stride_bytes > LIMIT_STRIDE_BYTES) {
        return check_fail(TANDEM_ETOOBIG, "the picture's stride is over 65536 bytes", ret_why);
    }
    return 0;
}

static int check_picture(const struct tandem_picture *picture, const char **ret_why)
{
    bool encoded = picture->format == TANDEM_PIXELS_ENCODED;

    if ((unsigned)picture->format > TANDEM_PIXELS_YUYV) {
        return check_fail(TANDEM_EUNSUPPORTED, "unknown pixel format", ret_why);
    }
    if (picture->reserved != 0) {
        return check_fail(TANDEM_EUNSUPPORTED, "the picture uses a field of a newer library",
                          ret_why);
    }
    if (picture->bytes == 0) {
        return check_fail(TANDEM_EINVAL, "the picture has no bytes", ret_why);
    }
    if (picture->bytes > (encoded ? LIMIT_PICTURE_BYTES : LIMIT_MEMFD_BYTES)) {
        return check_fail(TANDEM_ETOOBIG,
                          encoded ? "the picture is over 16 MiB" : "the picture is over 128 MiB",
                          ret_why);
    }
    return encoded ? 0 : check_raw_size(picture, ret_why);
}

static int check_input(const struct tandem_request *request, const char **ret_why)
{
    bool picture = request_has_picture(request);

    if (picture == (request->text != NULL)) {
        return check_fail(TANDEM_EINVAL,
                          picture ? "both a picture and a text" : "neither a picture nor a text",
                          ret_why);
    }
    if (picture) {
        return check_picture(&request->picture, ret_why);
    }
    if (request_text_bytes(request) == 0) {
        return check_fail(TANDEM_EINVAL, "the text is empty", ret_why);
    }
    if (request_text_bytes(request) > LIMIT_TEXT_BYTES) {
        return check_fail(TANDEM_ETOOBIG, "the text is over 256 KiB", ret_why);
    }
    return 0;
}

static int check_numbers(const struct tandem_request *request, const char **ret_why)
{
    if (request->deadline_ms > LIMIT_DEADLINE_MS) {
        return check_fail(TANDEM_EINVAL, "the deadline is over one hour", ret_why);
    }
    if (request->max_new_tokens > LIMIT_MAX_NEW_TOKENS) {
        return check_fail(TANDEM_EINVAL, "max_new_tokens is over 32768", ret_why);
    }
    if (!isfinite(request->temperature) || request->temperature < 0 ||
        request->temperature > LIMIT_TEMPERATURE) {
        return check_fail(TANDEM_EINVAL, "temperature must be from 0 to 100", ret_why);
    }
    if (!isfinite(request->top_p) || request->top_p < 0 || request->top_p > 1) {
        return check_fail(TANDEM_EINVAL, "top_p must be from 0 to 1", ret_why);
    }
    return 0;
}

int request_check(const struct tandem_request *caller, struct tandem_request *ret_request,
                  const char **ret_why)
{
    int result = check_struct(caller, ret_request, ret_why);

    if (result == 0) {
        result = check_names(ret_request, ret_why);
    }
    if (result == 0) {
        result = check_input(ret_request, ret_why);
    }
    if (result == 0) {
        result = check_numbers(ret_request, ret_why);
    }
    return result;
}
