/*
 * The phrases of statuses (RFC 9110, section 15).
 */
#ifndef NET_HTTP_STATUS_H
#define NET_HTTP_STATUS_H

#include "base/slice.h"

/* "Not Found" of 404; never empty. */
slice http_phrase(int status);

#endif
