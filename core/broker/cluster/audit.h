/*
 * The auditor reads the sealed files of all topics in the background, slowly, and starts over at the end: damage is to
 * be found while another node still has a sound copy. A follower compares each sound file with its leader's
 * (broker/follower/refetch.c).
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
    /* Called when a file was read: rc 0 or -ERR_DAMAGED. May be NULL. */
    void (*audited)(void *arg, struct topic *t, const struct file_info *file, int rc);
    void *arg;
};

struct auditor *auditor_new(const struct auditor_options *o);
void auditor_free(struct auditor *a);   /* an audit under way ends with its journal, without a call */
void auditor_set_pause(struct auditor *a, uint64_t pause_ns);

#endif
