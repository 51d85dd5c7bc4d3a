#include "config.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/say.h"
#include "net/tls_server.h"

enum { FDS_OWN = 64, CONNECTIONS_LEAST = 16, CONNECTIONS_FEW = 1000, DAY_S = 24 * 3600, EXPIRES_SOON_S = 21 * DAY_S };

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

void config_log(struct vm *vm)
{
    struct buf level_name = {0}, format_name = {0};
    enum say_level level;
    enum say_format format;
    if (vm_config_text(vm, "log.level", &level_name) && say_level_parse(buf_slice(&level_name), &level) == 0)
        say_set_level(level);
    if (vm_config_text(vm, "log.format", &format_name) && say_format_parse(buf_slice(&format_name), &format) == 0)
        say_set_format(format);
    buf_fini(&level_name);
    buf_fini(&format_name);
}

void config_fixed(struct vm *vm, struct buf *out)
{
    vm_config_text(vm, "(fixed)", out);
}

/* The two texts have the same keys in the same order. */
void config_say_fixed(struct vm *vm, const struct buf *at_start)
{
    struct buf now = {0}, names = {0};
    config_fixed(vm, &now);
    slice rest = buf_slice(&now), before = buf_slice(at_start), line, old;
    while (slice_split(&rest, '\n', &line) && slice_split(&before, '\n', &old)) {
        const char *equal = line.n == 0 ? NULL : memchr(line.p, '=', line.n);
        if (equal != NULL && !slice_eq(line, old))
            buf_addf(&names, " %.*s", (int)(equal - line.p), line.p);
    }
    if (buf_size(&names) > 0)
        say_warn("main", "these keys are read only at the start; a restart applies their changes:%.*s",
                 SLICE_ARGS(buf_slice(&names)));
    buf_fini(&now);
    buf_fini(&names);
}

/* ---- secrets ---- */

void config_forbid_core_dumps(void)
{
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void config_core_dumps(struct vm *vm)
{
    prctl(PR_SET_DUMPABLE, vm_config_flag(vm, "node.core_dumps", false) ? 1 : 0, 0, 0, 0);
}

static bool is_public(const char *path)
{
    struct stat file;
    return path != NULL && stat(path, &file) == 0 && S_ISREG(file.st_mode) && file.st_mode & S_IROTH;
}

/* Appends what the file holds. */
static void read_all(const char *path, struct buf *out)
{
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && (n = read(fd, buf_reserve(out, 64 * KIB), 64 * KIB)) > 0)
        out->end += (size_t)n;
    if (fd >= 0)
        close(fd);
}

/* A secret that is given as a value: is it in a file that all can read, or in the arguments, which ps shows to all? */
static void warn_of_value(struct vm *vm, const char *key, slice public, const char *const *set)
{
    struct buf secret = {0};
    bool there = vm_config_text(vm, key, &secret);
    if (there && public.n > 0 && memmem(public.p, public.n, secret.data, buf_size(&secret)) != NULL)
        say_warn("main", "every user of this host can read %s in lignum.lua: chmod 600 that file", key);
    for (size_t i = 0; set[i] != NULL; i++) {
        slice rest = slice_from(set[i]), name;
        if (slice_split(&rest, '=', &name) && slice_eq(slice_trim(name), slice_from(key)))
            say_warn("main", "every user of this host can read %s in the arguments of this process: set it in "
                             "lignum.lua instead", key);
    }
    if (secret.data != NULL)
        explicit_bzero(secret.data, secret.cap);
    buf_fini(&secret);
}

void config_warn_of_secrets(struct vm *vm, const char *config, const char *const *set)
{
    static const char *const files[] = {"cluster.replication.secret_file", "cluster.consul.tls.key"};
    static const char *const values[] = {"cluster.replication.secret", "cluster.consul.token"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct buf path = {0};
        if (is_public(config_text(vm, files[i], &path)))
            say_warn("main", "every user of this host can read the file of %s: chmod 600 %s", files[i], path.data);
        buf_fini(&path);
    }
    struct buf public = {0};
    if (is_public(config))
        read_all(config, &public);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        warn_of_value(vm, values[i], buf_slice(&public), set);
    if (public.data != NULL)
        explicit_bzero(public.data, public.cap);
    buf_fini(&public);
}

