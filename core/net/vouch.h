/*
 * A node vouches for the user of a request that it forwards to the leader: the name in the certificate that its client
 * has shown, which the leader cannot see. The text names the user, and proves by the cluster's secret that a node has
 * written it for this method and target. It is sent by https only, so nobody else reads one, to send it again.
 */
#ifndef NET_VOUCH_H
#define NET_VOUCH_H

#include "base/buf.h"
#include "net/secret.h"

enum { VOUCHED_MAX = 64 };           /* bytes of a user: those of a certificate's name */

/* Zeroed: it vouches for nobody, and believes nothing. */
struct voucher {
    unsigned char key[SECRET_KEY_SIZE];
    bool set;
};

/* What is asked for, and by whom. */
struct vouched {
    slice method, path, query, user;
};

void voucher_set(struct voucher *v, const struct secret *s);   /* OpenSSL must be loaded */
void voucher_clear(struct voucher *v);

/* Appends the text. */
void vouch(const struct voucher *v, const struct vouched *request, struct buf *out);

/* Reads a text about this method and target: writes the user to `user`. The user's size; -EINVAL: no node of the
 * cluster has written it about them. */
int vouch_read(const struct voucher *v, const struct vouched *request, slice text, char user[VOUCHED_MAX]);

#endif
