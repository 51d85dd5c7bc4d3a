#include "command/verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "command/topic_files.h"
#include "store/disk/path.h"
#include "store/format/commit_record.h"

/* Prints what was read of a topic. The number of its damages; torn tails are none. */
static unsigned print_topic(const struct topic_files *t, const char *what)
{
    unsigned damages = 0;
    printf("%s%s: files %zu, messages %" PRIu64 ", bytes %" PRIu64 ", next %" PRIu64 ", sum %08" PRIx32, what,
           t->name, t->count, t->messages, t->bytes, t->next, t->crc);
    if (t->origins > 0)
        printf(", batches of producers %" PRIu64, t->origins);
    putchar('\n');
    for (size_t i = 0; i < t->flaw_count; i++) {
        const struct flaw *f = &t->flaws[i];
        bool torn = flaw_is_torn_tail(t, f);
        damages += !torn;
        printf("  %s: %s, file %020" PRIu64 ", offsets %" PRIu64 " to %" PRIu64 "%s\n", torn ? "torn tail" : "DAMAGE",
               f->what, f->file, f->from, f->to,
               torn ? " (never acknowledged as durable; the next start sets it aside)" : "");
    }
    return damages;
}

struct totals {
    unsigned topics, damages;
    uint64_t messages;
};

struct names {
    char **at;                   /* owned */
    size_t count;
};

static void names_add(struct names *n, slice name)
{
    if ((n->count & (n->count - 1)) == 0)      /* 0 or a power of two: full */
        n->at = mem_resize(n->at, (n->count ? n->count * 2 : 1) * sizeof(n->at[0]));
    n->at[n->count++] = mem_copy(name.p, name.n);
}

static void names_add_all(struct names *n, const struct data_dir *d, const char *folder)
{
    DIR *dir = opendir(path_of("%s/%s", d->path, folder).s);
    for (const struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.')
            names_add(n, slice_from(e->d_name));
    if (dir != NULL)
        closedir(dir);
}

/* Of topics that had files when the node stopped: nobody has deleted one since. */
static void names_add_ended(struct names *n, const struct data_dir *d)
{
    slice name;
    for (size_t i = 0; d->state.clean && ends_name(d->ends, i, &name); i++)
        names_add(n, name);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Reads and prints every topic in data/FOLDER, and the small ones if that is topics/, by name. */
static struct totals verify_folder(const struct data_dir *d, const char *folder, const char *what)
{
    struct totals sum = {0};
    struct names names = {0};
    names_add_all(&names, d, folder);
    if (strcmp(folder, "topics") == 0) {
        names_add_all(&names, d, "small");
        names_add_ended(&names, d);
    }
    if (names.count > 0)
        qsort(names.at, names.count, sizeof(names.at[0]), by_text);
    for (size_t i = 0; i < names.count; i++) {
        struct topic_files t = {.dir = d, .folder = folder, .name = names.at[i]};
        if (i > 0 && strcmp(names.at[i - 1], names.at[i]) == 0)
            continue;
        int rc = topic_files_read(&t);
        if (rc < 0) {
            printf("%s/%s: cannot be read: %s\n", folder, t.name, err_sentence(rc));
            sum.damages++;
        } else {
            sum.damages += print_topic(&t, what);
        }
        sum.topics++;
        sum.messages += t.messages;
        topic_files_fini(&t);
    }
    for (size_t i = 0; i < names.count; i++)
        mem_free(names.at[i]);
    mem_free(names.at);
    return sum;
}

/* Says which files of the commit log are in use: topics' files may lack what they have, until the next start writes it
 * there. */
static void print_commit_log(const struct data_dir *d)
{
    for (int i = 0; i < COMMIT_FILES; i++) {
        struct path path = path_of("%s/commit/%d.log", d->path, i);
        char block[COMMIT_HEAD_SIZE] = {0};
        struct commit_head head;
        int fd = open(path.s, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        int rc = pread(fd, block, sizeof block, 0) < 0 ? -errno : commit_head_read(block, &head);
        close(fd);
        if (rc < 0)
            printf("commit log %s: cannot be read: %s\n", path.s, err_sentence(rc));
        else if (head.in_use)
            printf("commit log %s: in use; topics may lack its last messages here until a start has read it\n", path.s);
    }
}

/* What was set aside is no longer part of a topic: it is shown, but counts neither as messages nor as damage. */
int data_verify(const char *path)
{
    struct data_dir d;
    int code = EXIT_DATA;
    if (data_dir_open(&d, path, false) == 0) {
        struct totals topics = verify_folder(&d, "topics", "topic ");
        struct totals aside = verify_folder(&d, "diverged", "set aside diverged/");
        if (aside.topics > 0)
            printf("set aside %u (lignum dump diverged/NAME shows one)\n", aside.topics);
        print_commit_log(&d);
        printf("topics %u, messages %" PRIu64 ", damages %u\n", topics.topics, topics.messages, topics.damages);
        code = topics.damages > 0 ? 1 : 0;
    }
    data_dir_close(&d);
    return code;
}
