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
    sem_t work;                /* counts the jobs that were not begun, and one more when the thread is to end */
    pthread_mutex_t lock;      /* guards the lists */
    struct list urgent, later; /* jobs not begun */
    struct list finished;
    int event_fd;
    unsigned under_way;        /* submitted and not collected; the loop thread's own */
};

/* NULL: the thread is to end. */
static struct job *worker_take(struct worker *s)
{
    struct job *job = NULL;
    while (sem_wait(&s->work) < 0)
        ENSURE(errno == EINTR);
    pthread_mutex_lock(&s->lock);
    struct list *from = list_empty(&s->urgent) ? &s->later : &s->urgent;
    if (!list_empty(from)) {
        job = list_first(from, struct job, link);
        list_remove(&job->link);
    }
    pthread_mutex_unlock(&s->lock);
    return job;
}

static void worker_finish(struct worker *s, struct job *job)
{
    uint64_t one = 1;
    pthread_mutex_lock(&s->lock);
    list_push(&s->finished, &job->link);
    pthread_mutex_unlock(&s->lock);
    /* The counter cannot overflow, and a signal cannot come here: they are blocked. */
    ENSURE(write(s->event_fd, &one, sizeof one) == sizeof one);
}

static void *worker_main(void *arg)
{
    struct worker *s = arg;
    struct job *job;
    while ((job = worker_take(s)) != NULL) {
        job->run(job);
        worker_finish(s, job);
    }
    return NULL;
}

static int worker_start_thread(struct worker *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);   /* signals are the loop's */
    int rc = pthread_create(&s->thread, NULL, worker_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -rc;
}

int worker_new(struct worker **out)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    struct worker *s = MEM_NEW(struct worker);
    s->event_fd = fd;
    list_init(&s->urgent);
    list_init(&s->later);
    list_init(&s->finished);
    pthread_mutex_init(&s->lock, NULL);
    sem_init(&s->work, 0, 0);
    int rc = worker_start_thread(s);
    if (rc < 0) {
        close(fd);
        mem_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void worker_free(struct worker *s)
{
    ENSURE(s->under_way == 0);
    sem_post(&s->work);
    pthread_join(s->thread, NULL);
    sem_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    close(s->event_fd);
    mem_free(s);
}

void worker_submit(struct worker *s, struct job *job)
{
    s->under_way++;
    pthread_mutex_lock(&s->lock);
    list_push(job->urgent ? &s->urgent : &s->later, &job->link);
    pthread_mutex_unlock(&s->lock);
    sem_post(&s->work);
}

int worker_event_fd(const struct worker *s)
{
    return s->event_fd;
}

void worker_collect(struct worker *s)
{
    uint64_t count;
    ssize_t got = read(s->event_fd, &count, sizeof count);
    (void)got;   /* EAGAIN when called for nothing */
    struct list finished;
    list_init(&finished);
    pthread_mutex_lock(&s->lock);
    list_splice(&finished, &s->finished);
    pthread_mutex_unlock(&s->lock);
    while (!list_empty(&finished)) {
        struct job *job = list_first(&finished, struct job, link);
        list_remove(&job->link);
        s->under_way--;
        job->done(job);
    }
}

void worker_wait(struct worker *s)
{
    struct pollfd event = {.fd = s->event_fd, .events = POLLIN};
    while (s->under_way > 0) {
        poll(&event, 1, -1);
        worker_collect(s);
    }
}
