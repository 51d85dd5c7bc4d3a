/* One topic on three nodes, with Consul as an oracle: which node leads, whose copies count, which records are
 * acknowledged, and which are truncated.
 *
 * This is the model of core/broker (role.c, leader.c, requests.c, feed.c, membership.c, reconcile.c, stream.c), in
 * spin's language. tests/model/run searches it, and checks that each mutant (one -D: a rule left out) ends with an
 * error. Variants, one -D each:
 *
 *   (none)     a live topic under durability "commit"
 *   READS      also the marks `peers` that followers were told: they serve records below, and never truncate there
 *   WEAK       a weaker durability: a record is acknowledged when it is written; power loss makes a node amnesiac
 *   UNCLEAN    READS, and one unclean claim
 *   WAL        a `wal` topic: a record is acknowledged once it is on the leader's disk
 *   LOWERED    an operator lowers `copies` to 1: the set may shrink below the old number as soon as that is requested
 *              (here: always), and the lower number counts on a node once the change has taken effect there
 *   ROLLBACK   Consul is taken back to an older register, once
 *
 * A record is represented by the number of the claim under which its leader appended it (an *instance*). A claim has
 * one appending process; except under ROLLBACK the claim's number is the epoch. Frames and acknowledgements in flight
 * are over-approximated: a follower may receive anything that the leader of its connection's epoch ever sent, also
 * after that leader's death; an acknowledgement counts from when it is sent, and `commit` may come any time later (the
 * minimum only rises, so this covers each delay). A claim takes two steps: Consul applies the compare-and-set, and
 * later the node receives the answer and begins to lead.
 *
 * A rollback is modelled under an assumption that the code cannot guarantee: some node that saw the lost register
 * reads each later register before its leader acknowledges anything, and before the next claim (LOOK, HEARD, CALM).
 * That may be another node each time, and it may die afterwards. */
#ifndef MAXE
#define MAXE 2                                  /* claims */
#endif
#ifndef MAXM
#define MAXM 2                                  /* records */
#endif
#ifndef MAXCHG
#define MAXCHG 2                                /* changes of the set that are asked for */
#endif
#ifndef S0
#define S0 7                                    /* the first set */
#endif
#ifndef COPIES
#define COPIES 1                                /* of the topic */
#endif
#ifdef LOWERED
#define KEPT 1                                  /* members that the set keeps */
#define ENOUGH_ON(n) (lo[n] -> 1 : COPIES)
#else
#define KEPT COPIES
#define ENOUGH_ON(n) COPIES
#endif
#define N 3
#define NE (MAXE+1)
#define IN(s,n) (((s)>>(n))&1)
#define SIZE(s) (IN(s,0)+IN(s,1)+IN(s,2))
#define LG(n,k) lg[(n)*MAXM+(k)]
#define HL(e,k) hlg[(e)*MAXM+(k)]
#define ACK(e,n) ack[(e)*N+(n)]
#define FORGETS(e,n) pam[(e)*N+(n)]

/* nodes */
byte lg[N*MAXM]; byte tl[N]; byte dln[N];       /* log; the marks tail (written is the same here) and disk */
byte prm[N];                                    /* the promised epoch, on disk */
byte con[N];                                    /* as a follower: the claim of its leader; 0: not connected */
byte led[N];                                    /* the claim by which it leads; 0: it does not */
byte cst[N];                                    /* its claim that Consul has applied, before it has the answer */
#ifdef LOWERED
bit low, lo[N];                                 /* the lower `copies` is committed; has taken effect on the node */
#ifdef LOWERED_ASKED                            /* mutant: it counts when it is asked for */
#define LOWER(n) :: !lo[n] -> lo[n] = 1
#else
#define LOWER(n) :: low && !lo[n] -> lo[n] = 1
#endif
#define LOWERS :: !low -> low = 1
#else
#define LOWER(n)
#define LOWERS
#endif
/* claims */
byte own[NE]; bit st[NE];                       /* the node that claimed; whether it has begun to lead */
byte hlg[NE*MAXM]; byte hln[NE];                /* all records that its leader ever had: the frames in flight */
byte eff[NE]; byte pnd[NE]; bit app[NE];     /* leader: the confirmed set, the requested one; Consul has applied that */
byte cm[NE]; byte ack[NE*N];                    /* leader: `peers`, the followers' acknowledgements */
/* the register */
byte S = S0; byte reg;                         /* the members; the newest claim */
byte last; byte nchg;
bit g1;                                      /* node 1 has claimed once; until then nodes 1 and 2 are interchangeable */
/* ghost */
byte A[MAXM];                                   /* acknowledged record at each offset */

