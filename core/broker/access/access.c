/* The tokens that are held, and what they may do. */
#include "broker/access/access.h"

#include <sys/random.h>

#include "base/base64.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "broker/access/access_struct.h"
#include "net/openssl.h"

#define SECRET_PREFIX "lgn_"         /* by which programs that look for leaked secrets find one */

static slice index_of(const unsigned char hash[ACCESS_HASH_SIZE])
{
    return slice_of((const char *)hash, HASH_INDEXED);
}

/* ---- coming and going ---- */

bool access_put(struct access *a, const struct access_grant *g, int64_t made_ms, uint64_t at, bool declared)
{
    struct map *of = declared ? &a->declared : &a->by_name;
    access_drop(a, of, g->name);
    if (map_get(&a->by_hash, index_of(g->hash)) != NULL)
        return false;
    struct access_token *t = MEM_NEW(struct access_token);
    t->name = mem_copy(g->name.p, g->name.n);
    t->topics = mem_copy(g->topics.p, g->topics.n);
    t->may = g->may;
    t->made_ms = made_ms;
    t->expires_ms = g->expires_ms;
    t->declared = declared;
    t->at = at;
    memcpy(t->hash, g->hash, sizeof(t->hash));
    map_put(of, slice_from(t->name), t);
    map_put(&a->by_hash, index_of(t->hash), t);
    a->changes++;
    return true;
}

void access_drop(struct access *a, struct map *of, slice name)
{
    struct access_token *t = map_remove(of, name);
    if (t == NULL)
        return;
    map_remove(&a->by_hash, index_of(t->hash));
    mem_free(t->name);
    mem_free(t->topics);
    mem_free(t);
    a->changes++;
}

void access_forget(struct access *a, struct map *of)
{
    struct access_token *t;
    for (size_t at = 0; (t = map_next(of, &at)) != NULL; at = 0)     /* removing moves entries */
        access_drop(a, of, slice_from(t->name));
}

void access_undeclare(struct access *a)
{
    access_forget(a, &a->declared);
}

int access_declare(struct access *a, const struct access_grant *g)
{
    return access_put(a, g, 0, 0, true) ? 0 : -ERR_TOKEN_EXISTS;
}

/* ---- which there are ---- */

void access_configure(struct access *a, enum access_mode mode, uint64_t stale_ms)
{
    a->mode = mode;
    a->stale_ms = stale_ms;
}

uint64_t access_stale_ms(const struct access *a)
{
    return a->stale_ms;
}

bool access_guarded(const struct access *a)
{
    return a->mode == ACCESS_CLOSED || (a->mode == ACCESS_BY_TOKENS && (a->made || a->declared.count > 0));
}

bool access_is_open(const struct access *a)
{
    return a->mode == ACCESS_OPEN;
}

size_t access_count(const struct access *a)
{
    return a->by_hash.count;
}

uint64_t access_changes(const struct access *a)
{
    return a->changes;
}

const struct access_token *access_next(const struct access *a, size_t *at)
{
    return map_next(&a->by_hash, at);
}

/* ---- checking ---- */

int access_hash(slice secret, unsigned char hash[ACCESS_HASH_SIZE])
{
    unsigned size = ACCESS_HASH_SIZE;
    if (openssl_load() < 0)
        return -ERR_UNAVAILABLE;
    ENSURE(openssl.EVP_Digest(secret.p, secret.n, hash, &size, openssl_sha256(), NULL) == 1);
    return 0;
}

/* A digest cannot be chosen byte by byte, so finding by its first bytes tells nothing; the others are compared in a
 * time that does not depend on them. */
const struct access_token *access_find(const struct access *a, slice secret)
{
    unsigned char hash[ACCESS_HASH_SIZE];
    if (a->by_hash.count == 0 || access_hash(secret, hash) < 0)
        return NULL;
    const struct access_token *t = map_get(&a->by_hash, index_of(hash));
    if (t == NULL || openssl.CRYPTO_memcmp(t->hash, hash, sizeof(hash)) != 0)
        return NULL;
    return t->expires_ms == 0 || topics_date(a->topics) < t->expires_ms ? t : NULL;
}

