/* Requests and answers over a real connection: what a handler sees, and how its results are answered; and fetch. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit/host.h"
#include "unit/unit.h"

static struct host h;
static uint16_t port;
static char input[4 * 1024 * 1024];
static size_t input_size, input_wanted;
static int client;
static bool closed;

static char *said(void)
{
    static char text[64 * 1024];
    int fd = open("stderr", O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    CHECK(n >= 0);
    text[n < 0 ? 0 : n] = '\0';
    close(fd);
    return text;
}

static void open_server(const char *handler)
{
    dup2(open("stderr", O_CREAT | O_WRONLY, 0600), STDERR_FILENO);
    host_open(&h, 0);
    host_eval(&h, handler);
    CHECK_EQ(h.rc, 0);
    CHECK_EQ(http_listen(h.http, SLICE("127.0.0.1:0"), &port), 0);
}

static bool has_answer(struct host *host)
{
    (void)host;
    ssize_t n = recv(client, input + input_size, sizeof(input) - 1 - input_size, MSG_DONTWAIT);
    if (n > 0)
        input_size += (size_t)n;
    closed = closed || n == 0 || (n < 0 && errno == ECONNRESET);
    input[input_size] = '\0';
    loop_again(&h.loop);
    return closed || input_size >= input_wanted;
}

static void send_request(const char *request)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_EQ(connect(client, (struct sockaddr *)&a, sizeof(a)), 0);
    CHECK_EQ(send(client, request, strlen(request), 0), strlen(request));
    input_size = 0;
    input_wanted = SIZE_MAX;
    closed = false;
}

/* Returns the whole answer to a request that has the server close the connection. */
static const char *ask(const char *request)
{
    send_request(request);
    host_turns(&h, has_answer);
    close(client);
    return input;
}

#define GET(path) ask("GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

static const char *body(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    CHECK(end != NULL);
    return end + 4;
}

#define CHECK_BODY(answer, text) CHECK_SLICE(slice_from(body(answer)), SLICE(text))
#define CHECK_HAS(answer, text) CHECK(strstr(answer, text) != NULL)

TEST(test_a_handler_sees_the_request)
{
    open_server("function HANDLE(r) local names = {} for name in pairs(r.headers) do names[#names + 1] = name end\n"
                "table.sort(names) return 200, table.concat({r.method, r.path, r.query.a, r.query.b, r.query.c, "
                "r.body,\n"
                "r:header('X-One'), r.headers['x-two'], table.concat(names, ','), tostring(r.params.x),\n"
                "tostring(r.peer:match('^127.0.0.1:%d+$') ~= nil)}, ' ') end");
    CHECK_BODY(ask("POST /a%20b/c%2fd?a=1&b=x%26y+z&c&&a=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-One: 1\r\n"
                   "X-Two: a\r\nx-two: b\r\nContent-Length: 4\r\n\r\nbody"),
               "POST /a b/c%2fd 2 x&y z  body 1 a, b connection,content-length,host,x-one,x-two nil true");
    host_close(&h);
}

TEST(test_bodies_of_each_kind_are_sent_with_their_type)
{
    open_server("local bodies = {['/text'] = 'hi', ['/table'] = {b = 1, a = {}}, ['/list'] = json.array {}}\n"
                "function HANDLE(r) if r.path == '/html' then return 200, '<p>', {['Content-Type'] = 'text/html'} end\n"
                "if r.path == '/batch' then topic('t'):create() topic('t'):append('m') return 200, "
                "topic('t'):read{}:as'api' end\n"
                "if r.path == '/records' then return 200, topic('t'):read{format = 'records'} end\n"
                "if r.path == '/none' then return 204 end\n"
                "if r.path == '/svg' then return 200, '<svg>', 'image/svg+xml' end\n"
                "return 201, bodies[r.path], {X = {'1', '2'}, Y = 'z'} end");
    CHECK_BODY(GET("/text"), "hi");
    CHECK_HAS(input, "HTTP/1.1 201 Created\r\n");
    CHECK_HAS(input, "Content-Type: text/plain; charset=utf-8\r\n");
    CHECK_HAS(input, "X: 1\r\nX: 2\r\n");
    CHECK_BODY(GET("/table"), "{\"a\":{},\"b\":1}");
    CHECK_HAS(input, "Content-Type: application/json\r\n");
    CHECK_BODY(GET("/list"), "[]");
    CHECK_BODY(GET("/html"), "<p>");
    CHECK_HAS(input, "Content-Type: text/html\r\n");
    CHECK_BODY(GET("/svg"), "<svg>");
    CHECK_HAS(input, "Content-Type: image/svg+xml\r\n");
    CHECK_BODY(GET("/batch"), "{\"messages\":[{\"Id\":0,\"Data\":\"m\"}],\"count\":1}");
    CHECK_BODY(GET("/none"), "");
    GET("/records");
    CHECK_HAS(input, "Content-Type: application/vnd.lignum.records\r\nContent-Length: 73\r\n");
    CHECK_EQ(input_size, body(input) + 73 - input);
    host_close(&h);
}

