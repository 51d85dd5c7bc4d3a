#include "store/log/topic_dir.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/say.h"
#include "store/disk/io.h"

struct path topic_path(const struct topic_dir *d)
{
    return path_of("%s/topics/%s", d->disk->root, d->name);
}

struct path topic_folder(const struct topic_dir *d)
{
    return d->small ? path_of("%s/small", d->disk->root) : topic_path(d);
}

struct path file_path(const struct topic_dir *d, uint64_t first, enum file_kind kind)
{
    if (d->small && kind == FILE_ACTIVE)
        return small_path(d->disk->root, d->name);
    return path_of("%s/topics/%s/%0*" PRIu64 "%s", d->disk->root, d->name, FILE_DIGITS, first, file_suffix[kind]);
}

int small_move(const struct disk *disk, const char *name)
{
    struct path from = small_path(disk->root, name), own = path_of("%s/topics/%s", disk->root, name);
    struct stat ours, there;
    if (io.mkdir(own.s, 0750) < 0 && errno != EEXIST)
        return -errno;
    if (stat(from.s, &ours) < 0)
        return errno == ENOENT ? 0 : -errno;
    for (enum file_kind kind = FILE_ACTIVE; kind <= FILE_SEALED; kind++) {
        struct path to = path_of("%s/%0*d%s", own.s, FILE_DIGITS, 0, file_suffix[kind]);
        if (lstat(to.s, &there) < 0) {            /* a link is there also where it leads nowhere */
            if (errno != ENOENT)
                return -errno;
            continue;
        }
        /* The same one: the file system has made the new name durable, and not the rest. */
        if (ours.st_dev == there.st_dev && ours.st_ino == there.st_ino)
            return io.unlink(from.s) < 0 ? -errno : 0;
        say_error("store", "%s and %s are two files: one has to be moved away", from.s, to.s);
        return -ERR_TOPIC_EXISTS;
    }
    struct path to = path_of("%s/%0*d%s", own.s, FILE_DIGITS, 0, file_suffix[FILE_ACTIVE]);
    return io.rename(from.s, to.s) < 0 ? -errno : 0;
}

struct file_head file_head_of(const struct topic_dir *d, uint64_t first, uint64_t epoch)
{
    return (struct file_head){.cluster = d->disk->state.cluster, .topic = d->id, .first = first, .epoch = epoch};
}

bool file_head_is(const struct file_head *want, const char *in)
{
    struct file_head head;
    unsigned version;
    return file_head_read((const unsigned char *)in, &head, &version) == 0 && head.first == want->first
        && id_eq(&head.cluster, &want->cluster) && head.topic.epoch == want->topic.epoch
        && head.topic.offset == want->topic.offset;
}

int file_head_check(const struct topic_dir *d, const char *in, uint64_t first)
{
    struct file_head head;
    unsigned version;
    int rc = file_head_read((const unsigned char *)in, &head, &version);
    if (rc < 0)
        return rc;
    if (!id_eq(&head.cluster, &d->disk->state.cluster))
        return -ERR_FORMAT;
    if (head.topic.epoch != d->id.epoch || head.topic.offset != d->id.offset)
        return -ERR_TOPIC_EXISTS;
    return head.first == first ? 0 : -ERR_DAMAGED;
}

bool is_file_damage(int rc)
{
    return rc == -ERR_DAMAGED || rc == -ERR_FORMAT || rc == -ERR_TOPIC_EXISTS;
}
