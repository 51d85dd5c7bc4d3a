#include "store/replication/truncate_prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/store_struct.h"
#include "store/replication/set_aside.h"

struct preparation {
    struct background background;
    struct disk *disk;           /* outlives us */
    uint64_t first, tail;        /* of the file and the journal when it began */
    struct place at;             /* of the truncation */
    uint64_t end;                /* of what the file holds */
    struct path kept;            /* without .part */
    /* The disk thread's, while a step runs. */
    int in, out;                 /* owned; out: -1 when nothing is copied */
    struct reader reader;        /* owned */
    struct scan scan;
    uint64_t copied;             /* up to this position of the file */
    bool ended;
    int rc;
};

/* -- on the disk thread ----------------------------------------------------------------------------------- */

static int scan_step(struct preparation *p)
{
    struct batch_head head;
    const char *bytes;
    uint64_t until = p->scan.position + BACKGROUND_STEP;
    while (p->scan.position < p->at.position && p->scan.position < until) {
        int found = scan_next(&p->reader, &p->scan, &head, &bytes);
        if (found != SCAN_BATCH)
            return found < 0 ? found : -ERR_DAMAGED;
    }
    if (p->scan.position < p->at.position)
        return 0;
    return p->scan.position == p->at.position && p->scan.next == p->at.offset ? 0 : -ERR_DAMAGED;
}

/* Each step is fsynced: one fsync of everything at the end would keep group commits waiting. */
static int copy_step(struct preparation *p)
{
    uint64_t until = p->end - p->copied < BACKGROUND_STEP ? p->end : p->copied + BACKGROUND_STEP;
    int rc = io_copy(p->in, p->copied, until, p->out, p->copied - p->at.position + FILE_HEAD_SIZE);
    /* Out of the page cache: the loop, which truncates the file, would take most of the time to free it there. */
    posix_fadvise(p->in, (off_t)p->copied, (off_t)(until - p->copied), POSIX_FADV_DONTNEED);
    if (rc == 0)
        p->copied = until;
    return rc == 0 && io.sync_all(p->out) < 0 ? -errno : rc;
}

static void prepare_run(struct job *job)
{
    struct preparation *p = LIST_OWNER(job, struct preparation, background.job);
    p->rc = p->scan.position < p->at.position ? scan_step(p) : copy_step(p);
    p->ended = p->rc < 0 || (p->scan.position == p->at.position && p->copied == p->end);
}

/* -- on the loop thread ----------------------------------------------------------------------------------- */

static void close_files(struct preparation *p)
{
    reader_fini(&p->reader);
    if (p->in >= 0)
        close(p->in);
    if (p->out >= 0)
        close(p->out);
    p->in = p->out = -1;
}

static void remove_copy(struct preparation *p)
{
    disk_remove_dir(p->disk, path_of("%s.part", p->kept.s).s);
}

static void prepare_stepped(struct background *b)
{
    struct preparation *p = LIST_OWNER(b, struct preparation, background);
    if (!p->ended)
        return;
    background_end(b);
    close_files(p);
    if (p->rc < 0)
        remove_copy(p);                /* at once: it may be what filled the disk, and the caller may never ask again */
}

static void prepare_stopped(struct background *b)
{
    struct preparation *p = LIST_OWNER(b, struct preparation, background);
    close_files(p);
    remove_copy(p);
    mem_free(p);
}

static const struct background_kind prepare_kind = {
    .appends_stop_it = true, .stepped = prepare_stepped, .stopped = prepare_stopped,
};

static struct preparation *preparation_of(const struct journal *j)
{
    struct background *b = background_of_journal(&j->background, &prepare_kind);
    return b ? LIST_OWNER(b, struct preparation, background) : NULL;
}

bool truncate_prepare_running(const struct journal *j, uint64_t to)
{
    const struct preparation *p = preparation_of(j);
    return p && (p->background.running || !p->ended) && p->at.offset == to;
}

bool truncate_prepare_elsewhere(const struct journal *j)
{
    const struct background *b = background_of_store(&j->store->background, &prepare_kind);
    const struct preparation *ours = preparation_of(j);
    return b && (!ours || b != &ours->background);
}

static int open_files(struct preparation *p, struct segment *seg)
{
    char head[FILE_HEAD_SIZE];
    struct path part = path_of("%s.part", p->kept.s);
    p->in = io.open(segment_path(seg).s, O_RDONLY, 0);
    if (p->in < 0)
        return -errno;
    int rc = pread(p->in, head, sizeof head, 0) == sizeof head ? file_head_check(seg->dir, head, seg->first) : -EIO;
    if (rc == 0)
        rc = reader_init(&p->reader, p->in);
    if (rc == 0)
        rc = scan_begin(&p->reader, seg->first, &p->scan);
    if (rc == 0 && io.mkdir(part.s, 0750) < 0)
        rc = -errno;
    if (rc < 0 || p->copied == p->end)
        return rc;
    int fd = set_aside_begin(seg, p->at, part.s);
    if (fd < 0)
        return fd;
    p->out = fd;
    return 0;
}

static int begin(struct journal *j, struct segment *seg, struct place at)
{
    struct store *s = j->store;
    struct topic_dir *dir = &j->parts.dir;
    if (background_of_store(&s->background, &prepare_kind))
        return -ERR_BUSY;
    struct preparation *p = MEM_NEW(struct preparation);
    *p = (struct preparation){.disk = &s->disk, .first = seg->first, .tail = j->marks.tail, .at = at,
                              .copied = at.position, .end = seg->written, .kept = set_aside_path(dir, at.offset),
                              .in = -1, .out = -1};
    int rc = open_files(p, seg);
    if (rc < 0) {
        close_files(p);
        remove_copy(p);
        mem_free(p);
        return rc;
    }
    say_info("store", "prepares the truncation of a large file topic=%s file=%020" PRIu64 " from=%" PRIu64, dir->name,
             seg->first, at.offset);
    p->background = (struct background){.kind = &prepare_kind, .dir = dir, .job.run = prepare_run};
    background_begin(&p->background, &s->background, &j->background);
    return -ERR_BUSY;
}

int truncate_prepare_take(struct journal *j, struct segment *seg, struct place at, struct scan *scan,
                          struct path *kept)
{
    struct preparation *p = preparation_of(j);
    if (!p)
        return begin(j, seg, at);
    if (p->first != seg->first || p->tail != j->marks.tail || p->at.offset != at.offset || p->end != seg->written) {
        background_cancel(&p->background);
        return -ERR_BUSY;              /* the next call begins another: removing the copy may have freed the segment */
    }
    if (!p->ended || p->rc < 0)
        return p->ended ? p->rc : -ERR_BUSY;
    *scan = p->scan;
    *kept = p->kept;
    background_remove(&p->background);
    close_files(p);
    mem_free(p);
    return 0;
}
