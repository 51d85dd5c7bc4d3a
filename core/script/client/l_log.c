/*
 * lignum.system.log: reads the stored batches of a topic from a data directory, also beside the node that writes it.
 * Nothing is locked or changed.
 *
 *     log = system.log(data directory, topic, from [, from_time])   | nil, message, code
 *     log:next()    -> bytes                 whole batches, about 1 MiB of them
 *                   |  nil, what, from, to   damage: these offsets cannot be read. It goes on behind them
 *                   |  nothing               the end
 *     log:done()    -> part of the files that is read, from 0 to 1
 *
 * It begins with the last file that begins at or before `from`, or whose first batch is no later than `from_time`, so
 * earlier batches may come. What is being written when it comes to the end of the last file is left out. Where
 * retention removes a file before it is read, it goes on with the first one that is there, and the offsets between are
 * damage.
 */
#include <errno.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "script/bind/arg.h"
#include "script/bind/result.h"
#include "script/client/tables.h"
#include "store/disk/log_files.h"
#include "store/disk/path.h"
#include "store/format/scan.h"

#define LOG "log(data, topic, from [, from_time])"
#define KIND "lignum.log"

enum { CHUNK = 1 * MIB };

/*
 * States:
 *     between     fd < 0, file < count        the next file is opened
 *     reading     fd >= 0                     batches of files.firsts[file]
 *     over        fd < 0, file == count
 */
struct log {
    struct path folder;
    struct path small;               /* the file of a small topic */
    struct log_files files;
    size_t file;
    int fd;
    bool sealed;
    struct reader reader;             /* of fd */
    struct scan scan;
    uint64_t next;                    /* the offset after the last batch; at first where to begin */
    bool begun;                       /* `next` is known */
    bool removed;                     /* a file was, since the last batch */
    struct buf chunk;
};

static int close_log(lua_State *L)
{
    struct log *l = luaL_checkudata(L, 1, KIND);
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    reader_fini(&l->reader);
    log_files_fini(&l->files);
    buf_fini(&l->chunk);
    return 0;
}

static void file_end(struct log *l)
{
    close(l->fd);
    l->fd = -1;
    l->file++;
}

/* Pushes nothing, "what", from, to. */
static int push_damage(lua_State *L, const char *what, uint64_t from, uint64_t to)
{
    lua_pushnil(L);
    lua_pushstring(L, what);
    lua_pushinteger(L, (lua_Integer)from);
    lua_pushinteger(L, (lua_Integer)to);
    return 4;
}

/* Opens the next file: 0; -ENOENT: retention has removed it; an error. */
static int file_begin(struct log *l)
{
    const char *bytes;
    struct file_head head;
    unsigned version;
    l->fd = log_files_open(&l->files, l->file, &l->sealed);
    if (l->fd < 0)
        return l->fd;
    int rc = reader_init(&l->reader, l->fd);
    if (rc == 0)
        rc = scan_begin(&l->reader, l->files.firsts[l->file], &l->scan);
    ssize_t n = rc < 0 ? rc : reader_get(&l->reader, 0, FILE_HEAD_SIZE, &bytes);
    if (n >= FILE_HEAD_SIZE)
        return file_head_read((const unsigned char *)bytes, &head, &version);
    return n < 0 ? (int)n : -ERR_DAMAGED;
}

/* Results for what is in place of a batch, or 0: it is the end of the file. */
static int push_bad(lua_State *L, struct log *l)
{
    uint64_t from = l->scan.next;
    int more = scan_resync(&l->reader, &l->scan);
    bool last = l->file + 1 == l->files.count;
    uint64_t to = more > 0 ? l->scan.next : last ? from : l->files.firsts[l->file + 1];
    l->next = to;
    if (more <= 0)
        file_end(l);
    return more <= 0 && last && !l->sealed ? 0 : push_damage(L, "bad bytes", from, to);
}

/* Fills the chunk from the open file. SCAN_BATCH: there is more of it. */
static int fill(struct log *l)
{
    struct batch_head head;
    const char *bytes;
    int found = SCAN_BATCH;
    while (buf_size(&l->chunk) < CHUNK && (found = scan_next(&l->reader, &l->scan, &head, &bytes)) == SCAN_BATCH) {
        buf_add(&l->chunk, bytes, head.size);
        l->next = head.first + head.count;
        l->begun = true;
    }
    return found;
}

/* The next file is gone: lists the files again, and goes on with the first one behind what has been read. */
static int list_again(lua_State *L, struct log *l)
{
    uint64_t first = l->files.firsts[l->file];
    if (!l->begun && l->next < first)
        l->next = first;
    l->begun = l->removed = true;
    log_files_fini(&l->files);
    int rc = log_files_list(&l->files, l->folder.s, l->small.s);
    for (l->file = 0; l->file < l->files.count && l->files.firsts[l->file] < l->next;)
        l->file++;
    if (rc < 0)
        return push_damage(L, rc == -ENOENT ? "the topic was deleted" : err_sentence(rc), l->next, l->next);
    return 0;
}

