#include "store/disk/log_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/disk/path.h"

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* A file that was renamed while the directory was read may be seen twice. */
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

int log_files_list(struct log_files *l, const char *folder)
{
    uint64_t first;
    *l = (struct log_files){.folder = folder};
    DIR *dir = opendir(folder);
    if (!dir)
        return -errno;
    for (struct dirent *e; (e = readdir(dir));)
        if (file_name_read(e->d_name, &first) < FILE_INDEX) {
            l->firsts = mem_resize(l->firsts, (l->count + 1) * sizeof(l->firsts[0]));
            l->firsts[l->count++] = first;
        }
    closedir(dir);
    sort(l);
    return 0;
}

void log_files_fini(struct log_files *l)
{
    mem_free(l->firsts);
    *l = (struct log_files){0};
}

/* It is looked for under its first name again, because it may be sealed between two looks. */
int log_files_open(const struct log_files *l, size_t i, bool *sealed)
{
    static const int kinds[] = {FILE_ACTIVE, FILE_SEALED, FILE_ACTIVE};
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        struct path path = path_of("%s/%0*" PRIu64 "%s", l->folder, FILE_DIGITS, l->firsts[i], file_suffix[kinds[k]]);
        int fd = open(path.s, O_RDONLY | O_CLOEXEC);
        *sealed = kinds[k] == FILE_SEALED;
        if (fd >= 0 || errno != ENOENT)
            return fd < 0 ? -errno : fd;
    }
    return -ENOENT;
}
