/* learned_file.h: state_dir/learned: what was learned, kept over a restart. Written when something
 * was learned, at most every LEARNED_SAVE_MS (every LEARNED_TOLD_MS where somebody waits for it),
 * and at the stop; the disk is waited for on a thread of libuv's pool. Loop thread. */
#ifndef TANDEM_CLIENT_LEARNED_FILE_H
#define TANDEM_CLIENT_LEARNED_FILE_H

#include "client/daemon/requests.h"

#define LEARNED_FILE_NAME "learned"
#define LEARNED_SAVE_MS   5000
#define LEARNED_TOLD_MS   200 /* between two writes that are waited for */

struct learned_file;

/* Finds what was kept under `state_dir` ("": nothing is kept) and puts it into force; call when
 * `requests` has its tasks and links. One that is damaged or of another version is set aside with a
 * warning. *returns owned*, to be closed before the loop is; NULL: no memory. */
struct learned_file *learned_file_open(struct requests *requests, const char *state_dir);
/* Who waits until what was learned is on disk. */
struct learned_waiter {
    void (*on_taken)(void *user); /* what was learned until now is in the next on_kept */
    /* What on_taken was of is on disk, 0, or is not, TANDEM_E*; then it is tried again. */
    void (*on_kept)(int result, void *user);
    void *user;
};
void learned_file_set_waiter(struct learned_file *file, const struct learned_waiter *waiter);
/* Somebody waits: a write begins within LEARNED_TOLD_MS of the end of the one before. Never calls
 * the waiter at once. Without a state_dir it hears that all is well. */
void learned_file_hurry(struct learned_file *file);
/* Writes now, and waits for the disk. */
void learned_file_save(struct learned_file *file);
/* Writes for the last time, while `requests` still has its tasks and links. NULL is fine. */
void learned_file_close(struct learned_file *file);
/* When the loop has run out its handles; NULL is fine. */
void learned_file_free(struct learned_file *file);

#endif
