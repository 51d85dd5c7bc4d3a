#include "store/log/topic_dir.h"

#include <inttypes.h>

#include "base/err.h"

struct path topic_path(const struct topic_dir *d)
{
    return path_of("%s/topics/%s", d->disk->root, d->name);
}

struct path file_path(const struct topic_dir *d, uint64_t first, enum file_kind kind)
{
    return path_of("%s/topics/%s/%0*" PRIu64 "%s", d->disk->root, d->name, FILE_DIGITS, first, file_suffix[kind]);
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
