#include "store/log/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/disk/io_fault.h"
#include "store/disk/lock.h"
#include "store/log/inner.h"
#include "store/replication/set_aside.h"

struct path topic_path(const struct journal *j)
{
    return path_of("%s/topics/%s", j->store->disk.root, j->name);
}

struct path file_path(const struct journal *j, uint64_t first, enum file_kind kind)
{
    return path_of("%s/topics/%s/%0*" PRIu64 "%s", j->store->disk.root, j->name, FILE_DIGITS, first, file_suffix[kind]);
}

/* -- the state -------------------------------------------------------------------------------------------- */

static void read_boot_id(char out[40])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, 39);
    out[n > 0 ? n : 0] = 0;
    out[strcspn(out, "\n")] = 0;
    if (fd >= 0)
        close(fd);
}

/* What a file's header tells about who wrote it. */
static void learn_from_file(struct store *s, const char *path)
{
    unsigned char in[FILE_HEAD_SIZE];
    struct file_head head;
    unsigned version;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    bool ok = pread(fd, in, sizeof in, 0) == sizeof in && file_head_read(in, &head, &version) == 0;
    close(fd);
    if (!ok)
        return;
    s->disk.state.cluster = head.cluster;
    if (head.epoch > s->disk.state.epoch)
        s->disk.state.epoch = head.epoch;
}

static void learn_from_topic(struct store *s, const char *name)
{
    struct path topic = path_of("%s/topics/%s", s->disk.root, name);
    struct checkpoint c;
    uint64_t first;
    DIR *dir = opendir(topic.s);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (file_name_read(e->d_name, &first) < FILE_INDEX)
            learn_from_file(s, path_of("%s/%s", topic.s, e->d_name).s);
    if (dir)
        closedir(dir);
    if (checkpoint_load(path_of("%s/checkpoint", topic.s).s, &c) == 0 && c.epoch > s->disk.state.epoch)
        s->disk.state.epoch = c.epoch;
}

/* When it is not known, all may have been ours: what is promised is rather refused than cut off. */
bool store_led(const struct store *s, uint64_t epoch)
{
    return s->minted || state_led(&s->disk.state, epoch);
}

void store_note_epoch(struct store *s, uint64_t epoch)
{
    if (s->disk.state.epoch < epoch) {      /* the state was lost, or is older: an epoch never falls */
        s->disk.state.epoch = epoch;
        s->disk.state.leader = (struct id){{0}};
    }
    if (s->minted) {
        s->disk.state.led[0] = (struct led){0, s->disk.state.epoch};
        s->disk.state.led_count = 1;
    }
}

/* A new identity; but what lies under topics/ keeps its cluster. */
static void state_mint(struct store *s)
{
    size_t at = 0, topics = 0;
    slice name;
    while (store_next_name(s, &at, &name)) {
        learn_from_topic(s, name.p);
        topics++;
    }
    if (id_is_zero(&s->disk.state.cluster))
        s->disk.state.cluster = id_mint();
    s->disk.state.incarnation = id_mint();
    snprintf(s->disk.state.name, sizeof s->disk.state.name, "%s", s->node_name);
    s->was_clean = topics == 0;
    s->minted = topics > 0;
    store_note_epoch(s, 0);
    if (topics)
        say_warn("store", "state is lost: topics=%zu stay and keep their cluster, this node gets a new incarnation",
                 topics);
}

int store_note_durability(struct store *s, enum durability d)
{
    if (d == DURABILITY_COMMIT || s->disk.state.weak)
        return 0;
    s->disk.state.weak = true;
    int rc = disk_save_state(&s->disk);
    if (rc < 0)
        s->disk.state.weak = false;
    return rc;
}

/* Power went while this node had promised what was not yet on its disk. */
static bool state_forgot(const struct store *s, const char *boot)
{
    return !s->disk.state.clean && s->disk.state.weak && strcmp(boot, s->disk.state.boot) != 0;
}

static int state_open(struct store *s, struct buf *why)
{
    char boot[40];
    read_boot_id(boot);
    int rc = state_load(s->disk.root, &s->disk.state);
    if (rc == -ERR_FORMAT)
        buf_addf(why, "%s/state is of another version: this Lignum reads version %d", s->disk.root, STATE_VERSION);
    else if (rc == -ERR_DAMAGED)
        buf_addf(why, "%s/state is damaged; move it away to give this node a new identity (its messages stay)",
                 s->disk.root);
    else if (rc < 0 && rc != -ENOENT)
        buf_addf(why, "cannot read %s/state: %s", s->disk.root, strerror(-rc));
    if (rc < 0 && rc != -ENOENT)
        return rc;
    s->was_clean = s->disk.state.clean;
    if (rc == 0 && state_forgot(s, boot))
        s->disk.state.amnesiac = true;
    if (rc == -ENOENT)
        state_mint(s);
    struct stat st;
    bool failed = stat(path_of("%s/io-failed", s->disk.root).s, &st) == 0;
    s->read_direct = failed && strcmp(boot, s->disk.state.boot) == 0;
    snprintf(s->disk.state.boot, sizeof s->disk.state.boot, "%s", boot);
    s->disk.state.clean = false;
    rc = disk_save_state(&s->disk);
    if (rc < 0)
        buf_addf(why, "cannot write %s/state: %s", s->disk.root, strerror(-rc));
    return rc;
}

struct state *store_state(struct store *s)
{
    return &s->disk.state;
}

int store_save_state(struct store *s)
{
    return disk_save_state(&s->disk);
}

static bool topic_has_files(const char *topic)
{
    uint64_t first;
    bool has = false;
    DIR *dir = opendir(topic);
    for (struct dirent *e; dir && !has && (e = readdir(dir));)
        has = file_name_read(e->d_name, &first) < FILE_INDEX;
    if (dir)
        closedir(dir);
    return has;
}

