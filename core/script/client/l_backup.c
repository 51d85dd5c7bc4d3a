/*
 * lignum.system: list, exists, mkdir, link, sync, and copy_log, which reads and copies files of topics. For backups.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "script/client/tables.h"
#include "store/format/scan.h"

static int fail(lua_State *L, int error)
{
    lua_pushnil(L);
    lua_pushstring(L, strerror(error));
    lua_pushinteger(L, error);
    return 3;
}

static int succeed(lua_State *L)
{
    lua_pushboolean(L, true);
    return 1;
}

/* list(directory) -> {name...} without . and .. | nil, why, errno */
static int l_list(lua_State *L)
{
    lua_Integer n = 0;
    const char *path = luaL_checkstring(L, 1);
    lua_newtable(L);
    DIR **dir = lua_newuserdatauv(L, sizeof(DIR *), 0);
    *dir = opendir(path);
    if (*dir == NULL)
        return fail(L, errno);
    struct buf names = {0};                     /* no error may be raised while the directory is open */
    for (struct dirent *e; (e = readdir(*dir)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            buf_add(&names, e->d_name, strlen(e->d_name) + 1);
    closedir(*dir);
    lua_pop(L, 1);
    for (slice rest = buf_slice(&names); rest.n > 0; rest = slice_skip(rest, strlen(rest.p) + 1)) {
        lua_pushstring(L, rest.p);
        lua_rawseti(L, -2, ++n);
    }
    buf_fini(&names);
    return 1;
}

/* exists(path) -> boolean */
static int l_exists(lua_State *L)
{
    lua_pushboolean(L, access(luaL_checkstring(L, 1), F_OK) == 0);
    return 1;
}

/* mkdir(path) -> true | nil, why, errno */
static int l_mkdir(lua_State *L)
{
    return mkdir(luaL_checkstring(L, 1), 0750) < 0 ? fail(L, errno) : succeed(L);
}

/* link(from, to) -> true | nil, why, errno */
static int l_link(lua_State *L)
{
    return link(luaL_checkstring(L, 1), luaL_checkstring(L, 2)) < 0 ? fail(L, errno) : succeed(L);
}

/* sync(path) -> true | nil, why, errno.  A file or a directory. */
static int l_sync(lua_State *L)
{
    int fd = open(luaL_checkstring(L, 1), O_RDONLY | O_CLOEXEC);
    int error = fd < 0 ? errno : 0;
    if (fd >= 0 && fsync(fd) < 0)
        error = errno;
    if (fd >= 0)
        close(fd);
    return error != 0 ? fail(L, error) : succeed(L);
}

/* ---- copy_log ---- */

struct log_file {
    struct reader reader;
    struct scan scan;
    uint64_t end, next;              /* of what is below the mark */
    bool sealed;                     /* and ends with a valid end record */
};

/* Reads the batches of a file up to a mark; a node may be writing what is above it. 0; -ERR_DAMAGED at `next`;
 * -errno. */
static int read_below(struct log_file *f, uint64_t first, uint64_t mark)
{
    struct file_head file_head;
    struct batch_head head;
    const char *bytes;
    unsigned version;
    f->next = first;
    ssize_t n = reader_get(&f->reader, 0, FILE_HEAD_SIZE, &bytes);
    if (n < 0)
        return (int)n;
    if (n < FILE_HEAD_SIZE || file_head_read((const unsigned char *)bytes, &file_head, &version) < 0 ||
        file_head.first != first)
        return -ERR_DAMAGED;
    int rc = scan_begin(&f->reader, first, &f->scan);
    f->end = f->scan.position;
    while (rc == 0 && !f->sealed) {
        int found = scan_next(&f->reader, &f->scan, &head, &bytes);
        if (found < 0 || (found == SCAN_BAD && f->next < mark))
            return found < 0 ? found : -ERR_DAMAGED;
        if (found == SCAN_END || found == SCAN_BAD || (found == SCAN_BATCH && f->scan.next > mark))
            break;
        f->sealed = found == SCAN_SEALED;
        f->end = f->scan.position + (f->sealed ? END_RECORD_SIZE : 0);
        f->next = f->scan.next;
    }
    return rc;
}

/* Copies the first `size` bytes; the filesystem may share them. 0 or -errno. */
static int copy_bytes(int from, const char *path, uint64_t size)
{
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    int rc = to < 0 ? -errno : 0;
    loff_t at = 0;
    while (rc == 0 && (uint64_t)at < size) {
        ssize_t n = copy_file_range(from, &at, to, NULL, size - (uint64_t)at, 0);
        if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)) {
            char bytes[64 * KIB];
            n = pread(from, bytes, sizeof(bytes) < size - (uint64_t)at ? sizeof(bytes) : size - (uint64_t)at, at);
            if (n > 0)
                n = write(to, bytes, (size_t)n);
            at += n > 0 ? n : 0;
        }
        rc = n > 0 || (n < 0 && errno == EINTR) ? 0 : n == 0 ? -EIO : -errno;
    }
    if (rc == 0 && fsync(to) < 0)
        rc = -errno;
    if (to >= 0)
        close(to);
    if (rc < 0 && to >= 0)
        unlink(path);
    return rc;
}

/* copy_log(path, first, mark [, copy]) -> next, sealed, bytes | nil, why, errno.  Reads the batches of a topic's file,
 * which begins with the offset `first`, as far as they are below `mark`, and checks each; then copies them to the file
 * `copy`, with the end record if there is one. */
static int l_copy_log(lua_State *L)
{
    struct log_file f = {0};
    const char *path = luaL_checkstring(L, 1);
    uint64_t first = (uint64_t)luaL_checkinteger(L, 2), mark = (uint64_t)luaL_checkinteger(L, 3);
    const char *copy = luaL_optstring(L, 4, NULL);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : reader_init(&f.reader, fd);
    if (rc == 0)
        rc = read_below(&f, first, mark);
    if (rc == 0 && copy != NULL)
        rc = copy_bytes(fd, copy, f.end);
    reader_fini(&f.reader);
    if (fd >= 0)
        close(fd);
    if (rc == -ERR_DAMAGED) {
        lua_pushnil(L);
        lua_pushfstring(L, "%s is damaged at offset %I", path, (LUAI_UACINT)f.next);
        lua_pushinteger(L, ERR_DAMAGED);
        return 3;
    }
    if (rc < 0)
        return fail(L, -rc);
    lua_pushinteger(L, (lua_Integer)f.next);
    lua_pushboolean(L, f.sealed);
    lua_pushinteger(L, (lua_Integer)f.end);
    return 3;
}

void backup_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"list", l_list}, {"exists", l_exists}, {"mkdir", l_mkdir}, {"link", l_link}, {"sync", l_sync},
        {"copy_log", l_copy_log}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
