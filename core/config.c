#include "config.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/say.h"

enum { FDS_OWN = 64, CONNECTIONS_LEAST = 16 };

const char *config_text(struct vm *vm, const char *path, struct buf *out)
{
    if (!vm_config_text(vm, path, out))
        return NULL;
    buf_add_char(out, '\0');
    return out->data;
}

uint32_t config_ms(struct vm *vm, const char *path, uint32_t otherwise)
{
    return (uint32_t)(vm_config_number(vm, path, otherwise / 1000.0) * 1000.0);
}

uint64_t config_ns(struct vm *vm, const char *path, uint32_t otherwise_ms)
{
    return config_ms(vm, path, otherwise_ms) * NS_PER_MS;
}

bool config_is_clustered(struct vm *vm)
{
    struct buf address = {0};
    bool clustered = vm_config_text(vm, "cluster.consul.address.1", &address);
    buf_fini(&address);
    return clustered;
}

void config_log_level(struct vm *vm)
{
    struct buf name = {0};
    enum say_level level;
    if (vm_config_text(vm, "log.level", &name) && say_level_parse(buf_slice(&name), &level) == 0)
        say_set_level(level);
    buf_fini(&name);
}

/* CHECKOUT/build/MODE/lignum finds CHECKOUT/scripts, PREFIX/bin/lignum finds PREFIX/share/lignum/scripts. */
const char *config_scripts_dir(const char *told)
{
    static const char *const places[] = {"../../scripts", "../share/lignum/scripts"};
    static char path[PATH_MAX];
    char place[PATH_MAX + 64];
    if (told != NULL)
        return told;
    ssize_t n = readlink("/proc/self/exe", place, PATH_MAX);
    while (n > 0 && place[n - 1] != '/')
        n--;
    for (size_t i = 0; n > 0 && i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(place + n, 64, "%s", places[i]);
        if (realpath(place, path) != NULL)
            return path;
    }
    return LIGNUM_SCRIPTS;
}

/* ---- descriptors ---- */

void config_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static rlim_t descriptors(void)
{
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

/* Log files get at most a quarter of the descriptors, connections and their answers the rest. */
unsigned config_files_max(struct vm *vm)
{
    double wanted = vm_config_number(vm, "store.files", FILES_OPEN_MAX);
    double quarter = (double)descriptors() / 4;
    return (unsigned)(wanted < quarter ? wanted : quarter);
}

struct http_limits config_http_limits(struct vm *vm)
{
    double room = (double)descriptors() - config_files_max(vm) - FDS_OWN;
    if (room < CONNECTIONS_LEAST)
        room = CONNECTIONS_LEAST;
    double connections = vm_config_number(vm, "limits.connections", HTTP_CONNECTIONS_MAX);
    double files = room / 5;          /* an answer from a file takes a descriptor besides that of its connection */
    room -= files;
    return (struct http_limits){
        .connections = (uint32_t)(connections < room ? connections : room),
        .files = (uint32_t)files,
        .body = (uint64_t)vm_config_number(vm, "limits.body", HTTP_BODY_MAX),
        .bodies = (uint64_t)vm_config_number(vm, "limits.bodies", HTTP_BODIES_MAX),
        .head_ms = config_ms(vm, "limits.head_timeout", HTTP_HEAD_MS),
        .body_ms = config_ms(vm, "limits.body_timeout", HTTP_BODY_MS),
        .idle_ms = config_ms(vm, "limits.idle_timeout", HTTP_IDLE_MS),
        .write_ms = config_ms(vm, "limits.write_timeout", HTTP_WRITE_MS),
    };
}
