/* stream.h: what the request stream of the network tests is made of. One thread; a program that
 * asks as a robot's would, through libtandem, and writes down what became of each request. */
#ifndef TANDEM_TESTS_STREAM_H
#define TANDEM_TESTS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define STREAM_RECORDS 65536
#define STREAM_PHASES  512
#define STREAM_INPUTS  64
#define STREAM_NAME    72

/* ---- stream_inputs.c: the shipped samples ---- */

struct stream_inputs {
    struct {
        uint8_t *pixels; /* [side, side, 3] */
        char label[32];
    } pictures[STREAM_INPUTS];
    struct {
        char text[256], actions[1024];
    } commands[STREAM_INPUTS];
    size_t picture_count, command_count;
    uint32_t side;
};
/* Reads labels.csv, its pictures, made side x side by repeating pixels (what a camera would send,
 * at least in bytes), and commands.txt. False with a line. */
bool stream_inputs_read(struct stream_inputs *inputs, const char *folder, uint32_t side);
void stream_inputs_free(struct stream_inputs *inputs);

/* ---- stream_records.c: what became of the requests ---- */

struct stream_record {
    uint64_t id;    /* of the decision; 0: none was told */
    unsigned phase; /* in which it was asked */
    unsigned app, ends;
    bool picture, right, met, hedged;
    int error;
    int64_t start_ns, end_ns;
    char outcome[STREAM_NAME]; /* who answered */
    /* of the decision: */
    char route[STREAM_NAME], reason[256];
    double bytes_up;
};
/* A part of the run, from `start_ns` to the start of the next. */
struct stream_phase {
    char name[STREAM_NAME];
    int64_t start_ns;
    uint64_t wire_bytes; /* that the robot had sent when it began, on all interfaces but lo */
    /* When it ended, by the client's status; NAN: not known. */
    double estimate_mbit[2], estimate_rtt_ms[2];
    char state[2][16];
};
struct stream_records {
    struct stream_record *items;
    size_t count;
    struct stream_phase phases[STREAM_PHASES];
    unsigned phase_count;
    uint64_t refused; /* not accepted by tandem_submit */
};
/* One line of the status socket's `follow`. */
void stream_decision_take(struct stream_records *records, const char *line);
/* What the status says of the edges goes to the phase that ends now. */
void stream_status_take(struct stream_phase *phase, const char *line);
void stream_csv_write(const struct stream_records *records, FILE *file);
/* A line for each phase, `phase=NAME key=value ...`. */
void stream_summary_print(const struct stream_records *records, int64_t end_ns,
                          uint64_t wire_bytes);

#endif
