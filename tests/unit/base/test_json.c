#include "base/json.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "unit/unit.h"

/* json_plain agrees, or says that the text is not plain: it needs escapes, or has bytes beyond ASCII. */
static void check_plain(slice text, slice want)
{
    struct buf b = {0};
    bool ascii = true;
    for (size_t i = 0; i < text.n; i++)
        ascii = ascii && (unsigned char)text.p[i] < 0x80;
    buf_add_char(&b, '>');
    bool plain = json_plain(&b, text);
    CHECK_EQ(plain, ascii && want.n == text.n + 2);
    CHECK_SLICE(slice_skip(buf_slice(&b), 1), plain ? want : SLICE(""));
    buf_fini(&b);
}

static void check_string(slice text, slice want)
{
    struct buf b = {0};
    json_string(&b, text);
    CHECK_SLICE(buf_slice(&b), want);
    buf_fini(&b);
    check_plain(text, want);
}

TEST(test_plain_text_of_any_length_and_alignment_is_copied)
{
    char text[300], want[302];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(' ' + (i * 7) % 95);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = text[i] == '"' || text[i] == '\\' ? '~' : text[i];
    for (size_t at = 0; at < 20; at++)
        for (size_t n = 0; at + n <= sizeof text; n++) {
            want[0] = want[n + 1] = '"';
            memcpy(want + 1, text + at, n);
            check_string(slice_of(text + at, n), slice_of(want, n + 2));
        }
    check_string((slice){0}, SLICE("\"\""));
}

TEST(test_every_control_byte_quote_and_backslash_is_escaped)
{
    for (int c = 0; c < 0x80; c++) {
        char in = (char)c, want[16];
        switch (c) {
        case '\b': strcpy(want, "\"\\b\""); break;
        case '\t': strcpy(want, "\"\\t\""); break;
        case '\n': strcpy(want, "\"\\n\""); break;
        case '\f': strcpy(want, "\"\\f\""); break;
        case '\r': strcpy(want, "\"\\r\""); break;
        case '"': strcpy(want, "\"\\\"\""); break;
        case '\\': strcpy(want, "\"\\\\\""); break;
        default: snprintf(want, sizeof want, c < 0x20 ? "\"\\u%04x\"" : "\"%c\"", (unsigned)c);
        }
        check_string(slice_of(&in, 1), slice_from(want));
    }
}

/* An escape at each place of a text, so that it is found in strides, at their borders and in the rest. */
TEST(test_an_escape_is_found_at_every_place)
{
    static const char odd[] = {'"', '\\', '\n', 0x1f, 0};
    for (size_t n = 1; n < 70; n++)
        for (size_t at = 0; at < n; at++)
            for (size_t k = 0; k < sizeof odd; k++) {
                char text[70], want[80];
                memset(text, 'a', n);
                text[at] = odd[k];
                struct buf alone = {0};
                json_string(&alone, slice_of(&odd[k], 1));
                slice escape = {alone.data + 1, alone.end - 2};
                int size = snprintf(want, sizeof want, "\"%.*s%.*s%.*s\"", (int)at, text, SLICE_ARGS(escape),
                                    (int)(n - at - 1), text + at + 1);
                check_string(slice_of(text, n), slice_of(want, (size_t)size));
                buf_fini(&alone);
            }
}

TEST(test_the_worst_growth_fits)
{
    struct buf b = {0};
    char text[5000];
    memset(text, 1, sizeof text);
    json_string(&b, slice_of(text, sizeof text));
    CHECK_EQ(buf_size(&b), 6 * sizeof text + 2);
    buf_fini(&b);
    memset(text, 'a', sizeof text - 1);  /* the longest escape right at the end of a first reservation */
    json_string(&b, slice_of(text, sizeof text));
    CHECK_EQ(buf_size(&b), sizeof text + 7);
    buf_fini(&b);
}

#define BAD "\xef\xbf\xbd"

/* One U+FFFD for each maximal part that begins a character, as browsers do. */
static const struct { const char *what, *in, *out; } ill_formed[] = {
    {"lone continuation", "a\x80z", "a" BAD "z"},
    {"highest continuation", "\xbf", BAD},
    {"overlong of two, c0", "\xc0\xaf", BAD BAD},
    {"overlong of two, c1", "\xc1\xbf", BAD BAD},
    {"overlong of three", "\xe0\x80\xaf", BAD BAD BAD},
    {"overlong of three, highest", "\xe0\x9f\xbf", BAD BAD BAD},
    {"overlong of four", "\xf0\x80\x80\xaf", BAD BAD BAD BAD},
    {"overlong of four, highest", "\xf0\x8f\xbf\xbf", BAD BAD BAD BAD},
    {"lowest surrogate", "\xed\xa0\x80", BAD BAD BAD},
    {"highest surrogate", "\xed\xbf\xbf", BAD BAD BAD},
    {"just past 10FFFF", "\xf4\x90\x80\x80", BAD BAD BAD BAD},
    {"f5 to ff", "\xf5\xf8\xfc\xfe\xff", BAD BAD BAD BAD BAD},
    {"f5 with its continuations", "\xf5\x80\x80\x80", BAD BAD BAD BAD},
    {"cut after one of two", "\xc3", BAD},
    {"cut after one of three", "\xe2", BAD},
    {"cut after two of three", "\xe2\x82", BAD},
    {"cut after one of four", "\xf0", BAD},
    {"cut after two of four", "\xf0\x9f", BAD},
    {"cut after three of four", "\xf0\x9f\x98", BAD},
    {"interrupted by ascii", "\xe2\x82z", BAD "z"},
    {"interrupted by a quote", "\xf0\x9f\"", BAD "\\\""},
    {"interrupted by a whole one", "\xe2\x82\xc3\xa4", BAD "\xc3\xa4"},
    {"after a whole one", "\xc3\xa4\x80\xc3\xa4", "\xc3\xa4" BAD "\xc3\xa4"},
};

