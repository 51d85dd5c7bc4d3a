#include "store/recovery/identity.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/say.h"
#include "store/format/checkpoint.h"
#include "store/log/store_struct.h"

static void read_boot_id(char out[40])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, 39);
    out[n > 0 ? n : 0] = 0;
    out[strcspn(out, "\n")] = 0;
    if (fd >= 0)
        close(fd);
}

/* Takes cluster and epoch from a log file's header. */
static void learn_from_file(struct state *state, const char *path)
{
    unsigned char in[FILE_HEAD_SIZE];
    struct file_head head;
    unsigned version;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    bool valid = pread(fd, in, sizeof in, 0) == sizeof in && file_head_read(in, &head, &version) == 0;
    close(fd);
    if (!valid)
        return;
    state->cluster = head.cluster;
    if (head.epoch > state->epoch)
        state->epoch = head.epoch;
}

static void learn_from_topic(struct state *state, const char *topic)
{
    struct checkpoint c;
    uint64_t first;
    DIR *dir = opendir(topic);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (file_name_read(e->d_name, &first) < FILE_INDEX)
            learn_from_file(state, path_of("%s/%s", topic, e->d_name).s);
    if (dir)
        closedir(dir);
    if (checkpoint_load(path_of("%s/checkpoint", topic).s, &c) == 0 && c.epoch > state->epoch)
        state->epoch = c.epoch;
}

/* A new incarnation. Topics that exist keep their cluster. */
static void mint(struct store *s)
{
    struct state *state = &s->disk.state;
    size_t at = 0, topics = 0;
    for (slice name; store_next_name(s, &at, &name); topics++) {
        learn_from_topic(state, path_of("%s/topics/%s", s->disk.root, name.p).s);
        learn_from_file(state, small_path(s->disk.root, name.p).s);
    }
    if (id_is_zero(&state->cluster))
        state->cluster = id_mint();
    state->incarnation = id_mint();
    snprintf(state->name, sizeof state->name, "%s", s->options.node_name);
    s->last_run.clean = topics == 0;
    s->last_run.state_lost = topics > 0;
    identity_note_epoch(s, 0);
    if (topics)
        say_warn("store", "state is lost: topics=%zu stay and keep their cluster, this node gets a new incarnation",
                 topics);
}

int identity_open(struct store *s, struct buf *why)
{
    struct state *state = &s->disk.state;
    const char *root = s->disk.root;
    struct stat st;
    char boot[40];
    read_boot_id(boot);
    int rc = state_load(root, state);
    if (rc == -ERR_FORMAT)
        buf_addf(why, "%s/state is of another version: this Lignum reads version %d", root, STATE_VERSION);
    else if (rc == -ERR_DAMAGED)
        buf_addf(why, "%s/state is damaged; move it away to give this node a new identity (its messages stay)", root);
    else if (rc < 0 && rc != -ENOENT)
        buf_addf(why, "cannot read %s/state: %s", root, strerror(-rc));
    if (rc < 0 && rc != -ENOENT)
        return rc;

    bool same_boot = strcmp(boot, state->boot) == 0;
    s->last_run.clean = state->clean;
    s->last_run.same_boot = same_boot;
    s->last_run.io_failed = same_boot && stat(path_of("%s/io-failed", root).s, &st) == 0;
    if (rc == -ENOENT)
        mint(s);
    else if (!state->clean && state->weak && !same_boot)
        state->amnesiac = true;        /* power went while this node had acknowledged what was not on its disk */
    snprintf(state->boot, sizeof state->boot, "%s", boot);
    state->clean = false;
    rc = disk_save_state(&s->disk);
    if (rc < 0)
        buf_addf(why, "cannot write %s/state: %s", root, strerror(-rc));
    return rc;
}

void identity_note_epoch(struct store *s, uint64_t epoch)
{
    struct state *state = &s->disk.state;
    if (state->epoch < epoch) {        /* the state was lost, or an older one was put back */
        state->epoch = epoch;
        state->leader = (struct id){{0}};
    }
    if (s->last_run.state_lost) {
        state->led[0] = (struct led){0, state->epoch};
        state->led_count = 1;
    }
}

bool identity_led(const struct store *s, uint64_t epoch)
{
    return s->last_run.state_lost || state_led(&s->disk.state, epoch);
}