#ifdef UNCLEAN
#define READS
byte uncl; bit gone;                            /* the unclean claim; it, or a later one, has begun to lead */
bit over[N];                                    /* the unclean claim is no reason to truncate any more */
#define LOST(e) (gone && (e) < uncl)            /* records of older claims may be lost: the operator accepted that */
/* A leader since the unclean claim has told the follower that all its earlier records are committed. */
#define SETTLE(n) :: con[n] && !over[n] && uncl && con[n] >= uncl && SETTLED(n,con[n]) -> d_step { over[n] = 1; tidy() }
#ifdef UNCLEAN_PLACED                           /* mutant: having the leader's history is enough */
#define SETTLED(n,E) 1
#else
#define SETTLED(n,E) (led[own[E]] == E && (cm[E] >= tl[n] || LG(n,cm[E]) >= uncl))
#endif
#else
#define LOST(e) 0
#define SETTLE(n)
#endif
#ifdef WAL
#define READS
byte hdk[NE];                                   /* the disk mark of its leader: no record above is shipped */
byte wa[MAXM], dv[MAXM];                       /* ghost: records that were on their leader's disk; moved to diverged/ */
#endif
#ifdef READS
byte sm[N];                                     /* the mark `peers` that it was told, as far as it is on its own disk */
#endif
#ifdef WEAK
bit amn[N]; bit pam[NE*N]; byte ct[N];        /* amnesiac; the leader treats it so; it was told that it has caught up */
#endif
#ifdef BLIND_CLAIM
byte rs[N];
#endif
#ifdef NOT_APPLIED
byte late, latset;
#endif
#ifdef TWICE
byte dup[NE];
#endif
#ifdef ROLLBACK
byte num[NE], rv[NE];                           /* its epoch; the version of the register that its leader has seen */
byte V;                                         /* of the register */
byte ver[N], si[N];                              /* the newest register that the node has seen: version, and claim */
byte kS, kV, kreg; bit kept;                    /* the copy of Consul's data */
bit rolled, marked;                             /* it has happened; the register is flagged: a newer one was lost */
byte fr, back, lostS, wit;          /* the last claim before it; the restored leader; the lost set; nodes that saw it */
bit cons[NE];                                   /* one of those has read this claim, which continues what it saw */
#define NUM(e) num[e]
#ifdef RB_ONE_EPOCH                             /* mutant: an epoch is one history, even if two nodes lead it */
#define SAME(a,b) (num[a] == num[b])
#else
#define SAME(a,b) (num[a] == num[b] && own[a] == own[b])
#endif
#ifdef RB_ORDER                                 /* mutant: epoch first, then version */
#define CONTINUES(c,v,k,kv) (num[c] > num[k] || (SAME(c,k) && (v) >= (kv)))
#else                                           /* stamp_follows: each write is one version more */
#define CONTINUES(c,v,k,kv) ((num[c] > num[k] && (v) > (kv)) || (SAME(c,k) && (v) >= (kv)))
#endif
#define FOLLOWS(n,c,v) (CONTINUES(c,v,si[n],ver[n]) && (num[prm[n]] < num[c] || SAME(prm[n],c)))
#define POST(e) (rolled && (e) > fr)
#define OLDER(e) (rolled && ((e) > fr || (e) == back))   /* leads by the restored register, or a successor of it */
#else
#define NUM(e) (e)
#define POST(e) 0
#endif

byte i, j, x, e, f;

inline tidy() {                       /* clears variables that cannot matter any more, so that there are fewer states */
  f = 1;
  do :: f > MAXE -> break
     :: else ->
        if :: st[f] && led[own[f]] != f ->
              eff[f] = 0; cm[f] = 0; ACK(f,0) = 0; ACK(f,1) = 0; ACK(f,2) = 0;
#ifdef WEAK
              FORGETS(f,0) = 0; FORGETS(f,1) = 0; FORGETS(f,2) = 0;
#endif
#if !defined(SESSION_ONLY) && !defined(NO_CAS)
              if :: reg != f && !app[f] -> pnd[f] = 0 :: else fi;
#endif
              if :: app[f] -> pnd[f] = 0; app[f] = 0 :: else fi;
#if !defined(ACCEPT_OLD) && !defined(NO_PERSIST) && !defined(RESUME) && !defined(ROLLBACK) && !defined(WEAK)
              if :: (own[f]==0 || prm[0] > f) && (own[f]==1 || prm[1] > f) && (own[f]==2 || prm[2] > f) ->
                    hln[f] = 0; i = 0; do :: i == MAXM -> break :: else -> HL(f,i) = 0; i++ od
#ifdef WAL
                    ; hdk[f] = 0
#endif
                 :: else fi
#endif
           :: else fi;
        f++
  od;
  i = 0; j = 0; x = 0; e = 0; f = 0
}