TEST(test_ill_formed_utf8_becomes_replacement_characters)
{
    static const char padding[] = "0123456789012345678901234567890123456789";
    for (size_t i = 0; i < sizeof ill_formed / sizeof ill_formed[0]; i++)
        for (int pad = 0; pad < 40; pad++) {
            char in[100], want[100];
            snprintf(in, sizeof in, "%.*s%s", pad, padding, ill_formed[i].in);
            snprintf(want, sizeof want, "\"%.*s%s\"", pad, padding, ill_formed[i].out);
            check_string(slice_from(in), slice_from(want));
            CHECK(!utf8_valid(slice_from(in)));
        }
}

TEST(test_bytes_past_the_end_do_not_complete_a_character)
{
    check_string(slice_of("\xe2\x82\xac", 2), SLICE("\"" BAD "\""));
    CHECK(!utf8_valid(slice_of("\xe2\x82\xac", 2)));
    CHECK(utf8_valid(slice_of("\xe2\x82\xac", 3)));
}

static size_t encode(unsigned code, char *to)
{
    int size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (int i = size - 1; i > 0; i--, code >>= 6)
        to[i] = (char)(0x80 | (code & 63));
    to[0] = (char)(lead[size] | code);
    return (size_t)size;
}

TEST(test_every_code_point_but_surrogates_passes_unchanged)
{
    for (unsigned code = 0x80; code < 0x120000; code++) {
        char in[32] = "\"", *text = in + 1;
        size_t n = encode(code, text);
        bool good = code < 0x110000 && (code < 0xd800 || code > 0xdfff);
        CHECK_EQ(utf8_valid(slice_of(text, n)), good);
        text[n] = '"';
        if (good)
            check_string(slice_of(text, n), slice_of(in, n + 2));
    }
}

/* json_string and utf8_valid must agree about random sequences of pieces. */
TEST(test_a_random_text_comes_out_valid_and_unchanged_only_if_it_was_valid)
{
    srand(7);
    for (int round = 0; round < 100000; round++) {
        struct buf in = {0}, out = {0};
        for (int pieces = rand() % 8; pieces > 0; pieces--) {
            char c[4] = {(char)(rand() % 256), (char)(rand() % 256)};
            switch (rand() % 3) {
            case 0: buf_add(&in, "abcdefghijklmnopqrstuvwxyz", (size_t)(rand() % 26)); break;
            case 1: buf_add(&in, c, encode((unsigned)(rand() % 0x110000), c)); break;
            case 2: buf_add(&in, c, (size_t)(1 + rand() % 2)); break;
            }
        }
        json_string(&out, buf_slice(&in));
        CHECK(utf8_valid(buf_slice(&out)));
        bool replaced = memmem(out.data, out.end, BAD, 3) && !memmem(in.data, in.end, BAD, 3);
        CHECK_EQ(utf8_valid(buf_slice(&in)), !replaced);
        for (size_t i = 0; i < out.end; i++)
            CHECK((unsigned char)out.data[i] >= 0x20);
        buf_fini(&in);
        buf_fini(&out);
    }
}

static void check_number(double v, const char *want)
{
    struct buf b = {0};
    json_number(&b, v);
    CHECK_SLICE(buf_slice(&b), slice_from(want));
    buf_fini(&b);
}

TEST(test_numbers_are_short)
{
    check_number(0, "0");
    check_number(-0.0, "-0");
    check_number(1, "1");
    check_number(-42, "-42");
    check_number(0.1, "0.1");
    check_number(-1.5, "-1.5");
    check_number(1e21, "1e+21");
    check_number(5e-324, "5e-324");
    check_number(0.1 + 0.2, "0.30000000000000004");
    check_number(1.7976931348623157e308, "1.7976931348623157e+308");
    check_number(9007199254740991, "9007199254740991");
    check_number(9007199254740992, "9007199254740992");
    check_number(9223372036854775808.0, "9.223372036854776e+18");
}

TEST(test_what_json_cannot_say_is_null)
{
    check_number(NAN, "null");
    check_number(INFINITY, "null");
    check_number(-INFINITY, "null");
}

TEST(test_any_number_reads_back)
{
    srand(3);
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();
        double v;
        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v))
            continue;
        struct buf b = {0};
        json_number(&b, v);
        buf_add_char(&b, '\0');
        double back = strtod(b.data, NULL);
        CHECK(memcmp(&back, &v, sizeof v) == 0);
        buf_fini(&b);
    }
}

TEST(test_a_locale_with_a_comma_changes_nothing)
{
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8"))
        printf("de_DE is not installed here\n");
    check_number(0.5, "0.5");
    check_number(1e-7, "1e-07");
    check_number(1.25e30, "1.25e+30");
}

TEST(test_keys_bring_their_comma)
{
    struct buf b = {0};
    json_key(&b, SLICE("a"));
    buf_clear(&b);
    buf_add_char(&b, '{');
    json_key(&b, SLICE("a"));
    json_string(&b, SLICE("{"));
    json_key(&b, SLICE("b"));
    buf_add_slice(&b, SLICE("[{"));
    json_key(&b, SLICE("c\""));
    buf_add_slice(&b, SLICE("1}]}"));
    CHECK_SLICE(buf_slice(&b), SLICE("{\"a\":\"{\",\"b\":[{\"c\\\"\":1}]}"));
    buf_fini(&b);
}
