/*
 * Barriers: what a leader answers readers only once it is known to have been the leader after they asked.
 *
 * A leader that was stopped for a while may not know that another one has taken over. Only a member of the synced set
 * can have done so, and a member that follows this leader has not. So a barrier asks every member that counts to
 * confirm that it follows (CONFIRM, CONFIRMED), and is over once all have, by answers to a question that was sent after
 * it began. All barriers of a turn share one question. A leader that is the only member needs no answer.
 *
 *   asked      its number is `confirms` + 1; the next leader_send sends that question
 *   confirmed  the mark `confirmed` has reached its number: of each counted peer the highest answer, the lowest of all.
 *              It does not rise while a member is missing, nor before a change of the set is counted
 *
 * All waits end with -ERR_NOT_LEADER when this node stops leading. A follower's barrier (BARRIER) is answered by
 * REACHED, in the order in which they were asked.
 */
#ifndef BROKER_LEADER_BARRIER_H
#define BROKER_LEADER_BARRIER_H

#include "broker/leader/peer.h"
#include "broker/topic/reached.h"
#include "broker/wire/wire.h"

/* A barrier begins now: it is over when *want is reached. */
struct mark *confirm_begin(struct leader *l, uint64_t *want);

/* What this leader says of the topic of that name. False: records with which the epoch began have not taken effect yet,
 * and may be of this name. */
bool confirm_reached(struct leader *l, slice name, struct reached *out);

/* Frames. */
void confirm_barrier(struct peer *p, struct wire *w);
void confirm_confirmed(struct peer *p, struct wire *w);

/* Sends questions and answers, and raises the mark: after frames have arrived, and before they are sent. */
void confirm_turn(struct leader *l);

void confirm_end(struct leader *l);       /* leading is over */
void confirm_forget(struct peer *p);      /* it is about to be freed */

#endif
