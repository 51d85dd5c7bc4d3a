/*
 * lignum.system: write, terminal, sleep, interrupted and run. Files are io's (core.unsafe.open).
 */
#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/slice.h"
#include "script/client/tables.h"

enum { ENV_MAX = 16, INTERRUPTED = 130, NOT_RUN = 127 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signo)
{
    (void)signo;
    if (interrupted)
        _exit(INTERRUPTED);
    interrupted = 1;
}

void interrupts_catch(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool interrupts_pending(void)
{
    return interrupted != 0;
}

static int l_interrupted(lua_State *L)
{
    lua_pushboolean(L, interrupted != 0);
    return 1;
}

static int fail_errno(lua_State *L, int error)
{
    lua_pushnil(L);
    lua_pushstring(L, strerror(error));
    lua_pushinteger(L, error);
    return 3;
}

/* 0, or the errno. A signal does not end it. */
static int write_all(int fd, slice text)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno != EINTR)
            return errno;
        text = slice_skip(text, n > 0 ? (size_t)n : 0);
    }
    return 0;
}

/* write(fd, text) -> true | nil, why, errno */
static int l_write(lua_State *L)
{
    slice text;
    int fd = (int)luaL_checkinteger(L, 1);
    text.p = luaL_checklstring(L, 2, &text.n);
    int error = write_all(fd, text);
    if (error != 0)
        return fail_errno(L, error);
    lua_pushboolean(L, true);
    return 1;
}

/* terminal(fd) -> columns | nil */
static int l_terminal(lua_State *L)
{
    struct winsize size;
    int fd = (int)luaL_checkinteger(L, 1);
    if (!isatty(fd)) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80);
    return 1;
}

/* sleep(seconds) -> whether it was not interrupted */
static int l_sleep(lua_State *L)
{
    double s = luaL_checknumber(L, 1);
    struct timespec t = {.tv_sec = (time_t)s, .tv_nsec = (long)((s - (double)(time_t)s) * 1e9)};
    while (!interrupted && s > 0 && nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
    lua_pushboolean(L, !interrupted);
    return 1;
}

/* ---- processes ---- */

/* In the child. */
static void become(const char *command, int input, char **env, int count)
{
    signal(SIGPIPE, SIG_DFL);
    dup2(input, STDIN_FILENO);
    close_range(3, ~0U, 0);
    for (int i = 0; i < count; i++)
        putenv(env[i]);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(NOT_RUN);
}

/* The exit code, as a shell gives it. */
static int await_child(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* run(command, input, {"NAME=value"...}) -> exit code | nil, why, errno.  A command that does not read its input ends
 * as any other. */
static int l_run(lua_State *L)
{
    slice input;
    char *env[ENV_MAX];
    int count = 0, ends[2];
    const char *command = luaL_checkstring(L, 1);
    input.p = luaL_checklstring(L, 2, &input.n);
    luaL_checktype(L, 3, LUA_TTABLE);
    for (; count < ENV_MAX && lua_rawgeti(L, 3, count + 1) == LUA_TSTRING; count++) {
        env[count] = (char *)lua_tostring(L, -1);    /* the table keeps it */
        lua_pop(L, 1);
    }
    if (pipe(ends) < 0)
        return fail_errno(L, errno);
    pid_t pid = fork();
    if (pid == 0)
        become(command, ends[0], env, count);
    int error = errno;
    close(ends[0]);
    if (pid > 0) {
        struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
        sigaction(SIGPIPE, &ignore, &before);
        write_all(ends[1], input);
        sigaction(SIGPIPE, &before, NULL);
    }
    close(ends[1]);
    if (pid < 0)
        return fail_errno(L, error);
    lua_pushinteger(L, await_child(pid));
    return 1;
}

void system_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"write", l_write}, {"terminal", l_terminal}, {"sleep", l_sleep},
                                         {"interrupted", l_interrupted}, {"run", l_run}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
