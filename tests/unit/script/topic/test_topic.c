/* Topics as scripts see them: appending, reading, rendering, and changes of topics. */
#include "script/bind/object.h"
#include "script/message/batch.h"
#include "script/message/records.h"
#include "unit/host.h"
#include "unit/topic_set.h"
#include "unit/unit.h"

static struct host h;

#define CHECK_EVAL(code, text) CHECK_SLICE(host_eval(&h, code), SLICE(text))

static void open_topic(void)
{
    host_open(&h, 0);
    host_eval(&h, "T = topic('t') T:create()\n"
                  "function SHOW(from) local s = '' for i, m in ipairs(T:read {from = from}) do\n"
                  "  s = s .. '[' .. (m.key or '-') .. '|' .. m.payload .. ']' end return s end\n"
                  "function CODE(first, why, code) return tostring(first) .. ' ' .. tostring(code) end");
    CHECK_EQ(h.rc, 0);
}

/* ---- what a topic is born with ---- */

TEST(test_a_topic_keeps_its_labels_and_its_source)
{
    open_topic();
    CHECK_EVAL("local f = topic 'f'\n"
               "local ok = f:create({}, {labels = {b = '2', a = '1'}, source = T:info().id})\n"
               "local l, i = f:labels(), f:info()\n"
               "return tostring(ok) .. l.a .. l.b .. tostring(i.source == T:info().id)",
               "true12true");
    CHECK_EVAL("return tostring(topic 'f':create({}, {labels = {a = '1', b = '2'}, source = T:info().id}))", "false");
    CHECK_EVAL("return CODE(topic 'f':create({}, {labels = {a = '1'}, source = T:info().id}))", "nil topic_exists");
    CHECK_EVAL("return CODE(topic 'f':create())", "nil topic_exists");
    CHECK_EVAL("return CODE(topic 'g':create({}, {source = '7:7'}))", "nil unknown_topic");
    CHECK_EVAL("return CODE(topic 'g':create({}, {source = 'x'}))", "nil unknown_topic");
    CHECK_EVAL("return (select(2, pcall(T.create, topic 'g', {}, {labels = {x = ('x'):rep(5000)}}))):match 'at most.*'",
               "at most 4096 bytes");
    host_close(&h);
}

TEST(test_a_source_that_is_deleted_stays_until_its_last_dependent_is)
{
    open_topic();
    CHECK_EVAL("T:append('one') topic 'f':create({}, {source = T:info().id})\n"
               "topic 'g':create({}, {source = topic 'f':info().id}) return tostring(T:delete())", "true");
    CHECK_EVAL("return CODE(T:append('two')) .. CODE(T:delete()) .. CODE(T:create())",
               "nil unknown_topicnil unknown_topicnil topic_exists");
    CHECK_EVAL("return CODE(T:read {from = 0}) .. CODE(T:info()) .. CODE(topic 't':place())",
               "nil unknown_topicnil unknown_topicnil unknown_topic");
    CHECK_EVAL("G = topic('t', true) return G:read {from = 0}[1].payload .. tostring(G:info().gone)", "onetrue");
    CHECK_EVAL("return CODE(topic 'h':create({}, {source = G:info().id}))", "nil unknown_topic");
    CHECK_EVAL("topic 'f':delete() return tostring(topic('f', true):info().gone) .. tostring(G:info().gone)",
               "truetrue");
    CHECK_EVAL("topic 'g':delete() return CODE(topic('f', true):info()) .. CODE(G:info())",
               "nil unknown_topicnil unknown_topic");
    CHECK_EVAL("return tostring(T:create())", "true");
    host_close(&h);
}

TEST(test_payloads_are_rendered_as_an_array_and_as_bytes)
{
    open_topic();
    CHECK_EVAL("T:append {'1', '{\"a\": 2}', '[]'} return T:read {from = 0}:render 'array'", "[1,{\"a\": 2},[]]");
    CHECK_EVAL("return T:read {from = 0}:render 'bytes' .. T:read {from = 3}:render 'array'", "1{\"a\": 2}[][]");
    host_close(&h);
}

/* ---- append ---- */

