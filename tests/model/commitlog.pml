/* The commit log of a node (doc/format.md): one topic of N batches, two commit files of FRAMES frames, power losses and
 * kills of the process.
 *
 * A batch is in memory at first, and is written to the topic's file, in the page cache, at any time afterwards, in
 * order. From there the kernel may write it to the disk at any time, in any order. A round makes the topic durable: by a
 * write and a sync of its file, or by a frame with the same bytes in the commit file in use. When that file is full, or at
 * any time, the other one is taken into use, if it is free, and the first one is retired: what its frames hold is
 * written to the topic's file, the whole filesystem is synced, then the file is free. A start copies what the frames of
 * the files in use hold to the topic's file, syncs it, and frees them. A cut takes batches away; others follow in their
 * place. The number of a history stands for the bytes of a batch. A kill loses memory, a power loss the page cache, too.
 *
 *   lost      what was durable is there after a start, as it was; after a kill also what was written
 *   back      what was cut is not there after a start
 *
 * Mutants are -D switches, as in lignum.pml. */
#ifndef N
#define N 2
#endif
#ifndef FRAMES
#define FRAMES 2
#endif
#ifndef LOSSES
#define LOSSES 2
#endif
#ifndef CUTS
#define CUTS 2
#endif
#ifndef USES
#define USES 4                                  /* how often a commit file is taken into use */
#endif

byte cache[N], disk[N];                         /* the topic's file: the history of each batch; 0: nothing */
byte tail, filed, history = 1;                  /* batches in memory; those of them that were written to the file */
byte durable, written;                          /* batches that were told durable; that were told to survive a kill */
byte use[2], duse[2];                           /* a commit file's header: the number of its use, 0: free; on the disk */
byte seed[4], from[4], to[4], what[4];          /* its frames [file * 2 + place]: use, batches, history; 0: none */
bit synced[4];                                  /* the frame is on the disk */
byte count[2];                                  /* frames of this use */
byte cur, uses;                                 /* the file that takes frames; how many uses there were */
bit retiring, swept;                            /* the other file is being retired; the filesystem was synced for it */
byte round;                                     /* of a frame: 1 begun, 2 written, and not yet synced */
byte losses, cuts, i, k;                        /* losses: kills, too */

#define OLD (1 - cur)
#define AT(c, p) ((c) * 2 + (p))
#ifdef CUT_AT_ONCE                              /* mutant: frames may be in use */
#define MAY_CUT (!round)
#else
#define MAY_CUT (!round && !retiring && use[0] == 0 && use[1] == 0)
#endif

/* Memory goes to the file, in order, up to the batch `to`. */
inline file_up_to(upto) { do :: filed < upto -> cache[filed] = history; filed++ :: else -> break od }

inline take(c) { uses++; use[c] = uses; count[c] = 0; cur = c }

/* What a power loss leaves: of the page cache nothing, of what was being written anything. */
inline power_loss() {
  losses++;
  do :: i < N -> cache[i] = disk[i]; i++ :: else -> break od; i = 0;
  do :: i < 4 ->
        if :: seed[i] && !synced[i] -> if :: seed[i] = 0 :: synced[i] = 1 fi
           :: else fi; i++
     :: else -> break od; i = 0;
  if :: use[0] = duse[0] :: duse[0] = use[0] fi; if :: use[1] = duse[1] :: duse[1] = use[1] fi; written = durable; dies()
}

/* What ends with the process in any case. */
inline dies() { round = 0; retiring = 0; swept = 0; count[0] = 0; count[1] = 0; tail = 0; filed = 0 }

/* A kill: the page cache stays, with every write that was made. */
inline kill() { losses++; dies() }

#ifdef NO_SEED                                  /* mutant: a frame of an earlier use counts */
#define VALID(c, p) (seed[AT(c, p)] != 0)
#else
#define VALID(c, p) (seed[AT(c, p)] == use[c])
#endif

inline replay(c) {
  if :: use[c] ->
        do :: k < FRAMES && VALID(c, k) ->
              i = from[AT(c, k)];
              do :: i < to[AT(c, k)] -> cache[i] = what[AT(c, k)]; i++ :: else -> break od; i = 0;
              k++
           :: else -> break od; k = 0
     :: else fi
}

inline sync_files() { do :: i < N -> disk[i] = cache[i]; i++ :: else -> break od; i = 0 }
inline free_file(c) { use[c] = 0; duse[c] = 0 }

