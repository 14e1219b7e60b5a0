/* upload_prior.c: estimates, not yet measured on any model or picture. Bits per pixel are corrected
 * by every picture that is made; the errors are not. */
#include "client/policy/upload.h"

const struct upload_prior upload_priors[UPLOAD_ROWS] = {
    {0, 90, 1.50, 0.002}, {0, 75, 0.90, 0.004}, {0, 50, 0.60, 0.006}, {4, 90, 2.20, 0.005},
    {4, 75, 1.40, 0.010}, {4, 50, 0.95, 0.015}, {2, 90, 2.60, 0.015}, {2, 75, 1.70, 0.025},
    {2, 50, 1.20, 0.040}, {1, 90, 3.20, 0.030}, {1, 75, 2.20, 0.060}, {1, 50, 1.60, 0.120},
};