TEST(test_append_takes_strings_tables_and_lists)
{
    open_topic();
    CHECK_EVAL("local first, count, epoch = T:append('one') return first .. count .. epoch", "011");
    CHECK(h.appended);
    CHECK_EVAL("return (T:append {payload = 'two', key = 'k', headers = {a = 'b'}})", "1");
    CHECK_EVAL("local first, count = T:append {'three', {payload = '', key = ''}} return first .. count", "22");
    CHECK_EVAL("return SHOW(0)", "[-|one][k|two][-|three][|]");
    CHECK_EVAL("local m = T:read {from = 1, limit = 1}[1] return m.headers.a .. m.offset .. m.epoch", "b11");
    host_close(&h);
}

TEST(test_append_refuses_what_it_cannot_store)
{
    open_topic();
    CHECK_EVAL("return CODE(T:append {})", "nil bad_value");
    CHECK_EVAL("return CODE(T:append(('x'):rep(1024 * 1024 + 1)))", "nil too_large");
    CHECK_EVAL("return select(4, T:append(('x'):rep(1024 * 1024 + 1))).limit", "1048576");
    CHECK_EVAL("return CODE(T:append {payload = '', key = ('x'):rep(4097)})", "nil too_large");
    CHECK_EVAL("return CODE(T:append {payload = '', headers = {x = ('x'):rep(20000)}})", "nil too_large");
    CHECK_EVAL("local big = ('x'):rep(1024 * 1024) local l = {} for i = 1, 9 do l[i] = big end return "
               "CODE(T:append(l))",
               "nil too_large");
    CHECK_EVAL("local l = {} for i = 1, 65537 do l[i] = 'x' end return CODE(T:append(l))", "nil too_large");
    CHECK_EVAL("return CODE(topic('other'):append('x'))", "nil unknown_topic");
    CHECK_EVAL("return CODE(topic('../x'):append('x'))", "nil bad_topic");
    CHECK_EVAL("return CODE(topic('_topics'):append('x'))", "nil forbidden");
    CHECK(!h.appended);
    CHECK_EVAL("return T:info().next", "0");
    host_close(&h);
}

TEST(test_append_of_a_wrong_type_is_an_error_that_shows_the_usage)
{
    open_topic();
    CHECK_EVAL("return (select(2, pcall(T.append, T, 7))):match(': the value to append must be a string, not number$') "
               "~= nil",
               "true");
    CHECK_EVAL("return (select(2, pcall(T.append, T, {{payload = 7}}))):match('payload must be a string') ~= "
               "nil", "true");
    CHECK_EVAL("return (select(2, pcall(T.append, T, {key = 'k'}))):match('needs a payload') ~= nil", "true");
    CHECK_EVAL("return (select(2, pcall(T.append, T, 'x', {acks = 1}))):match('no field acks') ~= nil", "true");
    host_close(&h);
}

TEST(test_an_append_waits_until_it_is_on_disk)
{
    open_topic();
    CHECK_EVAL("T:append('x') local i = T:info() return i.disk .. i.next .. ' ' .. table.concat({T:acknowledges()}, "
               "' ')",
               "11 commit disk 1");
    host_close(&h);
}

TEST(test_an_append_with_an_expected_place_goes_there_or_nowhere)
{
    open_topic();
    host_eval(&h, "ID = T:info().id:match(':(%d+)')\n"
                  "function AT(token) local first, why, code, more = T:append('x', {expect = token})\n"
                  "  return first or code .. ' ' .. (more and more.token:gsub(':' .. ID .. '$', ':ID') or '-') end");
    CHECK_EVAL("return AT('0:1')", "precondition_failed 0:0:ID");
    CHECK_EVAL("return AT('0:0:' .. ID + 1)", "precondition_failed 0:0:ID");
    CHECK(!h.appended);
    CHECK_EVAL("return AT('7:0')", "0");              /* of an empty topic, any epoch is right */
    CHECK_EVAL("return AT('0:0')", "precondition_failed 1:1:ID");
    CHECK_EVAL("return AT('1:0')", "precondition_failed 1:1:ID");
    CHECK_EVAL("return AT('0:1')", "precondition_failed 1:1:ID");
    CHECK_EVAL("return AT('2:1')", "precondition_failed 1:1:ID");
    CHECK_EVAL("return AT('1:1:' .. ID)", "1");
    CHECK_EVAL("return AT('1:2')", "2");
    for (int i = 0; i < 5; i++) {
        static const char *const bad[] = {"''", "'1'", "'1:'", "'x:1'", "'1:2:'"};
        char code[128];
        snprintf(code, sizeof(code), "return AT(%s)", bad[i]);
        CHECK_EVAL(code, "bad_value -");
    }
    CHECK_EVAL("return CODE(topic('other'):append('x', {expect = '1:1'})) .. select('#', topics('other'))",
               "nil precondition_failed1");
    CHECK_EVAL("return CODE(topic('other'):append('x', {expect = '0:0'}))", "nil unknown_topic");
    CHECK_EVAL("return T:info().tail", "3");
    host_close(&h);
}

