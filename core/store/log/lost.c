/* Files that are removed while the store uses them. */
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/store_struct.h"

void store_note_lost(struct store *s)
{
    if (!s->lost)
        say_error("store", "files of %s were removed while this node uses them: it is not ready, and stores nothing "
                  "any more. Put them back, and start it again", s->disk.root);
    s->lost = true;
}

void store_check_files(struct store *s)
{
    if (file_is_lost(s->disk.lock_fd))
        store_note_lost(s);
}

bool store_is_lost(const struct store *s)
{
    return s->lost;
}
