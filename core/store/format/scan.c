#include "store/format/scan.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"

enum {
    READER_ALIGN = 4096,           /* enough for O_DIRECT on all known disks */
    READER_CHUNK = 256 * KIB,      /* stays in the CPU cache between the copy and the checksum */
};

/* Where the bytes end that were written. Allocated space behind them reads as zeros, but reading it takes time and page
 * cache. */
static uint64_t data_end(int fd, uint64_t size)
{
    uint64_t end = 0;
    for (off_t at = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0; end = (uint64_t)at)
        if ((at = lseek(fd, at, SEEK_HOLE)) < 0)
            return size;
    return errno == ENXIO ? end : size;
}

int reader_init(struct reader *r, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    *r = (struct reader){.fd = fd, .size = data_end(fd, (uint64_t)st.st_size), .data = r->data, .cap = r->cap};
    return 0;
}

void reader_fini(struct reader *r)
{
    free(r->data);
    *r = (struct reader){.fd = -1};
}

static uint64_t align_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

static void reader_grow(struct reader *r, size_t cap)
{
    free(r->data);
    r->data = aligned_alloc(READER_ALIGN, cap);
    ENSURE(r->data != NULL);
    r->cap = cap;
    r->n = 0;
}

/* Fills the buffer from the aligned position below `position`. */
static int reader_fill(struct reader *r, uint64_t position, size_t n)
{
    uint64_t at = position / READER_ALIGN * READER_ALIGN;
    size_t want = (size_t)align_up(position - at + n, READER_CHUNK);
    if (want > r->cap)
        reader_grow(r, want);
    uint64_t left = align_up(r->size, READER_ALIGN) - at;
    if (want > left)
        want = (size_t)left;           /* behind that is only allocated space: keep it out of the page cache */
    r->at = at;
    r->n = 0;
    while (r->n < want && at + r->n < r->size) {
        ssize_t got = pread(r->fd, r->data + r->n, want - r->n, (off_t)(at + r->n));
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        r->n += (size_t)got;
    }
    return 0;
}

ssize_t reader_get(struct reader *r, uint64_t position, size_t n, const char **p)
{
    if (position >= r->size)
        return 0;
    if (n > r->size - position)
        n = (size_t)(r->size - position);
    if (position < r->at || position + n > r->at + r->n) {
        int rc = reader_fill(r, position, n);
        if (rc < 0)
            return rc;
    }
    size_t skip = (size_t)(position - r->at);
    *p = r->data + skip;
    return r->n > skip ? (ssize_t)(r->n - skip) : 0;
}

