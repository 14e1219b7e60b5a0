#include "common/model/progress.h"

#include "common/base/clock.h"

#include <unistd.h>

static void on_progress(uint64_t done, uint64_t total, void *user)
{
    struct progress *progress = user;
    const int64_t now_ns = clock_now_ns();

    if (now_ns >= progress->next_ns || done == total) {
        fprintf(progress->notes, "\r%5.1f %% of %.*f %s%s",
                total ? 100.0 * (double)done / (double)total : 100.0, progress->scale > 1 ? 1 : 0,
                (double)total / progress->scale, progress->unit, done == total ? "\n" : "");
        fflush(progress->notes);
        progress->next_ns = now_ns + NS_PER_S / 5;
    }
}

progress_fn progress_begin(struct progress *progress, FILE *notes, const char *unit, double scale)
{
    const int handle = fileno(notes);

    *progress = (struct progress){.notes = notes, .unit = unit, .scale = scale};
    return handle >= 0 && isatty(handle) ? on_progress : NULL;
}
