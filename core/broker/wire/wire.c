#include "broker/wire/wire.h"

#include <endian.h>

void wire_secure(struct link *k, const struct tls_context *c, enum tls_side side, const struct id *cluster)
{
    struct buf name = {0};
    if (c == NULL)
        return;
    buf_add_slice(&name, SLICE("lignum "));
    id_format(&name, cluster);
    link_secure(k, tls_new(c, side, buf_slice(&name)));
    buf_fini(&name);
}

void put_u8(struct buf *out, unsigned v)
{
    buf_add_char(out, (char)v);
}

void put_u16(struct buf *out, unsigned v)
{
    uint16_t le = htole16((uint16_t)v);
    buf_add(out, &le, sizeof(le));
}

void put_u32(struct buf *out, uint32_t v)
{
    v = htole32(v);
    buf_add(out, &v, sizeof(v));
}

void put_u64(struct buf *out, uint64_t v)
{
    v = htole64(v);
    buf_add(out, &v, sizeof(v));
}

void put_id(struct buf *out, const struct id *id)
{
    buf_add(out, id->bytes, ID_SIZE);
}

void put_text(struct buf *out, slice text)
{
    put_u16(out, (unsigned)text.n);
    buf_add_slice(out, text);
}

slice get_bytes(struct wire *w, size_t n)
{
    if (w->rest.n < n) {
        w->bad = true;
        w->rest = slice_of(w->rest.p, 0);
        return w->rest;
    }
    slice got = slice_of(w->rest.p, n);
    w->rest = slice_skip(w->rest, n);
    return got;
}

/* Inline, so that the compiler knows how many bytes. */
static inline void get(struct wire *w, void *out, size_t n)
{
    slice got = get_bytes(w, n);
    memset(out, 0, n);
    if (got.n == n)
        memcpy(out, got.p, n);
}

uint8_t get_u8(struct wire *w)
{
    uint8_t v;
    get(w, &v, sizeof(v));
    return v;
}

uint16_t get_u16(struct wire *w)
{
    uint16_t v;
    get(w, &v, sizeof(v));
    return le16toh(v);
}

uint32_t get_u32(struct wire *w)
{
    uint32_t v;
    get(w, &v, sizeof(v));
    return le32toh(v);
}

uint64_t get_u64(struct wire *w)
{
    uint64_t v;
    get(w, &v, sizeof(v));
    v = le64toh(v);
    if (v <= NUMBER_MAX)
        return v;
    w->bad = true;
    return 0;
}

struct id get_id(struct wire *w)
{
    struct id id;
    get(w, id.bytes, ID_SIZE);
    return id;
}

slice get_text(struct wire *w)
{
    return get_bytes(w, get_u16(w));
}

bool wire_is_address(slice text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] > '~' || text.p[i] == '"' || text.p[i] == '\\')
            return false;
    return text.n <= NODE_ADDRESS_MAX;
}

bool wire_done(const struct wire *w)
{
    return !w->bad && w->rest.n == 0;
}
