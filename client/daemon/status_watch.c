/* status_watch.c: whether what was predicted came true, for the status. */
#include "client/daemon/status.h"

void status_predictions_json(const struct prediction_watch *watch, struct json_writer *json)
{
    const struct prediction_figures figures = prediction_watch_get(watch);

    json_object_open(json, "predictions");
    json_uint(json, "answers", figures.answers);
    json_double(json, "within_p95", figures.within_p95);
    json_double(json, "median_error", figures.median_error);
    json_object_close(json);
}

static void calibration_json(const struct confidence_watch *watch, const char *name,
                             struct json_writer *json)
{
    size_t answers;
    const double ece = confidence_watch_ece(watch, &answers);

    json_object_open(json, name);
    json_uint(json, "answers", answers);
    json_double(json, "ece", ece);
    json_object_close(json);
}

void status_confidence_json(const struct client_task *task, struct json_writer *json)
{
    json_object_open(json, "confidence");
    calibration_json(&task->watch.agreement, "agreement", json);
    calibration_json(&task->watch.truth, "truth", json);
    json_object_close(json);
}
