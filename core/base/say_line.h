/*
 * The forms of a line of the log; say.h says the lines.
 *
 *     text      2026-11-23T10:00:00.000Z info store: recovered topic=orders next=42
 *     json      {"time":"2026-11-23T10:00:00.000Z","level":"info","area":"store","message":"recovered",
 *                "fields":{"topic":"orders","next":"42"}}                          (on one line)
 *     journal   <6>info store: recovered topic=orders next=42
 *
 * The journal has a clock of its own, and takes the priority from the number in front, as sd-daemon(3) says.
 */
#ifndef BASE_SAY_LINE_H
#define BASE_SAY_LINE_H

#include <stddef.h>

#include "base/buf.h"
#include "base/say.h"

enum { SAY_FIND_FIELDS = -1 };

/* Adds one line with its newline. The fields are the end of `text` from `fields_at` on; with SAY_FIND_FIELDS they are
 * its last words, as far as all of these are key=value. A value in quotes may be a JSON string. The line has at most
 * `size_max` bytes: a longer text ends with "...", and a line of JSON stays valid. `size_max` is at least 512, and
 * `area` has at most 64 bytes. */
void say_line(struct buf *out, enum say_format format, enum say_level level, const char *area, slice text,
              ptrdiff_t fields_at, size_t size_max);

#endif
