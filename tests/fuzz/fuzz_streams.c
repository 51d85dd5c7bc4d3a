/*
 * Arbitrary bytes as what Durable Streams and other routes leave to C: bodies of JSON, the birth of a topic in a record
 * of _topics, networks that a fetch may reach, and base64url. The first byte chooses.
 *
 *     JSON       every element of an array is one value of JSON by itself, as streams store and send them
 *     births     what is read of a record is written and read again as the same
 *     networks   an address that is a network has itself
 *     base64url  what is decoded is encoded as the same text
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/ensure.h"
#include "base/json_read.h"
#include "base/mem.h"
#include "broker/topic/birth.h"
#include "net/networks.h"
#include "store/format/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- JSON ---- */

static bool is_one_value(slice text)
{
    struct json_reader r = {.text = text};
    struct buf scratch = {0};
    enum json_event event;
    do {
        event = json_next(&r, &scratch);
        buf_clear(&scratch);
    } while (event != JSON_END && event != JSON_BAD);
    ENSURE(r.at <= text.n);
    buf_fini(&scratch);
    return event == JSON_END;
}

static void check_string(const struct json_reader *r, const struct buf *scratch)
{
    const char *p = r->string.p;
    bool in_text = p >= r->text.p && p + r->string.n <= r->text.p + r->at;
    ENSURE(r->string.n == 0 || in_text || (p >= scratch->data && p + r->string.n <= scratch->data + scratch->end));
}

/* As json_split does: an element reaches from the end of the one before, without blanks and a comma, to its own end. */
static void json(slice text)
{
    struct json_reader r = {.text = text};
    struct buf scratch = {0};
    size_t from = 0;
    unsigned depth = 0;
    for (;;) {
        enum json_event event = json_next(&r, &scratch);
        if (event == JSON_BAD || event == JSON_END) {
            ENSURE(event == JSON_BAD ? r.error < 0 && r.why[0] != '\0' : depth == 0);
            break;
        }
        bool opens = event == JSON_OPEN_LIST || event == JSON_OPEN_OBJECT;
        depth += opens;
        depth -= event == JSON_CLOSE;
        ENSURE(depth == r.depth);
        if (event == JSON_STRING || event == JSON_MEMBER)
            check_string(&r, &scratch);
        if (event == JSON_OPEN_LIST && depth == 1)
            from = r.at;
        bool element = !opens && event != JSON_MEMBER && depth == 1 && !json_in_object(&r);
        if (element) {
            while (text.p[from] == ',' || text.p[from] == ' ' || (text.p[from] >= '\t' && text.p[from] <= '\r'))
                from++;
            ENSURE(is_one_value(slice_of(text.p + from, r.at - from)));
            from = r.at;
        }
        buf_clear(&scratch);
    }
    buf_fini(&scratch);
}

/* ---- births ---- */

static void births(slice bytes)
{
    struct topic *t = MEM_NEW(struct topic), *again = MEM_NEW(struct topic);
    struct message m;
    struct buf headers = {0};
    if (message_read(&bytes, &m) == 0) {
        birth_read(t, &m);
        struct topic_birth born = topic_birth(t);
        birth_write(&headers, &born);
        birth_read(again, &(struct message){.headers = buf_slice(&headers)});
        struct topic_birth twin = topic_birth(again);
        ENSURE(slice_eq(born.labels, twin.labels));
        ENSURE(topic_id_eq(born.source, twin.source));
    }
    buf_fini(&headers);
    birth_free(t);
    birth_free(again);
    mem_free(t);
    mem_free(again);
}

/* ---- networks and base64url ---- */

static void networks(slice text)
{
    struct networks n = {0};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (networks_add(&n, text) == 0 && n.count == 1) {
        ENSURE(n.list[0].length <= 128);
        memcpy(&v6.sin6_addr, n.list[0].bytes, 16);
        ENSURE(networks_have(&n, (struct sockaddr *)(void *)&v6));
    }
    if (text.n >= 16) {
        memcpy(&v6.sin6_addr, text.p, 16);
        networks_add(&n, SLICE("public"));
        networks_have(&n, (struct sockaddr *)(void *)&v6);
    }
}

static void base64url(slice text)
{
    struct buf bytes = {0}, again = {0};
    if (base64url_decode(&bytes, text) == 0) {
        base64url_add(&again, buf_slice(&bytes));
        ENSURE(slice_eq(buf_slice(&again), text));
    }
    buf_fini(&bytes);
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void (*const parts[])(slice) = {json, births, networks, base64url};
    if (size == 0)
        return 0;
    char *copy = malloc(size - 1);    /* of exactly this size, so that reading past its end is seen */
    ENSURE(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    parts[data[0] % 4](slice_of(copy, size - 1));
    free(copy);
    return 0;
}
