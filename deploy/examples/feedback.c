/* feedback.c: what is on a picture, and was that right? The program that finds out (a person, a
 * scale, the gripper that did not close) says so, and the next decisions are better for it.
 *
 *   cc feedback.c $(pkg-config --cflags --libs tandem) -o feedback && ./feedback x.jpg cat */
#include <stdio.h>
#include <string.h>
#include <tandem.h>

int main(int argc, char **argv)
{
    struct tandem *tandem;
    struct tandem_answer *answer = NULL;
    int error, correct = 0;

    if (argc != 3) {
        fprintf(stderr, "usage: feedback PICTURE LABEL-IT-HAS\n");
        return 2;
    }
    error = tandem_open(NULL, &tandem);
    if (error == 0) {
        error = tandem_classify_file(tandem, "objects", argv[1], 200, &answer);
    }
    if (error == 0) {
        correct = strcmp(tandem_answer_label(answer, 0), argv[2]) == 0;
        /* The id may be kept and the word said later, by any program of this user, while the daemon
         * runs and remembers the request (the last 8192). 0: it is learned, and on disk. */
        error = tandem_feedback(tandem, tandem_answer_id(answer), correct);
    }
    if (error == 0) {
        printf("%s, by %s: %s\n", tandem_answer_label(answer, 0),
               tandem_answer_outcome_route(answer), correct ? "right" : "wrong");
    } else {
        fprintf(stderr, "feedback: %s\n", tandem ? tandem_last_error(tandem) : "no memory");
    }
    tandem_answer_free(answer);
    tandem_close(tandem);
    return error == 0 ? 0 : 1;
}
