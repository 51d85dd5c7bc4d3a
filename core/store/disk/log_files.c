#include "store/disk/log_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/disk/path.h"

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* A file that was renamed meanwhile may be seen twice. */
static void sort(struct log_files *l)
{
    size_t n = 0;
    if (l->count > 0)
        qsort(l->firsts, l->count, sizeof(l->firsts[0]), by_number);
    for (size_t i = 0; i < l->count; i++)
        if (n == 0 || l->firsts[n - 1] != l->firsts[i])
            l->firsts[n++] = l->firsts[i];
    l->count = n;
}

static void add(struct log_files *l, uint64_t first)
{
    l->firsts = mem_resize(l->firsts, (l->count + 1) * sizeof(l->firsts[0]));
    l->firsts[l->count++] = first;
}

int log_files_list(struct log_files *l, const char *folder, const char *small)
{
    uint64_t first;
    *l = (struct log_files){.folder = folder, .small = small};
    bool is_small = small && access(small, F_OK) == 0;   /* before the directory, to which it may move */
    DIR *dir = opendir(folder);
    if (!dir && !is_small)
        return -errno;
    if (is_small)
        add(l, 0);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (file_name_read(e->d_name, &first) < FILE_INDEX)
            add(l, first);
    if (dir)
        closedir(dir);
    sort(l);
    return 0;
}

void log_files_fini(struct log_files *l)
{
    mem_free(l->firsts);
    *l = (struct log_files){0};
}

/* In the order in which a file moves: from that of a small topic to the directory, and then it may be sealed. */
int log_files_open(const struct log_files *l, size_t i, bool *sealed)
{
    static const int kinds[] = {FILE_ACTIVE, FILE_SEALED, FILE_ACTIVE};     /* a truncation makes it active again */
    int small = l->small && l->firsts[i] == 0 ? open(l->small, O_RDONLY | O_CLOEXEC) : -1;
    *sealed = false;
    if (small >= 0)
        return small;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        struct path path = path_of("%s/%0*" PRIu64 "%s", l->folder, FILE_DIGITS, l->firsts[i], file_suffix[kinds[k]]);
        int fd = open(path.s, O_RDONLY | O_CLOEXEC);
        *sealed = kinds[k] == FILE_SEALED;
        if (fd >= 0 || errno != ENOENT)
            return fd < 0 ? -errno : fd;
    }
    return -ENOENT;
}