TEST(test_a_failed_condition_fails_before_the_append_waits)
{
    open_topic();
    host_start(&h, "return CODE(T:append('x', {expect = '1:9'}))");
    tasks_run(vm_tasks(h.vm));            /* the store is not flushed, so a wait would not end */
    CHECK_EQ(h.running, 0);
    CHECK_SLICE(slice_from(h.text), SLICE("nil precondition_failed"));
    host_close(&h);
}

TEST(test_a_receipt_states_no_more_than_the_append_waited_for)
{
    open_topic();
    CHECK_EVAL("return T:receipt(T:append('x')):match('\"committed\":\"%a+\"')", "\"committed\":\"disk\"");
    struct topic *t = topics_find(h.topics, SLICE("t"));
    TOPIC_SET(t, replication, REPLICATION_LIVE);      /* it becomes live after the append; its followers have nothing */
    t->peers.at = 0;
    CHECK_EVAL("return T:receipt(0, 1, 1):match('\"committed\":\"%a+\"')", "\"committed\":\"disk\"");
    CHECK_EVAL("return table.concat({T:acknowledges(1)}, ' ')", "commit disk 1");
    CHECK_EVAL("return table.concat({T:acknowledges(0)}, ' ')", "commit peers 1");
    CHECK_EVAL("return table.concat({T:acknowledges()}, ' ')", "commit peers 1");
    TOPIC_SET(t, replication, REPLICATION_WAL);
    CHECK_EVAL("return table.concat({T:acknowledges(1, 'peers')}, ' ')", "commit disk 1");
    TOPIC_SET(t, replication, REPLICATION_LIVE);
    t->peers.at = 1;
    CHECK_EVAL("return T:receipt(0, 1, 1):match('\"committed\":\"%a+\"')", "\"committed\":\"peers\"");
    CHECK_EVAL("return T:receipt(0, 1, 1, nil, false, 'a\"b\\n'):match('\"data.*')",
               "\"data\":\"a\\\"b\\n\",\"offset\":0,\"epoch\":1,\"durability\":\"commit\",\"committed\":\"peers\"}\n");
    CHECK_EVAL("return T:receipt(true, 0, 0, nil, true, 'x'):match('\"data.*')",
               "\"data\":\"x\",\"duplicate\":true,\"durability\":\"commit\",\"committed\":\"peers\"}\n");
    t->peers.at = t->disk.at = 0;                    /* or it was of durability `os` */
    CHECK_EVAL("return T:receipt(0, 1, 1, nil, false, 'x'):match('\"committed\":\"%a+\"')",
               "\"committed\":\"written\"");
    CHECK_EVAL("return T:receipt(0, 1, 1):match('\"committed\":\"%a+\"')", "\"committed\":\"written\"");
    t->disk.at = 1;
    host_close(&h);
}

TEST(test_an_append_that_is_not_confirmed_in_time_is_unknown)
{
    open_topic();
    host_start(&h, "return CODE(T:append('x', {timeout = 0.01}))");
    tasks_run(vm_tasks(h.vm));            /* and the store is not flushed */
    h.until = host_idle;
    while (h.running > 0) {
        loop_again(&h.loop);
        loop_run(&h.loop, (void (*)(void *))(uintptr_t)loop_stop, &h.loop);
        tasks_run(vm_tasks(h.vm));
    }
    CHECK_SLICE(slice_from(h.text), SLICE("nil unknown_outcome"));
    CHECK(h.appended);
    host_close(&h);
}