TEST(test_a_large_body_arrives_whole)
{
    open_server("function HANDLE(r) return 200, {list = {('x'):rep(300000), ('y'):rep(300000)}} end");
    CHECK_EQ(strlen(body(GET("/"))), 600000 + 16);
    host_close(&h);
}

TEST(test_a_handler_that_fails_is_a_500_that_says_where)
{
    open_server("TREE = tree {{method = 'GET', path = '/x/{n}', id = route('GET /x/{n}')}}\n"
                "function HANDLE(r) r:find(TREE) where('authorize')\nerror('no') end");
    CHECK_HAS(body(GET("/x/1")), "\"title\":\"a script failed\",\"status\":500,\"code\":\"script_error\",\"detail\":"
                                 "\"authorize failed; the node's log says more under this id\",\"id\":\"");
    CHECK_HAS(said(), "authorize failed: test:3: no id=");
    CHECK_HAS(input, "\",\"appended\":false,\"retryable\":false}\n");
    CHECK_HAS(input, "HTTP/1.1 500 ");
    CHECK_HAS(input, "Content-Type: application/problem+json\r\n");
    host_close(&h);
}

TEST(test_a_param_is_that_of_the_table_once_a_script_has_it)
{
    open_server("TREE = tree {{method = 'GET', path = '/x/{a}/{b}', id = 0}, {method = 'GET', path = '/', id = 0}}\n"
                "function HANDLE(r) r:find(TREE) local s = tostring(r:param('a')) .. tostring(r:param('b'))\n"
                "s = s .. tostring(r:param('c')) .. tostring(r.params.a) r.params.a = 'new'\n"
                "s = s .. r:param('a') .. tostring(r:param('b')) r:find(TREE)\n"
                "return 200, s .. tostring(r:param('a')) end");
    CHECK_BODY(GET("/x/1/2"), "12nil1new21");
    CHECK_BODY(GET("/x/%20/%2f%41"), " %2fAnil new%2fA ");
    CHECK_BODY(GET("/"), "nilnilnilnilnewnilnil");
    CHECK_BODY(GET("/y"), "nilnilnilnilnewnilnew");
    host_close(&h);
}

