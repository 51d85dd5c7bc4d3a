/*
 * core.certificates: whether the files of a listener with TLS can be used. The listener itself reads them again
 * (core/config.c).
 */
#include <lauxlib.h>

#include "base/err.h"
#include "net/tls_server.h"
#include "script/bind/arg.h"
#include "script/std/tables.h"
#include "script/vm/vm.h"

#define USAGE "core.certificates(files)"

/* core.certificates(files) -> {until, ...} | nil, message */
static int l_certificates(lua_State *L)
{
    slice text = arg_text(L, 1, "files", USAGE);
    lua_Integer until[TLS_NAMES_MAX + 1];
    struct tls_server *server = NULL;
    struct tls_validity one;
    struct tls_files files;
    struct buf *copy = vm_scratch(vm_of(L)), why = {0};
    buf_add_slice(copy, text);
    int rc = tls_files_read(copy, &files), count = 0;
    if (rc == 0)
        rc = tls_server_new(&files, &server, &why);
    for (; rc == 0 && tls_server_validity(server, (unsigned)count, &one); count++)
        until[count] = one.until;
    tls_server_drop(server);
    buf_clear(copy);
    if (buf_size(&why) == 0)
        buf_add_slice(&why, slice_from(err_sentence(rc)));
    buf_add_slice(copy, buf_slice(&why));
    buf_fini(&why);
    if (rc < 0) {
        lua_pushnil(L);
        lua_pushlstring(L, copy->data, buf_size(copy));
        vm_scratch_done(copy);
        return 2;
    }
    vm_scratch_done(copy);
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushinteger(L, until[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

void certificates_open(lua_State *L)
{
    lua_pushcfunction(L, l_certificates);
    lua_setfield(L, -2, "certificates");
}
