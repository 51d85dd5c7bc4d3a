#include "net/http_server.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"

uint64_t server_now(struct http_server *s)
{
    if (s->now_ns == 0)
        s->now_ns = clock_ns();
    return s->now_ns;
}

static void render_plain(struct buf *out, const struct http_refusal *r, struct http_answer *answer)
{
    answer->status = err_status(r->error);
    answer->type = SLICE("text/plain");
    buf_add_slice(out, r->detail.n > 0 ? r->detail : slice_from(err_sentence(r->error)));
    buf_add_char(out, '\n');
}

struct http_server *http_server_new(struct loop *l, const struct http_limits *limits)
{
    struct http_server *s = MEM_NEW(struct http_server);
    s->loop = l;
    s->render = render_plain;
    list_init(&s->all);
    list_init(&s->shaking);
    list_init(&s->shakes);
    list_init(&s->arrived);
    list_init(&s->flushing);
    list_init(&s->stalled);
    map_init(&s->addresses);
    deadlines_init(&s->deadlines, l);
    http_set_limits(s, limits);
    routes_init(s);
    return s;
}

void http_set_limits(struct http_server *s, const struct http_limits *limits)
{
    s->limits = *limits;
    s->deadlines.span_ns[DEADLINE_IDLE] = limits->idle_ms * NS_PER_MS;
    s->deadlines.span_ns[DEADLINE_SHAKE] = limits->head_ms * NS_PER_MS;
    s->deadlines.span_ns[DEADLINE_HEAD] = limits->head_ms * NS_PER_MS;
    s->deadlines.span_ns[DEADLINE_BODY] = limits->body_ms * NS_PER_MS;
    s->deadlines.span_ns[DEADLINE_WRITE] = limits->write_ms * NS_PER_MS;
    s->deadlines.span_ns[DEADLINE_LINGER] = HTTP_LINGER_MS * NS_PER_MS;
}

void http_reserve(struct http_server *s, bool (*is_reserved)(slice path))
{
    s->is_reserved = is_reserved;
}

void http_on_head(struct http_server *s, http_judge *judge, void *arg)
{
    s->judge = judge;
    s->judge_arg = arg;
}

void http_count(struct http_server *s, struct quotas *quotas)
{
    s->quotas = quotas;
}

void http_on_error(struct http_server *s, http_render_error *render)
{
    s->render = render;
    buf_fini(&s->refusal);
}

void client_queue(struct list *queue, struct client *c)
{
    list_remove(&c->queue);
    list_push(queue, &c->queue);
}

void client_new(struct listener *l, int fd, const union address *from, bool beyond, bool over)
{
    struct http_server *s = l->server;
    struct client *c = MEM_NEW(struct client);
    c->server = s;
    c->listener = l;
    c->state = l->tls == NULL ? CLIENT_HEAD : CLIENT_SHAKE;
    c->beyond = beyond || over;
    c->over = over;
    address_format(from, c->peer);
    c->peer_size = (unsigned char)strlen(c->peer);
    client_address_join(c, from);
    list_init(&c->queue);
    list_init(&c->stalled);
    deadline_init(&c->deadline);
    list_push(&s->all, &c->all);
    conn_open(&c->conn, s->loop->base, fd, client_on_ready, c);
    deadline_set(&s->deadlines, &c->deadline, l->tls == NULL ? DEADLINE_IDLE : DEADLINE_SHAKE, server_now(s));
    s->stats.connections++;
    s->stats.accepted++;
}

struct exchange *client_exchange(struct client *c)
{
    struct http_server *s = c->server;
    struct exchange *x = c->exchange;
    if (x)
        return x;
    x = s->exchanges;
    if (x) {
        s->exchanges = x->spare;
        s->exchange_count--;
    } else {
        x = MEM_NEW(struct exchange);
        x->file = -1;
    }
    x->client = c;
    x->request.began_ns = server_now(s);
    c->exchange = x;
    return x;
}

void exchange_end_source(struct exchange *x)
{
    if (x->source.free)
        x->source.free(x->source.source);
    x->source = (struct http_source){0};
}

/* Clears what the next request relies on. The head is left: parsing overwrites it, and its array is long. */
static void exchange_reset(struct exchange *x)
{
    client_hold(x->client, HELD_ANSWERS, -(int64_t)x->held);
    x->held = 0;
    x->on_left = NULL;
    if (x->file >= 0) {
        close(x->file);
        client_hold(x->client, HELD_FILES, -1);
    }
    if (x->body.data)
        buf_fini(&x->body);
    exchange_end_source(x);
    mem_free(x->shared);
    x->shared = NULL;
    x->file = -1;
    x->file_left = 0;
    x->scanned = x->head_size = x->body_size = x->taken = 0;
    x->chunks = (struct http_chunks){0};
    x->chunked_answer = x->bodiless = false;
    x->on_drained = NULL;
    x->parsed = false;
    x->id = 0;
    buf_fini(&x->note);
    x->request.route = 0;
    x->request.whole_ns = x->request.waited_ns = 0;
}

