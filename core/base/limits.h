/*
 * All bounds, with their reasons. C, the scripts (core.limits) and the OpenAPI document take them from here;
 * tests/lua/test_limits.lua compares the pages of doc/. Bounds that an operator may change are the defaults of keys in
 * lignum.lua (scripts/lignum/schema.lua); the others are fixed.
 *
 * To add a bound: add it to the enum; if scripts or pages need it, also to LIMITS_OF_SCRIPTS below.
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#include <stdint.h>

enum {
    KIB = 1024,
    MIB = 1024 * KIB,

    /* names */
    TOPIC_NAME_MAX = 128,               /* fits a directory name with room for suffixes */
    TOPICS_MAX = 1000 * 1000,           /* each costs about 1.5 KiB of memory */
    LABELS_SIZE_MAX = 4 * KIB,          /* of one topic: every node keeps them in memory */
    EXPIRE_MS = 250,                    /* between two looks at topics with `expire`, and after a sleep */
    EXPIRE_STEP_LOOKS = 1000,           /* of topics in one turn */
    EXPIRE_STEP_GROUPS = 100 * 1000,    /* of groups in one turn, for topics that nobody uses */
    TRIM_STEP = 5000,                   /* topics whose retention is looked at in one turn */
    LINK_STEP = 500,                    /* frames and topics that one connection between nodes has of a turn */
    LOOK_STEP = 5000,                   /* topics that other looks at all of them see in one turn */
    TRIM_MS = 10 * 1000,                /* between two looks at what retention may remove */
    NODE_NAME_MAX = 64,
    NODE_ADDRESS_MAX = 127,             /* "HOST:PORT" as nodes tell it to each other */

    /* messages */
    PAYLOAD_SIZE_MAX = 1 * MIB,         /* larger payloads belong in object storage */
    KEY_SIZE_MAX = 4 * KIB,
    HEADERS_SIZE_MAX = 16 * KIB,        /* all names and values of one message */
    BATCH_COUNT_MAX = 64 * KIB,         /* messages of one append */
    BATCH_SIZE_MAX = 8 * MIB,           /* one append: it is written and recovered as a whole */
    PRODUCER_ID_MAX = 64,               /* bytes of a producer's id: a UUID or a host's name and more */
    IDEMPOTENCY_KEY_MAX = 128,          /* bytes of an idempotency key */
    PRODUCERS_MAX = 100 * 1000,         /* that a topic remembers: about 30 MiB */
    DEDUPE_KEYS_DEFAULT = 100 * 1000,
    DEDUPE_KEYS_MAX = 1000 * 1000,      /* about 150 MiB */
    DEDUPE_AGE_MS_DEFAULT = 120 * 1000,
    PRODUCER_AGE_MS = 7 * 24 * 3600 * 1000,   /* after its last batch a producer is forgotten */

    /* files */
    SEGMENT_MESSAGES_DEFAULT = 1000 * 1000,
    SEGMENT_MESSAGES_MAX = 1000 * 1000 * 1000,
    SEGMENT_BYTES_MIN = 4 * KIB,
    SEGMENT_BYTES_DEFAULT = 64 * MIB,   /* retention's step, and what a follower is sent at a time */
    SEGMENT_BYTES_MAX = 1024 * MIB,     /* positions in an index are 32 bits */
    SEGMENT_SPACE_FIRST = 4 * KIB,      /* preallocated for a new topic; doubles from there */
    SEGMENT_AHEAD_MIN = 64 * KIB,       /* of a file whose successor is created ahead of time */
    SEGMENT_SPACE_STEP_MAX = 16 * MIB,  /* the most that is preallocated at once */
    ZERO_AHEAD = 256 * KIB,             /* of zeros, behind a group commit of few bytes (zero_ahead.h) */
    ZERO_AHEAD_FOR = 64 * KIB,          /* few bytes; of more, the second write costs what it saves */
    SENDERS_EVERY = 16 * MIB,           /* bytes of one topic between two snapshots of its producers: 10 ms to read */
    CHECKPOINT_EVERY = 1 * MIB,         /* bytes of one topic; 1,000 topics recover at most 1 GiB */
    INDEX_EVERY = 32 * KIB,             /* bytes between two index entries: one read of a page-cache chunk */
    INDEX_CACHE_SIZE_MAX = 4 * MIB,     /* of sealed files, in memory: 85 files of the default size are read at once */
    FILES_OPEN_MAX = 4096,              /* log files held open; at most a quarter of the descriptors there are */
    CLOCK_JUMP_MS = 60 * 1000,          /* a wall clock that is off by more from one look to the next has jumped */
    CLOCK_TRUST_MS = 600 * 1000,        /* a jump that lasts for this long is believed */
    DATES_FALL_MS = 600 * 1000,         /* a leader's date that is lower by less is raised to the last one */
    FULL_MS = 10 * 1000,                /* after a refusal a disk counts as full, unless there is room before */
    SYNC_INTERVAL_MS = 1000,            /* between two syncs of durability `interval` */
    SYNC_ONE_BY_ONE_MAX = 8,            /* more dirty files than this go with one syncfs */
    COMMIT_LOG_MIN = 4,                 /* as many topics in one group commit go by the commit log */
    COMMIT_LOGGED_MAX = 64 * KIB,       /* of one topic; more is written to its own file only */
    COMMIT_HELD_EACH = 16 * KIB,        /* of one topic in memory before its file is written */
    COMMIT_HELD_MAX = 16 * MIB,         /* of all topics */
    COMMIT_WRITTEN_MAX = 64,            /* files in one turn: about 0.5 ms */
    COMMIT_FRAME_MAX = 8 * MIB,         /* of one group commit in it */
    COMMIT_FILE_SIZE = 32 * MIB,        /* there are two; a start reads both */
    COMMIT_LOG_AGE_MS = 5 * 1000,       /* then what it holds is synced to the topics' files */
    COMMIT_LOG_RETRY_MS = 10 * 1000,    /* after a write to it failed */

    /* replication */
    BATCH_RUN_SIZE_MAX = 9 * MIB,       /* of batches in one; a largest batch is sent whole */
    AUDIT_STEP = 1 * MIB,               /* one read of an audit, for which acknowledgements may wait */
    AUDIT_PAUSE_MS = 30 * 1000,         /* between two files: 64 MiB each makes 2 MiB a second */
    AUDIT_RATE = 16 * MIB,              /* bytes a second: a file of the default size in 4 s */
    AUDIT_RANGES_MAX = 64,              /* damaged ranges noted of one file; further ones extend the last */
    TRUNCATE_AT_ONCE = 1 * MIB,         /* a larger file is prepared on the disk thread before it is cut */
    BACKGROUND_STEP = 4 * MIB,          /* one step of reading or copying a file, for which acknowledgements may wait */
    LED_RANGES_MAX = 64,                /* of epochs that this node led; the oldest are forgotten */

    /* HTTP */
    HTTP_HEAD_MAX = 16 * KIB,           /* enough for every sane client; parsed in place */
    HTTP_HEADERS_MAX = 64,              /* lines; beyond that it is an attack */
    HTTP_TARGET_MAX = 8 * KIB,          /* RFC 9110 section 4.1 asks for at least 8,000 octets */
    HTTP_BODY_MAX = BATCH_SIZE_MAX,     /* a request body becomes at most one batch */
    HTTP_BODIES_MAX = 256 * MIB,        /* of all connections together */
    JSON_VALUES_MAX = 8 * BATCH_COUNT_MAX,   /* of one text: a largest batch of envelopes with four headers each */
    JSON_OBJECT_VALUES_MAX = 64 * KIB,  /* of a body that becomes Lua tables, which hold up nobody */
    JSON_DEPTH_MAX = 64,                /* objects and lists within each other; the encoder recurses no deeper */
    HTTP_CHUNK_LINE_MAX = 256,          /* size, extension, CRLF */
    HTTP_TRAILERS_MAX = 4 * KIB,
    HTTP_CONNECTIONS_MAX = 20 * 1000,
    HTTP_HEAD_MS = 10 * 1000,           /* from the first byte of a request to the end of its head */
    HTTP_BODY_MS = 60 * 1000,           /* from there to the end of its body */
    HTTP_IDLE_MS = 75 * 1000,           /* between two requests */
    HTTP_WRITE_MS = 60 * 1000,          /* from an answer to its last byte taken by the kernel */
    TLS_NAMES_MAX = 32,                 /* hosts with a certificate of their own, of one listener */
    TLS_SHAKES_MAX = 1000,              /* handshakes at once: each holds about 40 KiB; then the oldest give way */
    HTTP_LINGER_MS = 2 * 1000,          /* reading on after an error, so that a reset cannot eat its answer */

    /* reads */
    READ_COUNT_MAX = 100 * 1000,        /* messages of one answer */
    READ_SIZE_MAX = 8 * MIB,            /* bytes of one answer */
    READ_FILTER_SIZE = 4 * MIB,         /* bytes of the log that one read with a filter looks at */
    READ_FILTER_PIECE = 256 * KIB,      /* of them at once; those without a message that is taken are freed */
    READ_COUNT_DEFAULT = 1000,
    READ_SIZE_DEFAULT = 1 * MIB,
    WAIT_MS_MAX = 60 * 1000,            /* a long-poll; below the idle timeout of proxies */
    TOPICS_PAGE_MAX = 10 * 1000,        /* topics of one answer to GET /v1/topics */
    TOPICS_PAGE_DEFAULT = 1000,
    OFFSET_DIGITS_MAX = 16,             /* of an offset in a query or token: those of JSON_INTEGER_MAX */
    EPOCH_DIGITS_MAX = 18,              /* of an epoch in a token: any such number fits 64 bits */

    /* groups */
    GROUPS_MAX = 10 * 1000,             /* each costs a few KiB of memory, and a record in each snapshot */
    GROUP_AHEAD_MAX = 100 * 1000,       /* messages that one group has out at once: leased, delayed or held */
    GROUP_LEASE_MS_MIN = 100,
    GROUP_LEASE_MS_MAX = 12 * 3600 * 1000,
    GROUP_DELIVERIES_MAX = 1000 * 1000, /* 20 bits in memory */
    GROUP_RETRY_FACTOR_MAX = 100,
    GROUP_CONSUMERS_MAX = 1000,         /* names that a group remembers; 10 bits in memory */
    GROUP_CONSUMER_NAME_MAX = 64,
    GROUP_FILTER_MAX = 1024,            /* bytes of a filter's conditions, with 5 for each */
    GROUP_FILTER_AHEAD = 1000,          /* messages that a claim with a filter reads at once */
    GROUP_DECIDE_MS = 1500,             /* for the hook on_retry to decide: more than POLICY_MS */
    GROUP_STEP_MS = 1000,               /* a date that is off by more was set: deadlines move with it */
    GROUP_REASON_MAX = 256,             /* bytes of the `why` of a reject */
    GROUP_HISTORIES_MAX = 8,            /* epochs of its topic; an older one is compared as if it differed */
    GROUP_ACKED_MAX = 1024,             /* ranges of acknowledgements that a retry may repeat */
    TOPIC_LOG_SEGMENT = 4 * MIB,        /* a file of _topics: what a snapshot makes superfluous goes file by file */
    TOPIC_LOG_GROWTH = 8 * MIB,         /* of _topics since a snapshot, beyond three times that, until the next one */
    TOPIC_LOG_STEP = 64 * KIB,          /* of its records take effect in one turn: each may make a directory */
    GROUP_LOG_SEGMENT = 4 * MIB,        /* a file of _groups: what snapshots make superfluous goes file by file */
    GROUP_LOG_GROWTH = 8 * MIB,         /* of _groups, beyond three times its last snapshots, until the next ones */
    GROUP_CACHE_MAX = 64 * MIB,         /* of all groups: batches whose messages are claimed one by one */
    CLAIM_COUNT_MAX = 10 * 1000,        /* messages of one claim, and leases of one settle */
    CLAIM_LOOK_MAX = 10 * 1000,         /* messages that one step of a claim looks at; it goes on in the next turn */

    /* access tokens */
    ACCESS_TOKENS_MAX = 10 * 1000,      /* made at run time; each costs about 300 bytes, and a record */
    ACCESS_TOPICS_MAX = 1 * KIB,        /* bytes of a token's patterns */
    ACCESS_LOG_SEGMENT = 1 * MIB,       /* a file of _tokens: what is superfluous goes file by file */
    ACCESS_LOG_GROWTH = 4 * MIB,        /* of _tokens, beyond three times its tokens, until they are written again */
    QUOTA_CLIENTS_MAX = 16 * 1024,      /* tokens and addresses whose requests are counted: 3 MiB */
    QUOTA_CONNECTIONS_SPARE = 4,        /* of one address, beyond its limit: for health checks */
    AUDIT_SIZE_MAX = 256 * MIB,         /* of _audit: about a million entries */
    AUDIT_SEGMENT = 8 * MIB,
    AUDIT_NOTED_MAX = 256,              /* entries of one turn, or until _audit is there */
    ACCESS_STALE_MS = 300 * 1000,       /* how long a node without a leader goes on by the tokens that it knows */
    ACCESS_EXPIRED_MS = 24 * 3600 * 1000,   /* how long a token is listed after its time is over */

    /* scripts */
    ROUTE_NAMES_MAX = 16,               /* {names} of one path */
    TASKS_MAX = 20 * 1000,              /* one for each connection at most, plus timers and the console */
    TASKS_RESERVED = 4,                 /* 1 task in 4 is kept from long-polls and connections, for all others */
    RELOAD_GRACE_MS = 10 * 1000,        /* for the requests of a world whose lignum.lua has been replaced */
    POLICY_MS = 1000,                   /* for a policy of lignum.lua (may_lead, ship, ...) to answer a duty */
    TASK_BUDGET_MS = 1000,              /* CPU time of Lua between two waits */
    STALL_MS = 10 * 1000,               /* of CPU time in one call of C by Lua: then the process ends */
    VM_MEMORY_MAX = 256 * MIB,
    VM_MEMORY_RESERVED = 16,            /* 1 byte in 16 is kept from requests, for health checks */
    VM_MEMORY_RESERVE = 32 * MIB,       /* for the routes, when lignum.lua keeps all that it may: a few large answers */
    SCRIPT_LINES_MAX = 500,             /* of lignum.lua in the log, a second */
    JSON_TEXT_MAX = 16 * MIB,           /* that one call of json.encode makes, about 100 ms; the same of an answer */
    SCRIPT_STRING_MAX = 64 * MIB,       /* that one call of string.rep makes */
    SCRIPT_ITEMS_MAX = 16 * 1000 * 1000,   /* that one call of table.move, concat, insert, remove, sort looks at */
    FETCH_BODY_MAX = 8 * MIB,
    FETCH_BODIES_MAX = 64 * MIB,        /* of all fetches for clients together, before scripts get them */
    FETCH_MS = 30 * 1000,
    FETCHES_MAX = 256,
    FETCHES_RESERVED = 32,              /* of them, for the broker's own requests to Consul */
    FETCH_HEADERS_MAX = 64 * KIB,       /* all answer heads of one fetch, those of redirects included */
    FETCH_IDLE_MAX = 16,                /* connections kept for the next fetch */
    CRYPTO_SIZE_MAX = 16 * MIB,         /* bytes of one digest or signature: 16 MiB take about 40 ms */
    RANDOM_SIZE_MAX = 64 * KIB,         /* bytes of one crypto.random */
    RSA_BITS_MIN = 2048,                /* RFC 7518, section 3.3 */
    RSA_BITS_MAX = 4096,                /* one signature of a larger key holds the loop for more than 5 ms */
    DICTS_MAX = 64,                     /* shared.dict: data of the process, found by a search when a script starts */
    DICTS_SIZE_MAX = 256 * MIB,         /* of all; as much as scripts may take by themselves */
    DICT_SIZE_DEFAULT = 16 * MIB,       /* of one: about 100,000 counters */
    DICT_KEY_MAX = 1 * KIB,
    DICT_VALUE_MAX = 64 * KIB,          /* larger values belong in a topic */
    DICT_DEPTH_MAX = 16,                /* tables in tables: each is a call in C */
    SPAWNED_MAX = 1000,                 /* tasks of spawn and after; each takes about 1 KiB and what it holds */
    SPAWN_ARGUMENTS_MAX = 32,
    TASKS_LIST_MAX = 1000,              /* of one tasks.list */
    SYNC_NAME_MAX = 128,                /* of a lock or a signal */
    SIGNALS_MAX = 1000,                 /* names; a signal lives as long as the process */
    METERS_MAX = 256,                   /* metrics that scripts have declared since the start */
    METER_SERIES_MAX = 1000,            /* of one, and hooks and timers: a label of a client's choice stays bounded */
    METERS_SERIES_MAX = 10 * 1000,      /* of all: about 1 MB of a scrape */
    METER_NAME_MAX = 128,
    METER_HELP_MAX = 256,
    METER_LABELS_MAX = 8,               /* names of one metric */
    METER_LABEL_NAME_MAX = 64,
    METER_LABEL_MAX = 128,              /* bytes of a label's value; its length is one byte */
    METER_BOUNDS_MAX = 32,              /* buckets of a histogram */
    CALL_PROBLEM_MAX = 512,             /* bytes of a hook's or timer's last error that are kept */

    /* console */
    CONSOLE_FRAME_MAX = 1 * MIB,        /* a line, a result */
    CONSOLE_UNSENT_MAX = 4 * MIB,       /* a client that leaves more than this unread is not listened to */
    CONSOLES_MAX = 16,
    CONSOLE_PATH_MAX = 107,             /* bytes: those of a Unix socket's address, and a NUL, are 108 */

    /* cluster */
    MEMBERS_MAX = 32,                   /* nodes of one cluster that a leader keeps track of */
    COPIES_MAX = MEMBERS_MAX,           /* a message cannot be on more nodes than the synced set has */
    LINK_GREETING_MAX = 4 * KIB,        /* one frame of a peer that has not proved who it is */
    LINK_TLS_HANDSHAKE_MAX = 4 * KIB,   /* that a peer sends before it is authenticated; nodes send about 400 bytes */
    LINK_FRAME_MAX = BATCH_SIZE_MAX + 64 * KIB,   /* one largest batch and its description */
    LINK_UNSENT_MAX = 1 * MIB,          /* nothing more is read from files for a follower with this much to send */
    LINK_ANSWERS_MAX = LINK_FRAME_MAX + 2 * LINK_UNSENT_MAX,   /* above this, a peer is not listened to */
    LINKS_MAX = 2 * MEMBERS_MAX,        /* connections to the replication port, greetings included */
    SLOTS_MAX = 16 * 1024 * 1024,       /* topics that a follower names on one connection, deleted ones included */
    MARKS_MS = 2,                       /* how long marks wait for a batch to travel with */
    CATCHUP_RATE = 224 * MIB,           /* bytes a second to a node that is not in the set: publishers go first */
    CATCHUP_BURST = 1 * MIB,
    SENDERS_SIZE_MAX = 512 * MIB,       /* of what a follower is told of a topic's producers: more than can be known */
    SHIP_SIZE = 256 * KIB,              /* batches of one topic, before the next topic is served */
    SECRET_SIZE_MIN = 16,               /* bytes: 128 bits are beyond any search */
    SECRET_SIZE_MAX = 128,
    BARRIERS_MAX = 4096,                /* of one follower, that its leader has not answered */
    CALL_SIZE_MAX = BATCH_SIZE_MAX,     /* of one call of a follower, and of its answer */
    CALLS_MAX = 256,                    /* of one follower, that its leader has not answered */
    CALLS_BYTES_MAX = 4 * CALL_SIZE_MAX,   /* that these say together, and that answers wait on the connection with */
    HANDSHAKE_MS = 5 * 1000,            /* from a connection to the end of its handshake */
    LEASE_MS = 10 * 1000,               /* how long a confirmation from Consul is valid */
    LAG_MS = 5 * 1000,                  /* how far behind a member of the synced set may be */
    PING_MS = 250,                      /* between two pings of a leader that has nothing else to send */
    SILENT_MS = 1000,                   /* a leader that is not heard for this long may be gone: followers say so */
    SILENCE_MS = 3 * 1000,              /* a link on which nothing arrives for this long is dead */
};

