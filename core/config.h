/*
 * What the values in lignum.lua are to the core: seconds as milliseconds, and the process's descriptors shared out
 * among log files and connections. Every value has a default, so asking cannot fail.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include "net/http.h"
#include "script/vm/vm.h"

/* The text at `path`, NUL-terminated in *out; NULL when there is none. */
const char *config_text(struct vm *vm, const char *path, struct buf *out);

/* A number of seconds at `path`. */
uint32_t config_ms(struct vm *vm, const char *path, uint32_t otherwise);
uint64_t config_ns(struct vm *vm, const char *path, uint32_t otherwise_ms);

/* Does it name a Consul? */
bool config_is_clustered(struct vm *vm);

void config_log_level(struct vm *vm);   /* sets it */

/* As many descriptors as the system lets us have; before the others are asked. */
void config_raise_descriptors(void);
unsigned config_files_max(struct vm *vm);
struct http_limits config_http_limits(struct vm *vm);

#endif
