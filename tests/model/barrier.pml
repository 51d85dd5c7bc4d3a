/* A barrier of reads, with a leader that can stand still: two nodes, the register at Consul, one counter.
 *
 * Node 0 leads epoch 1; the set is both nodes, or node 0 alone. A write is acknowledged by whoever leads, when each member of
 * its set that does not stand still follows it and has it. Node 1 may take over as long as it is in the set that Consul has: by
 * one compare-and-set, after which it leads without node 0. Node 0 may not know: it goes on until it reads the register. A node
 * changes its set by compare-and-set, too.
 *
 * A barrier begins at node 0 with all that is acknowledged anywhere (`due`). It ends when each other member of the set, as node 0
 * knows it, has confirmed that it follows, to a question that was sent after it began; then node 0 answers with what it has. An
 * answer to an older question may still be on its way.
 *
 *   stale     a barrier never ends at a node that has less than was due
 *
 * Mutants: NOCONFIRM, the leader's own word is enough; OLDCONFIRM, any answer counts; ONLYASKED, a member that is missing is left
 * out before Consul has confirmed the change of the set. */
#ifndef MAXW
#define MAXW 3
#endif

#ifdef NOCONFIRM
#define CONFIRMED true
#else
#ifdef OLDCONFIRM
#define CONFIRMED (!myset || back > 0)
#else
#define CONFIRMED (!myset || back == asked)
#endif
#endif

byte cas = 1;                       /* the register: who leads, 1 + node */
bit set = 1;                        /* and whether node 1 is in the set */
bit leads = 1, leads1;              /* what the nodes believe */
bit myset = 1;                      /* node 1 is in the set, as node 0 knows */
bit follows = 1;                    /* node 1 follows node 0 */
byte has0, has1, acked;             /* writes that a node has; the highest that was acknowledged */
byte due; bit barrier;              /* a barrier is under way */
byte asked, sent, back;             /* questions: its number; of the last that was sent; of the last answer that arrived */
byte way;                           /* an answer on its way */

active proctype world() {
  end: do
  :: atomic { leads && has0 < MAXW && (!myset || follows) ->          /* node 0 writes; a member that counts has it */
       has0 = has0 + 1; if :: myset -> has1 = has0 :: else -> skip fi;
       if :: has0 > acked -> acked = has0 :: else -> skip fi }
  :: atomic { leads1 && has1 < MAXW ->                                /* node 1 leads alone, and writes */
       has1 = has1 + 1; if :: has1 > acked -> acked = has1 :: else -> skip fi }
  :: atomic { cas == 1 && set -> cas = 2; set = 0; follows = 0; leads1 = 1 }      /* node 1 takes over */
  :: atomic { follows -> follows = 0 }                                /* the link breaks */
  :: atomic { !follows && cas == 1 && leads -> follows = 1; has1 = has0 }         /* and comes back */
  :: atomic { leads && cas == 2 -> leads = 0; barrier = 0 }           /* node 0 reads the register */
#ifdef ONLYASKED
  :: atomic { leads && myset && !follows -> myset = 0 }
#endif
  :: atomic { leads && myset && !follows && cas == 1 -> set = 0; myset = 0 }      /* compare-and-set succeeds */
  :: atomic { leads && !myset && follows && cas == 1 -> set = 1; myset = 1 }

  :: atomic { leads && !barrier && asked < 3 -> barrier = 1; due = acked; asked = asked + 1 }
  :: atomic { leads && barrier && sent < asked -> sent = asked }      /* CONFIRM */
  :: atomic { follows && way == 0 && sent > back -> way = sent }      /* CONFIRMED, by one that follows then */
  :: atomic { way > 0 -> back = way; way = 0 }
  :: atomic { way > 0 && !follows -> way = 0 }                        /* lost with the link */
  :: atomic { barrier && leads && CONFIRMED -> assert(has0 >= due); barrier = 0 }
  od
}
