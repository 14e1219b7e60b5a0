/* classify.c: asks what is on a picture.
 *   cc classify.c $(pkg-config --cflags --libs tandem) -o classify && ./classify objects cup.jpg */
#include <stdio.h>
#include <tandem.h>

int main(int argc, char **argv)
{
    struct tandem *tandem;
    struct tandem_answer *answer;
    int error;

    if (argc != 3) {
        fprintf(stderr, "usage: classify TASK PICTURE\n");
        return 2;
    }
    error = tandem_open(NULL, &tandem);
    if (error == 0) {
        error =
            tandem_classify_file(tandem, argv[1], argv[2], 200, &answer); /* needed within 200 ms */
    }
    if (error == 0) {
        printf("%s (%.2f), answered by %s in %.1f ms\n", tandem_answer_label(answer, 0),
               tandem_answer_score(answer, 0), tandem_answer_outcome_route(answer),
               tandem_answer_elapsed_ms(answer));
        tandem_answer_free(answer);
    } else {
        fprintf(stderr, "%s: %s\n", argv[2],
                tandem ? tandem_last_error(tandem) : tandem_strerror(error));
    }
    tandem_close(tandem);
    return error == 0 ? 0 : 1;
}