/* ---- read ---- */

TEST(test_reading_is_cut_at_single_messages)
{
    open_topic();
    host_eval(&h, "T:append {'a', 'b', 'c', 'd'} T:append {'e', 'f'}");
    CHECK_EVAL("local b = T:read {from = 1, to = 5} return #b .. b[1].payload .. b[4].payload .. b.next", "4be5");
    CHECK_EVAL("local b = T:read {from = 2, limit = 3} return #b .. b[1].offset .. b.next", "325");
    CHECK_EVAL("local b = T:read {from = 1, bytes = 2} return #b .. b[1].payload .. b.next", "2b3");
    CHECK_EVAL("local b = T:read {from = 1, bytes = 0} return #b", "1");
    CHECK_EVAL("local b = T:read {from = 3, to = 3} return #b .. b.next", "03");
    CHECK_EVAL("local b = T:read {from = 50} return #b .. b.next .. tostring(b[1])", "050nil");
    CHECK_EVAL("return CODE(T:read {from = 3, to = 2})", "nil bad_range");
    CHECK_EVAL("local b = T:read {from = 5, to = 99} return #b .. b.next", "16");
    host_close(&h);
}

/* The epoch in Lignum-Next-Offset, which a batch also has in its text. */
static uint64_t epoch_told(const char *code)
{
    CHECK_EVAL(code, "");
    lua_State *L = vm_state(h.vm);
    lua_getglobal(L, "B");
    const struct batch *b = object_test(L, -1, KIND_BATCH);
    const struct records *r = object_test(L, -1, KIND_RECORDS);
    lua_pop(L, 1);
    if (b != NULL)
        CHECK_EQ(b->epoch, b->headers.epoch);
    return b != NULL ? b->headers.epoch : r->headers.epoch;
}

TEST(test_an_empty_read_repeats_the_epoch_of_the_reader)
{
    open_topic();
    host_eval(&h, "T:append {'a', 'b', 'c', 'd'} T:append {'e', 'f'}");
    h.role.kind = ROLE_FOLLOWER;
    h.role.epoch = 3;
    CHECK_EQ(epoch_told("B = T:read {from = 4, epoch = 1}"), 1);
    CHECK_EQ(epoch_told("B = T:read {from = 6, epoch = 1}"), 1);
    CHECK_EQ(epoch_told("B = T:read {from = 6, epoch = 2}"), 2);
    CHECK_EQ(epoch_told("B = T:read {from = 6}"), 1);
    CHECK_EQ(topic_truncate(topics_find(h.topics, SLICE("t")), 4), 0);     /* while a reader is at 6 */
    CHECK_EQ(epoch_told("B = T:read {from = 6, epoch = 1}"), 1);
    CHECK_EQ(epoch_told("B = T:read {from = 6, epoch = 1, format = 'records'}"), 1);
    h.role.kind = ROLE_ALONE;
    CHECK_EVAL("T:append {'E', 'F', 'G'} return CODE(T:check(1, 6))", "nil log_truncated");
    CHECK_EVAL("return CODE(T:check(1, 4))", "true nil");
    CHECK_EQ(epoch_told("B = T:read {from = 4, epoch = 1}"), 3);
    CHECK_EQ(epoch_told("B = T:read {from = 4, epoch = 1, format = 'records'}"), 3);
    host_close(&h);
}

static void check_unknown_before(const char *from)
{
    char code[100];
    for (int i = 0; i < 2; i++) {
        snprintf(code, sizeof(code), "B = T:read {from = %s, format = %s}", from, i ? "'records'" : "nil");
        CHECK_EQ(epoch_told(code), EPOCH_UNKNOWN);
    }
}

