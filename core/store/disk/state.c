#include "store/disk/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "store/disk/io.h"
#include "store/disk/path.h"

enum { STATE_SIZE_MAX = 64 * KIB, LED_NOT_SAID = LED_RANGES_MAX + 1 };

enum field_kind { TEXT, ID, NUMBER, FLAG, LED };

/* The lines of the file, in its order. */
#define FIELD(member) offsetof(struct state, member), sizeof ((struct state *)0)->member
static const struct field {
    const char *key;
    enum field_kind kind;
    size_t at, size;               /* in struct state */
} fields[] = {
    {"name", TEXT, FIELD(name)},
    {"cluster", ID, FIELD(cluster)},
    {"incarnation", ID, FIELD(incarnation)},
    {"leader", ID, FIELD(leader)},
    {"epoch", NUMBER, FIELD(epoch)},
    {"seen_epoch", NUMBER, FIELD(seen_epoch)},
    {"seen_version", NUMBER, FIELD(seen_version)},
    {"seen_leader", ID, FIELD(seen_leader)},
    {"unclean", NUMBER, FIELD(unclean)},
    {"led", LED, FIELD(led)},
    {"boot", TEXT, FIELD(boot)},
    {"clean", FLAG, FIELD(clean)},
    {"weak", FLAG, FIELD(weak)},
    {"counts", FLAG, FIELD(counts)},
    {"amnesiac", FLAG, FIELD(amnesiac)},
};
enum { FIELDS_COUNT = sizeof fields / sizeof *fields };

/* -- reading ---------------------------------------------------------------------------------------------- */

/* "1-5,8" */
static bool led_parse(struct state *s, slice value)
{
    slice part, first;
    s->led_count = 0;
    while (value.n > 0 && slice_split(&value, ',', &part)) {
        struct led r;
        if (s->led_count == LED_RANGES_MAX || !slice_split(&part, '-', &first) || slice_u64(first, &r.first) < 0)
            return false;
        r.last = r.first;
        if (part.n && slice_u64(part, &r.last) < 0)
            return false;
        s->led[s->led_count++] = r;
    }
    return true;
}

static bool field_parse(struct state *s, const struct field *f, slice value)
{
    void *at = (char *)s + f->at;
    switch (f->kind) {
    case TEXT:
        if (value.n >= f->size)
            return false;
        memcpy(at, value.p, value.n);
        ((char *)at)[value.n] = 0;
        return true;
    case ID:
        return id_parse(value, at) == 0;
    case NUMBER:
        return slice_u64(value, at) == 0;
    case FLAG:
        *(bool *)at = slice_eq(value, SLICE("1"));
        return *(bool *)at || slice_eq(value, SLICE("0"));
    case LED:
        return led_parse(s, value);
    }
    return false;
}

/* The first line states the version, so that it is known even where the rest has another form. */
static int version_parse(slice *text, uint64_t *version)
{
    slice line;
    static const slice prefix = {"lignum-state=", 13};
    if (!slice_split(text, '\n', &line) || !slice_starts(line, prefix))
        return -ERR_FORMAT;
    return slice_u64(slice_skip(line, prefix.n), version) < 0 ? -ERR_DAMAGED : 0;
}

static bool sum_valid(slice all)
{
    enum { SUM_LINE = 13 };            /* crc=xxxxxxxx\n */
    if (all.n < SUM_LINE)
        return false;
    slice last = slice_skip(all, all.n - SUM_LINE);
    char want[SUM_LINE + 1];
    snprintf(want, sizeof want, "crc=%08" PRIx32 "\n", crc32c(0, all.p, all.n - SUM_LINE));
    return memcmp(last.p, want, SUM_LINE) == 0;
}

static int state_parse(slice all, struct state *out)
{
    uint64_t version;
    slice rest = all, line;
    int rc = version_parse(&rest, &version);
    if (rc < 0)
        return rc;
    if (version != STATE_VERSION)
        return -ERR_FORMAT;
    if (!sum_valid(all))
        return -ERR_DAMAGED;
    while (slice_split(&rest, '\n', &line) && !slice_starts(line, SLICE("crc="))) {
        slice key, value = line;
        if (!slice_split(&value, '=', &key))
            return -ERR_DAMAGED;
        size_t i = 0;
        while (i < FIELDS_COUNT && !slice_eq(key, slice_from(fields[i].key)))
            i++;
        if (i == FIELDS_COUNT) {
            buf_add_slice(&out->unknown, line);
            buf_add_char(&out->unknown, '\n');
        } else if (!field_parse(out, &fields[i], value)) {
            return -ERR_DAMAGED;
        }
    }
    return 0;
}

