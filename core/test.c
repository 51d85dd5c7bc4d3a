#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "net/libcurl.h"
#include "script/tests.h"
#include "script/vm/coverage.h"
#include "test_nodes.h"

enum {
    SECONDS = 10,                     /* of real time, for one test */
    SETTLES_MS = 100,                 /* an editor writes several files */
};

/* ---- files ---- */

#define SUFFIX "_test.lua"

static bool is_test(const char *path)
{
    size_t n = strlen(path), m = sizeof(SUFFIX) - 1;
    return n > m && strcmp(path + n - m, SUFFIX) == 0;
}

/* What a file tests: -c, or X.lua for X_test.lua, or the lignum.lua in its folder; NULL: none. The caller frees it. */
static char *config_of(const struct test_plan *p, const char *file)
{
    char path[PATH_MAX];
    const char *slash = strrchr(file, '/');
    int folder = slash == NULL ? 0 : (int)(slash - file) + 1;
    if (p->cli.config != NULL)
        return mem_copy(p->cli.config, strlen(p->cli.config));
    if (is_test(file)) {
        snprintf(path, sizeof(path), "%.*s.lua", (int)(strlen(file) - (sizeof(SUFFIX) - 1)), file);
        if (access(path, R_OK) == 0)
            return mem_copy(path, strlen(path));
    }
    snprintf(path, sizeof(path), "%.*slignum.lua", folder, file);
    return access(path, R_OK) == 0 ? mem_copy(path, strlen(path)) : NULL;
}

/* ---- coverage ---- */

/* Later files of tests tell of what earlier ones have run, too. */
static void keep_covered(void *arg, const char *path, const char *text, const char *lcov)
{
    struct test_plan *p = arg;
    unsigned i = 0;
    while (i < p->covered_count && strcmp(p->covered[i].path, path) != 0)
        i++;
    if (i == p->covered_count) {
        p->covered = mem_resize(p->covered, ++p->covered_count * sizeof(p->covered[0]));
        p->covered[i] = (struct covered){.path = mem_copy(path, strlen(path))};
    }
    mem_free(p->covered[i].text);
    mem_free(p->covered[i].lcov);
    p->covered[i].text = mem_copy(text, strlen(text));
    p->covered[i].lcov = mem_copy(lcov, strlen(lcov));
}

/* For people, and in the form of LCOV to the file, if one is named. 0 or the exit code, after a sentence. */
static int print_covered(const struct test_plan *p, const char *path)
{
    FILE *out = path == NULL ? NULL : fopen(path, "we");
    for (unsigned i = 0; i < p->covered_count; i++) {
        fprintf(p->report.format == TEST_TEXT ? stdout : stderr, "%s\n", p->covered[i].text);
        if (out != NULL)
            fprintf(out, "%s", p->covered[i].lcov);
    }
    if (path == NULL || (out != NULL && fclose(out) == 0))
        return 0;
    fprintf(stderr, "lignum test: %s: %s\n", path, strerror(errno));
    return EXIT_IO;
}

/* ---- one file ---- */

/* Loads lignum.lua and a file of tests, and runs them. What goes wrong while loading is logged to stderr. */
static void run_file(struct test_plan *p, const char *file)
{
    struct cli cli = p->cli;
    struct server s = {.cli = &cli, .tests = file, .coverage = p->coverage};
    char *config = config_of(p, file);
    cli.config = config;
    if (server_load(&s, false) == 0) {
        test_nodes_run(p, file, &s);
        if (p->coverage != NULL)
            tests_coverage(s.vm, p->coverage, keep_covered, p);
    } else {
        buf_add_char(&s.refused, '\0');
        test_report_add(&p->report, &(struct test_result){
            .file = file, .name = "", .failed = true, .message = s.refused.data, .log = ""});
    }
    buf_fini(&s.refused);
    if (s.worlds != NULL)
        worlds_free(s.worlds);
    mem_free(config);
}

static void add_file(struct test_plan *p, const char *path)
{
    p->files = mem_resize(p->files, (p->count + 1) * sizeof(char *));
    p->files[p->count++] = mem_copy(path, strlen(path));
}

