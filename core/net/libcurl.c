#include "net/libcurl.h"

#include <dlfcn.h>

struct libcurl curl;

const char *libcurl_load(void)
{
    if (curl.loaded)
        return NULL;
    void *library = dlopen(LIBCURL, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return dlerror();
#define X(name) \
    if (!(curl.name = (__typeof__(curl_##name) *)dlsym(library, "curl_" #name))) \
        return dlerror();
    LIBCURL_FUNCTIONS(X)
#undef X
    if (curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return LIBCURL " cannot be initialised";
    curl.loaded = true;
    return NULL;
}
