/*
 * Arbitrary bytes as the file of a topic: recovery, then reading from every offset. Neither may crash, and reads must
 * return batches with valid checksums and consecutive offsets.
 *
 * The bits of the first byte choose: .qwal or .log; after a clean stop or not; whether checksums of what looks like a
 * header or a batch are corrected first, so that the fuzzer gets past them.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/err.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/journal_struct.h"
#include "store/log/store_struct.h"
#include "store/recovery/open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEALED = 1, CLEAN = 2, REPAIR = 4, SIZE_MAX_TRIED = 64 * KIB };

static struct store *store;

static int sync_nothing(int fd)
{
    (void)fd;
    return 0;
}

static void open_once(void)
{
    static char root[] = "/dev/shm/fuzz_segment.XXXXXX";
    if (store)
        return;
    say_set_level(SAY_ERROR + 1);
    io.sync_data = io.sync_all = io.sync_fs = sync_nothing;
    ENSURE(mkdtemp(root) != NULL);
    struct store_options o = {.path = root, .node_name = "fuzz", .files_max = 4};
    struct buf why = {0};
    ENSURE(store_open(&o, &store, &why) == 0);
    memset(&store->disk.state.cluster, 7, sizeof store->disk.state.cluster);
}

static void repair_head(char *file)
{
    struct file_head head = {.topic = {1, 5}, .epoch = 1};
    memset(&head.cluster, 7, sizeof head.cluster);
    file_head_write((unsigned char *)file, &head);
}

/* Corrects the header, and the checksums of what looks like batches. */
static void repair(char *file, size_t size)
{
    if (size < FILE_HEAD_SIZE)
        return;
    repair_head(file);
    struct batch_head head;
    for (size_t at = FILE_HEAD_SIZE; at + BATCH_HEAD_SIZE <= size; at += head.size) {
        if (batch_head_read(file + at, &head) < 0 || head.size > size - at)
            return;
        batch_head_write(file + at, &head);
    }
}

static void put_file(const char *path, const char *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    ENSURE(f != NULL);
    ENSURE(fwrite(bytes, 1, size, f) == size);
    fclose(f);
}

static void check_batches(slice bytes, uint64_t next)
{
    uint64_t expected = UINT64_MAX;
    while (bytes.n > 0) {
        struct batch_head head;
        ENSURE(bytes.n >= BATCH_HEAD_SIZE);
        ENSURE(batch_head_read(bytes.p, &head) == 0);
        ENSURE(head.size <= bytes.n);
        ENSURE(batch_valid(bytes.p, &head, expected == UINT64_MAX ? head.first : expected));
        expected = head.first + head.count;
        bytes = slice_skip(bytes, head.size);
    }
    ENSURE(expected == UINT64_MAX || expected == next);
}

static void read_everywhere(struct journal *j)
{
    struct buf out = {0};
    uint64_t first = journal_first(j), count = j->marks.written - first;
    for (uint64_t i = 0; i < count && i < 200; i++) {
        uint64_t next, offset;
        buf_clear(&out);
        if (journal_read(j, first + i, UINT64_MAX, 4096, &out, &next) == 0)
            check_batches(buf_slice(&out), next);
        journal_at_time(j, (int64_t)i, &offset);
        struct file_range range;
        if (journal_range(j, first + i, UINT64_MAX, 4096, &range) < 0)
            continue;
        buf_fini(&range.bytes);
        if (range.fd >= 0)
            close(range.fd);
    }
    buf_fini(&out);
}

static void append_one(struct journal *j)
{
    struct append a = {.messages = SLICE("\1\0\0\0\xff\xff\0\0x"), .count = 1, .epoch = j->marks.epoch, .time_ms = 1};
    uint64_t first;
    int rc = journal_append(j, &a, &first);
    ENSURE(rc == 0);
    store_flush(store);
}

static void empty_folder(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; (e = readdir(dir));)
        unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
}

static void delete_topic(void)
{
    empty_folder(path_of("%s/topics/t", store->disk.root).s);
    ENSURE(rmdir(path_of("%s/topics/t", store->disk.root).s) == 0);
    empty_folder(path_of("%s/torn", store->disk.root).s);
}

static void try_topic(bool clean)
{
    struct journal_options o = {.id = {1, 5}, .segment_messages = 100, .segment_bytes = MIB};
    struct journal *j;
    store->last_run.clean = clean;
    if (journal_open(store, SLICE("t"), &o, &j) < 0)
        return;
    read_everywhere(j);
    struct sent sent;
    journal_sent(j, &(struct origin){ORIGIN_PRODUCER, SLICE("p"), 0, 0}, 1, &sent);
    if (j->marks.tail < UINT64_MAX / 2)
        append_one(j);
    store_sync_all(store);
    journal_close(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > SIZE_MAX_TRIED)
        return 0;
    open_once();
    size_t n = size - 1;
    char *file = malloc(n + 1);
    memcpy(file, data + 1, n);
    if (data[0] & REPAIR)
        repair(file, n);
    struct path dir = path_of("%s/topics/t", store->disk.root);
    ENSURE(mkdir(dir.s, 0700) == 0);
    put_file(path_of("%s/00000000000000000000%s", dir.s, data[0] & SEALED ? ".log" : ".qwal").s, file, n);
    free(file);
    try_topic(data[0] & CLEAN);
    delete_topic();
    return 0;
}