int store_set_cluster(struct store *s, const struct id *cluster)
{
    size_t at = 0;
    slice name;
    struct id before = s->disk.state.cluster;
    while (store_next_name(s, &at, &name))
        if (topic_has_files(path_of("%s/topics/%s", s->disk.root, name.p).s))
            return -ERR_FORBIDDEN;
    s->disk.state.cluster = *cluster;
    int rc = store_save_state(s);
    if (rc < 0)
        s->disk.state.cluster = before;
    return rc;
}

/* -- opening and closing ---------------------------------------------------------------------------------- */

static int make_folders(struct store *s, struct buf *why)
{
    static const char *const folders[] = {"topics", "torn", "trash", "diverged"};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof folders / sizeof *folders; i++) {
        struct path path = path_of("%s/%s", s->disk.root, folders[i]);
        if (io.mkdir(path.s, 0750) < 0 && errno != EEXIST)
            rc = -errno;
        if (rc < 0)
            buf_addf(why, "cannot make %s: %s", path.s, strerror(-rc));
    }
    if (rc == 0 && (rc = io_sync_dir(s->disk.root)) < 0)
        buf_addf(why, "cannot fsync %s: %s", s->disk.root, strerror(-rc));
    return rc;
}

/* All there is is on the disk now. Where that cannot be noted, the node is taken to be weaker than it is. */
static int state_settled(struct store *s)
{
    bool weak = s->disk.state.weak;
    s->disk.state.weak = false;
    if (weak && disk_save_state(&s->disk) < 0)
        s->disk.state.weak = true;
    return 0;
}

/* What survived kill -9 is only in the page cache: before recovery calls it durable, it has to be. */
static int settle(struct store *s, struct buf *why)
{
    if (s->was_clean)
        return 0;
    if (s->read_direct)
        say_warn("store", "the last run ended by a failed write: files are read from the disk itself");
    if (io.sync_fs(s->disk.root_fd) == 0)
        return state_settled(s);
    int rc = -errno;
    buf_addf(why, "cannot sync the filesystem of %s: %s", s->disk.root, strerror(-rc));
    return rc;
}

static struct store *store_new(const struct store_options *o)
{
    struct store *s = MEM_NEW(struct store);
    s->options = *o;
    disk_init(&s->disk, o->path, o->files_max ? o->files_max : FILES_OPEN_MAX, segment_evicted);
    s->node_name = mem_copy(o->node_name, strlen(o->node_name));
    list_init(&s->indexed);
    s->indexed_max = INDEX_CACHE_SIZE_MAX;
    list_init(&s->journals);
    list_init(&s->preparations);
    list_init(&s->dirty);
    list_init(&s->unsynced);
    list_init(&s->unsynced_later);
    return s;
}

void store_free(struct store *s)
{
    if (s->commit)
        group_commit_free(s);
    reader_fini(&s->reader);
    buf_fini(&s->names);
    mem_free(s->node_name);
    disk_fini(&s->disk);
    mem_free(s);
}

static int store_start(struct store *s, struct buf *why)
{
    int rc = lock_take(s->disk.root, false, &s->disk.root_fd, &s->disk.lock_fd, why);
    if (rc == 0)
        rc = make_folders(s, why);
    if (rc == 0)
        rc = state_open(s, why);
    if (rc == 0)
        rc = settle(s, why);
    if (rc == 0 && (rc = worker_new(&s->disk.worker)) < 0)
        buf_addf(why, "cannot start the disk thread: %s", strerror(-rc));
    return rc;
}

int store_open(const struct store_options *o, struct store **out, struct buf *why)
{
    io_fault_install();
    struct store *s = store_new(o);
    int rc = store_start(s, why);
    if (rc < 0) {
        store_free(s);
        return rc;
    }
    group_commit_new(s);
    set_aside_sweep(s);
    delete_later_trash(s);
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    store_sync_all(s);
    while (!list_empty(&s->journals))
        journal_close(list_first(&s->journals, struct journal, all));
    worker_wait(s->disk.worker);
    int rc = io.sync_fs(s->disk.root_fd) < 0 ? -errno : 0;   /* the checkpoints, so that "clean" is true */
    if (rc < 0)
        disk_failed(&s->disk, "syncfs", s->disk.root, rc);
    s->disk.state.clean = true;
    s->disk.state.weak = false;
    rc = disk_save_state(&s->disk);
    if (rc < 0)
        say_warn("store", "cannot write %s/state: %s (the next start recovers as after a crash)", s->disk.root,
                 strerror(-rc));
    io.unlink(path_of("%s/io-failed", s->disk.root).s);
    store_free(s);
}

/* -- names and figures ------------------------------------------------------------------------------------ */

static void list_names(struct store *s)
{
    buf_clear(&s->names);
    DIR *dir = opendir(path_of("%s/topics", s->disk.root).s);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_name[0] != '.')
            buf_add(&s->names, e->d_name, strlen(e->d_name) + 1);
    if (dir)
        closedir(dir);
}

bool store_next_name(struct store *s, size_t *at, slice *name)
{
    if (*at == 0)
        list_names(s);
    if (*at >= buf_size(&s->names))
        return false;
    *name = slice_from(s->names.data + s->names.at + *at);
    *at += name->n + 1;
    return true;
}

void store_stats(struct store *s, struct store_stats *out)
{
    struct statvfs fs;
    s->stats.files_open = s->disk.files.open;
    if (fstatvfs(s->disk.root_fd, &fs) == 0) {
        s->stats.disk_free = (uint64_t)fs.f_bavail * fs.f_frsize;
        s->stats.disk_size = (uint64_t)fs.f_blocks * fs.f_frsize;
    }
    *out = s->stats;
}
