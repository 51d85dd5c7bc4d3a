/*
 * Exit codes of the process (doc/operate.md). Where sysexits.h has a name for one, it is given.
 */
#ifndef BASE_EXIT_CODE_H
#define BASE_EXIT_CODE_H

enum {
    EXIT_USAGE = 64,         /* a mistake in flags or configuration (EX_USAGE) */
    EXIT_DATA = 65,          /* the data directory cannot be used (EX_DATAERR) */
    EXIT_UNAVAILABLE = 69,   /* there is no broker to talk to (EX_UNAVAILABLE) */
    EXIT_SOFTWARE = 70,      /* out of memory, or a defect (EX_SOFTWARE) */
    EXIT_IO = 74,            /* a write or fsync failed (EX_IOERR) */
    EXIT_RESTART = 75,       /* a restart corrects it (EX_TEMPFAIL) */
};

#endif
