#include "test_nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/say.h"
#include "script/tests.h"

enum {
    GRACE_S = 3,                      /* of real time, for a process to say that its test is late */
    LOG_SHOWN = 4096,                 /* bytes */
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
    const struct test_plan *plan;
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

static void run_child(struct test_plan *p, struct server *s, unsigned i, const char *dir, int fd)
{
    char path[PATH_MAX + 8];
    struct child c = {.server = s, .plan = p, .fd = fd};
    snprintf(path, sizeof(path), "%s/log", dir);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
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

void test_remove(const char *path)
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

static bool start(struct test_plan *p, struct server *s, struct running *r)
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

static void end(struct test_plan *p, const char *file, struct running *r)
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
    test_remove(r->dir);
    buf_fini(&log);
    buf_fini(&text);
    buf_fini(&r->name);
    buf_fini(&r->result);
    *r = (struct running){0};
}

/* Reads what they tell, until one has ended. */
static void wait_for_one(struct test_plan *p, const char *file, struct running *all)
{
    struct pollfd fds[TEST_JOBS_MAX];
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

static bool is_wanted(const struct test_plan *p, const char *file, const char *name)
{
    return p->only == NULL || strstr(file, p->only) != NULL || strstr(name, p->only) != NULL;
}

void test_nodes_run(struct test_plan *p, const char *file, struct server *s)
{
    struct running all[TEST_JOBS_MAX] = {0};
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
