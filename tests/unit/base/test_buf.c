#include "base/buf.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "unit/unit.h"

TEST(test_a_zeroed_buffer_is_empty_and_usable)
{
    struct buf b = {0};
    CHECK_EQ(buf_size(&b), 0);
    CHECK_SLICE(buf_slice(&b), SLICE(""));
    buf_add(&b, NULL, 0);
    buf_drop(&b, 0);
    buf_clear(&b);
    CHECK(buf_reserve(&b, 0));
    buf_fini(&b);
    buf_fini(&b);
}

/* The model is a flat array with two ends. */
TEST(test_any_mix_of_adding_and_dropping_keeps_the_bytes_in_order)
{
    static unsigned char model[1 << 22];
    size_t first = 0, last = 0;
    struct buf b = {0};
    srand(1);
    for (int step = 0; step < 20000; step++) {
        unsigned char chunk[200];
        size_t n = (size_t)rand() % sizeof chunk;
        for (size_t i = 0; i < n; i++)
            model[last++] = chunk[i] = (unsigned char)rand();
        buf_add(&b, chunk, n);
        size_t drop = (size_t)rand() % 220;
        drop = drop < last - first ? drop : last - first;
        buf_drop(&b, drop);
        first += drop;
        CHECK_SLICE(buf_slice(&b), slice_of((char *)model + first, last - first));
    }
    CHECK(b.cap < 1 << 17);
    buf_fini(&b);
}

TEST(test_a_queue_of_bounded_size_stops_growing)
{
    struct buf b = {0};
    char chunk[1000] = {0};
    buf_add(&b, chunk, 500);
    for (int i = 0; i < 100000; i++) {
        buf_add(&b, chunk, sizeof chunk);
        buf_drop(&b, sizeof chunk);
    }
    CHECK(b.cap <= 8000);
    buf_fini(&b);
}

/* Moving a quarter of a megabyte at each step would take minutes. */
TEST(test_a_long_queue_is_not_moved_at_every_byte)
{
    static char bulk[1 << 18];
    struct buf b = {0};
    buf_add(&b, bulk, sizeof bulk);
    buf_drop(&b, 3);  /* frees a little room at the front, which a move would use each time */
    for (int i = 0; i < 5 * 1000 * 1000; i++) {
        buf_drop(&b, 1);
        buf_add_char(&b, 'x');
    }
    CHECK_EQ(buf_size(&b), sizeof bulk - 3);
    buf_fini(&b);
}

TEST(test_dropping_everything_starts_over)
{
    struct buf b = {0};
    buf_add_slice(&b, SLICE("abc"));
    buf_drop(&b, 2);
    CHECK_SLICE(buf_slice(&b), SLICE("c"));
    buf_drop(&b, 1);
    CHECK_EQ(b.at, 0);
    CHECK_EQ(b.end, 0);
    buf_fini(&b);
}

TEST(test_dropping_more_than_there_is_is_a_bug)
{
    struct buf b = {0};
    buf_add_char(&b, 'x');
    CHECK_DIES(buf_drop(&b, 2), SIGABRT);
    buf_fini(&b);
}

TEST(test_a_reservation_past_all_memory_is_a_bug)
{
    struct buf b = {0};
    buf_add_char(&b, 'x');
    CHECK_DIES(buf_reserve(&b, SIZE_MAX - 10), SIGABRT);
    buf_fini(&b);
}

static void check_number(uint64_t v)
{
    struct buf b = {0};
    char text[32];
    snprintf(text, sizeof text, "%ju", (uintmax_t)v);
    buf_add_u64(&b, v);
    CHECK_SLICE(buf_slice(&b), slice_from(text));
    buf_fini(&b);
}

TEST(test_numbers_print_as_printf_prints_them)
{
    for (uint64_t v = 0; v < 11000; v++)
        check_number(v);
    for (uint64_t power = 1;; power *= 10) {
        check_number(power - 1);
        check_number(power);
        check_number(power + 1);
        if (power > UINT64_MAX / 10)
            break;
    }
    check_number(UINT64_MAX);
}

TEST(test_formatted_text_of_any_length_arrives_whole)
{
    static char filler[5000];
    memset(filler, 'y', sizeof filler - 1);
    for (int n = 0; n < (int)sizeof filler; n += n < 600 ? 1 : 77) {
        struct buf b = {0};
        buf_add_char(&b, '<');
        buf_addf(&b, "%.*s>", n, filler);
        CHECK_EQ(buf_size(&b), n + 2);
        CHECK_EQ(b.data[0], '<');
        CHECK_EQ(b.data[n + 1], '>');
        buf_fini(&b);
    }
}

TEST(test_moving_hands_over_the_memory)
{
    struct buf from = {0}, to = {0};
    buf_add_slice(&from, SLICE("abc"));
    buf_drop(&from, 1);
    buf_move(&to, &from);
    CHECK_SLICE(buf_slice(&to), SLICE("bc"));
    CHECK(!from.data);
    CHECK_EQ(buf_size(&from), 0);
    CHECK_DIES(buf_move(&to, &from), SIGABRT);
    buf_fini(&to);
}

TEST(test_memory_comes_zeroed_and_copies_end_in_nul)
{
    char *p = mem_new(1000);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(p[i], 0);
    p = mem_resize(p, 10);
    mem_free(p);
    char *copy = mem_copy("abcdef", 3);
    CHECK_SLICE(slice_from(copy), SLICE("abc"));
    mem_free(copy);
    copy = mem_copy(NULL, 0);
    CHECK_EQ(copy[0], 0);
    mem_free(copy);
}
