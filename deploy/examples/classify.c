/* classify.c: what is on a picture? */
#include <stdio.h>
#include <tandem.h>

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "deploy/models/samples/cat-0153.jpg";
    struct tandem *tandem;
    struct tandem_answer *answer = NULL;
    int error = tandem_open(NULL, &tandem);

    if (error == 0) {
        error = tandem_classify_file(tandem, "objects", path, 200, &answer); /* within 200 ms */
    }
    if (error == 0) {
        printf("%s (%.2f), answered by %s in %.1f ms\n", tandem_answer_label(answer, 0),
               tandem_answer_score(answer, 0), tandem_answer_outcome_route(answer),
               tandem_answer_elapsed_ms(answer));
    } else {
        fprintf(stderr, "classify: %s\n", tandem ? tandem_last_error(tandem) : "no memory");
    }
    tandem_answer_free(answer);
    tandem_close(tandem);
    return error == 0 ? 0 : 1;
}
