/*
 * Limits for one client: requests and bytes a second, and requests that wait. A client is an access token, or the
 * address of a request without one (of IPv6 a network of 64 bits).
 *
 * Requests and bytes are counted by a bucket that fills at the rate of the limit and holds what one second brings. A
 * request is let in while there is a request in its bucket, and while its bytes are not overdrawn: what a request has
 * sent and what its answer takes is subtracted as it passes, so an answer may overdraw it, and the next request waits.
 *
 * The table is bounded. When it is full, the client that has been quiet for the longest is forgotten; one with waiting
 * requests never is.
 */
#ifndef NET_QUOTA_H
#define NET_QUOTA_H

#include "base/slice.h"

struct quota_limits {
    uint64_t requests, bytes;        /* a second; 0: no limit */
    uint32_t waiting;                /* at once; 0: no limit */
};

enum quota_class { QUOTA_TOKEN, QUOTA_ADDRESS, QUOTA_CLASSES };
enum quota_limit { QUOTA_REQUESTS, QUOTA_BYTES, QUOTA_WAITING, QUOTA_CONNECTIONS, QUOTA_LIMITS };

struct quotas;

/* Names a client; index 0: none. It is refused once the client is forgotten. */
struct quota_ref {
    uint32_t index, generation;
};

struct quotas *quotas_new(void);
void quotas_free(struct quotas *q);
void quotas_set_limits(struct quotas *q, const struct quota_limits *limits);
bool quotas_limit(const struct quotas *q);       /* is there any limit? */

/* The client of that class and name, which is added. Index 0: there are too many that wait. */
struct quota_ref quota_client(struct quotas *q, enum quota_class class, slice name, uint64_t now_ns);

/* Counts a request that has sent so many bytes. 0; -ERR_TOO_MANY: it is over `limit`, and may come again after
 * *after_ns. */
int quota_request(struct quotas *q, struct quota_ref ref, uint64_t bytes, uint64_t now_ns, enum quota_limit *limit,
                  uint64_t *after_ns);

/* Subtracts bytes that were sent. quota_overdrawn: how long it takes until they are paid; 0: they are. */
void quota_sent(struct quotas *q, struct quota_ref ref, uint64_t bytes);
uint64_t quota_overdrawn_ns(struct quotas *q, struct quota_ref ref, uint64_t now_ns);

/* A request begins to wait: false when too many of its client do. quota_waited: it does not any more. */
bool quota_wait(struct quotas *q, struct quota_ref ref);
void quota_waited(struct quotas *q, struct quota_ref ref);

/* What was refused, for metrics. */
void quota_refused(struct quotas *q, enum quota_class class, enum quota_limit limit);
struct quota_stats {
    uint32_t clients;
    uint64_t requests[QUOTA_CLASSES], refused[QUOTA_CLASSES][QUOTA_LIMITS];
};
void quotas_stats(const struct quotas *q, struct quota_stats *out);

#endif
