/* How the next request of a producer is judged, what is remembered of senders, and snapshots. */
#include <stdio.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/senders/senders.h"
#include "unit/unit.h"

static struct senders *s;
static struct senders_bounds bounds = {.producers = {100, 1000}, .keys = {3, 100}, .letters = {3, 100}};

static struct origin producer(const char *id, uint64_t epoch, uint64_t sequence)
{
    return (struct origin){ORIGIN_PRODUCER, slice_from(id), epoch, sequence};
}

static struct origin key(const char *text)
{
    return (struct origin){.kind = ORIGIN_KEY, .name = slice_from(text)};
}

static struct origin letter(const char *text)
{
    return (struct origin){.kind = ORIGIN_LETTER, .name = slice_from(text)};
}

static void note(struct origin o, uint64_t first, int64_t time_ms)
{
    struct batch_head head = {.first = first, .count = 1, .time_ms = time_ms};
    senders_note(s, &bounds, &head, &o);
}

static const char *ask(struct origin o, int64_t now_ms)
{
    static char text[64];
    static const char *const names[] = {"new", "before", "gap", "fenced"};
    struct sent sent = senders_ask(s, &bounds, &o, now_ms);
    if (sent.is == SENT_NEW)
        return "new";
    if (sent.is == SENT_BEFORE)
        snprintf(text, sizeof text, "%s %s%llu", names[sent.is], sent.has_first ? "" : "<",
                 (unsigned long long)sent.first);
    else
        snprintf(text, sizeof text, "%s %llu", names[sent.is], (unsigned long long)sent.number);
    return text;
}

#define CHECK_ASK(origin, now_ms, want) CHECK_SLICE(slice_from(ask(origin, now_ms)), SLICE(want))

TEST(test_the_next_sequence_is_new_and_others_are_duplicates_gaps_or_fenced)
{
    s = senders_new();
    CHECK_ASK(producer("p", 0, 0), 0, "new");
    CHECK_ASK(producer("p", 9, 0), 0, "new");              /* a new producer begins at 0, in whatever epoch */
    CHECK_ASK(producer("p", 9, 1), 0, "gap 0");
    note(producer("p", 9, 0), 70, 0);
    CHECK_ASK(producer("p", 9, 0), 0, "before 70");
    CHECK_ASK(producer("p", 9, 1), 0, "new");
    CHECK_ASK(producer("p", 9, 2), 0, "gap 1");
    CHECK_ASK(producer("p", 8, 0), 0, "fenced 9");
    CHECK_ASK(producer("p", 8, 1), 0, "fenced 9");
    CHECK_ASK(producer("p", 10, 0), 0, "new");
    CHECK_ASK(producer("p", 10, 1), 0, "gap 0");
    note(producer("p", 9, 1), 71, 0);
    note(producer("p", 10, 0), 80, 0);
    CHECK_ASK(producer("p", 9, 2), 0, "fenced 10");
    CHECK_ASK(producer("p", 10, 0), 0, "before 80");
    CHECK_ASK(producer("p", 10, 1), 0, "new");
    CHECK_ASK(producer("P", 0, 0), 0, "new");              /* ids are compared byte for byte, and are no keys */
    CHECK_ASK(key("p"), 0, "new");
    senders_free(s);
}

TEST(test_of_the_last_sixteen_sequences_the_place_is_known)
{
    s = senders_new();
    for (uint64_t i = 0; i < 100; i++) {
        note(producer("p", 0, i), 1000 + i * 3, 0);
        note(producer("q", 1, i), 1001 + i * 3, 0);
        for (uint64_t back = 0; back <= i; back++) {
            struct origin o = producer("p", 0, i - back);
            struct sent sent = senders_ask(s, &bounds, &o, 0);
            CHECK_EQ(sent.is, SENT_BEFORE);
            CHECK_EQ(sent.has_first, back < 16);
            CHECK_EQ(sent.first, 1000 + (back < 16 ? i - back : i - 15) * 3);
        }
    }
    senders_free(s);
}

TEST(test_what_a_log_begins_with_is_what_is_known)
{
    s = senders_new();
    note(producer("p", 4, 57), 10, 0);                     /* retention has removed the batches before */
    CHECK_ASK(producer("p", 4, 57), 0, "before 10");
    CHECK_ASK(producer("p", 4, 56), 0, "before <10");
    CHECK_ASK(producer("p", 4, 58), 0, "new");
    note(producer("p", 4, 60), 20, 0);                     /* a hole in it: what was before is not what came before */
    CHECK_ASK(producer("p", 4, 60), 0, "before 20");
    CHECK_ASK(producer("p", 4, 57), 0, "before <20");
    senders_free(s);
}