/* Beyond the range of an int. */
#define JSON_INTEGER_MAX ((INT64_C(1) << 53) - 1)          /* every JSON parser reads integers up to this exactly */
#define NUMBER_MAX ((uint64_t)JSON_INTEGER_MAX)            /* of epochs, versions, offsets and sizes that others name */
#define REGISTER_JUMP_MAX (UINT64_C(1) << 40)              /* above what a node knows: 34,000 years at one a second */
#define GROUP_DELAY_MS_MAX (UINT64_C(366) * 24 * 3600 * 1000)
#define AGE_S_MAX (INT64_C(100) * 366 * 24 * 3600)         /* of retention and of files: 100 years of any length */

/* What scripts see as core.limits, with names in lower case (script/bind/l_limits.c). */
#define LIMITS_OF_SCRIPTS(X) \
    X(TOPIC_NAME_MAX) X(TOPICS_MAX) X(LABELS_SIZE_MAX) X(NODE_NAME_MAX) X(NODE_ADDRESS_MAX) \
    X(PAYLOAD_SIZE_MAX) X(KEY_SIZE_MAX) X(HEADERS_SIZE_MAX) X(BATCH_COUNT_MAX) X(BATCH_SIZE_MAX) \
    X(PRODUCER_ID_MAX) X(IDEMPOTENCY_KEY_MAX) X(PRODUCERS_MAX) X(PRODUCER_AGE_MS) \
    X(DEDUPE_KEYS_DEFAULT) X(DEDUPE_KEYS_MAX) X(DEDUPE_AGE_MS_DEFAULT) \
    X(SEGMENT_MESSAGES_DEFAULT) X(SEGMENT_MESSAGES_MAX) X(SEGMENT_BYTES_MIN) X(SEGMENT_BYTES_DEFAULT) \
    X(SEGMENT_BYTES_MAX) X(SYNC_INTERVAL_MS) X(COMMIT_LOG_AGE_MS) X(FILES_OPEN_MAX) X(AUDIT_PAUSE_MS) \
    X(HTTP_HEAD_MAX) X(HTTP_HEADERS_MAX) X(HTTP_TARGET_MAX) X(HTTP_BODY_MAX) X(HTTP_BODIES_MAX) \
    X(JSON_VALUES_MAX) X(JSON_OBJECT_VALUES_MAX) X(JSON_DEPTH_MAX) \
    X(HTTP_CONNECTIONS_MAX) X(HTTP_HEAD_MS) X(HTTP_BODY_MS) X(HTTP_IDLE_MS) X(HTTP_WRITE_MS) X(TLS_NAMES_MAX) \
    X(READ_COUNT_DEFAULT) X(READ_COUNT_MAX) X(READ_SIZE_DEFAULT) X(READ_SIZE_MAX) X(WAIT_MS_MAX) \
    X(TOPICS_PAGE_DEFAULT) X(TOPICS_PAGE_MAX) X(OFFSET_DIGITS_MAX) X(EPOCH_DIGITS_MAX) \
    X(GROUPS_MAX) X(GROUP_AHEAD_MAX) X(GROUP_LEASE_MS_MIN) X(GROUP_LEASE_MS_MAX) X(GROUP_DELIVERIES_MAX) \
    X(GROUP_RETRY_FACTOR_MAX) X(GROUP_CONSUMER_NAME_MAX) X(GROUP_REASON_MAX) X(GROUP_FILTER_MAX) \
    X(GROUP_DELAY_MS_MAX) X(CLAIM_COUNT_MAX) \
    X(ROUTE_NAMES_MAX) X(TASKS_MAX) X(TASKS_RESERVED) X(TASK_BUDGET_MS) X(POLICY_MS) X(VM_MEMORY_MAX) \
    X(RELOAD_GRACE_MS) X(STALL_MS) X(ACCESS_STALE_MS) \
    X(FETCH_BODY_MAX) X(FETCH_BODIES_MAX) X(FETCH_MS) X(FETCHES_MAX) X(FETCHES_RESERVED) \
    X(CONSOLE_PATH_MAX) X(LINK_GREETING_MAX) X(LINK_TLS_HANDSHAKE_MAX) X(LINK_FRAME_MAX) X(LINKS_MAX) X(HANDSHAKE_MS) \
    X(PING_MS) X(SILENCE_MS) X(MEMBERS_MAX) X(COPIES_MAX) X(SECRET_SIZE_MIN) X(SECRET_SIZE_MAX) X(LEASE_MS) X(LAG_MS) \
    X(JSON_INTEGER_MAX) X(AGE_S_MAX)