bool access_is_secret(slice text)
{
    return slice_starts(text, SLICE(SECRET_PREFIX));
}

const struct access_token *access_named(const struct access *a, slice name)
{
    const struct access_token *t = map_get(&a->declared, name);
    return t != NULL ? t : map_get(&a->by_name, name);
}

bool access_covers(const struct access_token *t, slice topic)
{
    slice patterns = slice_from(t->topics), pattern;
    bool internal = topic.n > 0 && topic.p[0] == '_';
    while (slice_split(&patterns, ',', &pattern))
        if (internal == slice_starts(pattern, SLICE("_")) && slice_matches(pattern, topic))
            return true;
    return false;
}

static bool covers_all(const struct access_token *t)
{
    slice patterns = slice_from(t->topics), pattern;
    while (slice_split(&patterns, ',', &pattern))
        if (slice_eq(pattern, SLICE("*")))
            return true;
    return false;
}

bool access_may(const struct access_token *t, enum access_action what, slice topic, bool all)
{
    if ((t->may & what) == 0)
        return false;
    return topic.p != NULL ? access_covers(t, topic) : !all || covers_all(t);
}

/* ---- words ---- */

static const struct {
    const char *word;
    enum access_action what;
} actions[] = {
    {"read", ACCESS_READ},   {"publish", ACCESS_PUBLISH}, {"consume", ACCESS_CONSUME},
    {"admin", ACCESS_ADMIN}, {"observe", ACCESS_OBSERVE}, {"own", ACCESS_OWN},
};

unsigned access_action_parse(slice word)
{
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
        if (slice_eq(word, slice_from(actions[i].word)))
            return actions[i].what;
    return 0;
}

void access_actions_write(struct buf *out, unsigned may)
{
    const char *before = "";
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if ((may & actions[i].what) == 0)
            continue;
        buf_addf(out, "%s%s", before, actions[i].word);
        before = " ";
    }
}

void access_mint(struct buf *out)
{
    unsigned char bytes[ACCESS_SECRET_BYTES];
    ENSURE(getrandom(bytes, sizeof(bytes), 0) == sizeof(bytes));
    buf_add_slice(out, SLICE(SECRET_PREFIX));
    base64url_add(out, slice_of((const char *)bytes, sizeof(bytes)));
    explicit_bzero(bytes, sizeof(bytes));
}

static bool pattern_ok(slice pattern)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-*?";
    for (size_t i = 0; i < pattern.n; i++)
        if (memchr(allowed, pattern.p[i], sizeof(allowed) - 1) == NULL)
            return false;
    return pattern.n > 0 && pattern.n <= TOPIC_NAME_MAX;
}

int access_grant_check(const struct access *a, const struct access_grant *g, struct buf *why)
{
    slice patterns = g->topics, pattern;
    if (!topic_name_ok(g->name))
        buf_addf(why, "name: a token's name has the form of a topic's: %s", err_sentence(-ERR_BAD_TOPIC));
    else if (g->may == 0)
        buf_addf(why, "may: name at least one of read, publish, consume, admin, observe, own");
    else if (g->topics.n == 0 || g->topics.n > ACCESS_TOPICS_MAX)
        buf_addf(why, "topics: must have 1 to %d bytes: patterns such as orders.*, separated by commas",
                 ACCESS_TOPICS_MAX);
    else if (g->expires_ms != 0 && g->expires_ms <= topics_date(a->topics))
        buf_addf(why, "expires: is in the past");
    while (buf_size(why) == 0 && slice_split(&patterns, ',', &pattern))
        if (!pattern_ok(pattern))
            buf_addf(why, "topics: a pattern has 1 to %d of A-Z a-z 0-9 . _ - * ?, not \"%.*s\"", TOPIC_NAME_MAX,
                     SLICE_ARGS(pattern));
    return buf_size(why) == 0 ? 0 : -ERR_BAD_VALUE;
}