static bool all_zero(const char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

int reader_last_byte(struct reader *r, uint64_t from, uint64_t *end)
{
    *end = from;
    for (uint64_t at = from; at < r->size;) {
        const char *p;
        ssize_t n = reader_get(r, at, 1, &p);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        if (!all_zero(p, (size_t)n)) {
            size_t last = (size_t)n;
            while (p[last - 1] == 0)
                last--;
            *end = at + last;
        }
        at += (uint64_t)n;
    }
    return 0;
}

int scan_begin(struct reader *r, uint64_t first, struct scan *s)
{
    const char *head;
    ssize_t n = reader_get(r, 0, FILE_HEAD_SIZE, &head);
    if (n < 0)
        return (int)n;
    size_t here = (size_t)n < FILE_HEAD_SIZE ? (size_t)n : FILE_HEAD_SIZE;
    *s = (struct scan){.position = FILE_HEAD_SIZE, .next = first, .crc = here ? crc32c(0, head, here) : 0};
    return 0;
}

/* Whether the batch or end record with this header is valid, and may follow s. SCAN_BATCH, SCAN_SEALED, SCAN_BAD or
 * -errno. */
static int scan_check(struct reader *r, struct scan *s, struct batch_head *head, const char **bytes)
{
    ssize_t n = reader_get(r, s->position, head->size, bytes);
    if (n < 0)
        return (int)n;
    if ((size_t)n < head->size || !batch_valid(*bytes, head, s->next))
        return SCAN_BAD;
    if (head->epoch < s->epoch) {
        s->older_next = head->first + head->count;
        return SCAN_BAD;
    }
    bool origins = head->flags & BATCH_FLAG_ORIGINS;
    if (batch_is_end(head))
        return s->broken || (end_record_file_crc(*bytes) == s->crc && origins == s->origins) ? SCAN_SEALED : SCAN_BAD;
    return SCAN_BATCH;
}

int scan_next(struct reader *r, struct scan *s, struct batch_head *head, const char **bytes)
{
    *bytes = NULL;
    ssize_t n = reader_get(r, s->position, BATCH_HEAD_SIZE, bytes);
    if (n < 0)
        return (int)n;
    size_t here = (size_t)n < BATCH_HEAD_SIZE ? (size_t)n : BATCH_HEAD_SIZE;
    if (all_zero(*bytes, here))
        return SCAN_END;
    if (here < BATCH_HEAD_SIZE || batch_head_read(*bytes, head) < 0)
        return SCAN_BAD;
    int found = scan_check(r, s, head, bytes);
    if (found != SCAN_BATCH)
        return found;
    s->crc = crc32c(s->crc, *bytes, head->size);
    s->position += head->size;
    s->next += head->count;
    s->epoch = head->epoch;
    s->time_ms = head->time_ms;
    s->origins = s->origins || head->origin > 0;
    return SCAN_BATCH;
}

/* Whether a batch with this header can follow s at this distance: each lost message took at least its own header. */
static bool resync_possible(const struct scan *s, const struct batch_head *h, uint64_t distance)
{
    bool after = batch_is_end(h) ? h->first >= s->next : h->first > s->next;
    return after && h->first - s->next <= distance / MESSAGE_HEAD_SIZE && h->epoch >= s->epoch;
}

/* Tries one position. 1, and *to is there; 0; or -errno. */
static int resync_at(struct reader *r, const struct scan *s, uint64_t at, struct scan *to)
{
    const char *p;
    struct batch_head head;
    if (reader_get(r, at, BATCH_HEAD_SIZE, &p) < BATCH_HEAD_SIZE || batch_head_read(p, &head) < 0)
        return 0;
    if (!resync_possible(s, &head, at - s->position))
        return 0;
    struct scan candidate = *s;
    candidate.position = at;
    candidate.next = head.first;
    candidate.broken = true;
    int found = scan_check(r, &candidate, &head, &p);
    if (found == SCAN_BATCH || found == SCAN_SEALED)
        *to = candidate;
    return found < 0 ? found : found == SCAN_BATCH || found == SCAN_SEALED;
}

/* A cheap test that every batch header passes: sizes and counts are small, the size is not 0, few flags exist. */
static bool may_be_head(const char *p)
{
    bool flags = p[21] == 0 && (p[20] & ~(BATCH_FLAG_END | BATCH_FLAG_PEERS | BATCH_FLAG_ORIGINS)) == 0;
    return flags && p[3] == 0 && (p[0] | p[1] | p[2]) != 0 && p[19] == 0;
}

int scan_resync(struct reader *r, struct scan *s)
{
    for (uint64_t at = s->position; at + BATCH_HEAD_SIZE <= r->size;) {
        const char *p;
        ssize_t n = reader_get(r, at, BATCH_HEAD_SIZE, &p);
        if (n < BATCH_HEAD_SIZE)
            return n < 0 ? (int)n : 0;
        size_t i = 0, last = (size_t)n - BATCH_HEAD_SIZE;
        while (i <= last && !may_be_head(p + i))
            i++;
        at += i;
        if (i > last)
            continue;
        int rc = resync_at(r, s, at, s);
        if (rc != 0)
            return rc;
        at++;
    }
    return 0;
}
