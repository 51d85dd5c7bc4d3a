#include "store/recovery/unfinished.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/say.h"
#include "store/disk/io.h"

/* NAME-OFFSET-MILLISECONDS and the suffix; a topic's own name may end with that, too. */
static bool is_unfinished(const char *name, const char *suffix)
{
    size_t n = strlen(name), k = strlen(suffix);
    return n > k && name[n - k - 1] >= '0' && name[n - k - 1] <= '9' && strcmp(name + n - k, suffix) == 0;
}

/* Removes the directories of this suffix; by way of trash/, if `moved`. */
static void remove_unfinished(struct disk *d, const char *folder, const char *suffix, bool moved)
{
    struct path all = path_of("%s/%s", d->root, folder);
    DIR *dir = opendir(all.s);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct path path = path_of("%s/%s", all.s, e->d_name);
        if (!is_unfinished(e->d_name, suffix))
            continue;
        if (!moved || io.rename(path.s, path_of("%s/trash/%s", d->root, e->d_name).s) < 0)
            disk_remove_dir(d, path.s);
    }
    if (dir)
        closedir(dir);
}

void unfinished_remove(struct disk *d)
{
    remove_unfinished(d, "diverged", ".part", true);
    remove_unfinished(d, "trash", ".new", false);
}

static bool is_same_file(const struct stat *a, const char *path)
{
    struct stat b;
    return stat(path, &b) == 0 && a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

/* Removes names of the topic's files from one directory in diverged/. */
static int remove_links_in(const struct topic_dir *topic, const char *folder)
{
    uint64_t first;
    int rc = 0;
    DIR *dir = opendir(folder);
    if (!dir)
        return errno == ENOTDIR ? 0 : -errno;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));) {
        struct stat st;
        struct path path = path_of("%s/%s", folder, e->d_name);
        if (file_name_read(e->d_name, &first) >= FILE_INDEX)
            continue;
        if (lstat(path.s, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink == 1)
            continue;
        if (!is_same_file(&st, file_path(topic, first, FILE_ACTIVE).s)
            && !is_same_file(&st, file_path(topic, first, FILE_SEALED).s))
            continue;
        say_warn("store", "an interrupted truncation: the topic keeps this file, its second name is removed topic=%s "
                 "path=%s", topic->name, path.s);
        if (io.unlink(path.s) < 0)
            rc = -errno;
    }
    closedir(dir);
    io.rmdir(folder);                  /* if it is empty now */
    return rc;
}

int unfinished_links_remove(const struct topic_dir *topic)
{
    struct path all = path_of("%s/diverged", topic->disk->root);
    size_t n = strlen(topic->name);
    int rc = 0;
    DIR *dir = opendir(all.s);
    if (!dir)
        return -errno;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));)
        if (strncmp(e->d_name, topic->name, n) == 0 && e->d_name[n] == '-')
            rc = remove_links_in(topic, path_of("%s/%s", all.s, e->d_name).s);
    closedir(dir);
    return rc;
}