static int open_next(lua_State *L, struct log *l)
{
    uint64_t first = l->files.firsts[l->file];
    int rc = file_begin(l);
    if (rc == -ENOENT)
        return list_again(L, l);
    if (rc < 0) {
        uint64_t to = l->file + 1 < l->files.count ? l->files.firsts[l->file + 1] : first;
        if (l->fd >= 0)
            close(l->fd);
        l->fd = -1;
        l->file++;
        l->next = to;
        const char *what = rc == -ERR_FORMAT ? "not a Lignum file, or of a newer version" : err_sentence(rc);
        return push_damage(L, what, first, to);
    }
    uint64_t from = l->next;
    bool gap = l->begun && first > from, removed = l->removed;
    l->next = first;
    l->begun = true;
    l->removed = false;
    return gap ? push_damage(L, removed ? "removed while the topic was read" : "missing", from, first) : 0;
}

static int l_next(lua_State *L)
{
    struct log *l = luaL_checkudata(L, 1, KIND);
    int results = 0;
    buf_clear(&l->chunk);
    while (results == 0) {
        if (l->fd < 0 && l->file == l->files.count)
            return 0;
        if (l->fd < 0) {
            results = open_next(L, l);
            continue;
        }
        int found = fill(l);
        if (buf_size(&l->chunk) > 0) {
            lua_pushlstring(L, l->chunk.data + l->chunk.at, buf_size(&l->chunk));
            return 1;                 /* what was found behind it is found again */
        }
        if (found < 0)
            return luaL_error(L, "%s: %s", l->folder.s, err_sentence(found));
        if (found == SCAN_BAD)
            results = push_bad(L, l);
        else
            file_end(l);
    }
    return results;
}

static int l_done(lua_State *L)
{
    struct log *l = luaL_checkudata(L, 1, KIND);
    double within = l->fd >= 0 && l->reader.size > 0 ? (double)l->scan.position / (double)l->reader.size : 0;
    lua_pushnumber(L, l->files.count == 0 ? 1 : ((double)l->file + within) / (double)l->files.count);
    return 1;
}

/* Whether a file's first batch is later than `ms`. */
static bool is_later(struct log *l, size_t i, int64_t ms)
{
    struct batch_head head;
    const char *bytes;
    l->file = i;
    bool later = file_begin(l) == 0 && scan_next(&l->reader, &l->scan, &head, &bytes) == SCAN_BATCH &&
                 head.time_ms > ms;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    return later;
}

static void seek(struct log *l, uint64_t from, int64_t from_ms, bool timed)
{
    size_t begin = 0;
    while (begin + 1 < l->files.count && l->files.firsts[begin + 1] <= from)
        begin++;
    if (timed)
        for (begin = l->files.count; begin > 0 && is_later(l, begin - 1, from_ms);)
            begin--;
    l->file = timed && begin > 0 ? begin - 1 : begin;
    l->next = from;
}

static int l_log(lua_State *L)
{
    const char *data = arg_text(L, 1, "data", LOG).p;
    slice topic = arg_text(L, 2, "topic", LOG);
    uint64_t from = arg_whole(L, 3, "from", LOG);
    bool timed = !lua_isnoneornil(L, 4);
    double time = timed ? arg_seconds(L, 4, "from_time", LOG) : 0;
    if (strlen(data) > ROOT_SIZE_MAX)
        return push_fail_because(L, -ERR_BAD_VALUE, "the path of the data directory is too long");
    if (topic.n == 0 || topic.n > TOPIC_NAME_MAX || topic.p[0] == '.' || memchr(topic.p, '/', topic.n) != NULL)
        return push_fail_because(L, -ERR_BAD_VALUE, "%s: not a topic name", topic.p);
    struct log *l = lua_newuserdatauv(L, sizeof(*l), 0);
    *l = (struct log){.fd = -1};
    luaL_setmetatable(L, KIND);
    l->folder = path_of("%s/topics/%s", data, topic.p);
    l->small = small_path(data, topic.p);
    int rc = log_files_list(&l->files, l->folder.s, l->small.s);
    if (rc == -ENOENT && access(path_of("%s/topics", data).s, F_OK) < 0)
        return push_fail_because(L, -ERR_BAD_VALUE, "%s: not a data directory of Lignum", data);
    if (rc == -ENOENT)
        return push_fail_because(L, -ERR_UNKNOWN_TOPIC, "there is no such topic in %s: %s", data, topic.p);
    if (rc < 0)
        return push_fail_because(L, -ERR_STORAGE, "%s: %s", l->folder.s, strerror(-rc));
    seek(l, from, (int64_t)(time * 1000), timed);
    return 1;
}

void log_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"next", l_next}, {"done", l_done}, {"__gc", close_log}, {"__close", close_log}, {NULL, NULL}};
    luaL_newmetatable(L, KIND);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, l_log);
    lua_setfield(L, -2, "log");
}