/* A node that can read the message before an offset refuses any epoch but that of the message. */
TEST(test_an_empty_read_whose_last_message_cannot_be_read_claims_no_epoch)
{
    open_topic();
    host_eval(&h, "T:append {'a', 'b', 'c', 'd'} T:append {'e', 'f'}");
    h.role.epoch = 3;
    CHECK_EQ(epoch_told("B = T:read {from = 6}"), 1);
    check_unknown_before("9");                                         /* not on this node yet */
    CHECK_EQ(system("file=data/small/t && at=`grep -obUa e $file | tail -n1 | cut -d: -f1` && "
                    "printf X | dd of=$file bs=1 seek=$at conv=notrunc status=none"), 0);
    CHECK_EVAL("return CODE(T:read {from = 5})", "nil damaged");
    check_unknown_before("6");
    CHECK_EQ(epoch_told("B = T:read {from = 6, epoch = 1}"), 1);
    CHECK_EVAL("return CODE(T:check(3, 6))", "nil log_truncated");
    CHECK_EVAL("return CODE(T:check(0, 6))", "true nil");
    CHECK_EQ(topic_restart(topics_find(h.topics, SLICE("t")), 20, false), 0);
    check_unknown_before("20");                                        /* deleted */
    host_close(&h);
}

TEST(test_an_empty_read_from_offset_0_has_the_present_epoch)
{
    open_topic();
    h.role.epoch = 3;
    CHECK_EQ(epoch_told("B = T:read {from = 0}"), 3);
    CHECK_EVAL("return CODE(T:check(3, 0))", "true nil");
    host_close(&h);
}

TEST(test_messages_are_rendered_in_all_formats)
{
    open_topic();
    host_eval(&h, "T:append {'plain', {payload = '\\xff\"', key = 'k', headers = {h = 'v'}}}\n"
                  "function TEXT(format) return (T:read {}:render(format):gsub('%d+%-[^\"]*Z', 'TIME')) end");
    CHECK_EVAL("return TEXT()",
               "{\"topic\":\"t\",\"messages\":[{\"offset\":0,\"epoch\":1,\"time\":\"TIME\",\"data\":\"plain\"},"
               "{\"offset\":1,\"epoch\":1,\"time\":\"TIME\",\"key\":\"k\","
               "\"headers\":{\"h\":\"v\"},\"base64\":\"/yI=\"}],"
               "\"next\":2,\"epoch\":1,\"next_token\":\"1:2:0\"}");
    CHECK_EVAL("return TEXT('ndjson')",
               "{\"offset\":0,\"epoch\":1,\"time\":\"TIME\",\"data\":\"plain\"}\n"
               "{\"offset\":1,\"epoch\":1,\"time\":\"TIME\",\"key\":\"k\","
               "\"headers\":{\"h\":\"v\"},\"base64\":\"/yI=\"}\n");
    CHECK_EVAL("return TEXT('api')", "{\"messages\":[{\"Id\":0,\"Data\":\"plain\"},{\"Id\":1,"
                                     "\"Data\":\"\xef\xbf\xbd\\\"\"}],"
                                     "\"count\":2}");
    CHECK_EVAL("return TEXT('raw')", "plain\n\xff\"\n");
    CHECK_EVAL("return T:read {from = 9}:render()",
               "{\"topic\":\"t\",\"messages\":[],\"next\":9,\"epoch\":0,\"next_token\":\"0:9:0\"}");
    CHECK_EVAL("return T:read {from = 1, to = 2}:as('api'):render('api')",
               "{\"messages\":[{\"Id\":1,\"Data\":\"\xef\xbf\xbd\\\"\"}],\"count\":1}");
    host_close(&h);
}

TEST(test_memory_of_batches_counts_and_is_given_back)
{
    struct vm_stats stats;
    open_topic();
    tasks_set_limits(vm_tasks(h.vm), 100, 10 * 1000);
    host_eval(&h, "local big = ('x'):rep(1000000) T:append {big, big, big, big}");
    host_eval(&h, "KEEP = {} for i = 1, 10 do KEEP[i] = T:read {bytes = 8000000} end");
    vm_stats(h.vm, &stats);
    CHECK(stats.memory > 40 * 1000 * 1000);
    CHECK_EVAL("KEEP = nil local n = 0 for i = 1, 500 do n = n + #T:read {bytes = 8000000} end return n", "2000");
    vm_stats(h.vm, &stats);
    CHECK(stats.memory < 80 * 1000 * 1000);
    CHECK_EVAL("local keep = {} for i = 1, 100 do keep[i] = T:read {bytes = 8000000} end",
               "a test failed: test:1: over the limit of 256 MiB for the memory of all scripts");
    CHECK_EVAL("return #T:read {bytes = 8000000}", "4");
    host_close(&h);
}

