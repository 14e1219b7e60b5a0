#include "client/ctl/when.h"

#include "common/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S          86400
#define UNIX_DIGITS    9  /* fewer are no moment that anybody asks for */
#define DIGITS_MAX     12 /* of any number: nothing overflows */
#define DURATION_MAX_S (INT64_C(100) * 366 * DAY_S)

/* A decimal number of min to max digits at `*at`, which goes behind it. */
static bool digits_take(const char **at, size_t min, size_t max, int64_t *ret_number)
{
    const size_t count = strspn(*at, "0123456789");

    if (count < min || count > max) {
        return false;
    }
    *ret_number = strtoll(*at, NULL, 10);
    *at += count;
    return true;
}

static bool char_take(const char **at, char wanted)
{
    if (**at != wanted) {
        return false;
    }
    ++*at;
    return true;
}

/* "1h30m" */
static bool duration_take(const char *text, int64_t *ret_s)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', DAY_S}, {'w', 7 * DAY_S}};
    int64_t sum = 0;

    do {
        int64_t number, seconds = 0;

        if (!digits_take(&text, 1, DIGITS_MAX, &number)) {
            return false;
        }
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
            seconds = *text == units[i].unit ? units[i].seconds : seconds;
        }
        if (seconds == 0 || number > DURATION_MAX_S / seconds) {
            return false;
        }
        sum += number * seconds;
        text++;
    } while (*text != '\0');
    *ret_s = sum;
    return sum <= DURATION_MAX_S;
}

/* "HH:MM" or "HH:MM:SS" and nothing after it */
static bool clock_take(const char *text, struct tm *parts)
{
    int64_t hour, minute, second = 0;

    if (!digits_take(&text, 1, 2, &hour) || !char_take(&text, ':') ||
        !digits_take(&text, 2, 2, &minute)) {
        return false;
    }
    if (char_take(&text, ':') && !digits_take(&text, 2, 2, &second)) {
        return false;
    }
    parts->tm_hour = (int)hour;
    parts->tm_min = (int)minute;
    parts->tm_sec = (int)second;
    return *text == '\0' && hour < 24 && minute < 60 && second < 60;
}

/* "2026-11-24", alone or with a blank or a T and a time of the day */
static bool date_take(const char *text, struct tm *parts)
{
    int64_t year, month, day;

    if (!digits_take(&text, 4, 4, &year) || !char_take(&text, '-') ||
        !digits_take(&text, 2, 2, &month) || !char_take(&text, '-') ||
        !digits_take(&text, 2, 2, &day) || month < 1 || month > 12 || day < 1 || day > 31) {
        return false;
    }
    *parts =
        (struct tm){.tm_year = (int)year - 1900, .tm_mon = (int)month - 1, .tm_mday = (int)day};
    return *text == '\0' ||
           ((char_take(&text, ' ') || char_take(&text, 'T')) && clock_take(text, parts));
}

/* Local time; the days that a month has not are refused. */
static int local_moment(struct tm *parts, int64_t *ret_unix_s)
{
    const int day = parts->tm_mday, month = parts->tm_mon;
    struct tm made = *parts;
    time_t moment;

    made.tm_isdst = -1;
    moment = mktime(&made);
    if (moment == (time_t)-1 || (day >= 29 && made.tm_mon != month)) {
        return TANDEM_EINVAL;
    }
    *ret_unix_s = moment;
    return 0;
}

/* So many days before today, at midnight or at the time of the day that follows the word. */
static int day_moment(const char *rest, struct tm parts, int days, int64_t *ret_unix_s)
{
    parts.tm_hour = parts.tm_min = parts.tm_sec = 0;
    if (*rest != '\0' && (!char_take(&rest, ' ') || !clock_take(rest, &parts))) {
        return TANDEM_EINVAL;
    }
    parts.tm_mday -= days;
    parts.tm_isdst = -1;
    *ret_unix_s = mktime(&parts);
    return 0;
}

int when_parse(const char *text, time_t now, int64_t *ret_unix_s)
{
    const char *digits = text + (text[0] == '@');
    struct tm today, parts;
    int64_t number;

    if (!localtime_r(&now, &today)) {
        return TANDEM_EINVAL;
    }
    if (strcmp(text, "now") == 0) {
        *ret_unix_s = now;
        return 0;
    }
    if (strncmp(text, "today", 5) == 0) {
        return day_moment(text + 5, today, 0, ret_unix_s);
    }
    if (strncmp(text, "yesterday", 9) == 0) {
        return day_moment(text + 9, today, 1, ret_unix_s);
    }
    if (duration_take(text, &number)) {
        *ret_unix_s = now - number;
        return 0;
    }
    if (digits_take(&digits, text[0] == '@' ? 1 : UNIX_DIGITS, DIGITS_MAX, &number) &&
        *digits == '\0') {
        *ret_unix_s = number;
        return 0;
    }
    if (date_take(text, &parts)) {
        return local_moment(&parts, ret_unix_s);
    }
    parts = today;
    if (!clock_take(text, &parts)) {
        return TANDEM_EINVAL;
    }
    parts.tm_isdst = -1;
    *ret_unix_s = mktime(&parts);
    if (*ret_unix_s > now) { /* not yet today */
        parts.tm_mday -= 1;
        parts.tm_isdst = -1;
        *ret_unix_s = mktime(&parts);
    }
    return 0;
}
