/*
 * Values of lignum.lua in the core's units (seconds become milliseconds), and how the process's descriptors are divided
 * between log files and connections; who can read the secrets. Every value has a default, so none of these fails.
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

/* True when it names a Consul. */
bool config_is_clustered(struct vm *vm);

void config_log(struct vm *vm);         /* sets level and format */

/* Appends a line `key=value` for each key that is read only at the start. config_say_fixed: warns of those that differ
 * from what was read then. */
void config_fixed(struct vm *vm, struct buf *out);
void config_say_fixed(struct vm *vm, const struct buf *at_start);

/* A core dump holds secrets and messages. The process begins without (config_forbid_core_dumps), and config_core_dumps
 * does what node.core_dumps says. */
void config_forbid_core_dumps(void);
void config_core_dumps(struct vm *vm);

/* Logs a warning for each secret that other users of this host can read: in its own file, in the file `config`, or in
 * the arguments `set` of this process. */
void config_warn_of_secrets(struct vm *vm, const char *config, const char *const *set);

/* Where the scripts are: `told` unless NULL, else found from the place of this program. Valid until exit. */
const char *config_scripts_dir(const char *told);

/* Raises the limit of descriptors as far as the system allows. To be called before the two below. */
void config_raise_descriptors(void);
unsigned config_files_max(struct vm *vm);
struct http_limits config_http_limits(struct vm *vm);
void config_say_descriptors(struct vm *vm, const struct http_limits *got);   /* warns when they are few */

/* TLS of the listener that was opened as number i, from 0 on, as number `at`, from 1 on, of `listen` says: nothing
 * changes for a plain one. 0, or -EINVAL after an error line. */
int config_secure(struct vm *vm, struct http_server *http, unsigned i, unsigned at);

/* The same of all after a reload, by their addresses. One that cannot be used, or that has expired while the present
 * one has not, or that lets in clients without a certificate where they need one, changes nothing and is said. */
void config_secure_again(struct vm *vm, struct http_server *http);

/* Logs each certificate that has expired, or will soon. */
void config_warn_of_certificates(const struct http_server *http);

/* Tells the tokens what lignum.lua says: its own tokens, and who needs one. */
void config_access(struct vm *vm, struct access *access);

/* Tells them what limits.client says. */
void config_quotas(struct vm *vm, struct quotas *quotas);

/* Tells the server what cors.origins, node.hosts and node.advertise say. */
void config_browsers(struct vm *vm, struct http_server *http);

/* Tells the server what log.requests says. */
void config_log_requests(struct vm *vm, struct http_server *http);

#endif
