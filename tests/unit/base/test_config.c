#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/base/config.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct edge {
    char *name;
    char *url;
    int64_t port;
};

struct target {
    char *listen;
    bool loud;
    int64_t count;
    int64_t cache_bytes;
    double share;
    int mode;
    char *words;
    char *cert;
    struct edge *edges;
    size_t edge_count;
};

static const char *const modes[] = {"slow", "fast", NULL};

#define AT(member) offsetof(struct target, member)
static const struct config_key keys[] = {
    {"server", "listen", CONFIG_TEXT, AT(listen), NULL, 0, 0, "", "Where to listen.", NULL},
    {"server", "loud", CONFIG_BOOL, AT(loud), "no", 0, 0, "", "Say more.", NULL},
    {"server", "count", CONFIG_INT, AT(count), "5", 1, 10, "items", "How many.", NULL},
    {"server", "cache_bytes", CONFIG_BYTES, AT(cache_bytes), "64M", 0, 1099511627776.0, "bytes",
     "Cache.", NULL},
    {"server", "share", CONFIG_DOUBLE, AT(share), "0.25", 0, 1, "", "A share.", NULL},
    {"server", "mode", CONFIG_CHOICE, AT(mode), "fast", 0, 0, "", "How.", modes},
    {"server", "words", CONFIG_LIST, AT(words), "", 0, 0, "", "Some words.", NULL},
    {"tls", "cert", CONFIG_TEXT, AT(cert), "", 0, 0, "", "Certificate.", NULL},
    {"edge", "url", CONFIG_TEXT, offsetof(struct edge, url), NULL, 0, 0, "", "Address.", NULL},
    {"edge", "port", CONFIG_INT, offsetof(struct edge, port), "7000", 1, 65535, "", "Port.", NULL},
};
static const struct config_repeated repeated[] = {
    {"edge", sizeof(struct edge), AT(edges), AT(edge_count), 3},
};
static const struct config_schema schema = {"test configuration", keys,
                                            sizeof(keys) / sizeof(keys[0]), repeated, 1};

static int parse(const char *text, struct target *target, char error[CONFIG_ERROR_BYTES])
{
    memset(target, 0, sizeof(*target));
    return config_parse(&schema, "f.conf", text, target, error);
}

/* Every wrong text below gives exactly this line. */
static void assert_error(const char *text, const char *expected)
{
    struct target target;
    char error[CONFIG_ERROR_BYTES];

    assert_int_equal(parse(text, &target, error), TANDEM_ECONFIG);
    assert_string_equal(error, expected);
    config_free(&schema, &target);
    assert_null(target.listen);
    assert_null(target.edges);
}

static void test_defaults_and_values(void **state)
{
    struct target target;
    char error[CONFIG_ERROR_BYTES];

    (void)state;
    assert_int_equal(
        parse("\xef\xbb\xbf# comment\n; another\n\n[server]\n listen = tcp://*:1 ; why\n"
              "loud = YES\ncache_bytes=2K\r\nmode : slow\nwords = a, b,c # d\n",
              &target, error),
        0);
    assert_string_equal(error, "");
    assert_string_equal(target.listen, "tcp://*:1");
    assert_true(target.loud);
    assert_int_equal(target.count, 5);
    assert_int_equal(target.cache_bytes, 2048);
    assert_true(fabs(target.share - 0.25) < 1e-12);
    assert_int_equal(target.mode, 0);
    assert_string_equal(target.words, "a, b,c # d");
    assert_string_equal(target.cert, "");
    assert_int_equal(target.edge_count, 0);
    config_free(&schema, &target);
    assert_int_equal(target.cache_bytes, 0);
}

static void test_repeated_sections(void **state)
{
    struct target target;
    char error[CONFIG_ERROR_BYTES];
    char text[512];
    char name[LIMIT_NAME_BYTES + 1];

    (void)state;
    memset(name, 'n', LIMIT_NAME_BYTES); /* longer than inih keeps of a section */
    name[LIMIT_NAME_BYTES] = '\0';
    snprintf(
        text, sizeof(text),
        "[edge a]\nurl=u1\n[server]\nlisten=x\n[edge %s]\nport=1\nurl=u2\n[ edge  c ]\nurl=u3\n",
        name);
    assert_int_equal(parse(text, &target, error), 0);
    assert_int_equal(target.edge_count, 3);
    assert_string_equal(target.edges[0].name, "a");
    assert_string_equal(target.edges[0].url, "u1");
    assert_int_equal(target.edges[0].port, 7000);
    assert_string_equal(target.edges[1].name, name);
    assert_int_equal(target.edges[1].port, 1);
    assert_string_equal(target.edges[2].name, "c");
    config_free(&schema, &target);
}

