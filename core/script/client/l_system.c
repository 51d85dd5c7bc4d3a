/*
 * lignum.system: read, ready, write, terminal, sleep, interrupted, spawn and await. Files are io's (core.unsafe.open).
 */
#include <errno.h>
#include <lauxlib.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/slice.h"
#include "script/client/tables.h"

enum { READ_MAX = 64 * KIB, ENV_MAX = 16, INTERRUPTED = 130, NOT_RUN = 127 };

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

/* interrupted([forget]) -> whether Ctrl-C or SIGTERM has come */
static int l_interrupted(lua_State *L)
{
    bool forget = lua_toboolean(L, 1), was = interrupted != 0;
    if (forget)
        interrupted = 0;
    lua_pushboolean(L, was);
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

/* read(fd) -> what there is, up to 64 KiB; "" at the end | nil, why, errno.  Waits until there is something. */
static int l_read(lua_State *L)
{
    char data[READ_MAX];
    ssize_t n = read((int)luaL_checkinteger(L, 1), data, sizeof(data));
    if (n < 0)
        return fail_errno(L, errno);
    lua_pushlstring(L, data, (size_t)n);
    return 1;
}

/* ready(fd) -> whether read returns at once */
static int l_ready(lua_State *L)
{
    struct pollfd p = {.fd = (int)luaL_checkinteger(L, 1), .events = POLLIN};
    lua_pushboolean(L, poll(&p, 1, 0) > 0);
    return 1;
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
    dup2(input, STDIN_FILENO);
    close_range(3, ~0U, 0);
    for (int i = 0; i < count; i++)
        putenv(env[i]);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(NOT_RUN);
}

/* spawn(command, input, {"NAME=value"...}) -> pid | nil, why, errno.  The input is a file, so a command that does not
 * read it ends as any other. */
static int l_spawn(lua_State *L)
{
    slice input;
    char *env[ENV_MAX];
    int count = 0;
    const char *command = luaL_checkstring(L, 1);
    input.p = luaL_checklstring(L, 2, &input.n);
    luaL_checktype(L, 3, LUA_TTABLE);
    for (; count < ENV_MAX && lua_rawgeti(L, 3, count + 1) == LUA_TSTRING; count++) {
        env[count] = (char *)lua_tostring(L, -1);    /* the table keeps it */
        lua_pop(L, 1);
    }
    int file = memfd_create("input", MFD_CLOEXEC);
    if (file < 0)
        return fail_errno(L, errno);
    int error = write_all(file, input);
    pid_t pid = -1;
    if (error == 0 && lseek(file, 0, SEEK_SET) == 0) {
        pid = fork();
        error = errno;
    }
    if (pid == 0)
        become(command, file, env, count);
    close(file);
    if (pid < 0)
        return fail_errno(L, error);
    lua_pushinteger(L, pid);
    return 1;
}

/* await(pid, seconds) -> the exit code, as a shell gives it | nothing: it still runs */
static int l_await(lua_State *L)
{
    int status = 0;
    pid_t pid = (pid_t)luaL_checkinteger(L, 1);
    uint64_t end = clock_ns() + (uint64_t)(luaL_checknumber(L, 2) * (double)NS_PER_S);
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    pid_t ended;
    while ((ended = waitpid(pid, &status, WNOHANG)) == 0) {
        uint64_t now = clock_ns();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (now >= end)
            break;
        poll(&p, fd < 0 ? 0 : 1, fd < 0 ? 10 : (int)((end - now) / NS_PER_MS) + 1);
    }
    if (fd >= 0)
        close(fd);
    if (ended == 0)
        return 0;
    lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return 1;
}

void system_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"read", l_read}, {"ready", l_ready}, {"write", l_write}, {"terminal", l_terminal}, {"sleep", l_sleep},
        {"interrupted", l_interrupted}, {"spawn", l_spawn}, {"await", l_await}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
