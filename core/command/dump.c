#include "command/dump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/say.h"
#include "command/topic_files.h"
#include "store/format/origin.h"

enum { NAME_ASIDE_MAX = TOPIC_NAME_MAX + 40 };   /* a topic's, an offset, milliseconds */

struct dump {
    const char *topic;
    uint64_t from, to;
    struct origin origin;         /* of the batch that is being printed */
    struct buf line;
};

/* Bytes that are no text go under another name, in base64. */
static void add_bytes(struct buf *out, const char *name, const char *base64_name, slice bytes)
{
    bool text = utf8_valid(bytes);
    json_key(out, slice_from(text ? name : base64_name));
    if (text) {
        json_string(out, bytes);
    } else {
        buf_add_char(out, '"');
        base64_add(out, bytes);
        buf_add_char(out, '"');
    }
}

static void add_origin(struct buf *out, const struct origin *o)
{
    if (o->kind == ORIGIN_NONE)
        return;
    static const char *const names[][2] = {
        [ORIGIN_PRODUCER] = {"producer", "producer_base64"},
        [ORIGIN_KEY] = {"idempotency_key", "idempotency_key_base64"},
        [ORIGIN_LETTER] = {"letter", "letter_base64"}};
    add_bytes(out, names[o->kind][0], names[o->kind][1], o->name);
    if (o->kind == ORIGIN_PRODUCER)
        buf_addf(out, ",\"producer_epoch\":%" PRIu64 ",\"producer_seq\":%" PRIu64, o->epoch, o->sequence);
}

static void print_message(struct dump *d, const struct batch_head *head, uint64_t offset, const struct message *m)
{
    struct buf *out = &d->line;
    buf_clear(out);
    buf_add_char(out, '{');
    json_key(out, SLICE("topic"));
    json_string(out, slice_from(d->topic));
    buf_addf(out, ",\"offset\":%" PRIu64 ",\"epoch\":%" PRIu64 ",\"time\":\"", offset, head->epoch);
    clock_format(out, head->time_ms);
    buf_add_char(out, '"');
    add_origin(out, &d->origin);
    if (m->key.p)
        add_bytes(out, "key", "key_base64", m->key);
    if (m->headers.n) {
        slice rest = m->headers, name, value;
        json_key(out, SLICE("headers"));
        buf_add_char(out, '{');
        while (header_read(&rest, &name, &value)) {
            json_key(out, name);
            json_string(out, value);
        }
        buf_add_char(out, '}');
    }
    add_bytes(out, "data", "base64", m->payload);
    buf_addf(out, "}\n");
    fwrite(out->data + out->at, 1, buf_size(out), stdout);
}

static void on_batch(void *arg, const struct batch_head *head, const char *bytes)
{
    struct dump *d = arg;
    slice rest = batch_messages(bytes, head);
    struct message m;
    uint64_t offset = head->first;
    d->origin.kind = ORIGIN_NONE;
    origin_read(bytes, head, &d->origin);
    for (uint32_t i = 0; i < head->count && message_read(&rest, &m) == 0; i++, offset++)
        if (offset >= d->from && offset < d->to)
            print_message(d, head, offset, &m);
}

static int dump_topic(const struct data_dir *dir, struct dump *d, const char *folder)
{
    struct topic_files t = {.dir = dir, .folder = folder, .name = d->topic, .on_batch = on_batch, .arg = d};
    int rc = topic_files_read(&t);
    int code = rc < 0 ? 1 : 0;
    if (rc < 0)
        say_error("store", "cannot read topic %s: %s", t.name,
                  rc == -ENOENT ? "there is no such topic" : err_sentence(rc));
    for (size_t i = 0; i < t.flaw_count; i++) {
        const struct flaw *f = &t.flaws[i];
        if (flaw_is_torn_tail(&t, f))
            continue;
        say_error("store", "damage: %s from=%" PRIu64 " to=%" PRIu64, f->what, f->from, f->to);
        code = 1;
    }
    topic_files_fini(&t);
    return code;
}

int data_dump(const char *path, slice topic, uint64_t from, uint64_t to)
{
    struct data_dir dir;
    bool aside = slice_starts(topic, SLICE("diverged/"));
    slice name = slice_skip(topic, aside ? strlen("diverged/") : 0);
    size_t most = aside ? NAME_ASIDE_MAX : TOPIC_NAME_MAX;
    if (name.n == 0 || name.n > most || name.p[0] == '.' || memchr(name.p, '/', name.n)) {
        say_error("store", "not a topic name: %.*s", SLICE_ARGS(topic));
        return EXIT_DATA;
    }
    char *topic_name = mem_copy(name.p, name.n);
    struct dump d = {.topic = topic_name, .from = from, .to = to};
    int code = data_dir_open(&dir, path, aside) < 0 ? EXIT_DATA : dump_topic(&dir, &d, aside ? "diverged" : "topics");
    data_dir_close(&dir);
    mem_free(topic_name);
    buf_fini(&d.line);
    return code;
}
