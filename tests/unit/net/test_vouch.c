/* What nodes tell each other about the users of requests that they forward. */
#include "net/vouch.h"

#include <errno.h>

#include "net/openssl.h"
#include "unit/unit.h"

static const struct vouched request = {SLICE("POST"), SLICE("/v1/topics/t/messages"), SLICE("a=b"), SLICE("alice")};

static void open_voucher(struct voucher *v, const char *key)
{
    struct secret s;
    *v = (struct voucher){0};
    CHECK_EQ(openssl_load(), 0);
    CHECK_EQ(secret_parse(slice_from(key), &s), 0);
    voucher_set(v, &s);
}

TEST(test_a_user_is_believed_for_the_request_that_a_node_of_the_cluster_vouched_for)
{
    struct voucher own, other, none = {0};
    struct buf text = {0};
    char user[VOUCHED_MAX];
    open_voucher(&own, "00112233445566778899aabbccddeeff");
    open_voucher(&other, "00112233445566778899aabbccddee00");
    vouch(&own, &request, &text);
    CHECK_EQ(vouch_read(&own, &request, buf_slice(&text), user), 5);
    CHECK_SLICE(slice_of(user, 5), SLICE("alice"));
    CHECK_EQ(vouch_read(&other, &request, buf_slice(&text), user), -EINVAL);
    CHECK_EQ(vouch_read(&none, &request, buf_slice(&text), user), -EINVAL);

    struct vouched changed = request;
    changed.method = SLICE("PUT");
    CHECK_EQ(vouch_read(&own, &changed, buf_slice(&text), user), -EINVAL);
    changed = request;
    changed.path = SLICE("/v1/topics/u/messages");
    CHECK_EQ(vouch_read(&own, &changed, buf_slice(&text), user), -EINVAL);
    changed = request;
    changed.query = SLICE("a=c");
    CHECK_EQ(vouch_read(&own, &changed, buf_slice(&text), user), -EINVAL);
    buf_fini(&text);
}

TEST(test_no_character_of_it_may_be_changed_or_left_out)
{
    struct voucher v;
    struct buf text = {0};
    char user[VOUCHED_MAX];
    open_voucher(&v, "00112233445566778899aabbccddeeff");
    vouch(&v, &request, &text);
    slice whole = buf_slice(&text);
    for (size_t i = 0; i < whole.n; i++) {
        char kept = text.data[i];
        for (const char *c = "0f.Z\n"; *c != '\0'; c++) {
            text.data[i] = *c;
            CHECK_EQ(vouch_read(&v, &request, whole, user), *c == kept ? 5 : -EINVAL);
        }
        text.data[i] = kept;
        CHECK_EQ(vouch_read(&v, &request, slice_of(whole.p, i), user), -EINVAL);
    }
    buf_add_char(&text, '0');
    CHECK_EQ(vouch_read(&v, &request, buf_slice(&text), user), -EINVAL);
    buf_fini(&text);
}
