/* picture.h: large pictures for the integration tests, made of the small samples. Include cmocka.h
 * before. */
#ifndef TANDEM_TESTS_PICTURE_H
#define TANDEM_TESTS_PICTURE_H

#include <stddef.h>

/* Writes to `path` what a camera with `times` as many pixels each way might have seen of the middle
 * 24 rows of the 32x32 JPEG `sample`: with grain, or there would be nothing to send. Returns its
 * bytes. */
size_t picture_enlarge(const char *sample, unsigned times, const char *path);

#endif
