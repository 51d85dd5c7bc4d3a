/* Snapshots in the log of topics (doc/format.md, "Records of topics"): a log of N records about TOPICS names, a leader
 * that may be replaced at any time, and a node that reads the log from where its files begin.
 *
 * A create record makes a topic, whose id is the record's offset, if there is none of that name; a delete record removes
 * it. The leader appends a snapshot, a run of records: begin, a keep for each topic (name and id), end. Another leader's
 * log agrees with it below what is committed, and may end anywhere after that, within a run too. When the end of a run is
 * committed, files below its beginning may be removed. A node whose files begin above 0 takes its topics from the first
 * run that is complete, and goes on from there.
 *
 *   reads     what a node reads is what the whole history makes
 *   begins    a node whose files begin above 0 finds a complete began, and all of it is committed
 *
 * Mutants are -D switches, as in lignum.pml. */
#ifndef N
#define N 9
#endif
#ifndef TOPICS
#define TOPICS 2
#endif
#ifndef CHANGES
#define CHANGES 4                               /* create and delete records */
#endif
#ifndef CLAIMS
#define CLAIMS 2
#endif

mtype = { create, delete, begin, keep, end };

mtype kind[N]; byte topic[N]; byte id[N];       /* of a keep: the id + 1 */
byte tail, committed, first;
byte changes, claims;

byte whole[TOPICS], read[TOPICS];               /* the id + 1 of the topic of each name; 0: there is none */
byte at, t, began, from, till;

/* What records [0, to) make of the whole history. */
inline history(to) {
  t = 0; do :: t < TOPICS -> whole[t] = 0; t++ :: else -> break od; t = 0;
  at = 0;
  do
  :: at < to ->
       if
       :: kind[at] == create && whole[topic[at]] == 0 -> whole[topic[at]] = at + 1
       :: kind[at] == delete -> whole[topic[at]] = 0
       :: else
       fi;
       at++
  :: else -> break
  od; at = 0
}

/* The first complete run in [first, tail): [from, till); till 0: there is none. `began`: a run began at began - 1. */
inline find_run() {
  from = 0; till = 0; began = 0; at = first;
  do
  :: at < tail && till == 0 ->
       if
#ifdef OLD_BEGIN                                /* mutant: a begin without an end counts */
       :: kind[at] == begin && began == 0 -> began = at + 1
#else
       :: kind[at] == begin -> began = at + 1
#endif
       :: kind[at] == end && began != 0 -> from = began - 1; till = at + 1
       :: else
       fi;
       at++
  :: else -> break
  od; at = 0; began = 0
}

/* What a node reads whose files begin at `first`: of all that is committed. */
inline check() {
  d_step {
    if
    :: first > 0 ->
         find_run();
         assert(till > 0 && till <= committed);                  /* begins */
         t = 0; do :: t < TOPICS -> read[t] = 0; t++ :: else -> break od; t = 0;
         at = from;
         do
         :: at < committed ->
              if
              :: kind[at] == keep && at < till -> read[topic[at]] = id[at]
              :: kind[at] == create && at >= till && read[topic[at]] == 0 -> read[topic[at]] = at + 1
              :: kind[at] == delete && at >= till -> read[topic[at]] = 0
              :: else
              fi;
              at++
         :: else -> break
         od; at = 0;
         history(committed);
         t = 0; do :: t < TOPICS -> assert(read[t] == whole[t]); read[t] = 0; whole[t] = 0; t++ :: else -> break od; t = 0;   /* reads */
         from = 0; till = 0
    :: else
    fi
  }
}

inline append(k, n, what) { kind[tail] = k; topic[tail] = n; id[tail] = what; tail++ }

inline append_keep(n) { if :: whole[n] -> append(keep, n, whole[n]) :: else fi }

#ifdef PENDING                                  /* mutant: a snapshot while changes are under way */
#define SETTLED true
#else
#define SETTLED (committed == tail)
#endif
#ifdef TRIM_EARLY                               /* mutant: files go before the end of the run is committed */
#define DONE tail
#else
#define DONE committed
#endif
#ifdef TRIM_RUN                                 /* mutant: and the beginning of the run with them */
#define MAY_GO(b) (b + 1)
#else
#define MAY_GO(b) (b)
#endif

active proctype node() {
  byte n;
end_serve:
  do
  /* clients ask for changes; the leader knows what is under way */
  :: atomic { tail < N && changes < CHANGES -> changes++;
       if :: n = 0 :: n = TOPICS - 1 fi;
       history(tail);
       if :: whole[n] == 0 -> append(create, n, 0) :: else -> append(delete, n, 0) fi;
       t = 0; do :: t < TOPICS -> whole[t] = 0; t++ :: else -> break od; t = 0; n = 0; check() }

  /* what every member has is committed */
  :: atomic { committed < tail -> committed++; check() }

  /* a snapshot of what has taken effect */
  :: atomic { SETTLED && tail + TOPICS + 2 <= N ->
       history(committed);
       append(begin, 0, 0); append_keep(0); append_keep(1); append(end, 0, 0);
       t = 0; do :: t < TOPICS -> whole[t] = 0; t++ :: else -> break od; t = 0; check() }

  /* files are removed below the last run of which the end is committed */
  :: atomic { first == 0 ->
       began = 0; at = 0;
       do
       :: at < DONE ->
            if
            :: kind[at] == begin -> began = at + 1
            :: kind[at] == end && began != 0 -> first = MAY_GO(began - 1)
            :: else
            fi;
            at++
       :: else -> break
       od; began = 0; at = 0;
       do :: first > 1 -> first-- :: break od;                   /* a file goes as a whole */
       check() }

  /* another leader, whose log ends anywhere above what is committed */
  :: atomic { claims < CLAIMS && tail > committed -> claims++;
       do :: tail > committed -> tail--; kind[tail] = 0; topic[tail] = 0; id[tail] = 0; if :: break :: skip fi :: else -> break od;
       check() }
#ifdef REACH
  :: d_step { first > 0 && committed == N && claims == CLAIMS -> assert(false) }
#endif
  od
}
