/* A consumer group through failovers: one topic and the log of groups, on two nodes.
 *
 * The log of groups is a live log of records claim(offset), ack(offset) and cut(offset), each with the epoch of the
 * message. Applying its records in order gives the state of a group. A leader applies a record when it appends it, and
 * answers a settle when the record is on every member of the set (of a `wal` topic: on its own disk). The topic is
 * live, or `wal` (-DWAL): then messages are readable, and claimed, before the follower has them. A leader may remove
 * the follower from the set; the follower may lead as long as it is in the set. A failover is orderly if the follower
 * has all records.
 *
 *   lost         no leader has a message as settled that no consumer asked to acknowledge
 *   again        of a live topic, a message whose acknowledgement was answered is never claimed again
 *   early        while its lease runs, a message is not claimed again after orderly failovers
 *   removed      retention that waits for groups, which each node applies by itself, removes no message that nobody
 *                asked to acknowledge. A node goes by all records that it has, committed or not
 *
 * Mutants are -D switches, as in lignum.pml. */
#ifndef MAXE
#define MAXE 3                                  /* epochs */
#endif
#ifndef MAXO
#define MAXO 2                                  /* offsets, at most 2 */
#endif
#ifndef K
#define K 5                                     /* the number of records plus one, at most 6 */
#endif
#define E4 4
#define CLAIM 1
#define ACK 2
#define CUT 3
#define FREE 0
#define LEASED 1
#define SETTLED 2

byte l, e = 1;                                  /* the leader, and its epoch */
bit inset = 1, joined = 1;                      /* the follower is in the set; it has connected to this leader */
bit checked = 1, crash;                         /* the group was checked in this epoch; some failover was not orderly */
byte tail[2]; byte ep[4];                       /* the topic: [node * 2 + offset] = epoch */
byte recs[2]; byte kind[12], off[12], mep[12];   /* the log of groups: [node * 6 + place] */
byte st[4], known[4];                           /* a node's state of each message; the epoch it knows the message by */
byte out[2];                                   /* the running lease of this offset: the epoch of its message; 0: none */
bit asked[8], answered[8];                      /* [offset * E4 + epoch] an ack was asked for, was answered */
byte i, o;

#define F (1 - l)
#define AT(n, p) ((n) * 6 + (p))
#define MSG(n, q) ((n) * 2 + (q))
#define EPOCH(q) ep[MSG(l, q)]

#ifdef REMOVE_UNCHECKED                         /* mutant: settles of another history count */
#define AGREES(n, q) 1
#else
#define AGREES(n, q) (known[MSG(n, q)] == ep[MSG(n, q)])
#endif
#define REMOVES(n, q) \
  :: q < tail[n] && st[MSG(n, q)] == SETTLED && AGREES(n, q) -> assert(asked[q * E4 + ep[MSG(n, q)]])

inline apply(n, p) {
  if :: kind[AT(n, p)] == CLAIM -> st[MSG(n, off[AT(n, p)])] = LEASED; known[MSG(n, off[AT(n, p)])] = mep[AT(n, p)]
     :: kind[AT(n, p)] == ACK   -> st[MSG(n, off[AT(n, p)])] = SETTLED; known[MSG(n, off[AT(n, p)])] = mep[AT(n, p)]
     :: else -> o = off[AT(n, p)];
        do :: o < MAXO -> st[MSG(n, o)] = FREE; known[MSG(n, o)] = 0; o++ :: else -> break od
  fi; o = 0
}
inline append(k, q, m) {
  kind[AT(l, recs[l])] = k; off[AT(l, recs[l])] = q; mep[AT(l, recs[l])] = m; recs[l] = recs[l] + 1;
  apply(l, recs[l] - 1)
}

/* A node makes its state from its log. */
inline replay(n) {
  st[MSG(n, 0)] = FREE; st[MSG(n, 1)] = FREE; known[MSG(n, 0)] = 0; known[MSG(n, 1)] = 0;
  do :: i < recs[n] -> apply(n, i); i++ :: else -> break od; i = 0
}
/* A node begins to lead. */
inline begin() {
  replay(l);
  checked = 0
}

/* Before the first use in an epoch: state of messages of another history of the topic is cut. */
inline check() {
#ifndef NO_CUT                                  /* mutant: settled messages stay so in another history */
  do :: i < MAXO && !(known[MSG(l, i)] &&
#ifdef CUT_TAIL                                 /* mutant: only the length of the topic is compared */
        i >= tail[l]
#else
        known[MSG(l, i)] != EPOCH(i)
#endif
        ) -> i++
     :: else -> break od;
  if :: i < MAXO -> append(CUT, i, 0) :: else fi; i = 0;
#endif
  checked = 1
}

