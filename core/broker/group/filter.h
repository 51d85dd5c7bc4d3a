/*
 * The filter of a group: conditions that a message must meet to be delivered. It is a list of pairs in the form of a
 * message's headers (store/format/record.h), sorted by name:
 *
 *     "k"          the message's key is this
 *     "h" NAME     a header of that name has this value
 *     "f"          the function of lignum.lua with this name decides, which C does not ask
 */
#ifndef BROKER_GROUP_FILTER_H
#define BROKER_GROUP_FILTER_H

#include "store/format/record.h"

/* NULL, or what is wrong with it. */
const char *filter_check(slice filter);

/* Does a message meet all conditions that C can judge? */
bool filter_takes(slice filter, const struct message *m);

/* The name of the function; empty: there is none. */
slice filter_function(slice filter);

#endif