/* ---- TLS ---- */

static int tls_read(struct vm *vm, unsigned at, struct tls_server **out)
{
    char key[32];
    struct buf text = {0}, why = {0};
    struct tls_files files;
    snprintf(key, sizeof(key), "(tls).%u", at);
    if (!vm_config_text(vm, key, &text))
        return 0;
    int rc = tls_files_read(&text, &files);
    if (rc == 0)
        rc = tls_server_new(&files, out, &why);
    for (unsigned i = 0; rc == 0 && i < files.count; i++)
        if (is_public(files.pairs[i].key))
            say_warn("main", "every user of this host can read the key of a certificate: chmod 600 %s",
                     files.pairs[i].key);
    if (rc < 0)
        say_error("main", "TLS listen=%u: %.*s", at, SLICE_ARGS(buf_slice(&why)));
    buf_fini(&text);
    buf_fini(&why);
    return rc;
}

int config_secure(struct vm *vm, struct http_server *http, unsigned i, unsigned at)
{
    struct tls_server *tls = NULL;
    int rc = tls_read(vm, at, &tls);
    if (tls != NULL)
        http_secure(http, i, tls);
    tls_server_drop(tls);
    return rc;
}

/* By its first certificate, which all clients may get. */
static bool has_expired(const struct tls_server *tls)
{
    struct tls_validity v;
    return tls_server_validity(tls, 0, &v) && v.until <= time(NULL);
}

void config_secure_again(struct vm *vm, struct http_server *http)
{
    char key[32] = "listen.1.address";
    struct buf address = {0};
    for (unsigned at = 1; vm_config_text(vm, key, &address);
         snprintf(key, sizeof(key), "listen.%u.address", ++at), buf_clear(&address)) {
        struct tls_server *tls = NULL;
        int i = http_listener_at(http, buf_slice(&address));
        const struct tls_server *now = i < 0 ? NULL : http_tls(http, (unsigned)i);
        if (now != NULL)
            tls_read(vm, at, &tls);
        if (tls != NULL && has_expired(tls) && !has_expired(now))
            say_error("main", "the certificate of %.*s has expired, and the one before it stays in use",
                      SLICE_ARGS(buf_slice(&address)));
        else if (tls != NULL && tls_server_demands(now) && !tls_server_demands(tls))
            say_error("main", "clients of %.*s must show certificates until a restart, and the old ones stay in use",
                      SLICE_ARGS(buf_slice(&address)));
        else if (tls != NULL)
            http_secure(http, (unsigned)i, tls);
        tls_server_drop(tls);
    }
    buf_fini(&address);
}

void config_warn_of_certificates(const struct http_server *http)
{
    struct tls_validity v;
    for (unsigned i = 0; i < http_listeners(http); i++)
        for (unsigned k = 0; http_tls(http, i) != NULL && tls_server_validity(http_tls(http, i), k, &v); k++) {
            double left = difftime(v.until, time(NULL));
            if (left <= 0)
                say_error("main", "the certificate in %.*s has expired: clients refuse it", SLICE_ARGS(v.path));
            else if (difftime(v.from, time(NULL)) > 0)
                say_error("main", "the certificate in %.*s is not valid yet: clients refuse it", SLICE_ARGS(v.path));
            else if (left < EXPIRES_SOON_S)
                say_warn("main", "the certificate in %.*s expires in days=%.0f", SLICE_ARGS(v.path),
                         floor(left / DAY_S));
        }
}

/* ---- places ---- */

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

