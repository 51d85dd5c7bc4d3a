#include "command/topic_files.h"

#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/lock.h"
#include "store/disk/log_files.h"
#include "store/disk/path.h"
#include "store/format/checkpoint.h"
#include "store/format/origin.h"
#include "store/format/scan.h"

int data_dir_open(struct data_dir *d, const char *path, bool aside)
{
    struct buf why = {0};
    *d = (struct data_dir){.path = path, .root_fd = -1, .lock_fd = -1};
    d->state = (struct state){.led = {{0, UINT64_MAX}}, .led_count = 1};   /* then every stated disk mark binds */
    int rc = aside ? 0 : lock_take(path, true, &d->root_fd, &d->lock_fd, &why);
    if (rc == 0)
        state_load(path, &d->state);
    if (rc == 0)
        d->ends = ends_open(path_of("%s/ends", path).s, &d->state.cluster);
    else
        say_error("store", "%.*s", SLICE_ARGS(buf_slice(&why)));
    buf_fini(&why);
    return rc;
}

void data_dir_close(struct data_dir *d)
{
    if (d->root_fd >= 0)
        close(d->root_fd);
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    ends_close(d->ends);
    buf_fini(&d->state.unknown);
}

bool flaw_is_torn_tail(const struct topic_files *t, const struct flaw *f)
{
    return f->at_end && f->from >= t->disk;
}

static void flaw_add(struct topic_files *t, struct flaw f)
{
    t->flaws = mem_resize(t->flaws, (t->flaw_count + 1) * sizeof f);
    t->flaws[t->flaw_count++] = f;
}

/* Reads one file whole. Then t->next is the offset after its last message. 0 or -errno. */
static int read_file(struct topic_files *t, struct reader *r, uint64_t first, bool sealed)
{
    const char *bytes;
    struct file_head file_head;
    struct batch_head head;
    struct origin origin;
    struct scan s;
    unsigned version = 0;
    ssize_t n = reader_get(r, 0, FILE_HEAD_SIZE, &bytes);
    int rc = n < FILE_HEAD_SIZE ? -ERR_DAMAGED : file_head_read((const unsigned char *)bytes, &file_head, &version);
    if (rc == -ERR_FORMAT) {
        flaw_add(t, (struct flaw){first, first, first, false, "not a Lignum file, or of a newer version"});
        return 0;
    }
    if (rc == 0)
        t->id = file_head.topic;
    if (rc < 0 || file_head.first != first)
        flaw_add(t, (struct flaw){first, first, first, true, "bad file header"});
    rc = scan_begin(r, first, &s);
    int found = SCAN_BATCH;
    while (rc == 0 && found != SCAN_END && found != SCAN_SEALED) {
        found = scan_next(r, &s, &head, &bytes);
        if (found < 0) {
            rc = found;
        } else if (found == SCAN_BATCH) {
            t->messages += head.count;
            t->bytes += head.size;
            t->crc = t->crc * 31 + head.crc;
            if (head.disk > t->disk && state_led(&t->dir->state, head.epoch))
                t->disk = head.disk;
            if (origin_read(bytes, &head, &origin) < 0)
                flaw_add(t, (struct flaw){first, head.first, head.first + head.count, false, "unknown origin"});
            t->origins += head.origin > 0;
            if (t->on_batch)
                t->on_batch(t->arg, &head, bytes);
        } else if (found == SCAN_BAD) {
            uint64_t from = s.next;
            int more = scan_resync(r, &s);
            if (more < 0)
                return more;
            flaw_add(t, (struct flaw){first, from, s.next, more == 0 || !sealed, "bad bytes"});
            if (more == 0)
                break;
        } else if (found == SCAN_END) {
            uint64_t end = s.position;
            rc = reader_last_byte(r, s.position, &end);
            if (rc == 0 && end > s.position)
                flaw_add(t, (struct flaw){first, s.next, s.next, true, "bytes after the last batch"});
            if (rc == 0 && sealed)
                flaw_add(t, (struct flaw){first, s.next, s.next, false, "end record missing"});
        }
    }
    if (rc == 0)
        t->next = s.next;
    return rc;
}

/* How far data/ends says that the topic was on the disk; 0: it does not, or of a deleted one of that name. */
static uint64_t end_of(const struct topic_files *t)
{
    const struct topic_end *end = ends_find(t->dir->ends, slice_from(t->name));
    bool same = end && (t->count == 0 || (end->id.epoch == t->id.epoch && end->id.offset == t->id.offset));
    return same && strcmp(t->folder, "topics") == 0 ? end->next : 0;
}

int topic_files_read(struct topic_files *t)
{
    struct checkpoint c;
    bool own = false;
    struct reader r = {0};
    struct log_files files;
    struct path folder = path_of("%s/%s/%s", t->dir->path, t->folder, t->name);
    struct path small = small_path(t->dir->path, t->name);
    int rc = log_files_list(&files, folder.s, strcmp(t->folder, "topics") == 0 ? small.s : NULL);
    if (rc == -ENOENT && end_of(t) > 0)
        rc = 0;                        /* its file is missing */
    t->count = files.count;
    if (checkpoint_load(path_of("%s/checkpoint", folder.s).s, &c) == 0) {
        t->disk = c.disk;
        own = true;
    }
    for (size_t i = 0; rc == 0 && i < t->count; i++) {
        bool sealed;
        if (i > 0 && files.firsts[i] != t->next)
            flaw_add(t, (struct flaw){files.firsts[i], t->next, files.firsts[i], true, "missing before this file"});
        int fd = log_files_open(&files, i, &sealed);
        rc = fd < 0 ? fd : reader_init(&r, fd);
        if (rc == 0)
            rc = read_file(t, &r, files.firsts[i], sealed);
        if (fd >= 0)
            close(fd);
    }
    if (rc == 0 && !own && end_of(t) > t->disk)
        t->disk = end_of(t);
    if (rc == 0 && t->disk > t->next)
        flaw_add(t, (struct flaw){t->next, t->next, t->disk, false, "missing at the end"});
    reader_fini(&r);
    log_files_fini(&files);
    return rc;
}

void topic_files_fini(struct topic_files *t)
{
    mem_free(t->flaws);
}
