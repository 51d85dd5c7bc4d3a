/* Two ends of TLS, connected by buffers whose bytes the tests change as an attacker on the network would. */
#include "net/tls.h"

#include <errno.h>
#include <stdio.h>

#include "base/limits.h"
#include "unit/unit.h"

#define KEY "00112233445566778899aabbccddeeff"
#define OTHER_KEY "00112233445566778899aabbccddee00"

struct end {
    struct tls_context *context;
    struct tls *tls;
    struct buf in, out, plain;
    int state;                    /* of the handshake: 0, 1, or the failure */
};

static void end_open(struct end *e, enum tls_side side, const char *key, const char *name)
{
    struct secret s;
    *e = (struct end){0};
    CHECK_EQ(secret_parse(slice_from(key), &s), 0);
    CHECK_EQ(tls_context_new(&s, &e->context), 0);
    e->tls = tls_new(e->context, side, slice_from(name));
}

static void end_close(struct end *e)
{
    tls_free(e->tls);
    tls_context_free(e->context);
    buf_fini(&e->in);
    buf_fini(&e->out);
    buf_fini(&e->plain);
}

static void shake(struct end *e)
{
    if (e->state == 0)
        e->state = tls_handshake(e->tls, &e->in, &e->out);
}

static void carry(struct end *from, struct end *to)
{
    buf_add_slice(&to->in, buf_slice(&from->out));
    buf_clear(&from->out);
}

/* Exchanges bytes until both sides are open, or neither has bytes to send. */
static void meet(struct end *client, struct end *server)
{
    for (int i = 0; i < 6; i++) {
        shake(client);
        carry(client, server);
        shake(server);
        carry(server, client);
    }
}

static void two_ends(struct end *client, struct end *server)
{
    end_open(client, TLS_CLIENT, KEY, "a cluster");
    end_open(server, TLS_SERVER, KEY, "a cluster");
    meet(client, server);
    CHECK_EQ(client->state, 1);
    CHECK_EQ(server->state, 1);
}

static void close_both(struct end *client, struct end *server)
{
    end_close(client);
    end_close(server);
}

static void check_why(const struct end *e, const char *part)
{
    if (strstr(tls_why(e->tls), part) == NULL)
        unit_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", tls_why(e->tls), part);
}

static void send_from(struct end *e, slice text)
{
    CHECK_EQ(tls_encrypt(e->tls, text, &e->out), 0);
}

static int receive(struct end *e)
{
    return tls_decrypt(e->tls, &e->in, &e->plain, &e->out);
}

/* ---- sound connections ---- */

TEST(test_bytes_of_any_number_arrive_in_both_directions)
{
    static const size_t sizes[] = {1, 5, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 300 * KIB};
    static char bytes[300 * KIB];
    struct end client, server;
    two_ends(&client, &server);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct end *from = i % 2 ? &server : &client, *to = i % 2 ? &client : &server;
        send_from(from, slice_of(bytes, sizes[i]));
        carry(from, to);
        CHECK_EQ(receive(to), 0);
        CHECK_EQ(buf_size(&to->in), 0);
        CHECK_SLICE(buf_slice(&to->plain), slice_of(bytes, sizes[i]));
        buf_clear(&to->plain);
    }
    send_from(&client, SLICE(""));
    CHECK_EQ(buf_size(&client.out), 0);
    close_both(&client, &server);
}

static void drip(struct end *from, struct end *to, bool opened)
{
    struct buf bytes = {0};
    buf_move(&bytes, &from->out);
    for (; buf_size(&bytes) > 0; buf_drop(&bytes, 1)) {
        buf_add(&to->in, buf_slice(&bytes).p, 1);
        if (opened)
            CHECK_EQ(receive(to), 0);
        else
            shake(to);
    }
    buf_fini(&bytes);
}

