/* One node that reads the register: answers that arrive late, and how long a leader may acknowledge.
 *
 * The register is represented by the number of its writes, `V`; this node and others claim. The node may have two
 * reads under way. An answer is the value at some moment between request and arrival, and may arrive at any later time
 * (the process may have been stopped). Consul never goes back here, so the node must never conclude that it was rolled
 * back. A leader acknowledges for LEASE after the request whose answer confirmed it: so it does so for at most LEASE
 * after it was replaced. Mutants are -D switches, as in lignum.pml. */
#ifndef MAXV
#define MAXV 4
#endif
#ifndef TIME
#define TIME 5
#endif
#define LEASE 2
byte now, V = 1;
bit ours[MAXV+1]; byte over[MAXV+1];            /* written by this node; when the next one was written */
byte leads, conf;                               /* the write by which it leads; when that was confirmed */
byte claim, claimed;                            /* its claim that is under way; when it was sent */
byte seen = 1;                                  /* the newest write it knows of */
bit on[2], old[2]; byte at[2], val[2];          /* reads: under way; overtaken by news; when sent; the answer */

#ifdef FROM_ANSWER                              /* mutant: the lease counts from the arrival of the answer */
#define SINCE(t) now
#else
#define SINCE(t) t
#endif
#ifdef UNCOUNTED                                /* mutant: news from a promise does not overtake a read */
#define COUNT skip
#else
#define COUNT old[0] = on[0]; old[1] = on[1]
#endif
#ifdef STALE                                    /* mutant: every answer counts as news */
#define OVERTAKEN(r) 0
#else
#define OVERTAKEN(r) (old[r] && val[r] < seen)
#endif
#ifdef STALE_CONFIRMS                           /* mutant: an overtaken answer confirms, too */
#define CONFIRMS(r) leads
#else
#define CONFIRMS(r) (leads && val[r] == leads)
#endif

inline arrive(r) {                              /* cluster_see, role_see */
  if :: OVERTAKEN(r) ->
#ifdef STALE_CONFIRMS
        if :: CONFIRMS(r) && at[r] > conf -> conf = at[r] :: else fi
#else
        skip
#endif
     :: else ->
        assert(val[r] >= seen);                 /* "Consul was rolled back" */
        old[0] = on[0]; old[1] = on[1]; seen = val[r];
        if :: CONFIRMS(r) -> if :: SINCE(at[r]) > conf -> conf = SINCE(at[r]) :: else fi
           :: else -> leads = 0 fi
  fi;
  on[r] = 0; old[r] = 0; at[r] = 0; val[r] = 0
}

#define READ(r) \
  :: !on[r] -> d_step { on[r] = 1; at[r] = now } \
  :: on[r] && val[r] == 0 -> val[r] = V \
  :: on[r] && val[r] -> d_step { arrive(r) }

active proctype node() {
end:
  do
  :: now < TIME -> now++
  :: V < MAXV -> d_step { over[V] = now; V++ }                      /* another node claims */
  :: V < MAXV && !leads && !claim && seen == V -> d_step { over[V] = now; V++; ours[V] = 1; claim = V; claimed = now }
  :: claim && claim > seen -> d_step { leads = claim; seen = claim; old[0] = on[0]; old[1] = on[1]; conf = SINCE(claimed); claim = 0; claimed = 0 }
  :: claim -> d_step { claim = 0; claimed = 0 }                     /* the claim is not answered */
  READ(0)
  READ(1)
  :: V > seen && !ours[V] -> d_step { seen = V; COUNT; leads = 0; claim = 0; claimed = 0 }   /* role_promise */
  :: leads && now < conf + LEASE -> assert(leads == V || now - over[leads] <= LEASE)   /* acknowledges */
  od
}