TEST(test_a_producer_is_forgotten_once_it_is_too_old_or_many_others_have_sent)
{
    s = senders_new();
    note(producer("old", 0, 0), 1, 0);
    note(producer("old", 0, 1), 2, 500);
    CHECK_ASK(producer("old", 0, 1), 1500, "before 2");
    CHECK_ASK(producer("old", 0, 1), 1501, "gap 0");       /* asked about, before a batch makes room */
    CHECK_ASK(producer("old", 0, 0), 1501, "new");
    note(producer("next", 0, 0), 3, 1501);
    CHECK_EQ(senders_count(s), 1);
    for (int i = 0; i < 100; i++) {
        char id[16];
        snprintf(id, sizeof id, "p%d", i);
        note(producer(id, 0, 0), 10 + (uint64_t)i, 1501);
        if (i == 50)
            note(producer("p0", 0, 1), 99, 1501);          /* then p1 has been silent for longest */
        note(key("k"), 1, 1501);                           /* keys do not count */
    }
    CHECK_EQ(senders_count(s), 101);
    CHECK_ASK(producer("next", 0, 1), 1501, "gap 0");
    CHECK_ASK(producer("p0", 0, 1), 1501, "before 99");
    CHECK_ASK(producer("p1", 0, 0), 1501, "before 11");
    note(producer("one more", 0, 0), 200, 1501);
    CHECK_ASK(producer("p1", 0, 1), 1501, "gap 0");
    CHECK_ASK(producer("p0", 0, 2), 1501, "new");
    senders_free(s);
}

TEST(test_a_key_is_a_duplicate_within_its_window)
{
    s = senders_new();
    CHECK_ASK(key("a"), 0, "new");
    note(key("a"), 5, 0);
    CHECK_ASK(key("a"), 100, "before 5");
    CHECK_ASK(key("a"), 101, "new");
    note(key("a"), 9, 150);
    CHECK_ASK(key("a"), 150, "before 9");
    note(key("b"), 10, 150);
    note(key("c"), 11, 150);
    note(key("d"), 12, 150);                               /* the fourth of three */
    CHECK_ASK(key("a"), 150, "new");
    CHECK_ASK(key("b"), 150, "before 10");
    senders_free(s);
}

static void note_some(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%u", i % 37);
        note(producer(name, i % 37 / 5, i / 37), i * 2, i);
        if (i % 3 == 0)
            note(key(name), i * 2 + 1, i);
    }
}

static void save(struct senders *of, struct buf *out)
{
    struct senders_place at = {{3, 4}, 5000, 6};
    senders_save(of, &at, out);
    CHECK_EQ(buf_size(out), senders_size(of));
}

TEST(test_a_snapshot_and_what_follows_are_what_the_whole_log_says)
{
    static const struct senders_place of = {.topic = {3, 4}, .offset = 5000};
    for (unsigned cut = 0; cut < 1500; cut += 83) {
        struct buf whole = {0}, half = {0}, again = {0};
        struct senders *loaded;
        uint64_t epoch;
        s = senders_new();
        note_some(0, 1500);
        save(s, &whole);
        senders_free(s);
        s = senders_new();
        note_some(0, cut);
        save(s, &half);
        senders_free(s);
        CHECK_EQ(senders_load(buf_slice(&half), &of, &epoch, &loaded), 0);
        CHECK_EQ(epoch, 6);
        s = loaded;
        note_some(cut, 1500);
        save(s, &again);
        CHECK_SLICE(buf_slice(&again), buf_slice(&whole));  /* the order included, in which they will be forgotten */
        senders_free(s);
        buf_fini(&whole);
        buf_fini(&half);
        buf_fini(&again);
    }
}

TEST(test_a_snapshot_that_is_cut_damaged_or_of_another_place_is_refused)
{
    struct senders_place of = {.topic = {3, 4}, .offset = 5000}, other;
    struct buf b = {0};
    struct senders *loaded;
    uint64_t epoch;
    s = senders_new();
    note_some(0, 60);
    save(s, &b);
    for (size_t n = 0; n < buf_size(&b); n++)
        CHECK_EQ(senders_load(slice_of(b.data, n), &of, &epoch, &loaded), -ERR_DAMAGED);
    for (size_t bit = 0; bit < buf_size(&b) * 8; bit += 7) {
        b.data[bit / 8] = (char)(b.data[bit / 8] ^ (1 << bit % 8));
        CHECK_EQ(senders_load(buf_slice(&b), &of, &epoch, &loaded), -ERR_DAMAGED);
        b.data[bit / 8] = (char)(b.data[bit / 8] ^ (1 << bit % 8));
    }
    other = of, other.offset++;
    CHECK_EQ(senders_load(buf_slice(&b), &other, &epoch, &loaded), -ERR_DAMAGED);
    other = of, other.topic.offset++;
    CHECK_EQ(senders_load(buf_slice(&b), &other, &epoch, &loaded), -ERR_DAMAGED);
    CHECK_EQ(senders_load(buf_slice(&b), &of, &epoch, &loaded), 0);
    senders_free(loaded);
    senders_free(s);
    buf_fini(&b);
}