static void test_errors_name_file_line_and_key(void **state)
{
    (void)state;
    assert_error("[server]\nlisten=x\n\nlisen=y\n", "f.conf:4: [server] lisen: unknown key");
    assert_error("[server]\nlisten=;x\n",
                 "f.conf:2: [server] listen: begins with ';', which begins a comment");
    assert_error("[server]\nlisten=x\nlisten=y\n",
                 "f.conf:3: [server] listen: stands twice in this section");
    assert_error("[server]\nlisten=x\n[server]\nlisten=y\n",
                 "f.conf:4: [server] listen: stands twice in this section");
    assert_error("[servr]\n", "f.conf:1: [servr] unknown section");
    assert_error("[server x]\n", "f.conf:1: [server x] unknown section");
    assert_error("listen = x\n", "f.conf:1: listen: stands before any [section]");
    assert_error("[server]\nlisten\n", "f.conf:2: not 'key = value', '[section]' or a comment");
    assert_error("[server\nlisten=x\n", "f.conf:1: not 'key = value', '[section]' or a comment");
    assert_error("[server] x\n",
                 "f.conf:1: a section is written [name] and stands alone on its line");
    assert_error("[]\n", "f.conf:1: a section is written [name] and stands alone on its line");
    assert_error("", "f.conf: [server] listen: required, but missing");
    assert_error("[server]\nlisten =\n",
                 "f.conf:2: [server] listen: required, so it must not be empty");
    assert_error("[server]\nlisten = x\n[edge]\n", "f.conf:3: [edge] needs a name: [edge NAME]");
    assert_error("[edge a/b]\n",
                 "f.conf:1: [edge a/b] a name is 1 to 63 characters of A-Z a-z 0-9 . _ -, not "
                 "beginning with a dot");
    assert_error("[edge a]\nurl=x\n[edge a]\n", "f.conf:3: [edge a] this section stands twice");
    assert_error("[edge a]\nport=1\n[server]\nlisten=x\n",
                 "f.conf:1: [edge a] url: required, but missing");
    assert_error("[server]\nlisten=x\n[edge a]\n", "f.conf:3: [edge a] url: required, but missing");
    assert_error("[edge a]\nurl=x\n[edge b]\nurl=x\n[edge c]\nurl=x\n[edge d]\n",
                 "f.conf:7: [edge d] more than 3 [edge NAME] sections");
}

static void test_bad_values(void **state)
{
    (void)state;
    assert_error("[server]\ncount = ten\n",
                 "f.conf:2: [server] count: 'ten' is not a whole number");
    assert_error("[server]\ncount = 1K\n", "f.conf:2: [server] count: '1K' is not a whole number");
    assert_error("[server]\ncount = 11\n",
                 "f.conf:2: [server] count: must be between 1 and 10 items");
    assert_error("[server]\ncount = 0\n",
                 "f.conf:2: [server] count: must be between 1 and 10 items");
    assert_error("[server]\ncount = 99999999999999999999\n",
                 "f.conf:2: [server] count: '99999999999999999999' is too large a number");
    assert_error("[server]\ncache_bytes = 9999999999999G\n",
                 "f.conf:2: [server] cache_bytes: '9999999999999G' is too large a number");
    assert_error(
        "[server]\ncache_bytes = 12MB\n",
        "f.conf:2: [server] cache_bytes: '12MB' is not a whole number (K, M or G may follow)");
    assert_error("[server]\ncache_bytes = -1\n",
                 "f.conf:2: [server] cache_bytes: a size cannot be negative");
    assert_error("[server]\ncache_bytes = 2048G\n",
                 "f.conf:2: [server] cache_bytes: must be between 0 and 1024G bytes");
    assert_error("[server]\nshare = 1.5\n", "f.conf:2: [server] share: must be between 0 and 1");
    assert_error("[server]\nshare = nan\n", "f.conf:2: [server] share: 'nan' is not a number");
    assert_error("[server]\nshare =\n", "f.conf:2: [server] share: '' is not a number");
    assert_error("[server]\nloud = perhaps\n",
                 "f.conf:2: [server] loud: 'perhaps' is neither yes nor no");
    assert_error("[server]\nmode = quick\n",
                 "f.conf:2: [server] mode: 'quick' is not one of slow, fast");
}

static void test_long_lines_and_values(void **state)
{
    struct target target;
    char error[CONFIG_ERROR_BYTES];
    const size_t most = LIMIT_CONFIG_VALUE_BYTES;
    char *text = malloc(most + 1024);

    (void)state;
    assert_non_null(text);
    strcpy(text, "[server]\nlisten = ");
    memset(text + 18, 'x', most);
    text[18 + most] = '\0';
    assert_int_equal(parse(text, &target, error), 0);
    assert_int_equal(strlen(target.listen), most);
    config_free(&schema, &target);

    text[18 + most] = 'x';
    text[18 + most + 1] = '\0';
    assert_error(text, "f.conf:2: [server] listen: the value is longer than 4096 bytes");
    memset(text + 18, 'x', most + 500);
    text[18 + most + 500] = '\0';
    assert_error(text, "f.conf:2: [server] the line is longer than 4350 bytes");
    free(text);
}

