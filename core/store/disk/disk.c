#include "store/disk/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"

/* What statfs(2) calls them; the last one is of OpenZFS (include/sys/fs/zfs.h). */
enum { BTRFS = 0x9123683e, BCACHEFS = 0xca451a4e, ZFS = 0x2fc12fc1 };

void disk_init(struct disk *d, const char *root, unsigned files_max, void (*on_evict)(struct file *f))
{
    *d = (struct disk){.root = mem_copy(root, strlen(root)), .root_fd = -1, .lock_fd = -1};
    files_init(&d->files, files_max, on_evict);
}

void disk_fini(struct disk *d)
{
    if (d->worker)
        worker_free(d->worker);
    if (d->root_fd >= 0)
        close(d->root_fd);
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    buf_fini(&d->state.unknown);
    buf_fini(&d->scratch);
    mem_free(d->root);
}

void disk_note_filesystem(struct disk *d)
{
    struct statfs fs;
    unsigned type = fstatfs(d->root_fd, &fs) == 0 ? (unsigned)fs.f_type : 0;
    d->copies_on_write = type == BTRFS || type == BCACHEFS || type == ZFS;
}

int disk_save_state(struct disk *d)
{
    return state_save(d->root, &d->state);
}

void disk_remove_dir(struct disk *d, const char *path)
{
    DIR *dir;
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return;                        /* and no file was evicted to find that out */
    do
        dir = opendir(path);
    while (!dir && (errno == EMFILE || errno == ENFILE) && files_evict(&d->files));
    int rc = dir || errno == ENOENT ? 0 : -errno;
    for (struct dirent *e; dir && rc == 0 && (e = readdir(dir));)
        if (e->d_name[0] != '.')
            rc = io.unlink(path_of("%s/%s", path, e->d_name).s) < 0 ? -errno : 0;
    if (dir)
        closedir(dir);
    if (rc < 0)
        disk_failed(d, "unlink", path, rc);
    io.rmdir(path);
}

void disk_failed(const struct disk *d, const char *what, const char *path, int rc)
{
    int fd = open(path_of("%s/io-failed", d->root).s, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    if (fd >= 0)
        close(fd);
    say_fatal(EXIT_IO, "store",
              "%s failed on %s: %s. Nothing more is acknowledged. Check the disk and the kernel's log, then start "
              "again: what was acknowledged will be read back and verified", what, path, strerror(-rc));
}