/* ---- leading ---- */

inline start_lead(n, E) {                       /* role_lead, leader_begin: epoch on disk, old connection closed */
  prm[n] = E; led[n] = E; con[n] = 0; cst[n] = 0; st[E] = 1;
  hln[E] = tl[n]; pnd[E] = 0; cm[E] = 0;
#ifdef ROLLBACK
  ver[n] = rv[E]; si[n] = E;
#endif
#ifdef UNCLEAN
  if :: uncl && E >= uncl && !gone -> gone = 1; i = 0; do :: i == MAXM -> break
                                :: else -> if :: i >= dln[n] || A[i] != LG(n,i) -> A[i] = 0 :: else fi; i++ od
     :: else fi;
#endif
  x = 0; i = E + 1; do :: i > MAXE -> break :: else -> x = x + st[i]; i++ od;  /* x: it is late, a newer epoch has begun */
  if :: LOST(E) || POST(E) -> x = 1 :: else fi;
  i = 0; do :: i == MAXM -> break
            :: else -> HL(E,i) = LG(n,i);
               assert(x || A[i] == 0 || (i < tl[n] && LG(n,i) == A[i]));  /* it has every acknowledged record */
               i++ od;
#ifdef WAL
  hdk[E] = dln[n];
#endif
#ifdef PEERS_TAIL                               /* mutant: `peers` begins at the tail */
  cm[E] = tl[n];
  i = 0; do :: i >= tl[n] -> break :: else -> assert(A[i]==0 || A[i]==LG(n,i)); A[i] = LG(n,i); i++ od;
#endif
}

#ifdef NEW_ONLY                                 /* mutants: during a change, one of the two sets does not count */
#define COUNTED(E) (pnd[E] -> pnd[E] : eff[E])
#else
#ifdef OLD_ONLY
#define COUNTED(E) eff[E]
#else
#define COUNTED(E) (eff[E] | pnd[E])
#endif
#endif

#ifdef WEAK
#define OWN(n) tl[n]
#else
#define OWN(n) dln[n]
#endif
#ifdef LEADER_DISK                              /* mutant: the leader's own disk does not count */
#define OWNOK(E,l) 1
#else
#define OWNOK(E,l) (OWN(l) > cm[E])
#endif
/* The acknowledgements of an amnesiac node do not count until it has caught up. (AMNESIAC_ACKS: those of its present
 * connection count. The search finds no error in that: an acknowledgement is a position, so the node has that record
 * again, and all before it.) */
#if defined(WEAK) && !defined(AMNESIAC_COUNTS) && !defined(AMNESIAC_ACKS)
#define FIT(E,m) !FORGETS(E,m)
#else
#define FIT(E,m) 1
#endif
#define HAS(E,l,m) (((m) == (l) && OWNOK(E,l)) || ((m) != (l) && ACK(E,m) > cm[E] && FIT(E,m)))
#define EACH(E,l,m) (!IN(COUNTED(E),m) || HAS(E,l,m))
#ifdef COPIES_UNCHECKED                         /* mutant */
#define ENOUGH(E) 1
#else
#define ENOUGH(E) (SIZE(eff[E]) >= ENOUGH_ON(own[E]) && (pnd[E] == 0 || SIZE(pnd[E]) >= ENOUGH_ON(own[E])))
#endif
#define ALLHAVE(E,l) (EACH(E,l,0) && EACH(E,l,1) && EACH(E,l,2) && ENOUGH(E))
#ifdef ROLLBACK
#ifdef RB_READ                                  /* mutant: a leader goes on although the register is flagged */
#define HEARD(E) (!OLDER(E) || cons[E] || (marked && reg == E))
#else
#define HEARD(E) (!OLDER(E) || cons[E])
#endif
#else
#define HEARD(E) 1
#endif