static void file_write(const char *path, const char *data, size_t bytes)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void test_files(void **state)
{
    struct target target = {0};
    char error[CONFIG_ERROR_BYTES];
    char path[64];
    char expected[128];
    char *big = malloc(LIMIT_CONFIG_FILE_BYTES + 1);

    (void)state;
    assert_non_null(big);
    snprintf(path, sizeof(path), "/tmp/tandem-config-%d.conf", (int)getpid());
    file_write(path, "[server]\nlisten=x\n", 18);
    assert_int_equal(config_load(&schema, path, &target, error), 0);
    assert_string_equal(target.listen, "x");
    config_free(&schema, &target);

    memset(big, '\n', LIMIT_CONFIG_FILE_BYTES + 1);
    memcpy(big, "[server]\nlisten=x\n", 18);
    file_write(path, big, LIMIT_CONFIG_FILE_BYTES);
    assert_int_equal(config_load(&schema, path, &target, error), 0);
    config_free(&schema, &target);
    file_write(path, big, LIMIT_CONFIG_FILE_BYTES + 1);
    assert_int_equal(config_load(&schema, path, &target, error), TANDEM_ECONFIG);
    snprintf(expected, sizeof(expected), "%s: larger than 1048576 bytes", path);
    assert_string_equal(error, expected);

    file_write(path, "[server]\nlisten=\0\n", 18);
    assert_int_equal(config_load(&schema, path, &target, error), TANDEM_ECONFIG);
    unlink(path);
    assert_int_equal(config_load(&schema, path, &target, error), TANDEM_EIO);
    snprintf(expected, sizeof(expected), "%s: cannot be opened: No such file or directory", path);
    assert_string_equal(error, expected);
    assert_int_equal(config_load(&schema, "/tmp", &target, error), TANDEM_EIO);
    free(big);
}

static void test_print_reads_back(void **state)
{
    struct target target;
    char error[CONFIG_ERROR_BYTES];
    struct buf first = {0};
    struct buf second = {0};

    (void)state;
    assert_int_equal(parse("[server]\nlisten = x y\nshare=0.1\ncache_bytes=1536\n[edge "
                           "a]\nurl=u\n[edge b]\nurl=v\n",
                           &target, error),
                     0);
    assert_int_equal(config_print(&schema, &target, &first), 0);
    buf_append_u8(&first, 0);
    config_free(&schema, &target);
    assert_string_equal((const char *)first.data,
                        "[server]\nlisten = x y\nloud = no\ncount = 5\ncache_bytes = 1536\nshare = "
                        "0.1\nmode = fast\n"
                        "words = \n\n[tls]\ncert = \n\n[edge a]\nurl = u\nport = 7000\n\n[edge "
                        "b]\nurl = v\nport = 7000\n");
    assert_int_equal(parse((const char *)first.data, &target, error), 0);
    assert_int_equal(config_print(&schema, &target, &second), 0);
    assert_memory_equal(first.data, second.data, second.bytes);
    config_free(&schema, &target);
    buf_fini(&first);
    buf_fini(&second);
}

static void test_print_into_a_full_buffer(void **state)
{
    struct target target;
    char error[CONFIG_ERROR_BYTES];
    struct buf out;

    (void)state;
    assert_int_equal(parse("[server]\nlisten = x\n", &target, error), 0);
    buf_init(&out, 40);
    assert_int_equal(config_print(&schema, &target, &out), TANDEM_ETOOBIG);
    buf_fini(&out);
    config_free(&schema, &target);
}

static void test_annotated_example(void **state)
{
    struct target target;
    char error[CONFIG_ERROR_BYTES];
    struct buf out = {0};
    char *listen;

    (void)state;
    assert_int_equal(config_annotate(&schema, &out), 0);
    buf_append_u8(&out, 0);
    assert_non_null(
        strstr((char *)out.data, "# How many.\n#   1 to 10 items; default: 5\n#count = 5\n"));
    assert_non_null(strstr((char *)out.data, "#   slow | fast; default: fast\n#mode = fast\n"));
    assert_non_null(strstr((char *)out.data, "#   required\nlisten =\n"));
    assert_non_null(
        strstr((char *)out.data, "at most 3, each with a name of its own.\n#[edge NAME]\n"));
    assert_int_equal(parse((char *)out.data, &target, error), TANDEM_ECONFIG);
    assert_non_null(strstr(error, "[server] listen: required, so it must not be empty"));
    config_free(&schema, &target);
    listen = strstr((char *)out.data, "\nlisten =");
    listen[9] = 'x'; /* "listen =x", over the newline */
    assert_int_equal(parse((char *)out.data, &target, error), 0);
    assert_int_equal(target.count, 5);
    config_free(&schema, &target);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_and_values),
        cmocka_unit_test(test_repeated_sections),
        cmocka_unit_test(test_errors_name_file_line_and_key),
        cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_long_lines_and_values),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_print_reads_back),
        cmocka_unit_test(test_print_into_a_full_buffer),
        cmocka_unit_test(test_annotated_example),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
