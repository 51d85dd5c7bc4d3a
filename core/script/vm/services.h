/*
 * The parts of the broker that bindings act on. main.c fills it once all of them are open and hands it to
 * script_attach; until then only calls that work while loading are allowed.
 */
#ifndef SCRIPT_VM_SERVICES_H
#define SCRIPT_VM_SERVICES_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/access/access.h"
#include "broker/access/trail.h"
#include "broker/cluster/cluster.h"
#include "broker/group/groups.h"
#include "net/fetch.h"
#include "net/http.h"

struct canary;
struct meters;
struct shared;
struct sync;
struct voucher;

/* Everything pointed to outlives the VM's tasks. */
struct services {
    struct loop *loop;
    struct http_server *http;
    struct topics *topics;
    struct groups *groups;
    struct access *access;
    struct trail *trail;
    struct quotas *quotas;
    struct store *store;
    struct role *role;
    struct cluster *cluster;      /* NULL: no Consul is configured, this node is alone */
    struct fetcher *fetcher;
    struct canary *canary;        /* script/std/canary.h; of the worlds, which set it */
    struct shared *shared;        /* what scripts keep across reloads (script/std/shared.h) */
    struct sync *sync;            /* their locks and signals (script/std/sync.h) */
    struct meters *meters;        /* their metrics (script/std/meters.h), and meters_called; NULL: nobody counts */
    void (*called)(struct meters *meters, const char *kind, const char *name, uint64_t ns, const char *problem);
    const struct voucher *voucher;   /* for users of forwarded requests (net/vouch.h) */
    const char *advertise;        /* the address that other nodes are told */
    /* Asks main for a reload in the next turn. Returns what `reloads` will have counted once that has ended; then
     * `refused` says why nothing has changed, one error a line, or is empty. */
    uint64_t (*reload)(void *arg);
    struct mark *reloads;
    const struct buf *refused;
    bool (*ready)(void *arg, const char **why);
    void *arg;                    /* of `reload` and `ready` */
};

#endif