inline commit(n) {                              /* leader_peers, topic_settle */
  e = led[n]; i = cm[e]; cm[e] = i + 1;
  if :: LOST(e) -> skip
     :: else ->
        assert(A[i] == 0 || A[i] == HL(e,i));   /* below any commit mark an offset has one value */
        A[i] = HL(e,i);
#if COPIES > 1
#ifdef LOWERED
        assert(low ||
#else
        assert(
#endif
               (dln[0] > i && LG(0,i) == A[i]) + (dln[1] > i && LG(1,i) == A[i]) + (dln[2] > i && LG(2,i) == A[i]) >= COPIES);
#endif
#ifdef REACH                                    /* the search reaches this state, so it must fail */
        assert(!(i == MAXM-1 && e == MAXE && HL(e,0) == 1 && nchg == MAXCHG));
#endif
        f = e + 1;
        do :: f > MAXE -> break                 /* later leaders have it */
           :: else -> assert(POST(f) || !st[f] || led[own[f]] != f || (hln[f] > i && HL(f,i) == A[i])); f++ od
  fi
}

#define RISES(n,e) (tl[n] == 0 || NUM(LG(n,tl[n]-1)) <= NUM(e))  /* a lower epoch after a higher one in a file counts as damage */

/* ---- changing the set ---- */

#ifdef CATCH_NOTHING                            /* mutants: which followers may join */
#define CAUGHT(E,m) 1
#else
#ifdef CATCH_PEERS
#define CAUGHT(E,m) (ACK(E,m) >= cm[E])
#else                                     /* feeds_caught_up: at `peers`, with all records that the leader began with */
#define CAUGHT(E,m) (ACK(E,m) >= cm[E] && (ACK(E,m) >= hln[E] || HL(E,ACK(E,m)) == E))
#endif
#endif
#ifdef SHRINK_EARLY                             /* mutant: a smaller set counts before Consul has it */
#define SENT(E,set) pnd[E] = set; eff[E] = eff[E] & set
#else
#define SENT(E,set) pnd[E] = set
#endif
#ifdef TWICE                                /* mutant: no compare-and-set, so a repeated request can be applied twice */
#define DUPSET(E) dup[E] = pnd[E]
#define DUPS(E) :: dup[E] && LOCKOK(E) -> d_step { S = dup[E]; dup[E] = 0; tidy() }
#else
#define DUPSET(E) skip
#define DUPS(E)
#endif
#define JOINS(n,m) (con[m] == led[n] && FIT(led[n],m) && CAUGHT(led[n],m))
#define LEAVES(n,m) (IN(eff[led[n]],m) && SIZE(eff[led[n]]) > KEPT)
#define ASK(n,m) \
  :: m != n && led[n] && pnd[led[n]] == 0 && nchg < MAXCHG && HEARD(led[n]) && \
     (LEAVES(n,m) || (!IN(eff[led[n]],m) && JOINS(n,m))) -> \
     d_step { e = led[n]; nchg++; SENT(e, (eff[e] ^ (1<<m))); app[e] = 0; tidy() }
#ifdef NO_CAS                                   /* mutant: Consul applies any request, whenever it comes */
#define LOCKOK(E) 1
#else
#ifdef SESSION_ONLY                             /* mutant: only the session of the lock is checked */
#define LOCKOK(E) (own[reg] == own[E])
#else
#ifdef ROLLBACK
#define LOCKOK(E) (reg == E && V == rv[E] && !marked)
#else
#define LOCKOK(E) (reg == E)
#endif
#endif
#endif
#ifdef ROLLBACK
#define WRITTEN V++
#define CONFIRMED(E) rv[E]++; ver[own[E]] = rv[E]
#else
#define WRITTEN skip
#define CONFIRMED(E) skip
#endif
#define APPLY(E) :: pnd[E] && !app[E] && LOCKOK(E) -> d_step { S = pnd[E]; app[E] = 1; WRITTEN; tidy() }
#define CONFIRM(n) :: led[n] && HEARD(led[n]) && pnd[led[n]] && app[led[n]] -> \
  d_step { e = led[n]; eff[e] = pnd[e]; DUPSET(e); pnd[e] = 0; app[e] = 0; CONFIRMED(e); tidy() }
#ifdef NOT_APPLIED  /* mutant: without an answer, a read of the old set counts as "not applied" */
#define LOSTREPLY(n) :: led[n] && pnd[led[n]] && !app[led[n]] && late == 0 -> \
  d_step { e = led[n]; late = e; latset = pnd[e]; pnd[e] = 0; tidy() }
#define LATE :: late && LOCKOK(late) -> d_step { S = latset; late = 0; latset = 0 }
#else
#define LOSTREPLY(n)
#define LATE
#endif

/* ---- claiming ---- */

#ifdef STRANGER                                 /* mutant: a node that is not a member may claim */
#define MEMBER(n) 1
#else
#define MEMBER(n) IN(S,n)
#endif
#if defined(WEAK) && !defined(AMNESIAC_CLAIMS)    /* mutant: an amnesiac node may claim */
#define AWAKE(n) !amn[n]
#else
#define AWAKE(n) 1
#endif
#ifdef ROLLBACK
#ifdef RB_CLAIM                                 /* mutant: a node that has seen a newer register may claim */
#define NOTREGRESSED(n) 1
#else
#define NOTREGRESSED(n) FOLLOWS(n,reg,V)
#endif
#define CALM(n) (NOTREGRESSED(n) && !marked && (!POST(last) || cons[last]))
#define REGISTER(n) \
  num[last] = num[reg]; \
  if :: num[prm[n]] > num[last] -> num[last] = num[prm[n]] :: else fi; \
  if :: num[si[n]] > num[last] -> num[last] = num[si[n]] :: else fi; \
  num[last]++; V++; rv[last] = V
#else
#define CALM(n) 1
#define REGISTER(n) skip
#endif
#ifdef BLIND_CLAIM                              /* mutant: no compare-and-set: a set that was read earlier is written */
#define OLDSET(n) (rs[n] -> rs[n] : S)
#define READSET(n) :: rs[n] != S -> rs[n] = S
#else
#define OLDSET(n) S
#define READSET(n)
#endif
/* claim_set: the previous leader may be dropped from the set, if enough members are left */
#define MAYDROP(n) (reg && own[reg] != n && IN(OLDSET(n),own[reg]) && SIZE(OLDSET(n)) > KEPT)
#ifdef DROP_LOCALLY                             /* mutant: it is dropped, but not in the register */
#define DROP(n) eff[last] = S & ~(1 << own[reg])
#else
#define DROP(n) S = OLDSET(n) & ~(1 << own[reg]); eff[last] = S
#endif
#define CLAIMED(n) own[last] = n; cst[n] = last; REGISTER(n); reg = last; if :: n == 1 -> g1 = 1 :: else fi; tidy()
#define CLAIMS(n) (last < MAXE && MEMBER(n) && AWAKE(n) && CALM(n) && !led[n] && (last > 0 || n == 0) && (n != 2 || g1))
#define CLAIM(n) \
  :: CLAIMS(n) -> d_step { last++; S = OLDSET(n); eff[last] = S; CLAIMED(n) } \
  :: CLAIMS(n) && MAYDROP(n) -> d_step { last++; DROP(n); CLAIMED(n) }
#ifdef UNCLEAN
#define UNCLEANCLAIM(n) :: last && last < MAXE && uncl == 0 && !led[n] -> \
  d_step { last++; uncl = last; S = 1 << n; eff[last] = S; CLAIMED(n) }
#else
#define UNCLEANCLAIM(n)
#endif
#ifdef RESUME                             /* mutant: a process that was restarted continues to lead in the same epoch */
#define RESUMED(n) :: reg && own[reg] == n && st[reg] && led[n] == 0 && prm[n] == reg && con[n] == 0 -> \
  d_step { e = reg; eff[e] = S; start_lead(n,e); tidy() }
#else
#define RESUMED(n)
#endif
#ifdef LEAD_LATE                        /* mutant: the answer to a claim counts, whatever the node has promised since */
#define MAYLEAD(n) cst[n]
#define FORGETCLAIM(n,E) skip
#else
#define FORGETCLAIM(n,E) if :: NUM(cst[n]) <= NUM(E) -> cst[n] = 0 :: else fi
#if defined(ROLLBACK) && !defined(RB_LEAD)      /* mutant: and whatever register it has seen since */
#define NOTSEEN(n) FOLLOWS(n,cst[n],rv[cst[n]])
#else
#define NOTSEEN(n) 1
#endif
#define MAYLEAD(n) (cst[n] && NUM(cst[n]) > NUM(prm[n]) && NOTSEEN(n))
#endif

/* ---- following ---- */

#ifdef ACK_UNSYNCED                             /* mutant: acknowledged when written */
#define ACKPOS(n) tl[n]
#else
#define ACKPOS(n) OWN(n)
#endif
#if defined(ACK_UNSYNCED) || defined(WEAK)
#define SENDUNSYNCED(n) sendack(n)
#else
#define SENDUNSYNCED(n) skip
#endif
inline sendack(n) {
  e = con[n];
  if :: e && led[own[e]] == e && ACK(e,n) < ACKPOS(n) -> ACK(e,n) = ACKPOS(n) :: else fi
}
#ifdef ACK_OLD                                  /* mutant: acknowledgements over the connection of an old epoch */
#define ACKOLD1(n,E) :: st[E] && E < prm[n] && own[E] != n && led[own[E]] == E && ACK(E,n) < dln[n] && dln[n] <= hln[E] -> \
  ACK(E,n) = dln[n]
#define ACKOLD(n) ACKOLD1(n,1) ACKOLD1(n,2)
#else
#define ACKOLD(n)
#endif

/* A node hears of a newer epoch: it writes the promise to disk, drops the old connection and its leadership, and then
 * truncates to the common point. Reconnecting in the same epoch changes nothing (except under WEAK), so a follower's
 * crash need not disconnect it. */
#ifdef ACCEPT_OLD                               /* mutant: a node also promises older epochs */
#define SHAKEOK(n,E) (E != prm[n] && led[n] != E && led[own[E]] == E)
#else
#ifdef WEAK
#define SHAKEOK(n,E) (led[own[E]] == E && (E > prm[n] || (E == prm[n] && con[n] == 0)))
#else
#ifdef ROLLBACK
#ifdef RB_PROMISE                               /* mutant: a node that knows a newer register promises as well */
#define KNOWSLESS(n,E) 1
#else
#define KNOWSLESS(n,E) FOLLOWS(n,E,rv[E] + (pnd[E] != 0))
#endif
#define SHAKEOK(n,E) ((led[own[E]] == E || !POST(E)) && NUM(E) > NUM(prm[n]) && KNOWSLESS(n,E))
#else
#define SHAKEOK(n,E) (E > prm[n])
#endif
#endif
#endif
#ifdef ROLLBACK
/* A promise tells a node the epoch and its leader. It takes the version of the register from Consul only. */
#define SAWBYPROMISE(n,E) if :: NUM(si[n]) < NUM(E) -> si[n] = E :: else fi
/* A node that saw the lost register reads the present one. If that does not continue what it saw, the node flags it.
 * (The leader of a flagged register acknowledges nothing (HEARD), so it does not matter when it reads the flag.) */
#ifdef RB_LET_GO                 /* mutant: the register is not flagged; its leader stops, and another node may claim */
#define MARKS led[own[reg]] = 0; cons[reg] = 1
#else
#define MARKS marked = 1
#endif
#define LOOK(n) :: rolled && IN(wit,n) && !marked && !cons[reg] -> d_step { \
     if :: FOLLOWS(n,reg,V) -> cons[reg] = 1 :: else -> MARKS fi; tidy() }
