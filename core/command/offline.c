/* lignum verify and lignum dump: reading a data directory that no broker uses, with the scan of recovery. */
#include "command/offline.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/lock.h"
#include "store/disk/path.h"
#include "store/format/checkpoint.h"
#include "store/format/scan.h"
#include "store/log/store.h"

enum { NAME_ASIDE_MAX = TOPIC_NAME_MAX + 40 };   /* a topic's, an offset, milliseconds */

/* Something that is not as it should be: offsets [from, to) cannot be read. */
struct flaw {
    uint64_t file, from, to;
    bool at_end;             /* of a file that was being written, or nothing valid follows */
    const char *what;
};

/* A topic as its files tell it. */
struct survey {
    const char *root, *folder, *name;      /* folder: topics or diverged */
    const struct state *state;
    uint64_t *files;         /* owned; first offsets, in order */
    size_t files_count;
    uint64_t messages, bytes, next, disk;
    uint32_t crc;            /* over the checksums of all batches: two copies of a topic can be compared by it */
    struct flaw *flaws;      /* owned */
    size_t flaws_count;
    void (*batch)(struct survey *sv, const struct batch_head *head, const char *bytes);
    uint64_t dump_from, dump_to;
    struct buf out;
};

static void flaw_add(struct survey *sv, struct flaw f)
{
    sv->flaws = mem_resize(sv->flaws, (sv->flaws_count + 1) * sizeof f);
    sv->flaws[sv->flaws_count++] = f;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int survey_list(struct survey *sv)
{
    uint64_t first;
    DIR *dir = opendir(path_of("%s/%s/%s", sv->root, sv->folder, sv->name).s);
    if (!dir)
        return -errno;
    for (struct dirent *e; (e = readdir(dir));)
        if (file_name_read(e->d_name, &first) < FILE_INDEX) {
            sv->files = mem_resize(sv->files, (sv->files_count + 1) * sizeof *sv->files);
            sv->files[sv->files_count++] = first;
        }
    closedir(dir);
    if (sv->files_count)
        qsort(sv->files, sv->files_count, sizeof *sv->files, by_number);
    return 0;
}

static int survey_head(struct survey *sv, struct reader *r, uint64_t first)
{
    const char *p;
    struct file_head head;
    unsigned version = 0;
    ssize_t n = reader_get(r, 0, FILE_HEAD_SIZE, &p);
    int rc = n < FILE_HEAD_SIZE ? -ERR_DAMAGED : file_head_read((const unsigned char *)p, &head, &version);
    if (rc == -ERR_FORMAT)
        flaw_add(sv, (struct flaw){first, first, first, false, "not a Lignum file, or of a newer version"});
    else if (rc < 0 || head.first != first)
        flaw_add(sv, (struct flaw){first, first, first, true, "bad file header"});
    return rc == -ERR_FORMAT ? rc : 0;
}

static void survey_batch(struct survey *sv, const struct batch_head *head, const char *bytes)
{
    sv->messages += head->count;
    sv->bytes += head->size;
    sv->crc = sv->crc * 31 + head->crc;
    if (head->disk > sv->disk && state_led(sv->state, head->epoch))
        sv->disk = head->disk;
    if (sv->batch)
        sv->batch(sv, head, bytes);
}

/* After the last valid batch: is what follows fine? 1 to go on behind bad bytes, 0, or -errno. */
static int survey_bad(struct survey *sv, struct reader *r, struct scan *s, uint64_t first, bool sealed)
{
    uint64_t from = s->next;
    int rc = scan_resync(r, s);
    if (rc >= 0)
        flaw_add(sv, (struct flaw){first, from, s->next, rc == 0 || !sealed, "bad bytes"});
    return rc;
}

static int survey_tail(struct survey *sv, struct reader *r, const struct scan *s, uint64_t first, bool sealed)
{
    uint64_t end = s->position;
    int rc = reader_last_byte(r, s->position, &end);
    if (rc == 0 && end > s->position)
        flaw_add(sv, (struct flaw){first, s->next, s->next, true, "bytes after the last batch"});
    if (rc == 0 && sealed)
        flaw_add(sv, (struct flaw){first, s->next, s->next, false, "end record missing"});
    return rc;
}

static int survey_batches(struct survey *sv, struct reader *r, struct scan *s, uint64_t first, bool sealed)
{
    struct batch_head head;
    const char *bytes;
    for (;;) {
        int found = scan_next(r, s, &head, &bytes);
        if (found == SCAN_BATCH)
            survey_batch(sv, &head, bytes);
        else if (found == SCAN_END)
            return survey_tail(sv, r, s, first, sealed);
        else if (found == SCAN_SEALED || found < 0)
            return found < 0 ? found : 0;
        else if ((found = survey_bad(sv, r, s, first, sealed)) <= 0)
            return found;
    }
}

static int survey_open(struct survey *sv, uint64_t first, bool *sealed)
{
    for (int kind = FILE_ACTIVE; kind <= FILE_SEALED; kind++) {
        struct path path = path_of("%s/%s/%s/%0*" PRIu64 "%s", sv->root, sv->folder, sv->name, FILE_DIGITS, first,
                                   file_suffix[kind]);
        int fd = open(path.s, O_RDONLY | O_CLOEXEC);
        *sealed = kind == FILE_SEALED;
        if (fd >= 0 || errno != ENOENT)
            return fd < 0 ? -errno : fd;
    }
    return -ENOENT;
}

static int survey_file(struct survey *sv, uint64_t first)
{
    bool sealed;
    struct reader r = {0};
    struct scan s;
    int fd = survey_open(sv, first, &sealed);
    int rc = fd < 0 ? fd : reader_init(&r, fd);
    if (rc < 0)
        return rc;
    rc = survey_head(sv, &r, first);
    if (rc == 0)
        rc = scan_begin(&r, first, &s);
    if (rc == 0)
        rc = survey_batches(sv, &r, &s, first, sealed);
    if (rc == 0)
        sv->next = s.next;
    reader_fini(&r);
    close(fd);
    return rc == -ERR_FORMAT ? 0 : rc;
}

static int survey_topic(struct survey *sv)
{
    struct checkpoint c;
    int rc = survey_list(sv);
    if (checkpoint_load(path_of("%s/%s/%s/checkpoint", sv->root, sv->folder, sv->name).s, &c) == 0)
        sv->disk = c.disk;
    for (size_t i = 0; rc == 0 && i < sv->files_count; i++) {
        if (i > 0 && sv->files[i] != sv->next)
            flaw_add(sv, (struct flaw){sv->files[i], sv->next, sv->files[i], true, "missing before this file"});
        rc = survey_file(sv, sv->files[i]);
    }
    if (rc == 0 && sv->disk > sv->next)
        flaw_add(sv, (struct flaw){sv->next, sv->next, sv->disk, false, "missing at the end"});
    return rc;
}

static void survey_fini(struct survey *sv)
{
    mem_free(sv->files);
    mem_free(sv->flaws);
    buf_fini(&sv->out);
}

/* -- verify ----------------------------------------------------------------------------------------------- */

static bool flaw_torn(const struct survey *sv, const struct flaw *f)
{
    return f->at_end && f->from >= sv->disk;
}

/* Prints a topic. The number of its damages. */
static unsigned verify_print(const struct survey *sv)
{
    unsigned damages = 0;
    const char *what = strcmp(sv->folder, "topics") == 0 ? "topic " : "set aside diverged/";
    printf("%s%s: files %zu, messages %" PRIu64 ", bytes %" PRIu64 ", next %" PRIu64 ", sum %08" PRIx32 "\n", what,
           sv->name, sv->files_count, sv->messages, sv->bytes, sv->next, sv->crc);
    for (size_t i = 0; i < sv->flaws_count; i++) {
        const struct flaw *f = &sv->flaws[i];
        bool torn = flaw_torn(sv, f);
        damages += !torn;
        printf("  %s: %s, file %020" PRIu64 ", offsets %" PRIu64 " to %" PRIu64 "%s\n", torn ? "torn tail" : "DAMAGE",
               f->what, f->file, f->from, f->to,
               torn ? " (never acknowledged as durable; the next start sets it aside)" : "");
    }
    return damages;
}

struct offline {
    int root_fd, lock_fd;
    struct state state;
};

static int offline_begin(struct offline *o, const char *path)
{
    struct buf why = {0};
    o->root_fd = o->lock_fd = -1;
    o->state = (struct state){.led = {{0, UINT64_MAX}}, .led_count = 1};   /* not known: what it says, binds */
    int rc = lock_take(path, true, &o->root_fd, &o->lock_fd, &why);
    if (rc == 0)
        state_load(path, &o->state);
    if (rc < 0)
        say_error("store", "%.*s", SLICE_ARGS(buf_slice(&why)));
    buf_fini(&why);
    return rc;
}

static void offline_end(struct offline *o)
{
    if (o->root_fd >= 0)
        close(o->root_fd);
    if (o->lock_fd >= 0)
        close(o->lock_fd);
    buf_fini(&o->state.unknown);
}

struct verdict {
    unsigned topics, aside, damages;
    uint64_t messages;
};

/* What was set aside is nobody's history: it is shown, and neither counted among the messages nor as damage. */
static void verify_topic(const struct offline *o, struct survey sv, struct verdict *v)
{
    sv.state = &o->state;
    bool topic = strcmp(sv.folder, "topics") == 0;
    int rc = survey_topic(&sv);
    unsigned damages = rc < 0;
    if (rc < 0)
        printf("%s/%s: cannot be read: %s\n", sv.folder, sv.name, err_sentence(rc));
    else
        damages = verify_print(&sv);
    v->topics += topic;
    v->aside += !topic;
    v->damages += topic ? damages : 0;
    v->messages += topic ? sv.messages : 0;
    survey_fini(&sv);
}

static void verify_folder(const struct offline *o, const char *path, const char *folder, struct verdict *v)
{
    struct dirent **names;
    int n = scandir(path_of("%s/%s", path, folder).s, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.')
            verify_topic(o, (struct survey){.root = path, .folder = folder, .name = names[i]->d_name}, v);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

static int verify_all(const struct offline *o, const char *path)
{
    struct verdict v = {0};
    verify_folder(o, path, "topics", &v);
    verify_folder(o, path, "diverged", &v);
    if (v.aside)
        printf("set aside %u (lignum dump diverged/NAME shows one)\n", v.aside);
    printf("topics %u, messages %" PRIu64 ", damages %u\n", v.topics, v.messages, v.damages);
    return v.damages ? 1 : 0;
}

int store_verify(const char *path)
{
    struct offline o;
    int code = offline_begin(&o, path) < 0 ? EXIT_DATA : verify_all(&o, path);
    offline_end(&o);
    return code;
}

/* -- dump ------------------------------------------------------------------------------------------------- */

static void json_text(struct buf *out, const char *name, const char *base64_name, slice bytes)
{
    bool text = utf8_valid(bytes);
    json_key(out, slice_from(text ? name : base64_name));
    if (text) {
        json_string(out, bytes);
        return;
    }
    buf_add_char(out, '"');
    base64_add(out, bytes);
    buf_add_char(out, '"');
}

static void json_headers(struct buf *out, slice rest)
{
    slice name, value;
    json_key(out, SLICE("headers"));
    buf_add_char(out, '{');
    while (header_read(&rest, &name, &value)) {
        json_key(out, name);
        json_string(out, value);
    }
    buf_add_char(out, '}');
}

static void dump_message(struct survey *sv, const struct batch_head *head, uint64_t offset, const struct message *m)
{
    struct buf *out = &sv->out;
    buf_clear(out);
    buf_add_char(out, '{');
    json_key(out, SLICE("topic"));
    json_string(out, slice_from(sv->name));
    buf_addf(out, ",\"offset\":%" PRIu64 ",\"epoch\":%" PRIu64 ",\"time\":\"", offset, head->epoch);
    clock_format(out, head->time_ms);
    buf_add_char(out, '"');
    if (m->key.p)
        json_text(out, "key", "key_base64", m->key);
    if (m->headers.n)
        json_headers(out, m->headers);
    json_text(out, "data", "base64", m->payload);
    buf_addf(out, "}\n");
    fwrite(out->data + out->at, 1, buf_size(out), stdout);
}

static void dump_batch(struct survey *sv, const struct batch_head *head, const char *bytes)
{
    slice rest = slice_of(bytes + BATCH_HEAD_SIZE, head->size - BATCH_HEAD_SIZE);
    struct message m;
    uint64_t offset = head->first;
    for (uint32_t i = 0; i < head->count && message_read(&rest, &m) == 0; i++, offset++)
        if (offset >= sv->dump_from && offset < sv->dump_to)
            dump_message(sv, head, offset, &m);
}

static int dump_topic(struct survey *sv)
{
    int rc = survey_topic(sv);
    int code = rc < 0;
    if (rc < 0)
        say_error("store", "cannot read topic %s: %s", sv->name,
                  rc == -ENOENT ? "there is no such topic" : err_sentence(rc));
    for (size_t i = 0; i < sv->flaws_count; i++) {
        const struct flaw *f = &sv->flaws[i];
        if (flaw_torn(sv, f))
            continue;
        say_error("store", "damage: %s from=%" PRIu64 " to=%" PRIu64, f->what, f->from, f->to);
        code = 1;
    }
    survey_fini(sv);
    return code;
}

static bool dump_name_ok(slice name, bool aside)
{
    size_t most = aside ? NAME_ASIDE_MAX : TOPIC_NAME_MAX;
    return name.n > 0 && name.n <= most && name.p[0] != '.' && !memchr(name.p, '/', name.n);
}

int store_dump(const char *path, slice topic, uint64_t from, uint64_t to)
{
    struct offline o;
    int code = EXIT_DATA;
    bool aside = slice_starts(topic, SLICE("diverged/"));
    slice bare = slice_skip(topic, aside ? strlen("diverged/") : 0);
    char *name = mem_copy(bare.p, bare.n);
    if (!dump_name_ok(bare, aside))
        say_error("store", "not a topic name: %.*s", SLICE_ARGS(topic));
    else {
        if (offline_begin(&o, path) == 0)
            code = dump_topic(&(struct survey){.root = path, .folder = aside ? "diverged" : "topics", .name = name,
                                               .state = &o.state, .batch = dump_batch, .dump_from = from,
                                               .dump_to = to});
        offline_end(&o);
    }
    mem_free(name);
    return code;
}