/* The start after a power loss, which another one may interrupt. */
inline start() {
  atomic {
#ifndef NO_REPLAY                               /* mutant: a start does not read the commit log */
    replay(0); replay(1);
#endif
    skip
  };
#ifdef FREE_FIRST                               /* mutant: files are freed before what they held is synced */
  atomic { free_file(0); free_file(1) };
  if :: losses < LOSSES -> atomic { power_loss() } :: skip fi;
#endif
  atomic { sync_files() };
  if :: losses < LOSSES -> atomic { power_loss(); goto again } :: skip fi;
  atomic { free_file(0); free_file(1) };
  atomic {
    do :: tail < N && cache[tail] -> tail++ :: else -> break od;
    assert(tail >= durable && tail >= written); /* lost */
    do :: i < tail -> assert(cache[i] == history); i++ :: else -> break od; i = 0;   /* back */
    do :: i < N -> if :: i >= tail -> cache[i] = 0; disk[i] = 0 :: else fi; i++ :: else -> break od; i = 0;
    durable = tail; written = tail; filed = tail;
#ifdef REACH
    assert(!(losses == LOSSES && cuts == CUTS && uses == USES && tail == N));
#endif
  }
}

active proctype node() {
end_serve:
  do
  :: atomic { tail < N -> tail++ }
  :: atomic { filed < tail -> cache[filed] = history; filed++; if :: written < filed -> written = filed :: else fi }
#ifdef GAP                                      /* mutant: later bytes are written before earlier ones, and told */
  :: atomic { filed + 1 < tail && !round -> cache[filed + 1] = history; filed = filed + 2; written = filed }
#endif
  :: atomic { cache[0] != disk[0] -> disk[0] = cache[0] }          /* the kernel writes a page */
  :: atomic { cache[N - 1] != disk[N - 1] -> disk[N - 1] = cache[N - 1] }

  /* a round by the topic's own file */
  :: atomic { !round && durable < tail -> file_up_to(tail); sync_files(); durable = tail; written = tail }

  /* a round by a frame: written, synced, told */
  :: atomic { !round && durable < tail && use[cur] == 0 && uses < USES -> take(cur) }
  :: atomic { !round && durable < tail && use[cur] && count[cur] < FRAMES ->
       k = AT(cur, count[cur]); from[k] = durable; to[k] = tail; what[k] = history; synced[k] = 0;
       seed[k] = 0; k = 0;                      /* begun in memory */
       round = 1;
#ifdef TOLD_EARLY                               /* mutant: told before the sync */
       durable = tail
#endif
#ifdef WRITTEN_EARLY                            /* mutant: told to survive a kill before the log's write */
       written = tail
#endif
     }
  :: atomic { round == 1 -> k = AT(cur, count[cur]); seed[k] = use[cur]; k = 0; round = 2 }
  :: atomic { round == 2 ->
       k = AT(cur, count[cur]); synced[k] = 1; duse[cur] = use[cur]; durable = to[k];
       if :: written < durable -> written = durable :: else fi; k = 0;
       count[cur] = count[cur] + 1; round = 0 }

  /* the file in use is retired */
  :: atomic { !round && !retiring && use[cur] && count[cur] && use[OLD] == 0 -> cur = OLD; retiring = 1; swept = 0 }
#ifdef FREED_EARLY                              /* mutant: free before the filesystem is synced */
  :: atomic { retiring && !swept -> free_file(OLD); swept = 1 }
  :: atomic { retiring && swept -> file_up_to(durable); sync_files(); retiring = 0 }
#else
  :: atomic { retiring && !swept ->
#ifndef NOT_FILED                               /* mutant: what is in memory only is not written first */
       file_up_to(durable);
#endif
       sync_files(); swept = 1 }
  :: atomic { retiring && swept -> free_file(OLD); retiring = 0 }
#endif

  /* a cut, when nothing waits for a sync and no frame is in use */
  :: atomic { cuts < CUTS && tail && durable == tail && MAY_CUT -> cuts++; history++;
       do :: i < N -> cache[i] = 0; disk[i] = 0; i++ :: else -> break od; i = 0;
       tail = 0; filed = 0; durable = 0; written = 0 }

  :: atomic { losses < LOSSES -> power_loss(); goto again }
  :: atomic { losses < LOSSES -> kill(); goto again }
  od;
again:
  start();
  goto end_serve
}
