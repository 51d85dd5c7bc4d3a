/*
 * Injects faults into a running process, for system tests. Builds with -DFAULTS read the environment variable
 * LIGNUM_FAULT when the store opens: rules separated by `;`:
 *
 *     pwrite:EIO:after=1000          the first 1000 succeed, all later ones fail (SHORT: half is written)
 *     sync:EIO:after=5               fdatasync, fsync and syncfs
 *     sync:SLOW                      each takes a second more, but for those of the loop
 *     sync:EIO:path=/topics/         only of files with this in their path (syncfs: of the data directory)
 *     allocate:ENOSPC:when-exists=P  as long as a file P exists
 *     log=PATH                       appends every change of the disk to PATH (tests/system/powerloss.py replays it)
 *
 * The log has one line per change, with fields separated by tabs and absolute paths:
 *
 *     create PATH | mkdir PATH | remove PATH | rename FROM TO | link FROM TO | exchange A B
 *     truncate PATH SIZE | allocate PATH END
 *     write PATH AT N            followed, after the newline, by N bytes and another newline
 *     sync TOKEN KIND PATH       a sync begins: KIND is file, dir or all
 *     synced TOKEN               it succeeded
 *
 * The log claims neither too much nor too little. A change is logged after it was made, the start of a sync before it
 * begins. A change and its line are made under an flock of the log; a test holds that lock while it kills the process,
 * so that no change reaches the kernel without its line, where the next process would find it and build on it.
 */
#ifndef STORE_DISK_IO_FAULT_H
#define STORE_DISK_IO_FAULT_H

void io_fault_install(void);

#endif
