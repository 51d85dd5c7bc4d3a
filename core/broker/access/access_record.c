/* The records of access tokens: messages of _tokens, whose key is a token's name. */
#include "base/err.h"
#include "base/say.h"
#include "broker/access/access.h"
#include "broker/access/access_struct.h"

static void number_write(struct buf *headers, slice name, int64_t value)
{
    struct buf text = {0};
    buf_add_u64(&text, (uint64_t)value);
    header_write(headers, name, buf_slice(&text));
    buf_fini(&text);
}

static void hash_write(struct buf *headers, const unsigned char hash[ACCESS_HASH_SIZE])
{
    struct buf hex = {0};
    for (size_t i = 0; i < ACCESS_HASH_SIZE; i++)
        buf_addf(&hex, "%02x", hash[i]);
    header_write(headers, SLICE("sha256"), buf_slice(&hex));
    buf_fini(&hex);
}

void access_record_write(struct buf *out, const struct access_grant *g, int64_t made_ms)
{
    struct buf headers = {0}, may = {0};
    access_actions_write(&may, g->may);
    hash_write(&headers, g->hash);
    header_write(&headers, SLICE("topics"), g->topics);
    header_write(&headers, SLICE("may"), buf_slice(&may));
    number_write(&headers, SLICE("made"), made_ms);
    number_write(&headers, SLICE("expires"), g->expires_ms);
    message_write(out, &(struct message){.key = g->name, .headers = buf_slice(&headers), .payload = SLICE("create")});
    buf_fini(&headers);
    buf_fini(&may);
}

void access_record_revoke(struct buf *out, slice name)
{
    message_write(out, &(struct message){.key = name, .payload = SLICE("revoke")});
}

/* ---- reading ---- */

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool access_hash_read(slice hex, unsigned char hash[ACCESS_HASH_SIZE])
{
    for (size_t i = 0; hex.n == 2 * ACCESS_HASH_SIZE && i < ACCESS_HASH_SIZE; i++) {
        int high = nibble(hex.p[2 * i]), low = nibble(hex.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        hash[i] = (unsigned char)(high << 4 | low);
    }
    return hex.n == 2 * ACCESS_HASH_SIZE;
}

static unsigned actions_read(slice words)
{
    unsigned may = 0;
    slice word;
    while (slice_split(&words, ' ', &word))
        may |= access_action_parse(word);
    return may;
}

/* Headers that a later version adds are ignored; without a digest there is no token. */
static bool grant_read(const struct message *m, struct access_grant *g, int64_t *made_ms)
{
    slice headers = m->headers, name, value;
    uint64_t number;
    bool whole = false;
    *g = (struct access_grant){.name = m->key};
    while (header_read(&headers, &name, &value)) {
        if (slice_eq(name, SLICE("sha256")))
            whole = access_hash_read(value, g->hash);
        else if (slice_eq(name, SLICE("topics")))
            g->topics = value;
        else if (slice_eq(name, SLICE("may")))
            g->may = actions_read(value);
        else if (slice_eq(name, SLICE("made")) && slice_u64(value, &number) == 0)
            *made_ms = (int64_t)number;
        else if (slice_eq(name, SLICE("expires")) && slice_u64(value, &number) == 0)
            g->expires_ms = (int64_t)number;
    }
    return whole && topic_name_ok(g->name);
}

void access_record_take(struct access *a, const struct message *m, uint64_t offset)
{
    struct access_grant g;
    int64_t made_ms = 0;
    if (slice_eq(m->payload, SLICE("revoke")))
        access_drop(a, &a->by_name, m->key);
    else if (!slice_eq(m->payload, SLICE("create")) || !grant_read(m, &g, &made_ms) ||
             !access_put(a, &g, made_ms, offset, false))
        say_error("access", "a record in " ACCESS_LOG_NAME " is not used: it is not understood, or has the secret of "
                  "another token offset=%llu", (unsigned long long)offset);
}
