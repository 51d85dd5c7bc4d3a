/*
 * The functions of libcurl that fetch uses, as `curl.NAME` instead of curl_NAME. The library is loaded when it is first
 * needed; until then `curl.loaded` is false, and no other member may be used.
 */
#ifndef NET_LIBCURL_H
#define NET_LIBCURL_H

#include <curl/curl.h>
#include <stdbool.h>

#define LIBCURL "libcurl.so.4"

#define LIBCURL_FUNCTIONS(X) \
    X(global_init) X(slist_append) X(slist_free_all) X(url) X(url_set) X(url_get) X(url_cleanup) X(free) \
    X(easy_init) X(easy_setopt) X(easy_getinfo) X(easy_nextheader) X(easy_strerror) X(easy_cleanup) \
    X(multi_init) X(multi_setopt) X(multi_add_handle) X(multi_remove_handle) X(multi_socket_action) \
    X(multi_info_read) X(multi_assign) X(multi_strerror) X(multi_cleanup) X(multi_perform) X(multi_poll)

struct libcurl {
    bool loaded;
#define X(name) __typeof__(curl_##name) *name;
    LIBCURL_FUNCTIONS(X)
#undef X
};
extern struct libcurl curl;

/* NULL, or why it cannot be used. It stays loaded, because OpenSSL, which it uses, cannot be unloaded safely. */
const char *libcurl_load(void);

#endif
