/*
 * Tokens as text, epoch:offset:topic: where a reader stands (struct topic_token in broker/topic/topic.h). The last part
 * may be left out.
 */
#ifndef SCRIPT_MESSAGE_TOKEN_H
#define SCRIPT_MESSAGE_TOKEN_H

#include "base/buf.h"
#include "broker/topic/topic.h"

enum { TOKEN_TEXT_MAX = EPOCH_DIGITS_MAX + 2 * OFFSET_DIGITS_MAX + 2 };

void token_write(struct buf *out, uint64_t epoch, uint64_t offset, uint64_t topic);

/* False: the text is not a token. Then *out is unspecified. */
bool token_read(slice text, struct topic_token *out);

#endif