void exchange_release(struct client *c)
{
    struct http_server *s = c->server;
    struct exchange *x = c->exchange;
    if (!x)
        return;
    c->exchange = NULL;
    exchange_reset(x);
    if (s->exchange_count == EXCHANGES_SPARE) {
        mem_free(x);
        return;
    }
    x->spare = s->exchanges;
    s->exchanges = x;
    s->exchange_count++;
}

void exchange_charge(struct exchange *x)
{
    size_t head = x->client->conn.out.cap;
    size_t holds = x->body.cap + x->source.holds + (head > CONN_BUF_SIZE ? head - CONN_BUF_SIZE : 0);
    client_hold(x->client, HELD_ANSWERS, (int64_t)holds - (int64_t)x->held);
    x->held = holds;
}

void exchange_drained(struct exchange *x)
{
    void (*call)(void *arg) = x->on_drained;
    x->on_drained = NULL;
    if (call)
        call(x->drained_arg);
}

void client_drop(struct client *c)
{
    struct http_server *s = c->server;
    shake_end(c);
    conn_close(&c->conn);
    buf_pool_give(&s->pool, &c->conn.out);
    deadline_clear(&c->deadline);
    list_remove(&c->queue);
    list_remove(&c->stalled);
    s->stats.connections--;
    accept_resume(s);
    if (c->state == CLIENT_HANDLED) {
        exchange_charge(c->exchange);
        exchange_left(c->exchange);
        exchange_drained(c->exchange);
    } else {
        client_free(c);
    }
}

void client_free(struct client *c)
{
    exchange_release(c);
    buf_clear(&c->conn.in);
    input_release(c);
    buf_pool_give(&c->server->pool, &c->conn.out);
    list_remove(&c->queue);
    list_remove(&c->all);
    client_address_leave(c);
    mem_free(c);
}

static void clients_expire(struct http_server *s)
{
    struct deadline *x;
    while ((x = deadlines_next(&s->deadlines, server_now(s))))
        client_expire(LIST_OWNER(x, struct client, deadline));
}

struct http_request *http_next(struct http_server *s)
{
    if (s->deadlines.fired)
        clients_expire(s);
    if (!s->shaken && !list_empty(&s->shaking))
        shakes_run(s);
    while (!list_empty(&s->arrived)) {
        struct client *c = list_first(&s->arrived, struct client, queue);
        list_remove(&c->queue);
        if (client_advance(c))
            return &c->exchange->request;
    }
    return NULL;
}

void http_flush(struct http_server *s)
{
    struct list batch;
    list_init(&batch);
    list_splice(&batch, &s->flushing);
    while (!list_empty(&batch)) {
        struct client *c = list_first(&batch, struct client, queue);
        list_remove(&c->queue);
        client_flush(c);
    }
    slowest_drop(s);
    if (!list_empty(&s->flushing) || !list_empty(&s->arrived) || !list_empty(&s->shaking))
        loop_again(s->loop);
    s->now_ns = 0;
    s->shaken = false;
}

void client_drain(struct client *c)
{
    if (c->conn.fd < 0 || c->deadline.kind != DEADLINE_IDLE)
        return;
    client_on_readable(c);
    if (buf_size(&c->conn.in) == 0)
        c->conn.eof = true;
    client_queue(&c->server->arrived, c);
}

void http_drain(struct http_server *s)
{
    s->draining = true;
    LIST_EACH(link, &s->all)
        client_drain(LIST_OWNER(link, struct client, all));
    loop_again(s->loop);
}

void http_stop_listening(struct http_server *s)
{
    listeners_close(s);
}

bool http_drained(const struct http_server *s)
{
    return list_empty(&s->all);
}

void http_server_free(struct http_server *s)
{
    listeners_close(s);
    while (!list_empty(&s->all)) {
        struct client *c = list_first(&s->all, struct client, all);
        c->state = CLIENT_HEAD;  /* so that client_drop frees it: no request is in use any more */
        if (c->conn.fd >= 0)
            client_drop(c);
        else
            client_free(c);
    }
    while (s->exchanges) {
        struct exchange *x = s->exchanges;
        s->exchanges = x->spare;
        mem_free(x);
    }
    listeners_free(s);
    deadlines_fini(&s->deadlines);
    map_fini(&s->addresses);
    buf_pool_fini(&s->pool);
    buf_fini(&s->refusal);
    buf_fini(&s->origins_allowed);
    buf_fini(&s->hosts);
    routes_fini(s);
    mem_free(s);
}