/* What was sent later is not in it: a log may be cut to there. */
TEST(test_a_snapshot_is_of_the_log_as_far_as_its_offset)
{
    for (unsigned cut = 950; cut <= 1500; cut += 50) {
        struct senders_place at = {.offset = cut * 2};
        struct buf bytes = {0};
        uint64_t epoch;
        s = senders_new();
        note_some(0, 1500);
        CHECK(senders_save(s, &at, &bytes));
        senders_free(s);
        CHECK_EQ(senders_load(buf_slice(&bytes), &at, &epoch, &s), 0);
        for (unsigned n = 0; n < 37; n++) {
            char name[16], want[32];
            uint64_t last = (cut - n - 1) / 37;
            snprintf(name, sizeof name, "n%u", n);
            snprintf(want, sizeof want, "before %llu", (unsigned long long)(last * 37 + n) * 2);
            CHECK_SLICE(slice_from(ask(producer(name, n / 5, last), 1500)), slice_from(want));
            CHECK_ASK(producer(name, n / 5, last + 1), 1500, "new");
        }
        senders_free(s);
        buf_fini(&bytes);
    }
    s = senders_new();
    note(key("a"), 7, 0);
    struct buf none = {0};
    CHECK(!senders_save(s, &(struct senders_place){.offset = 7}, &none));
    senders_free(s);
    buf_fini(&none);
}

/* A leader that lies may send one: its checksum is right. */
TEST(test_a_snapshot_of_what_the_log_has_yet_to_say_is_refused)
{
    enum { HEAD_SIZE = 56, CRC_AT = 52 };
    struct senders_place at = {{1, 5}, 100, 3};
    struct senders *loaded;
    struct buf b = {0};
    uint64_t epoch, firsts[] = {100, 99};
    s = senders_new();
    note(key("a"), 70, 1000);
    CHECK(senders_save(s, &at, &b));
    senders_free(s);
    for (int i = 0; i < 2; i++) {
        memcpy(b.data + buf_size(&b) - sizeof firsts[i], &firsts[i], sizeof firsts[i]);
        uint32_t crc = crc32c(crc32c(0, b.data, CRC_AT), b.data + HEAD_SIZE, buf_size(&b) - HEAD_SIZE);
        memcpy(b.data + CRC_AT, &crc, sizeof crc);
        CHECK_EQ(senders_load(buf_slice(&b), &at, &epoch, &loaded), i == 0 ? -ERR_DAMAGED : 0);
    }
    senders_free(loaded);
    buf_fini(&b);
}

TEST(test_letters_are_forgotten_by_later_letters_alone)
{
    struct buf bytes = {0};
    struct senders_place at = {.offset = 90};
    uint64_t epoch;
    s = senders_new();
    note(letter("a"), 70, 0);
    note(key("a"), 71, 5000);
    CHECK_ASK(letter("a"), INT64_MAX, "before 70");        /* however much time has passed */
    CHECK_ASK(letter("b"), 0, "new");
    CHECK_ASK(key("a"), 5000, "before 71");
    for (int i = 0; i < 9; i++)
        note(key(i % 2 ? "x" : "y"), (uint64_t)(72 + i), 5000);
    CHECK_ASK(letter("a"), 5000, "before 70");
    senders_save(s, &at, &bytes);
    senders_free(s);
    CHECK_EQ(senders_load(buf_slice(&bytes), &at, &epoch, &s), 0);
    CHECK_ASK(letter("a"), 5000, "before 70");
    note(letter("b"), 81, 100);
    CHECK_ASK(letter("a"), 100, "before 70");
    note(letter("c"), 82, 101);
    CHECK_ASK(letter("a"), 101, "new");
    for (int i = 0; i < 3; i++)
        note(letter(i == 0 ? "d" : i == 1 ? "e" : "f"), (uint64_t)(83 + i), 101);
    CHECK_ASK(letter("b"), 101, "new");
    CHECK_ASK(letter("d"), 101, "before 83");
    senders_free(s);
    buf_fini(&bytes);
}