_Static_assert(PAYLOAD_SIZE_MAX * 2 <= BATCH_SIZE_MAX, "two largest messages fit one batch");
_Static_assert(HEADERS_SIZE_MAX + KEY_SIZE_MAX <= 64 * KIB - 2, "both lengths are 16 bits in a record");
_Static_assert(SEGMENT_SPACE_STEP_MAX >= BATCH_SIZE_MAX, "one step makes room for any batch");
_Static_assert(INDEX_EVERY < CHECKPOINT_EVERY, "a checkpoint covers many index entries");
_Static_assert(CONSOLE_FRAME_MAX <= LINK_FRAME_MAX, "a link can carry the console's frames");
_Static_assert(BATCH_RUN_SIZE_MAX >= BATCH_SIZE_MAX + 64, "a largest batch and its header fit one run");
_Static_assert(LINK_FRAME_MAX >= BATCH_SIZE_MAX + 64 + 128, "a largest batch fits one frame");
_Static_assert(PING_MS * 4 <= SILENT_MS && SILENT_MS < SILENCE_MS, "one or two lost pings are not yet silence");
_Static_assert(READ_SIZE_DEFAULT <= READ_SIZE_MAX && READ_COUNT_DEFAULT <= READ_COUNT_MAX, "the defaults are allowed");
_Static_assert(JSON_INTEGER_MAX < INT64_C(10000000000000000), "it has OFFSET_DIGITS_MAX digits");

#endif
