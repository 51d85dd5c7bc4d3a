#include "script/vm/chunks.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"

enum { PIECE = 64 * KIB };

struct chunk {
    size_t size;                      /* of the text */
    uint32_t crc;
    char *code;                       /* owned, code_size bytes */
    size_t code_size;
    size_t path_size;
    char path[];
};

struct chunks {
    struct map by_path;               /* owned, and its values */
};

struct chunks *chunks_new(void)
{
    struct chunks *c = MEM_NEW(struct chunks);
    map_init(&c->by_path);
    return c;
}

static void chunk_free(struct chunk *k)
{
    mem_free(k->code);
    mem_free(k);
}

void chunks_free(struct chunks *c)
{
    size_t at = 0;
    for (struct chunk *k; (k = map_next(&c->by_path, &at)) != NULL;)
        chunk_free(k);
    map_fini(&c->by_path);
    mem_free(c);
}

/* 0, or -errno. */
static int read_file(const char *path, struct buf *out)
{
    ssize_t n = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    while (n > 0 && buf_size(out) <= SCRIPT_STRING_MAX) {
        n = read(fd, buf_reserve(out, PIECE), PIECE);
        out->end += n > 0 ? (size_t)n : 0;
    }
    int rc = n < 0 ? -errno : n > 0 ? -EFBIG : 0;
    close(fd);
    return rc;
}

/* Without a byte order mark, and a first line that begins with #; the end of that line stays, so that lines count. */
static slice script_of(slice text)
{
    if (slice_starts(text, SLICE("\xef\xbb\xbf")))
        text = slice_skip(text, 3);
    if (!slice_starts(text, SLICE("#")))
        return text;
    const char *end = memchr(text.p, '\n', text.n);
    return slice_skip(text, end == NULL ? text.n : (size_t)(end - text.p));
}

static int add_code(lua_State *L, const void *p, size_t n, void *code)
{
    (void)L;
    buf_add(code, p, n);
    return 0;
}

/* The function on top is what the text is compiled to. */
static void keep(struct chunks *c, lua_State *L, slice path, slice text)
{
    struct buf code = {0};            /* of which half may be room to grow */
    struct chunk *k = map_remove(&c->by_path, path);
    if (k != NULL)
        chunk_free(k);
    k = mem_new(sizeof(*k) + path.n);
    k->size = text.n;
    k->crc = crc32c(0, text.p, text.n);
    k->path_size = path.n;
    memcpy(k->path, path.p, path.n);
    lua_dump(L, add_code, &code, false);
    k->code_size = buf_size(&code);
    k->code = mem_new(k->code_size);
    memcpy(k->code, code.data, k->code_size);
    buf_fini(&code);
    map_put(&c->by_path, slice_of(k->path, k->path_size), k);
}

int chunks_load(struct chunks *c, lua_State *L, const char *path)
{
    struct buf file = {0};
    lua_pushfstring(L, "@%s", path);
    const char *name = lua_tostring(L, -1);
    int rc = read_file(path, &file);
    if (rc < 0) {
        buf_fini(&file);
        lua_pushfstring(L, "cannot open %s (%s)", path, strerror(-rc));
        return LUA_ERRFILE;
    }
    slice text = script_of(buf_slice(&file));
    struct chunk *k = map_get(&c->by_path, slice_from(path));
    bool same = k != NULL && k->size == text.n && k->crc == crc32c(0, text.p, text.n);
    if (same)
        rc = luaL_loadbufferx(L, k->code, k->code_size, name, "b");
    else
        rc = luaL_loadbufferx(L, text.p, text.n, name, "t");
    lua_remove(L, -2);
    if (rc == LUA_OK && !same)
        keep(c, L, slice_from(path), text);
    buf_fini(&file);
    return rc;
}
