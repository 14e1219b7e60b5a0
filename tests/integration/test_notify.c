/* test_notify.c: what the client tells the service manager: READY when it answers, the watchdog fed
 * while it runs, RELOADING and READY again, STOPPING. The manager is a socket of this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_S 60

static struct site site;
static int manager = -1;

/* Waits until one message begins with `word`; those before it are let go. False: none came. */
static bool hears(const char *word)
{
    char text[512];
    ssize_t got;

    while ((got = recv(manager, text, sizeof(text) - 1, 0)) > 0) {
        text[got] = '\0';
        if (strncmp(text, word, strlen(word)) == 0) {
            return true;
        }
    }
    return false;
}

static int setup(void **state)
{
    static const struct site_config config = {.client = ""};
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void)state;
    site_init(&site, &config);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/notify", site.dir);
    if (bind(manager, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        setsockopt(manager, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0) {
        return -1;
    }
    (void)setenv("NOTIFY_SOCKET", address.sun_path, 1);
    (void)setenv("WATCHDOG_USEC", "200000", 1);
    (void)unsetenv("WATCHDOG_PID");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)close(manager);
    site_fini(&site);
    return 0;
}

static void test_life_is_told(void **state)
{
    (void)state;
    site_client_start(&site);
    assert_true(hears("READY=1"));
    assert_true(hears("WATCHDOG=1"));
    assert_true(hears("WATCHDOG=1"));
    assert_int_equal(kill(site.client, SIGHUP), 0);
    assert_true(hears("RELOADING=1"));
    assert_true(hears("READY=1"));
    assert_true(hears("WATCHDOG=1"));
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    assert_true(hears("STOPPING=1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_life_is_told)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
