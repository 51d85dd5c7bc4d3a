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

static bool take_text(slice value, char *out, size_t size)
{
    if (value.n >= size)
        return false;
    memcpy(out, value.p, value.n);
    out[value.n] = 0;
    return true;
}

static bool take_flag(slice value, bool *out)
{
    *out = slice_eq(value, SLICE("1"));
    return *out || slice_eq(value, SLICE("0"));
}

/* "1-5,8" */
static bool take_led(slice value, struct state *s)
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

static bool state_take_numbers(struct state *s, slice key, slice value, bool *ok)
{
    if (slice_eq(key, SLICE("epoch")))
        *ok = slice_u64(value, &s->epoch) == 0;
    else if (slice_eq(key, SLICE("seen_epoch")))
        *ok = slice_u64(value, &s->seen_epoch) == 0;
    else if (slice_eq(key, SLICE("seen_version")))
        *ok = slice_u64(value, &s->seen_version) == 0;
    else if (slice_eq(key, SLICE("unclean")))
        *ok = slice_u64(value, &s->unclean) == 0;
    else if (slice_eq(key, SLICE("led")))
        *ok = take_led(value, s);
    else
        return false;
    return true;
}

static bool state_take(struct state *s, slice key, slice value, slice line)
{
    if (slice_eq(key, SLICE("name")))
        return take_text(value, s->name, sizeof s->name);
    if (slice_eq(key, SLICE("cluster")))
        return id_parse(value, &s->cluster) == 0;
    if (slice_eq(key, SLICE("incarnation")))
        return id_parse(value, &s->incarnation) == 0;
    if (slice_eq(key, SLICE("leader")))
        return id_parse(value, &s->leader) == 0;
    if (slice_eq(key, SLICE("seen_leader")))
        return id_parse(value, &s->seen_leader) == 0;
    bool ok;
    if (state_take_numbers(s, key, value, &ok))
        return ok;
    if (slice_eq(key, SLICE("boot")))
        return take_text(value, s->boot, sizeof s->boot);
    if (slice_eq(key, SLICE("clean")))
        return take_flag(value, &s->clean);
    if (slice_eq(key, SLICE("weak")))
        return take_flag(value, &s->weak);
    if (slice_eq(key, SLICE("counts")))
        return take_flag(value, &s->counts);
    if (slice_eq(key, SLICE("amnesiac")))
        return take_flag(value, &s->amnesiac);
    buf_add_slice(&s->unknown, line);
    buf_add_char(&s->unknown, '\n');
    return true;
}

/* "lignum-state=N" comes first, so that even a file in another form says which version it is. */
static int state_version(slice *text, uint64_t *version)
{
    slice line;
    static const slice prefix = {"lignum-state=", 13};
    if (!slice_split(text, '\n', &line) || !slice_starts(line, prefix))
        return -ERR_FORMAT;
    return slice_u64(slice_skip(line, prefix.n), version) < 0 ? -ERR_DAMAGED : 0;
}

static bool state_sum_ok(slice all)
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
    slice rest = all, line, key;
    int rc = state_version(&rest, &version);
    if (rc < 0)
        return rc;
    if (version != STATE_VERSION)
        return -ERR_FORMAT;
    if (!state_sum_ok(all))
        return -ERR_DAMAGED;
    while (slice_split(&rest, '\n', &line)) {
        slice whole = line;
        if (slice_starts(line, SLICE("crc=")))
            break;
        if (!slice_split(&line, '=', &key) || !state_take(out, key, line, whole))
            return -ERR_DAMAGED;
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
        s.led[0] = (struct led){0, s.epoch};   /* written when all nodes were alone, and led whatever they had */
        s.led_count = 1;
    }
    if (rc < 0)
        buf_fini(&s.unknown);
    else
        *out = s;
    return rc;
}

static void state_format(const struct state *s, struct buf *out)
{
    buf_addf(out, "lignum-state=%d\nname=%s\ncluster=", STATE_VERSION, s->name);
    id_format(out, &s->cluster);
    buf_addf(out, "\nincarnation=");
    id_format(out, &s->incarnation);
    buf_addf(out, "\nleader=");
    id_format(out, &s->leader);
    buf_addf(out, "\nepoch=%" PRIu64 "\nseen_epoch=%" PRIu64 "\nseen_version=%" PRIu64, s->epoch, s->seen_epoch,
             s->seen_version);
    buf_addf(out, "\nseen_leader=");
    id_format(out, &s->seen_leader);
    buf_addf(out, "\nunclean=%" PRIu64 "\nled=", s->unclean);
    for (unsigned i = 0; i < s->led_count; i++)
        buf_addf(out, "%s%" PRIu64 "-%" PRIu64, i ? "," : "", s->led[i].first, s->led[i].last);
    buf_addf(out, "\nboot=%s\nclean=%d\nweak=%d\ncounts=%d\namnesiac=%d\n", s->boot, s->clean, s->weak, s->counts,
             s->amnesiac);
    buf_add_slice(out, buf_slice(&s->unknown));
    buf_addf(out, "crc=%08" PRIx32 "\n", crc32c(0, out->data + out->at, buf_size(out)));
}

/* Written over what is there, and cut only afterwards: that takes no space. */
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

/* There is no old one at first, and not every filesystem can exchange names. */
static int put_in_place(const char *new, const char *path)
{
    if (io.exchange(new, path) == 0)
        return 0;
    return io.rename(new, path) < 0 ? -errno : 0;
}

int state_save(const char *dir, const struct state *s)
{
    struct path new = path_of("%s/state.new", dir), path = path_of("%s/state", dir);
    struct buf text = {0};
    state_format(s, &text);
    /* After a kill -9 the disk may still call `state` what the kernel calls state.new already. */
    int rc = io_sync_dir(dir);
    if (rc == 0)
        rc = write_new(new.s, buf_slice(&text));
    buf_fini(&text);
    if (rc == 0)
        rc = put_in_place(new.s, path.s);
    return rc < 0 ? rc : io_sync_dir(dir);
}

/* The next epoch makes the last range longer; another one begins its own. */
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
