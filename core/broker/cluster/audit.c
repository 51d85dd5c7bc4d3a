#include "broker/cluster/audit.h"

#include "base/err.h"
#include "base/mem.h"
#include "store/recovery/audit.h"

#define STEP_NS (50 * NS_PER_MS)     /* between two steps of a search that takes more than one */

struct auditor {
    struct auditor_options o;
    struct watch timer;
    struct topic_ref topic;          /* whose file is being read */
    struct file_info file;
    size_t at;                       /* index of the next topic */
    uint64_t offset;                 /* the offset in it at which to continue */
    size_t round;                    /* topics in a row without a file, while more are to be looked at; else 0 */
    bool busy, orphan;               /* orphan: freed as soon as it is not busy */
};

static void arm(struct auditor *a)
{
    if (a->o.pause_ns > 0)
        watch_arm(&a->timer, a->round > 0 ? STEP_NS : a->o.pause_ns);
}

static void on_done(void *arg, int rc)
{
    struct auditor *a = arg;
    a->busy = false;
    if (a->orphan) {
        mem_free(a);
        return;
    }
    struct topic *t = topic_deref(a->o.topics, a->topic);
    if (t != NULL && a->o.audited != NULL && (rc == 0 || rc == -ERR_DAMAGED))
        a->o.audited(a->o.arg, t, &a->file, rc);
    arm(a);
}

/* Finds the next sealed file, in the order of topics and offsets, starting over after the last. False: there is
 * none, or `round` says that there are topics left. */
static bool find(struct auditor *a, struct topic **out)
{
    size_t count = topics_count(a->o.topics);
    for (size_t tried = 0; a->round <= count && tried < LOOK_STEP; tried++, a->round++, a->at++, a->offset = 0) {
        if (a->at >= count)
            a->at = 0;
        struct topic *t = topics_at(a->o.topics, a->at);
        uint64_t first = topic_first(t);
        if (a->offset < first)
            a->offset = first;
        if (a->offset < journal_active_first(t->journal) && journal_file(t->journal, a->offset, &a->file) == 0 &&
            a->file.sealed) {
            a->round = 0;
            *out = t;
            return true;
        }
    }
    a->round = a->round <= count ? a->round : 0;
    return false;
}

static void on_timer(void *arg)
{
    struct auditor *a = arg;
    struct topic *t;
    if (a->busy || !find(a, &t)) {
        arm(a);
        return;
    }
    a->topic = topic_ref(t);
    a->offset = a->file.next > a->offset ? a->file.next : a->offset + 1;
    a->busy = journal_audit(t->journal, a->file.first, on_done, a) == 0;
    if (!a->busy)
        arm(a);
}

struct auditor *auditor_new(const struct auditor_options *o)
{
    struct auditor *a = MEM_NEW(struct auditor);
    a->o = *o;
    watch_timer(o->loop, &a->timer, on_timer, a);
    arm(a);
    return a;
}

void auditor_set_pause(struct auditor *a, uint64_t pause_ns)
{
    a->o.pause_ns = pause_ns;
    watch_disarm(&a->timer);
    if (!a->busy)
        arm(a);
}

void auditor_free(struct auditor *a)
{
    watch_fini(&a->timer);
    a->orphan = true;
    if (!a->busy)
        mem_free(a);
}