static slice strings_of(const char *json)
{
    char request[1024];
    snprintf(request, sizeof(request), "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                        "Content-Length: %zu\r\n\r\n%s", strlen(json), json);
    return slice_from(body(ask(request)));
}

TEST(test_strings_of_a_body_are_all_or_none)
{
    open_server("function HANDLE(r) return 200, table.concat({r:strings('a', 'b')}, '|') end");
    CHECK_SLICE(strings_of("{\"a\": \"1\", \"b\": \"2\"}"), SLICE("1|2"));
    CHECK_SLICE(strings_of(" {\"b\":\"\\u00e9\\n\",\"a\":\"\"} "), SLICE("|\xc3\xa9\n"));
    static const char *const others[] = {
        "", "{", "[]", "{}", "\"a\"", "{\"a\":\"1\"}", "{\"a\":\"1\",\"b\":2}", "{\"a\":\"1\",\"b\":null}",
        "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}", "{\"a\":\"1\",\"b\":\"2\",\"a\":\"3\"}",
        "{\"a\":\"1\",\"b\":\"2\"}x", "{\"a\":\"1\",\"b\":\"2\"", "{\"a\":\"1\",\"b\":\"2\",}",
        "{\"a\":\"1\",\"b\":\"\xff\"}", "{\"a\":\"1\",\"b\":[\"2\"]}", "{\"a\":\"1\",\"a\":\"2\"}"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        CHECK_SLICE(strings_of(others[i]), SLICE(""));
    host_close(&h);
}

TEST(test_a_handler_that_fails_after_an_append_does_not_deny_it)
{
    open_server("topic('t'):create() function HANDLE(r) topic('t'):append('x') error('later') end");
    CHECK_HAS(GET("/"), "script_error");
    CHECK(strstr(input, "appended") == NULL);
    host_close(&h);
}

static bool has_appended(struct host *host)
{
    struct topic *t = topics_find(host->topics, SLICE("t"));
    return t != NULL && t->disk.at == 1;
}

/* A follower repeats a request that was answered with 503 and `stopping`. */
TEST(test_a_handler_that_a_stop_ends_after_an_append_does_not_deny_it)
{
    open_server("function HANDLE(r) topic('t'):create() topic('t'):append('x') sleep(60) end");
    send_request("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    host_turns(&h, has_appended);
    tasks_stop(vm_tasks(h.vm));
    host_turns(&h, has_answer);
    close(client);
    CHECK_HAS(input, "HTTP/1.1 504 ");
    CHECK_HAS(input, "\"code\":\"unknown_outcome\"");
    CHECK(strstr(input, "appended") == NULL);
    host_close(&h);
}

TEST(test_garbage_from_a_handler_is_a_500_that_names_the_route)
{
    static const char *const results[][2] = {
        {"'text'", "GET /r failed: the handler returned text instead of a status from 200 to 599"},
        {"nil", "GET /r failed: the handler returned nil instead of a status from 200 to 599"},
        {"99", "GET /r failed: the handler returned 99 instead of a status from 200 to 599"},
        {"200, true", "GET /r failed: the handler returned a boolean as a body"},
        {"200, '', 7", "GET /r failed: the handler returned a number instead of headers"},
        {"200, '', 'a\\\\nb'", "GET /r failed: the content type a\\x0ab cannot be sent"},
        {"200, '', {['a\\\\nb'] = 'c'}", "GET /r failed: the header a\\x0ab cannot be sent"},
        {"200, '', {a = 'b\\\\r\\\\nc: d'}", "GET /r failed: the header a cannot be sent"},
        {"200, '', {['Content-Length'] = '7'}", "GET /r failed: the header Content-Length cannot be sent"},
        {"200, {f = print}", "GET /r failed: json: a function (at or below field \"f\")"},
        {"200, topic('t')", "GET /r failed: the handler returned an object that cannot be a body"},
    };
    char code[256], expected[256];
    open_server("TREE = tree {{method = 'GET', path = '/r', id = route('GET /r')}}\n"
                "function HANDLE(r) r:find(TREE) return load(CODE)() end");
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        snprintf(code, sizeof(code), "CODE = \"return %s\"", results[i][0]);
        host_eval(&h, code);
        CHECK_EQ(h.rc, 0);
        snprintf(expected, sizeof(expected), "%s id=", results[i][1]);
        CHECK_HAS(GET("/r"), "\"detail\":\"GET /r failed; the node's log says more under this id\"");
        if (strstr(said(), expected) == NULL)
            unit_failed(__FILE__, __LINE__, "%s: %s", results[i][0], said());
    }
    host_close(&h);
}

TEST(test_a_request_is_gone_once_it_is_answered)
{
    open_server("function HANDLE(r) KEPT = r return 200, 'x' end");
    GET("/");
    CHECK_SLICE(host_eval(&h, "return (select(2, pcall(function() return KEPT.path end)))"),
                SLICE("test:1: this request has been answered; copy what you need from it before that"));
    CHECK_SLICE(host_eval(&h, "return tostring(pcall(function() return KEPT.params end))"), SLICE("false"));
    CHECK_SLICE(host_eval(&h, "return tostring(pcall(function() return KEPT:param('x') end))"), SLICE("false"));
    host_close(&h);
}

TEST(test_a_request_that_is_answered_while_a_hook_sees_its_message_is_not_published)
{
    open_server("function HANDLE(r) KEPT = coroutine.wrap(function()\n"
                "return r:publish('t', coroutine.yield) end) KEPT() return 200, 'x' end");
    GET("/");
    CHECK_SLICE(host_eval(&h, "return (select(2, pcall(KEPT)))"),
                SLICE("test:2: this request has been answered; copy what you need from it before that"));
    host_close(&h);
}

TEST(test_a_function_streams_and_waits_for_its_client)
{
    open_server("function HANDLE(r) return 200, function(write) for i = 1, 20 do\n"
                "N = i if not write(('x'):rep(100000)) then return end sleep(0.001) end end end");
    GET("/");
    CHECK_HAS(input, "Transfer-Encoding: chunked\r\n");
    CHECK_HAS(input + input_size - 7, "\r\n0\r\n\r\n");
    CHECK_SLICE(host_eval(&h, "return N"), SLICE("20"));
    host_close(&h);
}

TEST(test_a_stream_may_write_batches)
{
    open_server("function HANDLE(r) local t = topic 't' t:create() t:append('a') t:append('b')\n"
                "return 200, function(write) local b = t:read{}:as'ndjson' write(b) write('end')\n"
                "TWICE = select(2, pcall(write, b)) end end");
    CHECK_HAS(GET("/"), "\"data\":\"b\"");
    CHECK_HAS(input, "\r\n3\r\nend\r\n0\r\n\r\n");
    CHECK_SLICE(host_eval(&h, "return TWICE"), SLICE("write(bytes | batch): this batch has been sent already"));
    host_close(&h);
}

TEST(test_a_stream_that_fails_is_cut_off)
{
    open_server("function HANDLE(r) return 200, function(write) write('part') error('broken') end end");
    CHECK_HAS(GET("/"), "part");
    CHECK(closed);
    CHECK(strstr(input, "\r\n0\r\n\r\n") == NULL);
    host_close(&h);
}

static bool has_ended(struct host *host)
{
    return tasks_stats(vm_tasks(host->vm)).live == 0;
}

static bool has_begun(struct host *host)
{
    (void)has_answer(host);
    return input_size > 0;
}

TEST(test_a_stream_ends_when_its_client_goes)
{
    open_server("function HANDLE(r) return 200, function(write)\n"
                "while write(('x'):rep(100000)) do sleep(0.001) end SAW = 'gone' end end");
    send_request("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    host_turns(&h, has_begun);
    close(client);
    host_turns(&h, has_ended);
    CHECK_SLICE(host_eval(&h, "return SAW"), SLICE("gone"));
    host_close(&h);
}

TEST(test_requests_past_the_limit_of_tasks_are_refused_with_429)
{
    open_server("function HANDLE(r) return 200, 'x' end");
    tasks_set_limits(vm_tasks(h.vm), 0, 200);
    CHECK_HAS(GET("/"), "HTTP/1.1 429 ");
    CHECK_HAS(input, "Retry-After: 1\r\n");
    CHECK_HAS(input, "\"code\":\"too_many_requests\"");
    host_close(&h);
}

/* The request to read with this query. */
static const char *read_with(const char *query)
{
    static char path[256];
    snprintf(path, sizeof(path), "GET /?%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", query);
    return path;
}

TEST(test_a_request_reads_what_its_query_asks_for)
{
    open_server("topic('t'):create() topic('t'):append {'a', 'b', 'c'} topic('t'):append('d')\n"
                "function HANDLE(r) local b, known, code = r:read('t', 'json')\n"
                "if not b then return 200, tostring(b) .. ' ' .. tostring(code) end\n"
                "local s = {} for i, m in ipairs(b) do s[i] = m.payload end\n"
                "return 200, b.next .. ' ' .. table.concat(s) end");
    static const struct {
        const char *query, *want;
    } cases[] = {
        {"from=0", "4 abcd"}, {"from=3", "4 d"}, {"to=3&from=1", "3 bc"}, {"from=0&limit=2", "2 ab"},
        {"from=0&bytes=1", "1 a"}, {"from=1:2", "4 cd"}, {"from=1%3A2&limit=1", "3 c"}, {"from=4", "4 "},
        {"from=0&wait=60", "4 abcd"}, {"from=4&wait=0", "4 "},
        {"from=4&wait=1", "4 "},
    };
    static const char *const others[] = {      /* tests/cases/read_query.tsv has more */
        "", "limit=1", "from=latest", "from=1&limit=0", "from=1:9", "from=7:1", "from=5", "from=9007199254740991",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CHECK_SLICE(slice_from(body(ask(read_with(cases[i].query)))), slice_from(cases[i].want));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        CHECK_BODY(ask(read_with(others[i])), "false nil");
    host_eval(&h, "topic('t'):delete()");
    CHECK_BODY(ask(read_with("from=0")), "nil unknown_topic");
    CHECK_BODY(ask(read_with("frm=0")), "false nil");      /* the malformed query is found before the topic */
    host_close(&h);
}

TEST(test_a_request_is_appended_as_its_content_type_says)
{
    open_server("topic('t'):create() function HANDLE(r) local first, why, code = topic('t'):append(r)\n"
                "if not first then return 400, why end\n"
                "local s = '' for _, m in ipairs(r:messages()) do s = s .. '<' .. m.payload .. '>' end\n"
                "for _, m in ipairs(topic('t'):read {from = first}) do local hs = {}\n"
                "  for k, v in pairs(m.headers or {}) do hs[#hs + 1] = k .. '=' .. v end table.sort(hs)\n"
                "  s = s .. '[' .. (m.key or '-') .. '|' .. table.concat(hs, ',') .. '|' .. m.payload .. ']' end\n"
                "return 200, s end");
#define POST(headers, payload)                                                                                    \
    (snprintf(request, sizeof(request), "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %zu" \
              "\r\n\r\n%s", headers, strlen(payload), payload), ask(request))
    static char request[4096];
    CHECK_BODY(POST("", "plain"), "<plain>[-||plain]");
    CHECK_BODY(POST("Content-Type: application/x-www-form-urlencoded\r\n", "curl"), "<curl>[-||curl]");
    CHECK_BODY(POST("Content-Type: text/html; charset=utf-8\r\nLignum-Key: k\r\nlignum-header-Trace-ID: 7\r\n", "a\nb"),
               "<a\nb>[k|content-type=text/html; charset=utf-8,trace-id=7|a\nb]");
    CHECK_BODY(POST("Content-Type: application/x-ndjson\r\n", "{\"a\":1}\r\n\n\r\n  \nlast"),
               "<{\"a\":1}><  ><last>[-||{\"a\":1}][-||  ][-||last]");
    CHECK_BODY(POST("Content-Type: application/x-ndjson\r\n", "\n\r\n"), "there is no message to append");
    CHECK_BODY(POST("Content-Type: application/x-ndjson\r\nLignum-Key: k\r\n", "x"),
               "Lignum-Key applies to a single message, not to lines");
    CHECK_BODY(POST("Lignum-Header-X: 1\r\nA: b\r\nlignum-header-x: 2\r\n", "x"), "<x>[-|x=1, 2|x]");
    CHECK_BODY(POST("Content-Type: a/b\r\nLignum-Header-Content-Type: c/d\r\n", "x"),
               "Content-Type and Lignum-Header-Content-Type are both given");
    CHECK_BODY(POST("Content-Type: application/octet-stream\r\nLignum-Header-Content-Type: c/d\r\n", "x"),
               "<x>[-|content-type=c/d|x]");
    CHECK_BODY(POST("Lignum-Header-X: \xe9\r\n", "x"), "the header X must be UTF-8");
    CHECK_BODY(POST("Lignum-Header-: 1\r\n", "x"), "Lignum-Header- must be followed by a name");
#define NUMBER " must be a whole number up to 9007199254740991"
    CHECK_BODY(POST("Producer-Id: p\r\nProducer-Seq: 12x\r\n", "x"), "Producer-Seq" NUMBER);
    CHECK_BODY(POST("Producer-Id: p\r\nProducer-Seq: -1\r\n", "x"), "Producer-Seq" NUMBER);
    CHECK_BODY(POST("Producer-Epoch: 9007199254740992\r\n", "x"), "Producer-Epoch" NUMBER);
    CHECK_BODY(POST("Producer-Id: \r\nProducer-Seq: 0\r\n", "x"), "Producer-Id must have 1 to 64 bytes");
    CHECK_BODY(POST("Producer-Id: p\r\n", "x"), "Producer-Id and Producer-Seq belong together");
    CHECK_BODY(POST("Producer-Seq: 1\r\n", "x"), "Producer-Id and Producer-Seq belong together");
    CHECK_BODY(POST("Producer-Epoch: 1\r\n", "x"), "Producer-Id and Producer-Seq belong together");
    CHECK_BODY(POST("Idempotency-Key: \r\n", "x"), "Idempotency-Key must have 1 to 128 bytes");
    CHECK_BODY(POST("Idempotency-Key: k\r\nProducer-Id: p\r\nProducer-Seq: 1\r\n", "x"),
               "Idempotency-Key and Producer-Id exclude each other");
    CHECK_BODY(POST("Lignum-Ack: all\r\n", "x"), "Lignum-Ack must be peers");
#define QUOTES "If-Match must be one token epoch:offset:topic in double quotes"
    CHECK_BODY(POST("If-Match: 1:0\r\n", "x"), QUOTES);
    CHECK_BODY(POST("If-Match: *\r\n", "x"), QUOTES);
    CHECK_BODY(POST("If-Match: \"\r\n", "x"), QUOTES);
    CHECK_BODY(POST("If-Match: \"1:4\"\r\nIf-Match: \"1:4\"\r\n", "x"), QUOTES);
    CHECK_BODY(POST("If-Match: \"1:4\", \"1:5\"\r\n", "x"),
               "If-Match must be a token epoch:offset:topic, as next_token");
    CHECK_BODY(POST("If-Match: \"1:3\"\r\n", "x"), "the next message of the topic goes to 1:8:0");
    CHECK_BODY(POST("Producer-Id: 1\r\nProducer-Epoch: 2\r\nProducer-Seq: 0\r\nLignum-Ack: "
                    "peers\r\n", "x"), "<x>[-||x]");
#undef POST
    host_close(&h);
}

/* ---- fetch ---- */

TEST(test_answers_to_fetches_are_bounded_all_together)
{
    char code[256];
    open_server("function HANDLE(r) if r.path == '/small' then return 200, 'x' end\n"
                "return 200, function(write) write(('x'):rep(limits.fetch_body_max - 1))\n"
                "while not GOT do sleep(0.01) end end end");
    snprintf(code, sizeof(code), "URL = 'http://127.0.0.1:%u'", port);
    host_eval(&h, code);
    for (int i = 0; i <= FETCH_BODIES_MAX / FETCH_BODY_MAX; i++)     /* one more than there is room for */
        CHECK(host_start(&h, "local answer, why, code = fetch {url = URL .. '/large'}\n"
                             "if not answer then GOT = code .. ': ' .. why .. fetch({url = URL .. '/small'}).body end")
              == 0);
    host_turns(&h, host_idle);
    CHECK_SLICE(host_eval(&h, "return GOT"),
                SLICE("busy: the answers of all requests together are over the limit of 64 MiBx"));
    host_close(&h);
}

TEST(test_fetch_waits_for_an_answer_and_says_what_failed)
{
    char code[256];
    open_server("function HANDLE(r) if r.path == '/slow' then sleep(5) end return 200, r.method .. r.body, {A = 'b'} "
                "end");
    snprintf(code, sizeof(code), "URL = 'http://127.0.0.1:%u'", port);
    host_eval(&h, code);
    CHECK_SLICE(host_eval(&h, "local a = fetch {url = URL .. '/', method = 'PUT', body = 'x', headers = {c = 'd'}}\n"
                              "return a.status .. a.body .. a.headers.a"), SLICE("200PUTxb"));
    CHECK_SLICE(host_eval(&h, "return (select(3, fetch {url = URL .. '/slow', timeout = 0.05}))"), SLICE("timeout"));
    CHECK_SLICE(host_eval(&h, "return (select(3, fetch {url = 'http://127.0.0.1:1/'}))"), SLICE("fetch_failed"));
    CHECK_SLICE(host_eval(&h, "return (select(3, fetch {url = 'file:///etc/passwd'}))"), SLICE("bad_value"));
    host_close(&h);
}

TEST(test_cancelling_a_task_ends_its_fetch)
{
    char code[128];
    open_server("function HANDLE(r) sleep(0.05) return 200 end");
    snprintf(code, sizeof(code), "fetch {url = 'http://127.0.0.1:%u/'}", port);
    host_start(&h, code);
    tasks_run(vm_tasks(h.vm));
    task_cancel(vm_tasks(h.vm), h.ticket);
    CHECK_EQ(h.rc, -ERR_CANCELLED);
    CHECK_SLICE(host_eval(&h, "sleep(0.1) return 'fine'"), SLICE("fine"));
    host_close(&h);
}