TEST(test_waiting_for_a_message_ends_when_it_is_readable)
{
    open_topic();
    host_start(&h, "W = tostring(T:wait(0, 5))");
    host_start(&h, "sleep(0.005) T:append('x')");
    host_turns(&h, host_idle);
    CHECK_EVAL("return W", "true");
    CHECK_EVAL("return tostring(T:wait(0))", "true");
    CHECK_EVAL("return CODE(T:wait(1, 0.005))", "nil timeout");
    CHECK_EVAL("return CODE(T:wait(1, 0))", "nil timeout");
    host_start(&h, "return CODE(T:wait(1))");
    tasks_run(vm_tasks(h.vm));
    tasks_stop(vm_tasks(h.vm));
    host_turns(&h, host_idle);
    CHECK_SLICE(slice_from(h.text), SLICE("nil stopping"));
    host_close(&h);
}

/* ---- changes ---- */

TEST(test_topics_are_created_changed_and_deleted)
{
    open_topic();
    CHECK_EVAL("return tostring(topic('n'):create {retain = {age = 1.5}, segment = {messages = 10}})", "true");
    CHECK_EVAL("return tostring(topic('n'):create {retain = {age = 1.5}, segment = {messages = 10}})", "false");
    CHECK_EVAL("return CODE(topic('n'):create {})", "nil topic_exists");
    CHECK_EVAL("local i = topic('n'):info() return i.retain.age .. ' ' .. i.segment.messages .. ' ' .. i.replication",
               "1.5 10 wal");
    CHECK_EVAL("topic('n'):set {durability = 'os'} local i = topic('n'):info() return i.durability .. "
               "i.retain.age", "os1.5");
    CHECK_EVAL("N = topic('n') return tostring(N:delete()) .. ' ' .. CODE(N:info())", "true nil unknown_topic");
    CHECK_EVAL("topic('n'):create() return N:append('again')", "0");
    host_close(&h);
}

TEST(test_a_setting_that_is_unknown_or_impossible_is_named)
{
    open_topic();
    CHECK_EVAL("return (select(2, topic('n'):create {retian = {age = 1}}))", "there is no setting \"retian\"");
    CHECK_EVAL("return (select(2, topic('n'):create {retain = {aeg = 1}}))", "there is no setting \"retain.aeg\"");
    CHECK_EVAL("return (select(2, topic('n'):create {retain = 7}))", "retain must be a table");
    CHECK_EVAL("return (select(2, topic('n'):create {copies = 1.5}))", "copies must be a whole number of 0 or more");
    CHECK_EVAL("return (select(2, topic('n'):create {copies = -1}))", "copies must be a whole number from 1 to 32");
    CHECK_EVAL("return (select(2, topic('n'):create {durability = true}))", "durability must be \"commit\" or "
                                                                            "\"interval\" or \"os\"");
    CHECK_EVAL("return CODE(topic('n'):info())", "nil unknown_topic");
    host_close(&h);
}

TEST(test_topics_are_listed_by_pattern)
{
    open_topic();
    CHECK_EVAL("for _, n in ipairs {'a.x', 'a.y', 'b.xx'} do topic(n):create() end\n"
               "function LIST(p) local s = {} for _, t in ipairs(topics(p)) do s[#s + 1] = t.name end\n"
               "  return table.concat(s, ' ') end return LIST()", "a.x a.y b.xx t");
    CHECK_EVAL("return LIST('a.*')", "a.x a.y");
    CHECK_EVAL("return LIST('*x')", "a.x b.xx");
    CHECK_EVAL("return LIST('?.?')", "a.x a.y");
    CHECK_EVAL("return LIST('*.*x*')", "a.x b.xx");
    CHECK_EVAL("return LIST('_*')", "_topics");
    host_close(&h);
}
