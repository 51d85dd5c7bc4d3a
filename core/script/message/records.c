#include "script/message/records.h"

#include <unistd.h>

void records_release(struct memory *memory, struct records *r)
{
    memory_release(memory, r->claimed);
    r->claimed = 0;
    buf_fini(&r->bytes);
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}
