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

struct worker {
    pthread_t thread;
    sem_t work;                  /* the number of queued jobs, plus one when the thread is to end */
    pthread_mutex_t lock;        /* guards the lists */
    struct list urgent, normal;  /* queued */
    struct list finished;
    int event_fd;
    unsigned under_way;          /* jobs that are not idle; used by the loop thread only */
};

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    for (;;) {
        while (sem_wait(&w->work) < 0)
            ENSURE(errno == EINTR);
        pthread_mutex_lock(&w->lock);
        struct list *queue = list_empty(&w->urgent) ? &w->normal : &w->urgent;
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

int worker_new(struct worker **out)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    struct worker *w = MEM_NEW(struct worker);
    w->event_fd = fd;
    list_init(&w->urgent);
    list_init(&w->normal);
    list_init(&w->finished);
    pthread_mutex_init(&w->lock, NULL);
    sem_init(&w->work, 0, 0);

    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);   /* the loop thread handles signals */
    int rc = -pthread_create(&w->thread, NULL, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc < 0) {
        close(fd);
        mem_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

void worker_free(struct worker *w)
{
    ENSURE(w->under_way == 0);
    sem_post(&w->work);
    pthread_join(w->thread, NULL);
    sem_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    close(w->event_fd);
    mem_free(w);
}

void worker_submit(struct worker *w, struct job *job)
{
    w->under_way++;
    pthread_mutex_lock(&w->lock);
    list_push(job->urgent ? &w->urgent : &w->normal, &job->link);
    pthread_mutex_unlock(&w->lock);
    sem_post(&w->work);
}

int worker_event_fd(const struct worker *w)
{
    return w->event_fd;
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