static int add_dir(struct test_plan *p, const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char file[PATH_MAX];
        snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        if (is_test(file))
            add_file(p, strcmp(path, ".") == 0 ? file + 2 : file);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return n < 0 ? -errno : 0;
}

static int add_path(struct test_plan *p, const char *path)
{
    struct stat st;
    unsigned before = p->count;
    int rc = stat(path, &st) < 0 ? -errno : 0;
    if (rc == 0 && !S_ISDIR(st.st_mode))
        add_file(p, path);
    else if (rc == 0)
        rc = add_dir(p, path);
    if (rc < 0)
        fprintf(stderr, "lignum test: %s: %s\n", path, strerror(-rc));
    else if (p->count == before)
        fprintf(stderr, "lignum test: %s: there is no *" SUFFIX " in it\n", path);
    return p->count == before ? -ENOENT : 0;
}

/* ---- the command ---- */

enum { ONLY = 256, JOBS, TIMEOUT, SCRIPTS, SET, COVERAGE, WATCH };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'}, {"only", required_argument, NULL, ONLY},
    {"jobs", required_argument, NULL, JOBS}, {"timeout", required_argument, NULL, TIMEOUT},
    {"scripts", required_argument, NULL, SCRIPTS}, {"set", required_argument, NULL, SET},
    {"coverage", optional_argument, NULL, COVERAGE}, {"watch", no_argument, NULL, WATCH}, {NULL, 0, NULL, 0},
};

static int take_number(const char *flag, const char *text, unsigned most, unsigned *out)
{
    uint64_t n;
    if (slice_u64(slice_from(text), &n) < 0 || n == 0 || n > most) {
        fprintf(stderr, "lignum test: %s: not a whole number from 1 to %u\n", flag, most);
        return -EINVAL;
    }
    *out = (unsigned)n;
    return 0;
}

static int take_option(struct test_plan *p, int option)
{
    struct cli *cli = &p->cli;
    switch (option) {
    case 'c':
        cli->config = optarg;
        return 0;
    case 'o':
        if (test_format_parse(optarg, &p->report.format) == 0)
            return 0;
        fprintf(stderr, "lignum test: -o: must be text, tap or junit, not %s\n", optarg);
        return -EINVAL;
    case 'v':
        p->report.verbose = true;
        return 0;
    case ONLY:
        p->only = optarg;
        return 0;
    case JOBS:
        return take_number("--jobs", optarg, TEST_JOBS_MAX, &p->jobs);
    case TIMEOUT:
        return take_number("--timeout", optarg, 24 * 3600, &p->seconds);
    case COVERAGE:
        p->covers = true;
        p->lcov = optarg;
        return 0;
    case WATCH:
        p->watches = true;
        return 0;
    case SCRIPTS:
        cli->scripts = optarg;
        return 0;
    case SET:
        if (strchr(optarg, '=') == NULL || cli->set_count == CLI_SET_MAX) {
            fprintf(stderr, "lignum test: --set: needs KEY.PATH=VALUE, at most %d times\n", CLI_SET_MAX);
            return -EINVAL;
        }
        cli->set[cli->set_count++] = optarg;
        return 0;
    default:
        fputs("lignum test --help lists all flags\n", stderr);
        return -EINVAL;
    }
}

static int take_words(struct test_plan *p, const struct cli *cli)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    p->jobs = processors < 1 ? 1 : processors > TEST_JOBS_MAX ? TEST_JOBS_MAX : (unsigned)processors;
    p->seconds = SECONDS;
    char *const *words = (char *const *)cli->words;          /* getopt moves the pointers, not what they point to */
    for (int option; (option = getopt_long(cli->word_count, words, "c:o:v", options, NULL)) != -1;)
        if (take_option(p, option) < 0)
            return -EINVAL;
    for (int i = optind; i < cli->word_count; i++)
        if (add_path(p, cli->words[i]) < 0)
            return -ENOENT;
    if (optind < cli->word_count)
        return 0;
    char folder[PATH_MAX] = ".";
    const char *slash = p->cli.config == NULL ? NULL : strrchr(p->cli.config, '/');
    if (slash != NULL)
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - p->cli.config), p->cli.config);
    return add_path(p, folder);
}