int state_load(const char *dir, struct state *out)
{
    char text[STATE_SIZE_MAX];
    int fd = open(path_of("%s/state", dir).s, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, sizeof text);
    int rc = n < 0 ? -errno : 0;
    close(fd);
    if (rc < 0)
        return rc;
    struct state s = {.led_count = LED_NOT_SAID};
    rc = state_parse(slice_of(text, (size_t)n), &s);
    if (s.led_count == LED_NOT_SAID) {
        /* Written by a version whose nodes were all alone: each led whatever it had. */
        s.led[0] = (struct led){0, s.epoch};
        s.led_count = 1;
    }
    if (rc < 0)
        buf_fini(&s.unknown);
    else
        *out = s;
    return rc;
}

/* -- writing ---------------------------------------------------------------------------------------------- */

static void field_format(const struct state *s, const struct field *f, struct buf *out)
{
    const void *at = (const char *)s + f->at;
    buf_addf(out, "%s=", f->key);
    switch (f->kind) {
    case TEXT:
        buf_addf(out, "%s", (const char *)at);
        break;
    case ID:
        id_format(out, at);
        break;
    case NUMBER:
        buf_addf(out, "%" PRIu64, *(const uint64_t *)at);
        break;
    case FLAG:
        buf_addf(out, "%d", *(const bool *)at);
        break;
    case LED:
        for (unsigned i = 0; i < s->led_count; i++)
            buf_addf(out, "%s%" PRIu64 "-%" PRIu64, i ? "," : "", s->led[i].first, s->led[i].last);
        break;
    }
    buf_add_char(out, '\n');
}

/* Overwrites the old file and truncates it last: a full disk has room for that. */
static int write_new(const char *path, slice text)
{
    int fd = io.open(path, O_WRONLY | O_CREAT, 0640);
    if (fd < 0)
        return -errno;
    int rc = io_write(fd, text.p, text.n, 0);
    if (rc == 0 && (io.truncate(fd, (off_t)text.n) < 0 || io.sync_all(fd) < 0))
        rc = -errno;
    close(fd);
    return rc;
}

int state_save(const char *dir, const struct state *s)
{
    struct path new = path_of("%s/state.new", dir), path = path_of("%s/state", dir);
    struct buf text = {0};
    buf_addf(&text, "lignum-state=%d\n", STATE_VERSION);
    for (size_t i = 0; i < FIELDS_COUNT; i++)
        field_format(s, &fields[i], &text);
    buf_add_slice(&text, buf_slice(&s->unknown));
    buf_addf(&text, "crc=%08" PRIx32 "\n", crc32c(0, text.data + text.at, buf_size(&text)));

    /* After a kill -9 the directory on disk may still call `state` what the kernel calls state.new. */
    int rc = io_sync_dir(dir);
    if (rc == 0)
        rc = write_new(new.s, buf_slice(&text));
    buf_fini(&text);
    if (rc < 0)
        return rc;
    /* The first save has nothing to exchange with, and not every filesystem can exchange names. */
    if (io.exchange(new.s, path.s) < 0 && io.rename(new.s, path.s) < 0)
        return -errno;
    return io_sync_dir(dir);
}

/* -- epochs led ------------------------------------------------------------------------------------------- */

void state_led_add(struct state *s, uint64_t epoch)
{
    struct led *last = s->led_count ? &s->led[s->led_count - 1] : NULL;
    if (last && epoch <= last->last)
        return;
    if (last && epoch == last->last + 1) {
        last->last = epoch;
        return;
    }
    if (s->led_count == LED_RANGES_MAX)
        memmove(s->led, s->led + 1, --s->led_count * sizeof *s->led);
    s->led[s->led_count++] = (struct led){epoch, epoch};
}

bool state_led(const struct state *s, uint64_t epoch)
{
    for (unsigned i = s->led_count; i-- > 0;)
        if (epoch >= s->led[i].first)
            return epoch <= s->led[i].last;
    return false;
}
