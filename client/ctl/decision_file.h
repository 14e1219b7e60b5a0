/* decision_file.h: finds what the client daemon's memory has forgotten in its decisions.jsonl. One
 * thread. */
#ifndef TANDEM_CTL_DECISION_FILE_H
#define TANDEM_CTL_DECISION_FILE_H

#include <cjson/cJSON.h>

/* The decision of this id (decimal) in `path` or in the file before it, `path`.1: its line without
 * the newline (free) and the object (cJSON_Delete), both owned. 0; TANDEM_ENOTFOUND; TANDEM_ENOMEM;
 * TANDEM_EIO with errno when `path` cannot be read. */
int decision_file_find(const char *path, const char *id, char **ret_line, cJSON **ret_object);

#endif
