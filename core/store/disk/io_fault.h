/*
 * Faults of a real process, for system tests: builds with -DFAULTS read LIGNUM_FAULT when the store opens, rules
 * separated by `;`:
 *
 *     pwrite:EIO:after=1000          the first 1000 succeed, then all fail (SHORT: half is written)
 *     sync:EIO:after=5               fdatasync, fsync and syncfs
 *     sync:EIO:path=/topics/         only of files with this in their path (syncfs: of the data directory)
 *     allocate:ENOSPC:when-exists=P  as long as there is a file P
 *     log=PATH                       appends every change of the disk to PATH (tests/system/powerloss.py replays it)
 *
 * The log is one line a change, its fields separated by tabs, paths absolute:
 *
 *     create PATH | mkdir PATH | remove PATH | rename FROM TO | link FROM TO | exchange A B
 *     truncate PATH SIZE | allocate PATH END
 *     write PATH AT N            and after the newline N bytes and another newline
 *     sync TOKEN KIND PATH       a sync begins: KIND is file, dir or all
 *     synced TOKEN               and has ended well
 *
 * A change is logged after it was made, and a sync's beginning before, so the log never claims too much. Nor too
 * little: a change and its line are made under an flock of the log. A test that kills the process holds that lock
 * meanwhile, or the kernel might know a change that no line tells of, which the next process finds, believes and
 * builds upon.
 */
#ifndef STORE_DISK_IO_FAULT_H
#define STORE_DISK_IO_FAULT_H

void io_fault_install(void);

#endif
