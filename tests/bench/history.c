/*
 * A long history on little disk: appends to a topic of a stopped node, through the store as a node does, but only the
 * first page of each write reaches the file; the rest are holes. Everything that a node reads when it starts, publishes
 * and trims is real: names, heads, indexes, end records, checkpoint. The messages cannot be read.
 *
 *     history DATA TOPIC GIGABYTES
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/disk/io.h"
#include "store/log/journal_struct.h"
#include "store/log/store_struct.h"
#include "store/recovery/open.h"

enum { PAGE = 4 * KIB, MESSAGES = 7 };   /* of a largest batch */

static _Noreturn void give_up(const char *what, int rc)
{
    fprintf(stderr, "history: %s: %s\n", what, err_sentence(rc));
    exit(1);
}

static int make_longer(int fd, off_t size)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -1;
    return st.st_size < size ? ftruncate(fd, size) : 0;
}

static ssize_t write_first_page(int fd, const void *p, size_t n, off_t at)
{
    size_t some = n < PAGE ? n : PAGE;
    if (make_longer(fd, at + (off_t)n) < 0 || pwrite(fd, p, some, at) != (ssize_t)some)
        return -1;
    return (ssize_t)n;
}

static int make_hole(int fd, off_t from, off_t n)
{
    return make_longer(fd, from + n) < 0 ? errno : 0;
}

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

/* The identity of the topic, from the head of its only file, which is in data/small (doc/format.md). */
static struct topic_id id_of(const char *data, const char *topic)
{
    unsigned char bytes[FILE_HEAD_SIZE];
    struct file_head head;
    unsigned version;
    struct path path = path_of("%s/small/%s", data, topic);
    int fd = open(path.s, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, bytes, sizeof bytes) != sizeof bytes || file_head_read(bytes, &head, &version) < 0)
        give_up(path.s, -ERR_FORMAT);
    close(fd);
    return head.topic;
}

static struct buf largest_batch(void)
{
    struct buf messages = {0};
    char *payload = mem_new(PAYLOAD_SIZE_MAX);
    for (int i = 0; i < MESSAGES; i++)
        message_write(&messages, &(struct message){.payload = slice_of(payload, PAYLOAD_SIZE_MAX)});
    mem_free(payload);
    return messages;
}

static void append_all(struct store *s, struct journal *j, uint64_t bytes)
{
    struct buf messages = largest_batch();
    struct append a = {.messages = buf_slice(&messages), .count = MESSAGES, .epoch = j->marks.epoch,
                       .time_ms = j->marks.time_ms};
    uint64_t first;
    for (uint64_t done = 0; done < bytes; done += messages.end) {
        int rc = journal_append(j, &a, &first);
        if (rc < 0)
            give_up("append", rc);
        store_flush(s);
        store_sync(s);
        store_collect(s);
    }
    buf_fini(&messages);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 64;
    struct store *s;
    struct journal *j;
    struct buf why = {0};
    struct journal_options o = {
        .id = id_of(argv[1], argv[2]), .segment_bytes = SEGMENT_BYTES_DEFAULT,
        .segment_messages = SEGMENT_MESSAGES_DEFAULT, .durability = DURABILITY_COMMIT,
    };
    io.pwrite = write_first_page;
    io.allocate = make_hole;
    io.sync_data = io.sync_all = io.sync_fs = no_sync;
    int rc = store_open(&(struct store_options){.path = argv[1], .node_name = "history"}, &s, &why);
    if (rc < 0)
        give_up(mem_copy(why.data, buf_size(&why)), rc);
    rc = journal_open(s, slice_from(argv[2]), &o, &j);
    if (rc < 0)
        give_up(argv[2], rc);
    append_all(s, j, (uint64_t)(strtod(argv[3], NULL) * 1e9));
    store_close(s);
    return 0;
}
