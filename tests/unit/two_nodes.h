/*
 * What the tests of replication share: two nodes with a topic each, and sending what one has to the other.
 */
#ifndef UNIT_TWO_NODES_H
#define UNIT_TWO_NODES_H

#include <dirent.h>

#include "unit/journals.h"

/* Two nodes of one cluster with a topic "t" each. */
struct node {
    const char *path;
    struct store *store;
    struct journal *journal;
    struct journal_options options;
};

static void node_open(struct node *n, const char *path, const struct id *cluster)
{
    n->path = path;
    n->store = open_store_with((struct store_options){.path = path, .files_max = 4});
    if (cluster && !id_eq(cluster, &n->store->disk.state.cluster))
        CHECK_EQ(store_set_cluster(n->store, cluster), 0);
    n->journal = open_journal_with(n->store, "t", n->options);
    CHECK_EQ(n->journal->damage.count, 0);
}

static void node_stop(struct node *n, bool kill)
{
    if (kill)
        abandon_store(n->store);
    else
        store_close(n->store);
}

static void two_nodes(struct node *a, struct node *b, struct journal_options o)
{
    *a = *b = (struct node){.options = o};
    node_open(a, "data", NULL);
    node_open(b, "other", &a->store->disk.state.cluster);
}

static void stop_both(struct node *a, struct node *b, struct buf *out)
{
    node_stop(a, false);
    node_stop(b, false);
    buf_fini(out);
}

static int replicate_once(struct node *a, struct node *b, size_t bytes_max)
{
    struct buf out = {0};
    struct batch_run s;
    store_flush(a->store);
    CHECK_EQ(journal_read_batches(a->journal, b->journal->marks.tail, UINT64_MAX, bytes_max, &out, &s), 0);
    int rc = s.next > s.first ? journal_receive(b->journal, &s, buf_slice(&out)) : 0;
    buf_fini(&out);
    return rc;
}

static void replicate_all(struct node *a, struct node *b, size_t bytes_max)
{
    while (b->journal->marks.tail < a->journal->marks.tail)
        CHECK_EQ(replicate_once(a, b, bytes_max), 0);
    settle_store(a->store);
    settle_store(b->store);
}

static unsigned count_files(const char *path)
{
    unsigned n = access(small_path(path, "t").s, F_OK) == 0;
    DIR *dir = opendir(path_of("%s/topics/t", path).s);
    for (struct dirent *e; dir && (e = readdir(dir));)
        n += strstr(e->d_name, ".log") || strstr(e->d_name, ".qwal");
    if (dir)
        closedir(dir);
    return n;
}

/* Compares all files of both nodes byte for byte, the active ones as far as they are written. */
static void check_same(struct node *a, struct node *b)
{
    CHECK_EQ(a->journal->marks.tail, b->journal->marks.tail);
    CHECK_EQ(a->journal->parts.count, b->journal->parts.count);
    CHECK_EQ(count_files(a->path), a->journal->parts.count);
    CHECK_EQ(count_files(b->path), a->journal->parts.count);
    for (uint32_t i = 0; i < a->journal->parts.count; i++) {
        bool last = i + 1 == a->journal->parts.count;
        const char *suffix = file_suffix[last ? FILE_ACTIVE : FILE_SEALED];
        uint64_t first = a->journal->parts.at[i].first;
        slice mine = read_whole(path_of("%s/topics/t/%020" PRIu64 "%s", a->path, first, suffix).s);
        slice theirs = read_whole(path_of("%s/topics/t/%020" PRIu64 "%s", b->path, first, suffix).s);
        if (last)
            mine.n = theirs.n = a->journal->parts.active->written;
        CHECK_SLICE(mine, theirs);
    }
    CHECK_EQ(a->journal->marks.epoch, b->journal->marks.epoch);
    CHECK_EQ(a->journal->marks.time_ms, b->journal->marks.time_ms);
    CHECK_EQ(a->journal->parts.bytes_sealed, b->journal->parts.bytes_sealed);
}

/* Sends b the first `have` of 14 messages of a. Returns the rest of that file as a run. */
static struct batch_run next_run(struct node *a, struct node *b, uint64_t have, struct buf *out)
{
    struct batch_run s;
    two_nodes(a, b, ten_each);
    a->journal->marks.epoch = 3;
    for (int i = 0; i < 14; i++)
        CHECK_EQ(try_append(a->journal, 1, 20, 5000 + i), 0);
    settle_store(a->store);
    while (b->journal->marks.tail < have) {
        CHECK_EQ(journal_read_batches(a->journal, b->journal->marks.tail, have, MIB, out, &s), 0);
        CHECK_EQ(journal_receive(b->journal, &s, buf_slice(out)), 0);
        buf_clear(out);
    }
    settle_store(b->store);
    CHECK_EQ(journal_read_batches(a->journal, have, UINT64_MAX, MIB, out, &s), 0);
    return s;
}

#endif
