#include "store/format/ends.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "store/disk/io.h"
#include "store/disk/path.h"

enum { ENDS_VERSION = 1 };

static const char MAGIC[8] = {'L', 'I', 'G', 'N', 'U', 'M', 'T', 'E'};

/* Then the entries, and the place of each in the file, in the order of names. */
struct ends_head {
    char magic[8];
    uint16_t version, unused;
    uint32_t crc;                /* of the rest of the file */
    struct id cluster;
    uint64_t size;               /* of the file */
    uint64_t count;
};

struct ends {
    const char *map;
    size_t size;
    const uint64_t *places;
    size_t count;
    bool *opened;                /* owned; of each entry */
};

static slice name_of(const struct topic_end *end)
{
    return slice_of((const char *)(end + 1), end->name_size);
}

/* -- writing ---------------------------------------------------------------------------------------------- */

void ends_add(struct ends_writer *w, slice name, const struct topic_end *end)
{
    if (w->count == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 64;
        w->places = mem_resize(w->places, w->cap * sizeof *w->places);
    }
    struct topic_end copy = *end;
    copy.name_size = (uint8_t)name.n;
    w->places[w->count++] = buf_size(&w->entries);
    buf_add(&w->entries, (const char *)&copy, sizeof copy);
    buf_add_slice(&w->entries, name);
    while (buf_size(&w->entries) % 8 != 0)
        buf_add_char(&w->entries, 0);
}

void ends_writer_fini(struct ends_writer *w)
{
    buf_fini(&w->entries);
    mem_free(w->places);
    *w = (struct ends_writer){0};
}

static int by_name(const void *a, const void *b, void *entries)
{
    const char *all = entries;
    return slice_compare(name_of((const struct topic_end *)(all + *(const uint64_t *)a)),
                         name_of((const struct topic_end *)(all + *(const uint64_t *)b)));
}

int ends_write(struct ends_writer *w, const char *path, const struct id *cluster)
{
    struct path new = path_of("%s.new", path);
    slice entries = buf_slice(&w->entries);
    size_t places = w->count * sizeof *w->places;
    struct ends_head head = {
        .version = ENDS_VERSION, .cluster = *cluster, .size = sizeof head + entries.n + places, .count = w->count,
    };
    memcpy(head.magic, MAGIC, sizeof MAGIC);
    if (w->count > 0)
        qsort_r(w->places, w->count, sizeof *w->places, by_name, w->entries.data + w->entries.at);
    for (size_t i = 0; i < w->count; i++)
        w->places[i] += sizeof head;
    head.crc = crc32c(0, &head.cluster, sizeof head - offsetof(struct ends_head, cluster));
    head.crc = crc32c(crc32c(head.crc, entries.p, entries.n), w->places, places);
    int fd = io.open(new.s, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    int rc = fd < 0 ? -errno : io_write(fd, &head, sizeof head, 0);
    if (rc == 0 && w->count > 0)
        rc = io_write(fd, entries.p, entries.n, sizeof head);
    if (rc == 0 && w->count > 0)
        rc = io_write(fd, w->places, places, sizeof head + entries.n);
    if (fd >= 0)
        close(fd);
    if (rc == 0 && io.rename(new.s, path) < 0)
        rc = -errno;
    if (rc < 0) {
        io.unlink(new.s);
        io.unlink(path);
    }
    return rc;
}

/* -- reading ---------------------------------------------------------------------------------------------- */

/* The places lie at the end. Each is that of an entry before them, with its name. */
static bool places_are_valid(const char *map, size_t size, uint64_t count)
{
    if (size % sizeof(uint64_t) != 0)
        return false;
    size_t end = size - count * sizeof(uint64_t);
    const uint64_t *places = (const uint64_t *)(map + end);
    for (uint64_t i = 0; i < count; i++) {
        if (places[i] % sizeof(uint64_t) != 0 || places[i] > end || end - places[i] < sizeof(struct topic_end))
            return false;
        const struct topic_end *entry = (const struct topic_end *)(map + places[i]);
        if (end - places[i] - sizeof(*entry) < entry->name_size)
            return false;
    }
    return true;
}

static bool is_valid(const char *map, size_t size, const struct id *cluster)
{
    const struct ends_head *head = (const struct ends_head *)map;
    size_t covered = offsetof(struct ends_head, cluster);
    return memcmp(head->magic, MAGIC, sizeof MAGIC) == 0 && head->version == ENDS_VERSION && head->size == size
        && head->count <= (size - sizeof *head) / sizeof(struct topic_end) && id_eq(&head->cluster, cluster)
        && head->crc == crc32c(0, map + covered, size - covered) && places_are_valid(map, size, head->count);
}

struct ends *ends_open(const char *path, const struct id *cluster)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    bool large = fstat(fd, &st) == 0 && (size_t)st.st_size >= sizeof(struct ends_head);
    void *map = large ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    close(fd);
    if (map == MAP_FAILED)
        return NULL;
    size_t size = (size_t)st.st_size;
    if (!is_valid(map, size, cluster)) {
        munmap(map, size);
        return NULL;
    }
    struct ends *e = MEM_NEW(struct ends);
    e->map = map;
    e->size = size;
    e->count = ((const struct ends_head *)map)->count;
    e->places = (const uint64_t *)(e->map + size) - e->count;
    e->opened = mem_new(e->count + 1);
    return e;
}

void ends_close(struct ends *e)
{
    if (!e)
        return;
    munmap((void *)(uintptr_t)e->map, e->size);
    mem_free(e->opened);
    mem_free(e);
}

static const struct topic_end *entry_at(const struct ends *e, size_t i)
{
    return (const struct topic_end *)(e->map + e->places[i]);
}

bool ends_name(const struct ends *e, size_t i, slice *name)
{
    if (!e || i >= e->count)
        return false;
    *name = name_of(entry_at(e, i));
    return true;
}

/* The place of the entry of this name among all; or their number. */
static size_t place_of(const struct ends *e, slice name)
{
    size_t low = 0, high = e->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = slice_compare(name_of(entry_at(e, mid)), name);
        if (order == 0)
            return mid;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return e->count;
}

const struct topic_end *ends_find(const struct ends *e, slice name)
{
    size_t i = e ? place_of(e, name) : 0;
    return e && i < e->count ? entry_at(e, i) : NULL;
}

void ends_note_opened(struct ends *e, slice name)
{
    if (e)
        e->opened[place_of(e, name)] = true;         /* there is one more for those without an entry */
}

void ends_keep(const struct ends *e, struct ends_writer *w)
{
    for (size_t i = 0; e && i < e->count; i++)
        if (!e->opened[i])
            ends_add(w, name_of(entry_at(e, i)), entry_at(e, i));
}
