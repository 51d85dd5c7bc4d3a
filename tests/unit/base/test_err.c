#include "base/err.h"

#include <errno.h>
#include <signal.h>

#include "base/ensure.h"
#include "base/id.h"
#include "base/say.h"
#include "unit/unit.h"

enum { FIRST = ERR_NONE + 1 };

TEST(test_names_are_unique)
{
    for (int a = FIRST; a < ERR_END; a++)
        for (int b = FIRST; b < a; b++)
            CHECK(strcmp(err_name(-a), err_name(-b)) != 0);
}

TEST(test_every_entry_is_complete)
{
    for (int e = FIRST; e < ERR_END; e++) {
        CHECK(err_status(-e) >= 400 && err_status(-e) < 600);
        CHECK(err_sentence(-e)[0] != '\0');
        for (const char *p = err_name(-e); *p; p++)
            CHECK((*p >= 'a' && *p <= 'z') || *p == '_');
    }
}

TEST(test_codes_stand_for_what_the_table_says)
{
    CHECK_SLICE(slice_from(err_name(-ERR_GONE)), SLICE("offset_gone"));
    CHECK_EQ(err_status(-ERR_GONE), 410);
    CHECK(!err_retryable(-ERR_GONE));
    CHECK(err_retryable(-ERR_UNKNOWN_OUTCOME));
    CHECK_SLICE(slice_from(err_name(-ERR_TIMEOUT)), SLICE("timeout"));
}

TEST(test_a_full_disk_is_no_space_and_other_errnos_are_internal)
{
    CHECK_SLICE(slice_from(err_name(-ENOSPC)), SLICE("no_space"));
    CHECK_SLICE(slice_from(err_sentence(-ENOSPC)), SLICE("the disk is full"));
    CHECK_EQ(err_status(-ENOSPC), 507);
    CHECK(err_retryable(-ENOSPC));
    CHECK_SLICE(slice_from(err_name(-EACCES)), SLICE("internal"));
    CHECK_SLICE(slice_from(err_sentence(-EACCES)), slice_from(strerror(EACCES)));
    CHECK_EQ(err_status(-EACCES), 500);
    CHECK_EQ(err_status(-ERR_NONE), 500);
    CHECK_EQ(err_status(-ERR_END), 500);
}

TEST(test_asking_about_a_success_is_a_bug)
{
    CHECK_DIES(err_name(0), SIGABRT);
    CHECK_DIES(err_status(ERR_GONE), SIGABRT);
}

TEST(test_ensure_says_where_and_aborts)
{
    ENSURE(1 + 1 == 2);
    CHECK_DIES(ENSURE(1 + 1 == 3), SIGABRT);
}

TEST(test_a_minted_id_is_new_and_reads_back)
{
    struct id a = id_mint(), b = id_mint(), back;
    struct buf text = {0};
    CHECK(!id_eq(&a, &b));
    CHECK(!id_is_zero(&a));
    CHECK(id_is_zero(&(struct id){{0}}));
    id_format(&text, &a);
    CHECK_EQ(buf_size(&text), ID_TEXT_SIZE);
    CHECK_EQ(id_parse(buf_slice(&text), &back), 0);
    CHECK(id_eq(&a, &back));
    buf_fini(&text);
}

TEST(test_an_id_is_32_hex_digits)
{
    struct id id;
    struct buf text = {0};
    CHECK_EQ(id_parse(SLICE("00ff10aBCdef0123456789ABCDEF0001"), &id), 0);
    id_format(&text, &id);
    CHECK_SLICE(buf_slice(&text), SLICE("00ff10abcdef0123456789abcdef0001"));
    buf_fini(&text);
    struct id before = id;
    CHECK_EQ(id_parse(SLICE("00ff10abcdef0123456789abcdef000"), &id), -EINVAL);
    CHECK_EQ(id_parse(SLICE("00ff10abcdef0123456789abcdef00011"), &id), -EINVAL);
    CHECK_EQ(id_parse(SLICE("00ff10abcdef0123456789abcdef000g"), &id), -EINVAL);
    CHECK_EQ(id_parse(SLICE("00ff10abcdef0123456789abcdef000\x10"), &id), -EINVAL);
    CHECK(id_eq(&id, &before));
}

TEST(test_levels_parse_by_name)
{
    enum say_level l = SAY_DEBUG;
    CHECK_EQ(say_level_parse(SLICE("warn"), &l), 0);
    CHECK_EQ(l, SAY_WARN);
    CHECK_EQ(say_level_parse(SLICE("WARN"), &l), -EINVAL);
    CHECK_EQ(say_level_parse(SLICE(""), &l), -EINVAL);
    CHECK_EQ(l, SAY_WARN);
}