/* A node that runs out of descriptors refuses clients, long after whoever started it has gone. */
void config_say_descriptors(struct vm *vm, const struct http_limits *got)
{
    double connections = vm_config_number(vm, "limits.connections", HTTP_CONNECTIONS_MAX);
    double files = vm_config_number(vm, "store.files", FILES_OPEN_MAX);
    double need = FDS_OWN + files + connections * 5 / 4;
    if (got->connections >= connections || got->connections >= CONNECTIONS_FEW)
        return;
    say_warn("main", "ulimit -n is only %llu: at most %u connections and %u open log files at once. limits.connections "
                     "(%.0f) and store.files (%.0f) need %.0f",
             (unsigned long long)descriptors(), got->connections, config_files_max(vm), connections, files,
             need > files * 4 ? need : files * 4);
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
        .client_connections = (uint32_t)vm_config_number(vm, "limits.client.connections", 0),
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

/* ---- browsers ---- */

/* Appends the texts of the list at `path`, each with a space after it. */
static void add_list(struct vm *vm, const char *path, struct buf *out)
{
    char key[32];
    bool there = true;
    for (int i = 1; there; i++) {
        snprintf(key, sizeof(key), "%s.%d", path, i);
        there = vm_config_text(vm, key, out);
        buf_add_char(out, ' ');
    }
}

/* Other nodes and Consul use the name in node.advertise. */
void config_browsers(struct vm *vm, struct http_server *http)
{
    struct buf origins = {0}, hosts = {0}, advertise = {0};
    add_list(vm, "cors.origins", &origins);
    add_list(vm, "node.hosts", &hosts);
    if (vm_config_text(vm, "node.advertise", &advertise)) {
        slice name = buf_slice(&advertise);
        if (slice_starts(name, SLICE("https://")))
            name = slice_skip(name, 8);
        while (name.n > 0 && name.p[--name.n] != ':')
            ;
        buf_add_slice(&hosts, name);
    }
    http_set_browsers(http, &(struct http_browsers){buf_slice(&origins), buf_slice(&hosts)});
    buf_fini(&origins);
    buf_fini(&hosts);
    buf_fini(&advertise);
}

void config_log_requests(struct vm *vm, struct http_server *http)
{
    http_log_requests(http, vm_config_flag(vm, "log.requests", false));
}

/* ---- access tokens ---- */

/* Declares number i of lignum.lua's tokens, which have been checked. False: there is none. */
static bool declare_token(struct vm *vm, int i, struct access *access)
{
    static const char *const names[] = {"name", "hash", "topics", "may"};
    struct buf texts[4] = {{0}};
    struct access_grant g = {0};
    bool there = true;
    for (size_t k = 0; there && k < 4; k++) {
        char path[32];
        snprintf(path, sizeof(path), "tokens.%d.%s", i, names[k]);
        there = vm_config_text(vm, path, &texts[k]);
    }
    slice words = buf_slice(&texts[3]), word;
    while (slice_split(&words, ' ', &word))
        g.may |= access_action_parse(word);
    g.name = buf_slice(&texts[0]);
    g.topics = buf_slice(&texts[2]);
    if (there && access_hash_read(buf_slice(&texts[1]), g.hash) && access_declare(access, &g) < 0)
        say_warn("main", "a token of lignum.lua is not used: its secret is that of a token made at run time name=%.*s",
                 SLICE_ARGS(g.name));
    for (size_t k = 0; k < 4; k++)
        buf_fini(&texts[k]);
    return there;
}

void config_access(struct vm *vm, struct access *access)
{
    struct buf mode = {0};
    vm_config_text(vm, "access.mode", &mode);
    access_configure(access, slice_eq(buf_slice(&mode), SLICE("open"))     ? ACCESS_OPEN
                             : slice_eq(buf_slice(&mode), SLICE("closed")) ? ACCESS_CLOSED
                                                                           : ACCESS_BY_TOKENS,
                     config_ms(vm, "access.stale", ACCESS_STALE_MS));
    buf_fini(&mode);
    access_undeclare(access);
    for (int i = 1; declare_token(vm, i, access); i++)
        ;
}

void config_quotas(struct vm *vm, struct quotas *quotas)
{
    quotas_set_limits(quotas, &(struct quota_limits){
        .requests = (uint64_t)vm_config_number(vm, "limits.client.requests", 0),
        .bytes = (uint64_t)vm_config_number(vm, "limits.client.bytes", 0),
        .waiting = (uint32_t)vm_config_number(vm, "limits.client.waiting", 0),
    });
}
