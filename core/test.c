#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "command/test_report.h"
#include "net/libcurl.h"
#include "script/tests.h"
#include "server.h"

enum {
    JOBS_MAX = 64,
    SECONDS = 10,                     /* of real time, for one test */
    GRACE_S = 3,                      /* for its process to say that itself */
    LOG_SHOWN = 4096,                 /* bytes */
};

struct plan {
    struct cli cli;                   /* of the nodes: config, scripts, set */
    const char *only;
    unsigned jobs, seconds;
    struct test_report report;
    char folder[PATH_MAX];            /* has the data directories */
    unsigned made;                    /* how many of them there were */
    char **files;
    unsigned count;
};

/* ---- the process of one test ---- */

/*
 * States:
 *     running                        its task goes on
 *     late       late                it has used up its real time, and was cancelled
 *     over                           on_done has told the result, and ended the loop
 */
struct child {
    struct server *server;
    struct test_call call;
    struct task_ticket task;
    const struct plan *plan;
    uint64_t began_ns, until_ns;      /* of the held clock; of the real one */
    bool late;
    int fd;                           /* where the result goes */
};

static void put(int fd, const void *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno != EINTR)
            return;
        p = (const char *)p + (done > 0 ? done : 0);
        n -= (size_t)(done > 0 ? done : 0);
    }
}

/* The result is 'P' or 'F', and the text. */
static void tell(int fd, bool failed, const char *text)
{
    put(fd, failed ? "F" : "P", 1);
    put(fd, text, strlen(text));
}

static void on_done(void *arg, int rc, const char *message)
{
    struct child *c = arg;
    struct buf text = {0};
    if (c->late)
        buf_addf(&text, "it has not ended within %u s of real time (--timeout), while its clock moved by %.0f s: it "
                        "waits for something that does not happen", c->plan->seconds,
                 (double)(clock_ns() - c->began_ns) / (double)NS_PER_S);
    else
        buf_addf(&text, "%s", message);
    if (rc == -ERR_SCRIPT_TIME)
        buf_addf(&text, "\nThe clock stands still while a script computes; advance(seconds) and waits move it");
    tell(c->fd, rc < 0, text.data);
    buf_fini(&text);
    loop_stop(&c->server->loop);
}

/* Whether something comes from elsewhere: from the disk thread, or from a request of the test that is on its way to
 * this node, or whose answer is on its way back. */
static bool is_busy(void *arg)
{
    struct child *c = arg;
    struct server *s = c->server;
    if (clock_real_ns() > c->until_ns && !c->late) {
        c->late = true;
        task_cancel(vm_tasks(s->vm), c->task);
    }
    return store_is_busy(s->store) || fetcher_busy(s->fetcher) > tasks_stats(vm_tasks(s->vm)).guests;
}

static void run_child(struct plan *p, struct server *s, unsigned i, const char *dir, int fd)
{
    char path[PATH_MAX + 8];
    struct child c = {.server = s, .plan = p, .fd = fd};
    snprintf(path, sizeof(path), "%s/log", dir);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log >= 0)
        dup2(log, STDERR_FILENO);
    buf_addf(&s->data, "%s/data", dir);
    buf_add_char(&s->data, '\0');
    if (vm_begin_again(s->vm) < 0 || server_up(s) != 0) {
        tell(fd, true, "its node cannot be started");
        _exit(0);
    }
    c.call = (struct test_call){.vm = s->vm, .i = i, .done = on_done, .arg = &c};
    c.began_ns = clock_ns();
    c.until_ns = clock_real_ns() + p->seconds * NS_PER_S;
    loop_hold(&s->loop, is_busy, &c);
    tests_start(&c.call, &c.task);
    loop_run(&s->loop, turn, s);
    _exit(0);                         /* nothing of it is needed any more: its parent removes the directory */
}

/* ---- running them, a few at a time ---- */

