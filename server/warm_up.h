/* warm_up.h: the first steps of a model, before anyone waits for them: they pay for cold memory and
 * give its speed, so that READY means as fast as ever and the first reply's load is measured. */
#ifndef TANDEM_SERVER_WARM_UP_H
#define TANDEM_SERVER_WARM_UP_H

#include "server/catalog.h"

/* Runs a few steps on the calling thread; the model is not in use yet. 0, or TANDEM_E* of a model
 * that does not run, with a line. */
int model_warm_up(struct served_model *model, char error[ENGINE_ERROR_BYTES]);

#endif
