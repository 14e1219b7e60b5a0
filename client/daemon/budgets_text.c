#include "client/daemon/budgets_text.h"

#include "common/base/error.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LINE "budgets 1"
#define LINE_BYTES 4096
#define AMOUNT_MAX 1e15

static const char *const words[BUDGETS] = {[BUDGET_BYTES] = "bytes", [BUDGET_JOULE] = "joule"};

int budgets_text_write(const struct budgets_kept *kept, struct buf *out)
{
    int result = buf_printf(out, FIRST_LINE "\nat %s %" PRId64 " %" PRId64 "\n",
                            kept->moment.boot[0] ? kept->moment.boot : "-", kept->moment.boot_ns,
                            kept->moment.unix_ns);

    for (size_t kind = 0; result == 0 && kind < BUDGETS; kind++) {
        result = buf_printf(out, "%s %.17g", words[kind], kept->ahead[kind]);
        for (int age = 0; result == 0 && age < BUDGET_MINUTES; age++) {
            if (kept->spent[kind][age] > 0) {
                result = buf_printf(out, " %.17g:%d", kept->spent[kind][age], age);
            }
        }
        result = result == 0 ? buf_append_text(out, "\n") : result;
    }
    return result;
}

static bool amount_read(const char **at, double *ret_amount)
{
    char *end;
    const double amount = strtod(*at, &end);

    if (end == *at || !isfinite(amount) || amount < 0 || amount > AMOUNT_MAX) {
        return false;
    }
    *at = end;
    *ret_amount = amount;
    return true;
}

static bool account_read(const char *line, const char *word, double *ret_ahead,
                         double ret_spent[BUDGET_MINUTES])
{
    const size_t word_bytes = strlen(word);
    const char *at = line + word_bytes + 1;
    double amount;
    long age;
    char *end;

    if (strncmp(line, word, word_bytes) != 0 || line[word_bytes] != ' ' ||
        !amount_read(&at, ret_ahead)) {
        return false;
    }
    while (*at == ' ') {
        at++;
        if (!amount_read(&at, &amount) || *at != ':') {
            return false;
        }
        age = strtol(at + 1, &end, 10);
        if (end == at + 1 || age < 0 || age >= BUDGET_MINUTES) {
            return false;
        }
        ret_spent[age] += amount;
        at = end;
    }
    return *at == '\0';
}

static bool moment_read(const char *line, struct budget_moment *ret_moment)
{
    char boot[sizeof(ret_moment->boot)], more;

    if (sscanf(line, "at %36s %" SCNd64 " %" SCNd64 "%c", boot, &ret_moment->boot_ns,
               &ret_moment->unix_ns, &more) != 3) {
        return false;
    }
    snprintf(ret_moment->boot, sizeof(ret_moment->boot), "%s", strcmp(boot, "-") ? boot : "");
    return true;
}

/* The next line without its newline, and `*at` behind it. */
static bool line_take(const char **at, const char *end, char line[LINE_BYTES])
{
    const char *newline = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;
    const size_t bytes = newline ? (size_t)(newline - *at) : 0;

    if (!newline || bytes >= LINE_BYTES || memchr(*at, '\0', bytes)) {
        return false;
    }
    memcpy(line, *at, bytes);
    line[bytes] = '\0';
    *at = newline + 1;
    return true;
}

int budgets_text_read(const char *text, size_t bytes, struct budgets_kept *ret_kept)
{
    const char *at = text, *const end = text + bytes;
    struct budgets_kept kept = {0};
    char line[LINE_BYTES];
    bool fine = line_take(&at, end, line) && strcmp(line, FIRST_LINE) == 0 &&
                line_take(&at, end, line) && moment_read(line, &kept.moment);

    for (size_t kind = 0; fine && kind < BUDGETS; kind++) {
        fine = line_take(&at, end, line) &&
               account_read(line, words[kind], &kept.ahead[kind], kept.spent[kind]);
    }
    if (!fine || at != end) {
        return TANDEM_EFORMAT;
    }
    *ret_kept = kept;
    return 0;
}
