#include "script/message/token.h"

#include <string.h>

void token_write(struct buf *out, uint64_t epoch, uint64_t offset, uint64_t topic)
{
    buf_add_u64(out, epoch);
    buf_add_char(out, ':');
    buf_add_u64(out, offset);
    buf_add_char(out, ':');
    buf_add_u64(out, topic);
}

static bool read_number(slice text, size_t digits, uint64_t max, uint64_t *out)
{
    return text.n <= digits && slice_u64(text, out) == 0 && *out <= max;
}

bool token_read(slice text, struct topic_token *out)
{
    slice epoch, offset;
    *out = (struct topic_token){0};
    if (memchr(text.p, ':', text.n) == NULL || !slice_split(&text, ':', &epoch))
        return false;
    out->names_topic = memchr(text.p, ':', text.n) != NULL;
    if (!out->names_topic)
        offset = text;
    else if (!slice_split(&text, ':', &offset) || !read_number(text, OFFSET_DIGITS_MAX, JSON_INTEGER_MAX, &out->topic))
        return false;
    return read_number(epoch, EPOCH_DIGITS_MAX, UINT64_MAX, &out->epoch) &&
           read_number(offset, OFFSET_DIGITS_MAX, JSON_INTEGER_MAX, &out->offset);
}
