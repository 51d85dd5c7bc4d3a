/*
 * Access tokens: who may do what. Those that are made at run time are records in the topic _tokens (doc/format.md,
 * "Records of access tokens"), which every node applies once they are committed; others are declared in lignum.lua. Of
 * a secret only its SHA-256 is kept. A secret has 256 random bits, so nobody finds it from its digest by trying, and a
 * slow hash would protect nothing that a fast one does not.
 *
 * A token exists from the commit of its record to that of its revocation, or to the end of its time. A pointer to one
 * is valid until the next access_turn, access_declare or access_undeclare.
 *
 * The node is guarded while a request needs a token: always with `open = false`, never with `open = true`, and
 * otherwise (ACCESS_BY_TOKENS) as soon as a token has ever been made or is declared. So revoking the last one, or its
 * expiry, opens nothing.
 */
#ifndef BROKER_ACCESS_ACCESS_H
#define BROKER_ACCESS_ACCESS_H

#include "broker/access/access_token.h"
#include "broker/topic/topics.h"

#define ACCESS_LOG_NAME "_tokens"

struct access;

/* Reads _tokens. Waits for the disk. 0, or an error with a sentence in `why`. */
int access_open(struct topics *ts, struct access **out, struct buf *why);
void access_close(struct access *a);

/* Once in each turn, after marks have risen and before tasks run: applies committed records. */
void access_turn(struct access *a);

/* Removes files of _tokens that only have records of former tokens, and tokens that expired long ago; a timer calls
 * it. */
void access_trim(struct access *a);

/* stale_ms: how long a node that hears no leader goes on by the tokens that it knows; 0: without end. A revocation may
 * have been committed that it does not know of. */
void access_configure(struct access *a, enum access_mode mode, uint64_t stale_ms);
uint64_t access_stale_ms(const struct access *a);
bool access_guarded(const struct access *a);
bool access_is_open(const struct access *a);          /* by `open = true` */
size_t access_count(const struct access *a);
uint64_t access_changes(const struct access *a);      /* rises when a token comes or goes */

/* Visits all tokens in no order: start with *at = 0; NULL at the end. */
const struct access_token *access_next(const struct access *a, size_t *at);

/* ---- checking ---- */

/* The token of this secret, if its time is not over; else NULL. How long it takes says nothing of other secrets. */
const struct access_token *access_find(const struct access *a, slice secret);

/* Has it the form of a secret? */
bool access_is_secret(slice text);

/* A token of that name; a declared one first. */
const struct access_token *access_named(const struct access *a, slice name);

/* Is the topic among its topics? */
bool access_covers(const struct access_token *t, slice topic);

/* May it do that to this topic? Names that begin with _ are matched only by patterns that do. Without a
 * topic (topic.p == NULL) the action alone decides, or with `all` also whether it may do so to every topic. */
bool access_may(const struct access_token *t, enum access_action what, slice topic, bool all);

/* ---- words ---- */

/* "read", ...; 0: there is none of that name */
unsigned access_action_parse(slice word);
/* The words of these bits, with a space after each but the last. */
void access_actions_write(struct buf *out, unsigned may);

/* A new secret, as text. */
void access_mint(struct buf *out);

/* A digest in lower hexadecimal digits. */
bool access_hash_read(slice hex, unsigned char hash[ACCESS_HASH_SIZE]);

/* The digest of a secret. 0, or -ERR_UNAVAILABLE: OpenSSL is not installed. */
int access_hash(slice secret, unsigned char hash[ACCESS_HASH_SIZE]);

/* ---- changes ---- */

/* 0, or -ERR_BAD_VALUE with a sentence in `why`. */
int access_grant_check(const struct access *a, const struct access_grant *g, struct buf *why);

/* The topic _tokens; NULL before the first token. It is made by access_make_log: 0 and the mark to wait for. */
struct topic *access_log(struct access *a);
int access_make_log(struct access *a, uint64_t *want);

/* Each appends a record and returns the offset after it, which takes effect once `peers` of access_log is there. 0;
 * -ERR_TOKEN_EXISTS, -ERR_UNKNOWN_TOKEN, -ERR_TOO_MANY; -ERR_CONFLICT: it is declared in lignum.lua; or an error of
 * topics_append. */
int access_add(struct access *a, const struct access_grant *g, uint64_t *want);
int access_revoke(struct access *a, slice name, uint64_t *want);

/* The tokens of a lignum.lua that becomes live: access_undeclare removes those of the one before. */
void access_undeclare(struct access *a);
int access_declare(struct access *a, const struct access_grant *g);

#endif
