#include "script/vm/pool.h"

#include <stdint.h>
#include <stdlib.h>

#include "unit/unit.h"

enum { PIECES = 500, LARGEST = 600 };

static struct pool pool;
static struct {
    unsigned char *p;
    size_t size;
} pieces[PIECES];

/* With the arguments that Lua passes to its allocator. */
static void *resize(void *p, size_t old, size_t size)
{
    if (size > 0)
        return old == 0 ? pool_take(&pool, size) : pool_resize(&pool, p, old, size);
    if (old > 0)
        pool_give(&pool, p, old);
    return NULL;
}

static void change(size_t i, size_t size)
{
    size_t both = size < pieces[i].size ? size : pieces[i].size;
    pieces[i].p = resize(pieces[i].p, pieces[i].size, size);
    CHECK((pieces[i].p != NULL) == (size > 0));
    for (size_t at = 0; at < both; at++)
        CHECK(pieces[i].p[at] == (unsigned char)i);
    if (size > 0)
        memset(pieces[i].p, (unsigned char)i, size);
    pieces[i].size = size;
}

TEST(test_pieces_of_all_sizes_keep_their_bytes)
{
    uint64_t x = 1;
    for (int n = 0; n < 200 * 1000; n++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        change((x >> 33) % PIECES, (x >> 20) % 3 == 0 ? 0 : (x >> 45) % LARGEST);
    }
    for (size_t i = 0; i < PIECES; i++)
        change(i, 0);
    pool_trim(&pool);
}

TEST(test_a_freed_piece_is_used_again_and_what_is_kept_is_bounded)
{
    void *p = pool_take(&pool, 40);
    CHECK(pool_resize(&pool, p, 40, 48) == p);       /* of one class */
    pool_give(&pool, p, 48);
    bool kept = pool.kept == 48;                     /* not under the address sanitizer */
    void *again = pool_take(&pool, 33);
    CHECK(!kept || again == p);
    pool_give(&pool, again, 33);
    static void *many[100 * 1000];
    for (size_t i = 0; i < 100 * 1000; i++)
        many[i] = pool_take(&pool, 16);
    for (size_t i = 0; i < 100 * 1000; i++)
        pool_give(&pool, many[i], 16);
    CHECK(pool.kept <= POOL_KEPT_MAX);
    pool_trim(&pool);
    CHECK(pool.kept == 0 && pool.first[0] == NULL);
}