/* A follower connects to its leader: its topic and log are truncated to where they agree. */
inline join() {
  do :: i < tail[F] && i < tail[l] && ep[MSG(F, i)] == ep[MSG(l, i)] -> i++ :: else -> break od;
  tail[F] = i;
  do :: i < MAXO -> ep[MSG(F, i)] = 0; i++ :: else -> break od; i = 0;
  do :: i < recs[F] && i < recs[l] && kind[AT(F, i)] == kind[AT(l, i)] && off[AT(F, i)] == off[AT(l, i)] && mep[AT(F, i)] == mep[AT(l, i)] -> i++
     :: else -> break od;
  recs[F] = i;
  do :: i < K -> kind[AT(F, i)] = 0; off[AT(F, i)] = 0; mep[AT(F, i)] = 0; i++ :: else -> break od; i = 0;
  replay(F);
  joined = 1
}

inline lead(orderly) {
  crash = crash || !orderly;
  l = F; e++; inset = 0; joined = 0; begin()
}

#ifdef WAL
#define READABLE(q) (q < tail[l])
#define DURABLE(p) 1
#else
#define READABLE(q) (q < tail[l] && (!inset || q < tail[F]))
#define DURABLE(p) (!inset || p < recs[F])
#endif
#ifdef ANSWER_EARLY                             /* mutant: answered when it is appended */
#define ANSWERS(p) 1
#else
#define ANSWERS(p) DURABLE(p)
#endif

#define CLAIMS(q) \
  :: checked && READABLE(q) && st[MSG(l, q)] == FREE && recs[l] < K - 1 -> d_step { \
       AGAIN(q); assert(crash || out[q] != EPOCH(q)); LEASE(q); out[q] = EPOCH(q) }
#define EXPIRES(q) \
  :: out[q] -> d_step { out[q] = 0; if :: st[MSG(l, q)] == LEASED -> st[MSG(l, q)] = FREE :: else fi } \
  :: !out[q] && st[MSG(l, q)] == LEASED -> st[MSG(l, q)] = FREE
#define ACKS(q) \
  :: checked && out[q] && out[q] == EPOCH(q) && st[MSG(l, q)] == LEASED && recs[l] < K - 1 -> d_step { \
       asked[q * E4 + out[q]] = 1; out[q] = 0; append(ACK, q, EPOCH(q)); SKIP(q); LOST }
#define ANSWER(p) \
  :: p < recs[l] && kind[AT(l, p)] == ACK && ANSWERS(p) && !answered[off[AT(l, p)] * E4 + mep[AT(l, p)]] -> \
       answered[off[AT(l, p)] * E4 + mep[AT(l, p)]] = 1

#ifdef WAL
#define AGAIN(q) skip
#else
#define AGAIN(q) assert(!answered[q * E4 + EPOCH(q)])
#endif
#ifdef NO_LEASE                                 /* mutant: leases are not written */
#define LEASE(q) st[MSG(l, q)] = LEASED
#else
#define LEASE(q) append(CLAIM, q, EPOCH(q))
#endif
#ifdef SKIP_AHEAD                               /* mutant: the cursor passes a message that is not settled */
#define SKIP(q) if :: q == 1 -> st[MSG(l, 0)] = SETTLED :: else fi
#else
#define SKIP(q) skip
#endif
#define WRONG(q) (checked && st[MSG(l, q)] == SETTLED && q < tail[l] && !asked[q * E4 + EPOCH(q)])
#define LOST assert(!WRONG(0) && !WRONG(1))

active proctype group() {
end:
  do
  :: tail[l] < MAXO -> d_step { ep[MSG(l, tail[l])] = e; tail[l] = tail[l] + 1; LOST }
  :: joined && tail[F] < tail[l] -> d_step { ep[MSG(F, tail[F])] = EPOCH(tail[F]); tail[F] = tail[F] + 1 }
  :: joined && recs[F] < recs[l] -> d_step {
       kind[AT(F, recs[F])] = kind[AT(l, recs[F])]; off[AT(F, recs[F])] = off[AT(l, recs[F])];
       mep[AT(F, recs[F])] = mep[AT(l, recs[F])]; recs[F] = recs[F] + 1; apply(F, recs[F] - 1) }
  CLAIMS(0) CLAIMS(1)
  EXPIRES(0) EXPIRES(1)
  ACKS(0) ACKS(1)
  REMOVES(l, 0) REMOVES(l, 1) REMOVES(F, 0) REMOVES(F, 1)
  ANSWER(0) ANSWER(1) ANSWER(2) ANSWER(3) ANSWER(4)
  :: inset -> inset = 0
  :: !inset && joined && tail[F] == tail[l] && recs[F] == recs[l] -> inset = 1
  :: !checked && recs[l] < K -> d_step { check(); LOST }
  :: !joined -> d_step { join() }
  :: inset && e < MAXE -> d_step { lead(0) }
  :: inset && e < MAXE && joined && tail[F] == tail[l] && recs[F] == recs[l] -> d_step { lead(1) }
#ifdef REACH
  :: e == MAXE && answered[E4 + MAXE] && answered[1] -> assert(false)
#endif
  od
}