TEST(test_bytes_that_arrive_one_by_one_do_as_well)
{
    struct end client, server;
    end_open(&client, TLS_CLIENT, KEY, "a cluster");
    end_open(&server, TLS_SERVER, KEY, "a cluster");
    shake(&client);
    drip(&client, &server, false);
    drip(&server, &client, false);
    drip(&client, &server, false);
    CHECK_EQ(client.state, 1);
    CHECK_EQ(server.state, 1);
    send_from(&server, SLICE("slowly"));
    drip(&server, &client, true);
    CHECK_SLICE(buf_slice(&client.plain), SLICE("slowly"));
    close_both(&client, &server);
}

/* A client may send data right behind the last message of its handshake. */
TEST(test_bytes_behind_the_handshake_are_kept)
{
    struct end client, server;
    end_open(&client, TLS_CLIENT, KEY, "a cluster");
    end_open(&server, TLS_SERVER, KEY, "a cluster");
    shake(&client);
    carry(&client, &server);
    shake(&server);
    carry(&server, &client);
    shake(&client);
    CHECK_EQ(client.state, 1);
    send_from(&client, SLICE("hello"));
    carry(&client, &server);
    shake(&server);
    CHECK_EQ(server.state, 1);
    CHECK_EQ(receive(&server), 0);
    CHECK_SLICE(buf_slice(&server.plain), SLICE("hello"));
    close_both(&client, &server);
}

TEST(test_keys_change_under_way)
{
    struct end client, server;
    two_ends(&client, &server);
    size_t usual = 0, updates = 0;
    tls_set_rekey(client.tls, 3);
    tls_set_rekey(server.tls, 5);
    for (int i = 0; i < 100; i++) {
        send_from(&client, SLICE("there"));
        usual = i == 0 ? buf_size(&client.out) : usual;
        updates += buf_size(&client.out) > usual;        /* by the record of the key update */
        send_from(&server, SLICE("back"));
        carry(&client, &server);
        carry(&server, &client);
        CHECK_EQ(receive(&server), 0);
        CHECK_EQ(receive(&client), 0);
    }
    CHECK_EQ(buf_size(&server.plain), 500);
    CHECK_EQ(buf_size(&client.plain), 400);
    CHECK(updates >= 100 / 4);
    close_both(&client, &server);
}

TEST(test_an_end_that_closes_says_so)
{
    struct end client, server;
    two_ends(&client, &server);
    send_from(&client, SLICE("bye"));
    tls_close(client.tls, &client.out);
    carry(&client, &server);
    CHECK_EQ(receive(&server), -EPIPE);
    CHECK_SLICE(buf_slice(&server.plain), SLICE("bye"));
    close_both(&client, &server);
}

/* ---- peers that are refused ---- */

TEST(test_another_secret_is_refused_by_both_sides)
{
    struct end client, server;
    end_open(&client, TLS_CLIENT, OTHER_KEY, "a cluster");
    end_open(&server, TLS_SERVER, KEY, "a cluster");
    meet(&client, &server);
    CHECK_EQ(server.state, -EPROTO);
    CHECK_EQ(client.state, -EPROTO);
    check_why(&server, "its secret is not this node's");
    check_why(&client, "its secret is not this node's");
    close_both(&client, &server);
}

TEST(test_another_name_is_refused_by_both_sides)
{
    struct end client, server;
    end_open(&client, TLS_CLIENT, KEY, "a cluster");
    end_open(&server, TLS_SERVER, KEY, "another cluster");
    meet(&client, &server);
    CHECK_EQ(server.state, -EPROTO);
    CHECK_EQ(client.state, -EPROTO);
    check_why(&server, "it belongs to another cluster");
    check_why(&client, "another cluster");
    close_both(&client, &server);
}

/* The keys differ even if an attacker on the way changes the name. */
TEST(test_a_name_that_was_changed_on_the_way_does_not_help)
{
    struct end client, server;
    end_open(&client, TLS_CLIENT, KEY, "cluster 1");
    end_open(&server, TLS_SERVER, KEY, "cluster 2");
    shake(&client);
    slice sent = buf_slice(&client.out);
    char *name = memmem((char *)(uintptr_t)sent.p, sent.n, "cluster 1", 9);
    CHECK(name != NULL);
    name[8] = '2';
    meet(&client, &server);
    CHECK_EQ(server.state, -EPROTO);
    check_why(&server, "its secret is not this node's");
    close_both(&client, &server);
}

