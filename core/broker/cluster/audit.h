/*
 * Sealed files are read again and again, one after the other, slowly, so that damage is found while there is still a
 * sound copy of it somewhere. A follower then compares with its leader (broker/follower/refetch.c).
 */
#ifndef BROKER_CLUSTER_AUDIT_H
#define BROKER_CLUSTER_AUDIT_H

#include "broker/topic/topics.h"
#include "net/loop.h"

struct auditor;

struct auditor_options {
    struct loop *loop;               /* outlives us, as do the topics */
    struct topics *topics;
    uint64_t pause_ns;               /* between two files; 0: no audits */
    /* A file has been read: rc 0 or -ERR_DAMAGED. NULL: nobody is told. */
    void (*audited)(void *arg, struct topic *t, const struct file_info *file, int rc);
    void *arg;
};

struct auditor *auditor_new(const struct auditor_options *o);
void auditor_free(struct auditor *a);   /* an audit under way ends with its journal, and tells nobody */
void auditor_set_pause(struct auditor *a, uint64_t pause_ns);

#endif
