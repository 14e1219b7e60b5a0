/* upload_prior.c: the forms. Bits per pixel are estimates for a camera's pictures, which every
 * picture that is made corrects. Scales and qualities are those that are measured
 * (common/base/picture_effects.h), and 0. */
#include "client/policy/upload.h"

const struct upload_prior upload_priors[UPLOAD_ROWS] = {
    {0, 90, 1.50}, {0, 75, 0.90}, {0, 50, 0.60}, {4, 90, 2.20}, {4, 75, 1.40}, {4, 50, 0.95},
    {2, 90, 2.60}, {2, 75, 1.70}, {2, 50, 1.20}, {1, 90, 3.20}, {1, 75, 2.20}, {1, 50, 1.60},
};
