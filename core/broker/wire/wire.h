/*
 * The frames between nodes: their types, and reading and writing of their fields. doc/wire.md describes the protocol,
 * with the order of frames and examples.
 *
 * All numbers are little-endian; a u64 is at most NUMBER_MAX. Text is two bytes of size and the bytes. A topic is a
 * slot, a number from 1 on that the follower assigns and never uses twice on a connection; the name in POSITION only
 * finds a topic that exists.
 *
 *   follower -> leader
 *     HELLO     u16 WIRE_VERSION, cluster id, text member, text http, u8 flags; of the newest register that it knows
 *               of: u64 epoch, u64 version and id (incarnation) of the leader
 *     PROMISE   u64 epoch: promised, on disk
 *     POSITION  u32 slot, topic id (u64 epoch, u64 offset), u64 epoch, u64 end, text name: its history of that epoch
 *               ends there
 *     START     u32 slot, u64 tail, u64 disk: send from `tail` on
 *     ACK       (u32 slot, u64 written, u64 disk) ...: everything below is written here, and on this node's disk
 *     WANT      u32 slot, u64 first, u64 position: asks for bytes of a sealed file, to repair ours
 *     AUDIT     u32 slot, u64 first, u64 next, u32 crc: a sealed file of ours
 *     BARRIER   u64 number, text name: how far is the leader with this topic?
 *     CONFIRMED u64 number: the answer to CONFIRM
 *     CALL      u64 number, bytes: what the leader's scripts are to do
 *     FORGET    u64 number: nobody waits for the RETURN of this CALL any more
 *     USED      (u32 slot, u64 milliseconds ago) ...: topics with `expire` that were used here
 *     PING      nothing: the sender is alive
 *   leader -> follower
 *     WELCOME   u64 epoch, u64 version of the register, text member, text http
 *     POINT     u32 slot, u8 0 = no such topic, 1, 2 = of the very epoch asked for, 3 = it cannot be read here, u64
 *               found epoch, u64 end, u64 first, u64 readable, u8 has crc, u32 crc: the leader's history of the last
 *               epoch that is at most the one asked for ends at `end`; the leader has the topic from `first` on, and
 *               its readers see what is below `readable`; the checksum of the batch that ends at the smaller of both
 *               ends
 *     DATA      u32 slot, u64 readable, u64 peers, u64 first, u64 next, u64 file first, u8 has crc, u32 crc, batches
 *     SENDERS   u32 slot, u8 1 = the last piece, bytes: a piece of what batches said of their senders that are before
 *               the leader's first
 *     MARKS     (u32 slot, u64 readable, u64 peers) ...
 *     CAUGHT    nothing: the follower has all that is acknowledged
 *     FILE      u32 slot, u64 first, u64 position, u64 size of all, bytes; size 0: there is none
 *     DIFFERS   u32 slot, u64 first: the leader's file of AUDIT is another one
 *     CONFIRM   u64 number: does the follower still follow?
 *     REACHED   u64 number of the BARRIER, u64 applied, u8 1 = it has such a topic, topic id (u64 epoch, u64 offset),
 *               u64 readable
 *     RETURN    u64 number of the CALL, u8 0 = done, 1 = not begun, 2 = failed, with nothing done, 3 = it
 *               may have been done, bytes: what it returned, or why not
 *     PING      u8 1 = Consul has not confirmed the leader for a lease: the sender is alive
 *   both
 *     REFUSE    text why; the sender closes
 *
 * To change it: 1. raise WIRE_VERSION; 2. change the table here and in doc/wire.md; 3. a node refuses another version
 * by name, so a cluster is upgraded node by node, followers first, only while both speak the same.
 */
#ifndef BROKER_WIRE_WIRE_H
#define BROKER_WIRE_WIRE_H

#include "base/buf.h"
#include "base/id.h"
#include "net/link.h"

enum { WIRE_VERSION = 1 };

enum wire_type {
    WIRE_HELLO = 'h', WIRE_PROMISE = 'p', WIRE_POSITION = 'q', WIRE_START = 's', WIRE_ACK = 'k',
    WIRE_WANT = 'n', WIRE_AUDIT = 'a', WIRE_BARRIER = 'b', WIRE_CONFIRMED = 'c',
    WIRE_CALL = 'l', WIRE_FORGET = 'f', WIRE_RETURN = 'L', WIRE_USED = 'u',
    WIRE_WELCOME = 'W', WIRE_POINT = 'P', WIRE_DATA = 'D', WIRE_SENDERS = 'S', WIRE_MARKS = 'M', WIRE_CAUGHT = 'U',
    WIRE_FILE = 'F', WIRE_DIFFERS = 'X', WIRE_CONFIRM = 'C', WIRE_REACHED = 'B',
    WIRE_REFUSE = 'R', WIRE_PING = 'i',
};

enum { HELLO_AMNESIAC = 1 };
enum { RETURN_DONE, RETURN_NOT_BEGUN, RETURN_FAILED, RETURN_LOST };
enum { POINT_UNKNOWN, POINT_EARLIER, POINT_EXACT, POINT_UNREADABLE };

enum { WIRE_MARKS_ENTRY = 20, WIRE_ACK_ENTRY = 20 };

/* Puts a new link under TLS with the key of this cluster. Without a context (there is no secret) it stays plain. */
void wire_secure(struct link *k, const struct tls_context *c, enum tls_side side, const struct id *cluster);

void put_u8(struct buf *out, unsigned v);
void put_u16(struct buf *out, unsigned v);
void put_u32(struct buf *out, uint32_t v);
void put_u64(struct buf *out, uint64_t v);
void put_id(struct buf *out, const struct id *id);
void put_text(struct buf *out, slice text);

/* A frame that is being read. Reading past its end, and reading a u64 above NUMBER_MAX, gives zero and sets `bad`; it
 * is checked once, at the end, before anything acts on the frame. */
struct wire {
    slice rest;
    bool bad;
};

uint8_t get_u8(struct wire *w);
uint16_t get_u16(struct wire *w);
uint32_t get_u32(struct wire *w);
uint64_t get_u64(struct wire *w);
struct id get_id(struct wire *w);
slice get_text(struct wire *w);
slice get_bytes(struct wire *w, size_t n);

/* Is it an address that may be shown to clients and operators? It holds nothing that would break out of a header, JSON
 * or a log line. */
bool wire_is_address(slice text);

/* True if the frame had all fields that were read, with valid numbers, and nothing more. */
bool wire_done(const struct wire *w);

#endif
