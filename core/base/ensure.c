#include "base/ensure.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Does not use say, which belongs to the loop thread: the failed condition may be on the disk thread. */
void ensure_failed(const char *what, const char *file, int line)
{
    dprintf(STDERR_FILENO, "error ensure: this is a defect in Lignum at=%s:%d expected=\"%s\"\n",
            file, line, what);
    abort();
}