TEST(test_a_peer_that_does_not_use_tls_is_told_from_one_with_another_secret)
{
    static const char hello[] = "\x58\0\0\0h\1\0\x11\"3DUfw";
    for (int side = TLS_CLIENT; side <= TLS_SERVER; side++) {
        struct end e;
        end_open(&e, (enum tls_side)side, KEY, "a cluster");
        shake(&e);
        buf_clear(&e.out);
        buf_add(&e.in, hello, sizeof hello);
        shake(&e);
        CHECK_EQ(e.state, -EPROTO);
        check_why(&e, "it has none");
        CHECK(buf_size(&e.out) >= 2);
        CHECK_SLICE(slice_of(buf_slice(&e.out).p, 2), SLICE("\x15\x03"));   /* an alert */
        end_close(&e);
    }
}

/* ClientHellos of OpenSSL 3.0: one of TLS 1.2, and one of TLS 1.3 without a pre-shared key. */
static const char hello_of_1_2[] =
    "1603010085010000810303b2075620475bf1cdf85b3ef185ee3cc3255f4c928b2cf0282518b9eac0d398f2000006c02fc02b"
    "00ff01000052000b000403000102000a000c000a001d0017001e00190018002300000016000000170000000d002a00280403"
    "05030603080708080809080a080b080408050806040105010601030303010302040205020602";
static const char hello_without_key[] =
    "16030100dc010000d803030b3ac0cf775b827f5558ff4b80589a56f9d1451ef2e2878c4b67a9b271c4d3d8201b1e667f27de"
    "425af19585a5fa6bfe49337533f7174456b8fdbbb158213bcc5c000813021303130100ff01000087000b000403000102000a"
    "00160014001d0017001e0019001801000101010201030104002300000016000000170000000d001e001c0403050306030807"
    "08080809080a080b080408050806040105010601002b0003020304002d00020101003300260024001d00204f246e1bffb6e4"
    "679bfe62ba0db2c4d34582e8264fece4ea4871fd4351e9f85f";

static void check_stranger(const char *hex, const char *why)
{
    struct end server;
    end_open(&server, TLS_SERVER, KEY, "a cluster");
    for (; *hex; hex += 2) {
        unsigned byte;
        CHECK_EQ(sscanf(hex, "%2x", &byte), 1);
        buf_add_char(&server.in, (char)byte);
    }
    shake(&server);
    CHECK_EQ(server.state, -EPROTO);
    check_why(&server, why);
    end_close(&server);
}

TEST(test_an_older_tls_and_one_without_the_key_are_refused)
{
    check_stranger(hello_of_1_2, "it does not speak TLS 1.3");
    check_stranger(hello_without_key, "it offers no key");
}

/* The server checks every bit that a client sends. */
TEST(test_no_bit_of_a_handshake_may_be_changed)
{
    for (int flight = 0; flight < 3; flight++)
        for (size_t at = 0; ; at++) {
            struct end client, server;
            end_open(&client, TLS_CLIENT, KEY, "a cluster");
            end_open(&server, TLS_SERVER, KEY, "a cluster");
            struct end *ends[] = {&client, &server, &client, &server};
            bool over = false;
            for (int i = 0; i < 3; i++) {
                shake(ends[i]);
                struct buf *out = &ends[i]->out;
                over = over || (i == flight && at >= buf_size(out));
                if (i == flight && !over)
                    out->data[out->at + at] ^= (char)(1 << at % 8);
                carry(ends[i], ends[i + 1]);
            }
            shake(&server);
            bool met = client.state == 1 && server.state == 1;
            close_both(&client, &server);
            if (over)
                break;
            /* The version in the header of a record is ignored (RFC 8446, section 5.1). */
            if (met && at % 5 != 1 && at % 5 != 2)
                unit_failed(__FILE__, __LINE__, "byte %zu of flight %d", at, flight);
        }
}