#define READMARK(n) :: marked && led[n] && reg == led[n] -> d_step { led[n] = 0; tidy() }
#define SEE(n) :: ver[n] < V && !led[n] && !rolled -> d_step { ver[n] = V; si[n] = reg; tidy() }
#define BACKUP :: !kept && reg && last < MAXE -> d_step { kept = 1; kS = S; kV = V; kreg = reg }
#define SAW(n) ((ver[n] == V && si[n] == reg) << n)
#define ROLL :: kept && !rolled && V > kV && (SAW(0) | SAW(1) | SAW(2)) -> d_step { \
     rolled = 1; fr = last; lostS = S; wit = SAW(0) | SAW(1) | SAW(2); S = kS; V = kV; reg = kreg; \
     if :: IN(wit,own[kreg]) -> skip :: else -> back = kreg fi; \
     kS = 0; kV = 0; kreg = 0; tidy() }
#define HOLDS(n) (rolled -> IN(lostS & wit,n) : IN(S,n))
#else
#define SAWBYPROMISE(n,E) skip
#define LOOK(n)
#define READMARK(n)
#define SEE(n)
#define BACKUP
#define ROLL
#define HOLDS(n) IN(S,n)
#endif
#ifdef WEAK
#ifdef AMNESIAC_COUNTS                          /* mutant: acknowledgements of before still count */
#define GREET(n,E) FORGETS(E,n) = amn[n]; ct[n] = 0
#else
#define GREET(n,E) ACK(E,n) = 0; FORGETS(E,n) = amn[n]; ct[n] = 0
#endif
#else
#define GREET(n,E) skip
#endif
#define SHAKE(n,E) :: st[E] && own[E] != n && SHAKEOK(n,E) -> d_step { \
     if :: NUM(E) > NUM(prm[n]) -> prm[n] = E :: else fi; led[n] = 0; \
     FORGETCLAIM(n,E); \
     e = E; GREET(n,E); SAWBYPROMISE(n,E); shake(n,e); sendack(n); tidy() }

