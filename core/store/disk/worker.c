#include "store/disk/worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/mem.h"

/* A thread and what it has to do. */
struct lane {
    struct worker *worker;
    pthread_t thread;
    bool running;                /* the thread was made; used by the loop thread only */
    sem_t work;                  /* the number of queued jobs, plus one when the thread is to end */
    struct list urgent, normal;  /* queued */
};

struct worker {
    struct lane quick, slow;
    pthread_mutex_t lock;        /* guards the lists */
    struct list finished;
    int event_fd;
    unsigned under_way;          /* jobs that are not idle; used by the loop thread only */
};

static void *lane_main(void *arg)
{
    struct lane *l = arg;
    struct worker *w = l->worker;
    for (;;) {
        while (sem_wait(&l->work) < 0)
            ENSURE(errno == EINTR);
        pthread_mutex_lock(&w->lock);
        struct list *queue = list_empty(&l->urgent) ? &l->normal : &l->urgent;
        struct job *job = list_empty(queue) ? NULL : list_first(queue, struct job, link);
        if (job)
            list_remove(&job->link);
        pthread_mutex_unlock(&w->lock);
        if (!job)
            return NULL;                 /* woken by worker_free */

        job->run(job);

        pthread_mutex_lock(&w->lock);
        list_push(&w->finished, &job->link);
        pthread_mutex_unlock(&w->lock);
        uint64_t one = 1;
        /* The counter cannot overflow, and this thread blocks all signals. */
        ENSURE(write(w->event_fd, &one, sizeof one) == sizeof one);
    }
}

static void lane_init(struct lane *l, struct worker *w)
{
    l->worker = w;
    list_init(&l->urgent);
    list_init(&l->normal);
    sem_init(&l->work, 0, 0);
}

static int lane_start(struct lane *l)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);   /* the loop thread handles signals */
    int rc = -pthread_create(&l->thread, NULL, lane_main, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    l->running = rc == 0;
    return rc;
}

static void lane_fini(struct lane *l)
{
    if (l->running) {
        sem_post(&l->work);
        pthread_join(l->thread, NULL);
    }
    sem_destroy(&l->work);
}

int worker_new(struct worker **out)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    struct worker *w = MEM_NEW(struct worker);
    w->event_fd = fd;
    list_init(&w->finished);
    pthread_mutex_init(&w->lock, NULL);
    lane_init(&w->quick, w);
    lane_init(&w->slow, w);
    int rc = lane_start(&w->quick);
    if (rc < 0) {
        worker_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

void worker_free(struct worker *w)
{
    ENSURE(w->under_way == 0);
    lane_fini(&w->quick);
    lane_fini(&w->slow);
    pthread_mutex_destroy(&w->lock);
    close(w->event_fd);
    mem_free(w);
}

void worker_submit(struct worker *w, struct job *job)
{
    bool slow = job->slow && (w->slow.running || lane_start(&w->slow) == 0);
    struct lane *l = slow ? &w->slow : &w->quick;
    w->under_way++;
    pthread_mutex_lock(&w->lock);
    list_push(job->urgent ? &l->urgent : &l->normal, &job->link);
    pthread_mutex_unlock(&w->lock);
    sem_post(&l->work);
}

int worker_event_fd(const struct worker *w)
{
    return w->event_fd;
}

bool worker_is_busy(const struct worker *w)
{
    return w->under_way > 0;
}

void worker_collect(struct worker *w)
{
    uint64_t count;
    ssize_t got = read(w->event_fd, &count, sizeof count);
    (void)got;                           /* EAGAIN: nothing has finished */
    struct list finished;
    list_init(&finished);
    pthread_mutex_lock(&w->lock);
    list_splice(&finished, &w->finished);
    pthread_mutex_unlock(&w->lock);
    while (!list_empty(&finished)) {
        struct job *job = list_first(&finished, struct job, link);
        list_remove(&job->link);
        w->under_way--;
        job->done(job);
    }
}

void worker_wait(struct worker *w)
{
    struct pollfd event = {.fd = w->event_fd, .events = POLLIN};
    while (w->under_way > 0) {
        poll(&event, 1, -1);
        worker_collect(w);
    }
}
