/* relay.h: stands between a client and its edge on local sockets or loopback, passes on what comes,
 * and knows when how much came from the client. One thread of its own; every function may be called
 * from another. */
#ifndef TANDEM_TESTS_RELAY_H
#define TANDEM_TESTS_RELAY_H

#include <stdint.h>

struct relay;

/* Listens at `dir`/`name` and connects to `dir`/`to` for each who comes. *returns owned*; a relay
 * that cannot be made fails the test. */
struct relay *relay_new(const char *dir, const char *name, const char *to);
/* The same at a free port of 127.0.0.1, whose number is in *ret_port, for port `to` there. */
struct relay *relay_new_tcp(uint16_t to, uint16_t *ret_port);
/* Reads nothing of the connections that are there from the first time to the second; ends all of
 * them at the third. */
void relay_plan(struct relay *relay, int64_t pause_ns, int64_t goes_on_ns, int64_t cut_ns);
uint64_t relay_bytes(struct relay *relay);      /* from the client, */
uint64_t relay_bytes_down(struct relay *relay); /* and to it */
/* The most that came from the client within any span of one second. */
uint64_t relay_fullest_second(struct relay *relay);
unsigned relay_connections(struct relay *relay); /* that there were */
void relay_free(struct relay *relay);

#endif