#ifdef UNCLEAN
#ifdef UNCLEAN_REFUSED                          /* mutant: an unclean epoch may not truncate below `peers` */
#define MAYCUT(n,E) (x >= sm[n])
#else
#ifdef UNCLEAN_UNSAID                           /* mutant: only the leader by the unclean claim itself tells of it */
#define SAID st[uncl]
#else
#define SAID uncl
#endif
#define MAYCUT(n,E) (x >= sm[n] || (uncl && SAID && E >= uncl && !over[n] && LG(n,tl[n]-1) < uncl))
#endif
#else
#define MAYCUT(n,E) (x >= sm[n])
#endif
#if defined(WAL) && !defined(CUT_FORGETS)       /* mutant: truncated records are not kept */
#define KEEP if :: i < dln[n] -> dv[i] = dv[i] | (1 << LG(n,i)) :: else fi
#else
#define KEEP skip
#endif

/* Truncates the node to the highest offset before which both have the same record, and keeps the rest in diverged/. */
inline shake(n, E) {
#ifdef CUT_COMMIT                               /* mutant: it truncates to the leader's commit mark */
  x = cm[E]; if :: x > tl[n] -> x = tl[n] :: else fi;
#else
  x = (tl[n] < hln[E] -> tl[n] : hln[E]);
  do :: x == 0 -> break
     :: x > 0 && LG(n,x-1) == HL(E,x-1) -> break
     :: else -> x-- od;
#endif
#ifdef READS
  assert(MAYCUT(n,E));                        /* a follower need not refuse a correct leader (reconcile.c, check_cut) */
#endif
  i = 0; do :: i == MAXM -> break
            :: else -> if :: i < x ->
#ifndef CUT_COMMIT
                            assert(LG(n,i) == HL(E,i))                       /* log matching */
#else
                            skip
#endif
                          :: i >= x && i < tl[n] ->
#ifndef CUT_COMMIT
                             assert(!HOLDS(n) || A[i] == 0 || A[i] != LG(n,i));  /* no member truncates an acknowledged record */
#endif
                             KEEP; LG(n,i) = 0
                          :: else -> skip
                       fi; i++ od;
  tl[n] = x; if :: dln[n] > x -> dln[n] = x :: else fi;
#ifdef READS
  if :: sm[n] > x -> sm[n] = x :: else fi;
#endif
#ifdef WAL
  somewhere();
#endif
  con[n] = E
}