TEST(test_a_handshake_that_was_recorded_opens_no_other)
{
    struct end client, server, again;
    struct buf recorded = {0};
    end_open(&client, TLS_CLIENT, KEY, "a cluster");
    end_open(&server, TLS_SERVER, KEY, "a cluster");
    end_open(&again, TLS_SERVER, KEY, "a cluster");
    for (int i = 0; i < 3; i++) {
        shake(&client);
        buf_add_slice(&recorded, buf_slice(&client.out));
        carry(&client, &server);
        shake(&server);
        carry(&server, &client);
    }
    send_from(&client, SLICE("pay 10"));
    buf_add_slice(&recorded, buf_slice(&client.out));
    buf_add_slice(&again.in, buf_slice(&recorded));
    shake(&again);
    shake(&again);
    CHECK_EQ(again.state, -EPROTO);
    close_both(&client, &server);
    end_close(&again);
    buf_fini(&recorded);
}

/* ---- records that an attacker changes ---- */

TEST(test_no_byte_may_be_changed_on_the_way)
{
    for (size_t at = 0; ; at++) {
        struct end client, server;
        two_ends(&client, &server);
        send_from(&server, SLICE("pay 10"));
        size_t size = buf_size(&server.out);
        if (at < size)
            server.out.data[server.out.at + at] ^= 1;
        carry(&server, &client);
        int rc = receive(&client);
        if (at >= size)
            CHECK_EQ(rc, 0);
        else if (at < 5)
            CHECK(buf_size(&client.plain) == 0);   /* it may wait for more, by the changed header of a record */
        else
            CHECK_EQ(rc, -EPROTO);
        if (at >= 5 && at < size) {
            check_why(&client, "changed on the way");
            CHECK_EQ(buf_size(&client.plain), 0);
            carry(&client, &server);
            CHECK_EQ(receive(&server), -EPROTO);
            check_why(&server, "what was sent to it was changed on the way");
        }
        close_both(&client, &server);
        if (at > size)
            break;
    }
}

static void check_refused(struct end *to, slice bytes)
{
    buf_add_slice(&to->in, bytes);
    CHECK_EQ(receive(to), -EPROTO);
    check_why(to, "changed on the way");
}

TEST(test_no_record_may_be_repeated_dropped_or_sent_back)
{
    struct end client, server;
    struct buf first = {0};
    two_ends(&client, &server);
    send_from(&server, SLICE("one"));
    buf_move(&first, &server.out);
    buf_add_slice(&client.in, buf_slice(&first));
    CHECK_EQ(receive(&client), 0);
    check_refused(&client, buf_slice(&first));
    CHECK_SLICE(buf_slice(&client.plain), SLICE("one"));
    close_both(&client, &server);

    two_ends(&client, &server);
    send_from(&server, SLICE("one"));
    buf_clear(&server.out);
    send_from(&server, SLICE("two"));
    check_refused(&client, buf_slice(&server.out));
    CHECK_EQ(buf_size(&client.plain), 0);
    close_both(&client, &server);

    two_ends(&client, &server);
    send_from(&server, SLICE("one"));
    check_refused(&server, buf_slice(&server.out));
    close_both(&client, &server);
    buf_fini(&first);
}

/* Records that are whole before the changed one are genuine. */
TEST(test_what_arrived_before_a_change_is_kept)
{
    struct end client, server;
    two_ends(&client, &server);
    send_from(&server, SLICE("one"));
    send_from(&server, SLICE("two"));
    server.out.data[server.out.end - 1] ^= 1;
    carry(&server, &client);
    CHECK_EQ(receive(&client), -EPROTO);
    CHECK_SLICE(buf_slice(&client.plain), SLICE("one"));
    close_both(&client, &server);
}

TEST(test_nothing_readable_is_on_the_way)
{
    struct end client, server;
    two_ends(&client, &server);
    send_from(&client, SLICE("pay 10 to somebody"));
    slice sent = buf_slice(&client.out);
    CHECK(memmem(sent.p, sent.n, "pay 10", 6) == NULL);
    close_both(&client, &server);
}
