#include "unit/unit.h"

#include <fcntl.h>
#include <limits.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* For tests that hang. The longest take some seconds, but many times that with sanitizers or on a busy disk. */
enum { TIME_LIMIT_S = 180 };

enum { FAILED = 1, SURVIVED = 250, SHOWN_MAX = 200 };

/* Where failures are written; a test may redirect its standard error. */
static FILE *told;

static struct unit_test *first_test, **last_test = &first_test;

void unit_register(struct unit_test *test)
{
    *last_test = test;
    last_test = &test->next;
}

void unit_failed(const char *file, int line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(told, "%s:%d: ", file, line);
    vfprintf(told, fmt, args);
    fputc('\n', told);
    va_end(args);
    fflush(NULL);
    _exit(FAILED);
}

void unit_check_eq(const char *file, int line, const char *what, intmax_t a, intmax_t b)
{
    if (a != b)
        unit_failed(file, line, "%s: %jd (0x%jx) is not %jd (0x%jx)", what, a, (uintmax_t)a, b, (uintmax_t)b);
}

static void show(slice s)
{
    fprintf(told, "  %zu bytes \"", s.n);
    for (size_t i = 0; i < s.n && i < SHOWN_MAX; i++) {
        unsigned char c = (unsigned char)s.p[i];
        fprintf(told, c >= 0x20 && c < 0x7f ? "%c" : "\\x%02x", c);
    }
    fputs(s.n > SHOWN_MAX ? "\"...\n" : "\"\n", told);
}

void unit_check_slice(const char *file, int line, const char *what, slice a, slice b)
{
    if (slice_eq(a, b))
        return;
    size_t same = 0;
    while (same < a.n && same < b.n && a.p[same] == b.p[same])
        same++;
    show(a);
    show(b);
    unit_failed(file, line, "%s: they differ from byte %zu on", what, same);
}

pid_t unit_fork(void)
{
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        unit_failed(__FILE__, __LINE__, "fork: %m");
    if (child == 0)
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    return child;
}

void unit_survived(void)
{
    _exit(SURVIVED);
}

void unit_check_died(const char *file, int line, const char *what, pid_t child, int how)
{
    int status;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) != how)
        unit_failed(file, line, "%s: died of signal %d, not of %d", what, WTERMSIG(status), how);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SURVIVED)
        unit_failed(file, line, "%s: went on, instead of ending with %d", what, how);
    if (WIFEXITED(status) && WEXITSTATUS(status) != how)
        unit_failed(file, line, "%s: exited with %d, not with %d", what, WEXITSTATUS(status), how);
}

slice unit_read_file(const char *path)
{
    static char bytes[1 << 20];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
    if (n < 0)
        unit_failed(__FILE__, __LINE__, "%s: %m", path);
    close(fd);
    return slice_of(bytes, (size_t)n);
}

static char started_in[PATH_MAX];

const char *unit_source(const char *name)
{
    static const char file[] = __FILE__;
    static char path[3 * PATH_MAX];
    int folder = (int)(sizeof file - sizeof "unit/unit.c");
    snprintf(path, sizeof path, "%s/%.*s%s", file[0] == '/' ? "" : started_in, folder, file, name);
    return path;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* SIGALRM ends a test that hangs. The process group is killed with it, so that processes it started end, too. */
static _Noreturn void run_here(const struct unit_test *test, const char *dir, int output)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    told = fdopen(output, "w");
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    if (chdir(dir) < 0)
        unit_failed(__FILE__, __LINE__, "chdir %s: %m", dir);
    alarm(TIME_LIMIT_S);
    test->run();
    exit(0);
}

static void print_output(int output)
{
    char chunk[4096];
    lseek(output, 0, SEEK_SET);
    for (ssize_t n; (n = read(output, chunk, sizeof chunk)) > 0;)
        fwrite(chunk, 1, (size_t)n, stdout);
}

static bool report(const struct unit_test *test, int status, int output)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        if (getenv("UNIT_KEEP"))
            print_output(output);
        printf("ok   %s\n", test->name);
        return true;
    }
    print_output(output);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        printf("FAIL %s (took longer than %d s)\n", test->name, TIME_LIMIT_S);
    else if (WIFSIGNALED(status))
        printf("FAIL %s (signal %d, %s)\n", test->name, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        printf("FAIL %s\n", test->name);
    return false;
}

static bool run(const struct unit_test *test)
{
    char dir[PATH_MAX];
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/lignum-unit-XXXXXX", tmp ? tmp : "/tmp");
    int status, output = memfd_create("output", MFD_CLOEXEC);
    if (output < 0 || !mkdtemp(dir))
        unit_failed(__FILE__, __LINE__, "%s: %m", dir);
    pid_t child = unit_fork();
    if (child == 0)
        run_here(test, dir, output);
    waitpid(child, &status, 0);
    kill(-child, SIGKILL);
    bool passed = report(test, status, output);
    close(output);
    if (!getenv("UNIT_KEEP"))
        nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return passed;
}

static bool is_wanted(const struct unit_test *test, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strstr(test->name, argv[i]))
            return true;
    return argc < 2;
}

int main(int argc, char **argv)
{
    if (getcwd(started_in, sizeof started_in) == NULL)
        unit_failed(__FILE__, __LINE__, "getcwd: %m");
    int passed = 0, failed = 0;
    told = stderr;
    for (const struct unit_test *test = first_test; test; test = test->next)
        if (is_wanted(test, argc, argv))
            *(run(test) ? &passed : &failed) += 1;
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
