/*
 * A running node: its parts, and the turn that drives them. Known to main.c, which sets the parts up and takes them
 * down, and to turn.c.
 */
#ifndef SERVER_H
#define SERVER_H

#include "broker/access/access.h"
#include "broker/access/trail.h"
#include "broker/cluster/audit.h"
#include "command/cli.h"
#include "console/console.h"
#include "net/notify.h"
#include "net/vouch.h"
#include "script/script.h"
#include "script/worlds.h"

struct server {
    const struct cli *cli;
    unsigned up;                           /* how many of its stages are up */
    struct coverage *coverage;             /* of tests; NULL: not asked for */
    const char *tests;                     /* the file of a node that runs tests (test.h), or NULL */
    struct loop loop;
    struct worlds *worlds;
    struct vm *vm;                         /* the live world of these */
    struct store *store;
    struct role role;
    struct topics *topics;
    struct groups *groups;
    struct access *access;
    bool exposed;                /* some listener is beyond loopback, and does not demand certificates */
    struct trail *trail;
    struct quotas *quotas;
    struct http_server *http;
    struct fetcher *fetcher;
    struct shared *shared;
    struct meters *meters;
    struct sync *sync;
    struct console *console;               /* NULL: it is switched off */
    struct voucher voucher;                /* set with the cluster's secret */
    struct cluster *cluster;               /* NULL: this node is alone */
    struct auditor *auditor;
    struct buf data, advertise;            /* NUL-terminated */
    struct watch synced, due, group_due, expire, trim, day, drain, hup, term, interrupt;
    struct notify notify;                  /* the service manager */
    uint64_t due_at, group_due_at;         /* what `due` and `group_due` are armed for, or 0 */
    uint64_t expire_at;                    /* what `expire` is armed for, or 0 */
    bool expire_due;                       /* topics with `expire` may be due */
    bool trimming;                         /* the look at retention has begun, and goes on */
    bool trim_armed, trim_due;             /* the look at retention: its timer runs; its time has come */
    bool lost;                             /* files of the data directory are gone, and who waited for them was told */
    struct mark reloads;                   /* how many have ended */
    struct buf refused, fixed;             /* why the last one failed; what config_fixed said at the start */
    bool reload;                           /* asked for; the turn does it */
    bool stopping;                         /* set once; the loop stops when everything has drained */
};

/* Makes the worlds and loads lignum.lua, before the stages, or as one of them; `check`: it is only checked. 0 or the
 * exit code, after a sentence; with `tests` s->refused says why. */
int server_load(struct server *s, bool check);

/* Sets the stages up. 0 or the exit code, after a sentence; s->up are then to be taken down. */
int server_up(struct server *s);

/* Applies what a reload may change. */
void server_configure(struct server *s);

/* Events that end the loop's sleep: a finished sync, timers, signals. */
void server_watch(struct server *s);
void server_unwatch(struct server *s);

/* A struct server; called by the loop after each iteration. */
void turn(void *arg);

/* For Lua: asks for a reload; whether the node is ready, or why not. */
uint64_t server_reload(void *arg);
bool server_is_ready(void *arg, const char **why);

/* For worlds_options. */
void server_reloaded(void *arg, int rc, slice why);

#endif