#ifdef WAL
/* A record that was on its leader's disk is still on some disk: in a log, or in diverged/. */
#define ONDISK(n,i,r) (dln[n] > (i) && LG(n,i) == (r))
#define SOMEWHERE(r) assert(!IN(wa[i],r) || IN(dv[i],r) || ONDISK(0,i,r) || ONDISK(1,i,r) || ONDISK(2,i,r))
inline somewhere() {
  i = 0; do :: i == MAXM -> break
            :: else -> j = 1; do :: j > MAXE -> break :: else -> SOMEWHERE(j); j++ od; i++ od
}
/* Leaders and followers serve all records that are on their disk. */
inline serve(n) {
  if :: led[n] -> hdk[led[n]] = dln[n] :: else fi;
  i = 0; do :: i >= dln[n] -> break
            :: else -> if :: own[LG(n,i)] == n -> wa[i] = wa[i] | (1 << LG(n,i)) :: else fi;
               assert(IN(wa[i], LG(n,i)));      /* no record is read that was never on its leader's disk */
               i++ od
}
#define SERVE(n) serve(n)
#ifdef SHIP_BEYOND                              /* mutant: sent before it is on the leader's disk */
#define SENDABLE(E) hln[E]
#else
#define SENDABLE(E) hdk[E]
#endif
#else
#define SERVE(n) skip
#define SENDABLE(E) hln[E]
#endif

#ifdef READS
#ifdef READABLE_KEPT                        /* mutant: the readable mark of a wal topic is kept as if it were `peers` */
#define LEARN1(n,e) sm[n] < dln[n] && sm[n] < hdk[e]
#define LEARNT(n) 1
#else
#define LEARN1(n,e) sm[n] < dln[n] && sm[n] < cm[e]
#define LEARNT(n) (LOST(LG(n,sm[n])) || LG(n,sm[n]) == A[sm[n]] || LOST(con[n]+led[n]))
#endif
#define TOLD(n) ((con[n] && LEARN1(n,con[n])) || (led[n] && LEARN1(n,led[n])))
#define LEARN(n) :: TOLD(n) -> d_step { assert(LEARNT(n)); sm[n]++; tidy() }
#else
#define LEARN(n)
#endif