/* In memory, where there is such a file system. */
static bool make_folder(struct test_plan *p)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(p->folder, sizeof(p->folder), "%s", "/dev/shm/lignum-test-XXXXXX");
    if (mkdtemp(p->folder) != NULL)
        return true;
    snprintf(p->folder, sizeof(p->folder), "%s/lignum-test-XXXXXX", tmp == NULL || tmp[0] == '\0' ? "/tmp" : tmp);
    if (mkdtemp(p->folder) != NULL)
        return true;
    fprintf(stderr, "lignum test: cannot make %s: %s\n", p->folder, strerror(errno));
    return false;
}

static int run_all(struct test_plan *p)
{
    int64_t wall_ms;
    uint64_t began = clock_real_ns();
    clock_parse(SLICE(TEST_BEGINS), &wall_ms);
    clock_hold(wall_ms);
    mem_settle();
    libcurl_load();                   /* once for all; a test that makes a request says why it cannot be loaded */
    p->coverage = p->covers ? coverage_new() : NULL;
    for (unsigned i = 0; i < p->count; i++)
        run_file(p, p->files[i]);
    test_report_end(&p->report, clock_real_ns() - began);
    int code = p->report.not_loaded > 0 ? EXIT_USAGE : p->report.failed > 0 ? 1 : 0;
    int printed = print_covered(p, p->lcov);
    return printed != 0 ? printed : code;
}

static volatile sig_atomic_t runner;  /* the process that runs the tests */
static volatile sig_atomic_t ended;   /* the signal that has come meanwhile; or 0 */

static void on_signal(int signo)
{
    ended = signo;
    if (runner > 0)
        kill(runner, signo);
}

static void take_signals(void (*handler)(int signo))
{
    signal(SIGINT, handler);
    signal(SIGTERM, handler);
    signal(SIGHUP, handler);
}

/* Runs all tests in a process of its own, and removes what it leaves, however it ends. The exit code. */
static int run_apart(struct test_plan *p)
{
    int status = 0;
    if (!make_folder(p))
        return EXIT_UNAVAILABLE;
    take_signals(on_signal);
    fflush(stdout);
    runner = fork();
    if (runner == 0) {
        take_signals(SIG_DFL);
        exit(run_all(p));
    }
    if (runner < 0)
        fprintf(stderr, "lignum test: no process can be made: %s\n", strerror(errno));
    else
        while (waitpid(runner, &status, 0) < 0 && errno == EINTR)
            ;
    test_remove(p->folder);
    return runner < 0 ? EXIT_UNAVAILABLE : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- watching ---- */

static bool is_change(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".lua") == 0;
}

/* Until a .lua file in one of the folders has been written, and nothing more comes for a moment. */
static void wait_for_change(int fd)
{
    bool changed = false;
    char bytes[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    while (poll(&readable, 1, changed ? SETTLES_MS : -1) > 0) {
        ssize_t n = read(fd, bytes, sizeof(bytes));
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const void *)(bytes + at);
            changed = changed || (e->len > 0 && is_change(e->name));
            at += (ssize_t)(sizeof(*e) + e->len);
        }
    }
}

static void watch_folder_of(int fd, const char *file)
{
    char folder[PATH_MAX] = ".";
    const char *slash = strrchr(file, '/');
    if (slash != NULL)
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - file) + 1, file);
    inotify_add_watch(fd, folder, IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE);
}

static int watch(struct test_plan *p)
{
    int fd = inotify_init1(IN_CLOEXEC);
    for (unsigned i = 0; i < p->count; i++)
        watch_folder_of(fd, p->files[i]);
    if (p->cli.config != NULL)
        watch_folder_of(fd, p->cli.config);
    if (fd < 0) {
        fprintf(stderr, "lignum test: --watch: %s\n", strerror(errno));
        return EXIT_UNAVAILABLE;
    }
    int code;
    while ((code = run_apart(p)) < 128) {        /* beyond: a signal has ended it */
        take_signals(SIG_DFL);
        if (ended)
            return 128 + ended;
        wait_for_change(fd);
        puts("");
    }
    return code;
}

int test_run(const struct cli *cli)
{
    static struct test_plan p;
    if (take_words(&p, cli) < 0)
        return EXIT_USAGE;
    return p.watches ? watch(&p) : run_apart(&p);
}