struct running {
    pid_t pid;                        /* 0: free */
    int fd;
    unsigned i, line;
    uint64_t began_ns;
    bool killed;
    char dir[PATH_MAX];
    struct buf name, result;
};

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void remove_dir(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The end of what it has logged. */
static void read_log(const char *dir, struct buf *out)
{
    char path[PATH_MAX + 8];
    struct stat st;
    snprintf(path, sizeof(path), "%s/log", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0) {
        off_t from = st.st_size > LOG_SHOWN ? st.st_size - LOG_SHOWN : 0;
        ssize_t n = pread(fd, buf_reserve(out, LOG_SHOWN), LOG_SHOWN, from);
        out->end += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        close(fd);
    buf_add_char(out, '\0');
}

static bool start(struct plan *p, struct server *s, struct running *r)
{
    int ends[2];
    snprintf(r->dir, sizeof(r->dir), "%.*s/%u", PATH_MAX - 16, p->folder, p->made++);
    if (mkdir(r->dir, 0700) < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return false;
    r->began_ns = clock_real_ns();
    fflush(stdout);
    r->pid = fork();
    if (r->pid == 0) {
        close(ends[0]);
        run_child(p, s, r->i, r->dir, ends[1]);
    }
    close(ends[1]);
    if (r->pid < 0) {
        close(ends[0]);
        r->pid = 0;
        return false;
    }
    r->fd = ends[0];
    r->killed = false;
    return true;
}

static void end(struct plan *p, const char *file, struct running *r)
{
    int status = 0;
    struct buf log = {0}, text = {0};
    waitpid(r->pid, &status, 0);
    bool told = buf_size(&r->result) > 0;
    if (told)
        buf_add_slice(&text, slice_skip(buf_slice(&r->result), 1));
    else if (r->killed)
        buf_addf(&text, "it has not ended within %u s of real time (--timeout), in one call of C", p->seconds);
    else if (WIFSIGNALED(status))
        buf_addf(&text, "its process was ended by signal %d, %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        buf_addf(&text, "its process has exited with code %d", WEXITSTATUS(status));
    buf_add_char(&text, '\0');
    read_log(r->dir, &log);
    test_report_add(&p->report, &(struct test_result){
        .file = file, .name = r->name.data, .line = r->line, .failed = !told || r->result.data[0] == 'F',
        .message = text.data, .log = log.data, .ns = clock_real_ns() - r->began_ns});
    close(r->fd);
    remove_dir(r->dir);
    buf_fini(&log);
    buf_fini(&text);
    buf_fini(&r->name);
    buf_fini(&r->result);
    *r = (struct running){0};
}

/* Reads what they tell, until one has ended. */
static void wait_for_one(struct plan *p, const char *file, struct running *all)
{
    struct pollfd fds[JOBS_MAX];
    for (bool ended = false; !ended;) {
        for (unsigned j = 0; j < p->jobs; j++)
            fds[j] = (struct pollfd){.fd = all[j].pid == 0 ? -1 : all[j].fd, .events = POLLIN};
        poll(fds, p->jobs, 100);
        for (unsigned j = 0; j < p->jobs; j++) {
            struct running *r = &all[j];
            if (r->pid != 0 && clock_real_ns() - r->began_ns > (p->seconds + GRACE_S) * NS_PER_S && !r->killed) {
                r->killed = true;
                kill(r->pid, SIGKILL);
            }
            if (fds[j].fd < 0 || fds[j].revents == 0)
                continue;
            ssize_t n = read(r->fd, buf_reserve(&r->result, PIPE_BUF), PIPE_BUF);
            if (n > 0) {
                r->result.end += (size_t)n;
            } else if (n == 0 || errno != EINTR) {
                end(p, file, r);
                ended = true;
            }
        }
    }
}

static bool is_wanted(const struct plan *p, const char *file, const char *name)
{
    return p->only == NULL || strstr(file, p->only) != NULL || strstr(name, p->only) != NULL;
}

static void run_loaded(struct plan *p, const char *file, struct server *s)
{
    struct running all[JOBS_MAX] = {0};
    unsigned running = 0, count = tests_count(s->vm);
    for (unsigned i = 0; i < count; i++) {
        struct running *r = all;
        struct buf name = {0};
        unsigned line = tests_case(s->vm, i, &name);
        if (!is_wanted(p, file, name.data)) {
            buf_fini(&name);
            continue;
        }
        if (running == p->jobs) {
            wait_for_one(p, file, all);
            running = 0;
            for (unsigned j = 0; j < p->jobs; j++)
                running += all[j].pid != 0;
        }
        while (r->pid != 0)
            r++;
        r->i = i;
        r->line = line;
        buf_move(&r->name, &name);
        if (!start(p, s, r)) {
            fprintf(stderr, "lignum: no process can be made for a test: %s\n", strerror(errno));
            exit(EXIT_SOFTWARE);
        }
        running++;
    }
    for (unsigned j = 0; j < p->jobs; j++)
        while (all[j].pid != 0)
            wait_for_one(p, file, all);
}

/* ---- files ---- */

#define SUFFIX "_test.lua"

static bool is_test(const char *path)
{
    size_t n = strlen(path), m = sizeof(SUFFIX) - 1;
    return n > m && strcmp(path + n - m, SUFFIX) == 0;
}

/* What a file tests: -c, or X.lua for X_test.lua, or the lignum.lua in its folder; NULL: none. The caller frees it. */
static char *config_of(const struct plan *p, const char *file)
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

/* Loads lignum.lua and a file of tests, and runs them. What goes wrong while loading is logged to stderr. */
static void run_file(struct plan *p, const char *file)
{
    struct cli cli = p->cli;
    struct server s = {.cli = &cli, .tests = file};
    char *config = config_of(p, file);
    cli.config = config;
    if (server_load(&s, false) == 0) {
        run_loaded(p, file, &s);
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

static void add_file(struct plan *p, const char *path)
{
    p->files = mem_resize(p->files, (p->count + 1) * sizeof(char *));
    p->files[p->count++] = mem_copy(path, strlen(path));
}

static int add_dir(struct plan *p, const char *path)
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

static int add_path(struct plan *p, const char *path)
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

enum { ONLY = 256, JOBS, TIMEOUT, SCRIPTS, SET };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'}, {"only", required_argument, NULL, ONLY},
    {"jobs", required_argument, NULL, JOBS}, {"timeout", required_argument, NULL, TIMEOUT},
    {"scripts", required_argument, NULL, SCRIPTS}, {"set", required_argument, NULL, SET},
    {NULL, 0, NULL, 0},
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

static int take_option(struct plan *p, int option)
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
        return take_number("--jobs", optarg, JOBS_MAX, &p->jobs);
    case TIMEOUT:
        return take_number("--timeout", optarg, 24 * 3600, &p->seconds);
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

static int take_words(struct plan *p, const struct cli *cli)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    p->jobs = processors < 1 ? 1 : processors > JOBS_MAX ? JOBS_MAX : (unsigned)processors;
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
static bool make_folder(struct plan *p)
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

int test_run(const struct cli *cli)
{
    static struct plan p;
    int64_t wall_ms;
    if (take_words(&p, cli) < 0)
        return EXIT_USAGE;
    if (!make_folder(&p))
        return EXIT_UNAVAILABLE;
    uint64_t began = clock_real_ns();
    clock_parse(SLICE(TEST_BEGINS), &wall_ms);
    clock_hold(wall_ms);
    mem_settle();
    libcurl_load();                   /* once for all; a test that makes a request says why it cannot be loaded */
    for (unsigned i = 0; i < p.count; i++) {
        run_file(&p, p.files[i]);
        mem_free(p.files[i]);
    }
    mem_free(p.files);
    remove_dir(p.folder);
    test_report_end(&p.report, clock_real_ns() - began);
    return p.report.not_loaded > 0 ? EXIT_USAGE : p.report.failed > 0 ? 1 : 0;
}
