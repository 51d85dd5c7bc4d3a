#include "net/http_names.h"

#define ONCE(text) "more than one " text " header"
#define LIST(text) NULL

static const struct {
    slice text;
    const char *once;
} names[NAME_COUNT] = {          /* the last one, NAME_LIGNUM_HEADER, has no text */
#define NAME(name, text, lines) [NAME_##name] = {{text, sizeof(text) - 1}, lines(text)},
    HTTP_NAMES(NAME)
#undef NAME
};

/* The first name of each length. */
static const unsigned char first[] = {
    [4] = NAME_HOST,
    [5] = NAME_RANGE,
    [6] = NAME_ORIGIN,
    [7] = NAME_REFERER,
    [8] = NAME_IF_RANGE,
    [10] = NAME_CONNECTION,
    [11] = NAME_PRODUCER_ID,
    [12] = NAME_CONTENT_TYPE,
    [13] = NAME_AUTHORIZATION,
    [14] = NAME_CONTENT_LENGTH,
    [15] = NAME_IDEMPOTENCY_KEY,
    [16] = NAME_CONTENT_ENCODING,
    [17] = NAME_TRANSFER_ENCODING,
    [19] = NAME_IF_UNMODIFIED_SINCE,
    [26] = NAME_LIGNUM_HEADER_CONTENT_TYPE,
};

/* Of equal size. Most names of one size differ in their last letters. */
static inline bool is_name(slice name, slice text)
{
    return ((name.p[name.n - 1] ^ text.p[text.n - 1]) & ~0x20) == 0 && slice_same_letters(name, text);
}

enum http_name http_name_of(slice name)
{
    static const slice own = SLICE("Lignum-Header-");
    unsigned i = name.n < sizeof first ? first[name.n] : NAME_OTHER;
    while (i != NAME_OTHER && !is_name(name, names[i].text))
        i = names[i + 1].text.n == name.n ? i + 1 : NAME_OTHER;
    if (i == NAME_OTHER && name.n >= own.n && slice_same_letters(own, name))
        return NAME_LIGNUM_HEADER;
    return (enum http_name)i;
}

const char *http_name_once(enum http_name name)
{
    return names[name].once;
}
