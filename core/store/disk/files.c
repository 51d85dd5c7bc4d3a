#include "store/disk/files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "store/disk/io.h"

void files_init(struct files *s, unsigned max, void (*on_evict)(struct file *f))
{
    *s = (struct files){.max = max, .on_evict = on_evict};
    list_init(&s->used);
}

void file_init(struct file *f)
{
    *f = (struct file){.fd = -1};
    list_init(&f->link);
}

void files_close(struct files *s, struct file *f)
{
    ENSURE(f->pins == 0);
    if (f->fd < 0)
        return;
    if (f->dirty)
        s->dirty_closed = true;
    close(f->fd);
    f->fd = -1;
    list_remove(&f->link);
    s->open--;
}

bool files_evict(struct files *s)
{
    LIST_EACH(node, &s->used) {
        struct file *f = LIST_OWNER(node, struct file, link);
        if (f->pins)
            continue;
        files_close(s, f);
        s->on_evict(f);
        return true;
    }
    return false;
}

int files_open(struct files *s, struct file *f, const char *path, int flags)
{
    ENSURE(f->fd < 0);
    while (s->open >= s->max)
        if (!files_evict(s))
            break;
    int fd;
    do
        fd = io.open(path, flags, 0640);
    while (fd < 0 && (errno == EMFILE || errno == ENFILE) && files_evict(s));
    if (fd < 0)
        return -errno;
    f->fd = fd;
    list_push(&s->used, &f->link);
    s->open++;
    return 0;
}

bool file_is_lost(int fd)
{
    /* Not fstat: since Linux 6.13 a look at a file's times makes the next write set them again, to the nanosecond,
     * and the sync after it write the inode too. */
    struct statx st;
    return statx(fd, "", AT_EMPTY_PATH, STATX_NLINK, &st) == 0 && st.stx_nlink == 0;
}

void files_touch(struct files *s, struct file *f)
{
    list_remove(&f->link);
    list_push(&s->used, &f->link);
}