#ifdef WEAK
#ifdef CAUGHT_EARLY                             /* mutant: a node is told too early that it has caught up */
#define MEND(n,m) :: m != n && led[n] && FORGETS(led[n],m) && con[m] == led[n] -> \
  d_step { e = led[n]; FORGETS(e,m) = 0; ct[m] = 1; tidy() }
#else
#define MEND(n,m) :: m != n && led[n] && FORGETS(led[n],m) && con[m] == led[n] && CAUGHT(led[n],m) -> \
  d_step { e = led[n]; FORGETS(e,m) = 0; ct[m] = 1; tidy() }
#endif
#define MENDED(n) :: ct[n] && con[n] -> d_step { ct[n] = 0; amn[n] = 0; tidy() }
#else
#define MEND(n,m)
#define MENDED(n)
#endif

/* ---- crashes ---- */

#if defined(NO_PERSIST)
#define CRASHES(n) (tl[n] > dln[n] || prm[n])
#else
#define CRASHES(n) (tl[n] > dln[n] || led[n] || cst[n])
#endif
inline crash(n) {                               /* of the machine: records that are not on the disk are lost */
#ifdef WEAK
  if :: tl[n] > dln[n] -> amn[n] = 1; con[n] = 0; ct[n] = 0 :: else fi;
#endif
  i = dln[n]; do :: i >= MAXM -> break :: else -> LG(n,i) = 0; i++ od;
  tl[n] = dln[n]; led[n] = 0; cst[n] = 0;
#ifdef STATED_DISK                /* mutant: after a restart the disk mark that a wal record states counts as `peers` */
  if :: dln[n] > 1 && sm[n] < dln[n] - 1 -> sm[n] = dln[n] - 1 :: else fi;
#endif
#ifdef NO_PERSIST                               /* mutant: the promise is not on the disk */
  prm[n] = 0; con[n] = 0
#endif
}

#if MAXE > 4
#error MAXE is at most 4
#elif MAXE == 4
#define EACHCLAIM(M) M(1) M(2) M(3) M(4)
#define SHAKES(n) SHAKE(n,1) SHAKE(n,2) SHAKE(n,3) SHAKE(n,4)
#elif MAXE == 3
#define EACHCLAIM(M) M(1) M(2) M(3)
#define SHAKES(n) SHAKE(n,1) SHAKE(n,2) SHAKE(n,3)
#else
#define EACHCLAIM(M) M(1) M(2)
#define SHAKES(n) SHAKE(n,1) SHAKE(n,2)
#endif

#define NODE(n) \
  CLAIM(n) UNCLEANCLAIM(n) READSET(n) RESUMED(n) \
  :: MAYLEAD(n) -> d_step { e = cst[n]; start_lead(n,e); SERVE(n); tidy() } \
  :: led[n] && tl[n] < MAXM -> d_step { e = led[n]; assert(RISES(n,e)); LG(n,tl[n]) = e; HL(e,tl[n]) = e; tl[n]++; hln[e] = tl[n]; tidy() } \
  :: dln[n] < tl[n] -> d_step { dln[n] = tl[n]; sendack(n); SERVE(n); tidy() } /* a sync, and with it the acknowledgement */ \
  :: con[n] && tl[n] < SENDABLE(con[n]) -> d_step { e = con[n]; LG(n,tl[n]) = HL(e,tl[n]); tl[n]++; SENDUNSYNCED(n); tidy() } \
  SHAKES(n) ACKOLD(n) LEARN(n) SETTLE(n) SEE(n) LOOK(n) READMARK(n) \
  :: led[n] && HEARD(led[n]) && cm[led[n]] < tl[n] && ALLHAVE(led[n],n) -> d_step { commit(n); tidy() } \
  ASK(n,0) ASK(n,1) ASK(n,2) CONFIRM(n) LOSTREPLY(n) \
  MEND(n,0) MEND(n,1) MEND(n,2) MENDED(n) LOWER(n) \
  :: led[n] || cst[n] -> d_step { led[n] = 0; cst[n] = 0; tidy() } /* resigns, or kill -9 */ \
  :: CRASHES(n) -> d_step { crash(n); tidy() }

active proctype world() {
end:
  do
  NODE(0)
  NODE(1)
  NODE(2)
  EACHCLAIM(APPLY)
  EACHCLAIM(DUPS)
  LATE
  LOWERS
  BACKUP
  ROLL
  od
}
