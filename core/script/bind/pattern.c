#include "script/bind/pattern.h"

#include <ctype.h>
#include <string.h>

enum { SET_BYTES_A_STEP = 16, TEXT_BYTES_A_STEP = 256 };

static const char *pattern_end(const struct match *m)
{
    return m->pattern.p + m->pattern.n;
}

static const char *subject_end(const struct match *m)
{
    return m->subject.p + m->subject.n;
}

/* ---- one character ---- */

static bool in_class(int c, char class)
{
    bool in;
    switch (tolower((unsigned char)class)) {
    case 'a': in = isalpha(c); break;
    case 'c': in = iscntrl(c); break;
    case 'd': in = isdigit(c); break;
    case 'g': in = isgraph(c); break;
    case 'l': in = islower(c); break;
    case 'p': in = ispunct(c); break;
    case 's': in = isspace(c); break;
    case 'u': in = isupper(c); break;
    case 'w': in = isalnum(c); break;
    case 'x': in = isxdigit(c); break;
    case 'z': in = c == 0; break;     /* an old one, which Lua still knows */
    default: return (unsigned char)class == c;
    }
    return in != (isupper((unsigned char)class) != 0);
}

/* The set from its [ to the byte after its ]. */
static bool in_set(int c, const char *set, const char *end)
{
    const char *p = set + 1, *close = end - 1;
    bool complement = *p == '^';
    for (p += complement; p < close; p++) {
        bool in;
        if (*p == '%') {
            in = in_class(c, *++p);
        } else if (p[1] == '-' && p + 2 < close) {
            in = (unsigned char)p[0] <= c && c <= (unsigned char)p[2];
            p += 2;
        } else {
            in = (unsigned char)*p == c;
        }
        if (in)
            return !complement;
    }
    return complement;
}

/* Whether an item for one character matches the one at `s`. */
static inline bool is_one(const struct match *m, const char *item, const char *item_end, const char *s)
{
    if (s >= subject_end(m))
        return false;
    int c = (unsigned char)*s;
    switch (*item) {
    case '.': return true;
    case '%': return in_class(c, item[1]);
    case '[': return in_set(c, item, item_end);
    default: return (unsigned char)*item == c;
    }
}

static bool wrong(struct match *m, const char *why)
{
    m->phase = MATCH_WRONG;
    m->why = why;
    return false;
}

/* A set may be as long as the pattern: that is more than one step. */
static void charge(struct match *m, size_t steps)
{
    m->left -= steps < m->left ? (unsigned)steps : m->left;
}

/* The end of the item for one character that begins at `p`. False: the pattern is malformed. */
static bool item_ends(struct match *m, const char *p, const char **out)
{
    const char *end = pattern_end(m), *item = p;
    if (*p == '%') {
        if (p + 1 == end)
            return wrong(m, "malformed pattern (ends with '%%')");
        p++;
    } else if (*p == '[') {
        p += 1 + (p[1] == '^');
        do {                          /* a ] that comes first is one of the set */
            if (p >= end)
                return wrong(m, "malformed pattern (missing ']')");
            p += *p == '%' && p + 1 < end ? 2 : 1;
        } while (p >= end || *p != ']');
        charge(m, (size_t)(p - item) / SET_BYTES_A_STEP);
    }
    *out = p + 1;
    return true;
}

/* ---- items ---- */

static struct choice *push(struct match *m, struct choice choice)
{
    if (m->choices == m->choices_max) {
        wrong(m, "pattern too complex");
        return NULL;
    }
    m->choice[m->choices] = choice;
    return &m->choice[m->choices++];
}

static void capture_open(struct match *m)
{
    bool position = m->p + 1 < pattern_end(m) && m->p[1] == ')';
    if (m->captures == PATTERN_CAPTURES_MAX) {
        wrong(m, "too many captures");
        return;
    }
    *match_capture(m, m->captures++) = (struct capture){m->s, position ? CAPTURE_POSITION : CAPTURE_OPEN};
    m->p += position ? 2 : 1;
    push(m, (struct choice){.kind = CHOICE_OPENED});
}

static void capture_close(struct match *m)
{
    unsigned i = m->captures;
    while (i > 0 && match_capture(m, i - 1)->size != CAPTURE_OPEN)
        i--;
    if (i == 0) {
        wrong(m, "invalid pattern capture");
        return;
    }
    struct capture *c = match_capture(m, i - 1);
    c->size = m->s - c->from;
    m->p++;
    push(m, (struct choice){.kind = CHOICE_CLOSED, .capture = i - 1});
}

/* %1 */
static void back_reference(struct match *m)
{
    unsigned i = (unsigned)(m->p[1] - '1');
    if (m->p[1] == '0' || i >= m->captures || match_capture(m, i)->size == CAPTURE_OPEN) {
        m->which = (unsigned)(m->p[1] - '0');
        wrong(m, "invalid capture index %%%d");
        return;
    }
    const struct capture *c = match_capture(m, i);
    m->p += 2;
    if (c->size < 0 || subject_end(m) - m->s < c->size || memcmp(m->s, c->from, (size_t)c->size) != 0) {
        m->phase = MATCH_FAILS;
        return;
    }
    charge(m, (size_t)c->size / TEXT_BYTES_A_STEP);
    m->s += c->size;
}

/* %f[set] */
static void frontier(struct match *m)
{
    const char *set = m->p + 2, *end;
    if (set >= pattern_end(m) || *set != '[') {
        wrong(m, "missing '[' after '%%f' in pattern");
        return;
    }
    if (!item_ends(m, set, &end))
        return;
    int before = m->s == m->subject.p ? 0 : (unsigned char)m->s[-1];
    if (in_set(before, set, end) || !in_set((unsigned char)*m->s, set, end))
        m->phase = MATCH_FAILS;
    else
        m->p = end;
}

/* %bxy */
static void balance_begin(struct match *m)
{
    if (m->p + 3 >= pattern_end(m)) {
        wrong(m, "malformed pattern (missing arguments to '%%b')");
    } else if (m->s == subject_end(m) || *m->s != m->p[2]) {
        m->phase = MATCH_FAILS;
    } else {
        m->depth = 1;
        m->phase = MATCH_BALANCES;
    }
}

static void balance(struct match *m)
{
    const char *end = subject_end(m);
    char opens = m->p[2], closes = m->p[3];
    for (; m->left > 0; m->left--) {
        if (++m->s >= end) {
            m->phase = MATCH_FAILS;
            return;
        }
        if (*m->s == closes && --m->depth == 0) {
            m->s++;
            m->p += 4;
            m->phase = MATCH_RUNS;
            return;
        }
        m->depth += *m->s == opens && *m->s != closes;
    }
}

/* An item for one character, with what says how often. */
static void single(struct match *m)
{
    const char *item = m->p, *end;
    if (!item_ends(m, item, &end))
        return;
    char suffix = end < pattern_end(m) ? *end : 0;
    if (suffix == '-') {
        m->p = end + 1;
        push(m, (struct choice){.kind = CHOICE_LAZY, .item = item, .item_end = end, .at = m->s});
        return;
    }
    bool one = suffix != '*' && is_one(m, item, end, m->s);
    if (suffix == '*' || (suffix == '+' && one)) {
        const char *least = m->s + one;
        m->p = end + 1;
        if (push(m, (struct choice){CHOICE_GREEDY, .item = item, .item_end = end, .least = least, .at = least}) != NULL)
            m->phase = MATCH_GROWS;
    } else if (suffix == '?') {
        m->p = end + 1;
        if (one && push(m, (struct choice){.kind = CHOICE_OPTIONAL, .item_end = end, .at = m->s}) != NULL)
            m->s++;
    } else if (one) {
        m->s++;
        m->p = end;
    } else {
        m->phase = MATCH_FAILS;
    }
}

static void run(struct match *m)
{
    while (m->phase == MATCH_RUNS && m->left > 0) {
        m->left--;
        if (m->p == pattern_end(m)) {
            m->phase = MATCH_FOUND;
            return;
        }
        char next = m->p + 1 < pattern_end(m) ? m->p[1] : 0;
        if (*m->p == '(')
            capture_open(m);
        else if (*m->p == ')')
            capture_close(m);
        else if (*m->p == '$' && m->p + 1 == pattern_end(m))
            m->phase = m->s == subject_end(m) ? MATCH_FOUND : MATCH_FAILS;
        else if (*m->p == '%' && next == 'b')
            balance_begin(m);
        else if (*m->p == '%' && next == 'f')
            frontier(m);
        else if (*m->p == '%' && isdigit((unsigned char)next))
            back_reference(m);
        else
            single(m);
    }
}

static void grow(struct match *m)
{
    struct choice *c = &m->choice[m->choices - 1];
    unsigned cost = 1 + (unsigned)((c->item_end - c->item) / SET_BYTES_A_STEP);
    while (is_one(m, c->item, c->item_end, c->at)) {
        c->at++;
        if (m->left <= cost) {
            m->left = 0;
            return;
        }
        m->left -= cost;
    }
    m->s = c->at;
    m->phase = MATCH_RUNS;
}

/* ---- the way back ---- */

/* Whether the choice offers another way, from c->at on. */
static bool other_way(struct match *m, struct choice *c)
{
    switch (c->kind) {
    case CHOICE_GREEDY:
        if (c->at == c->least)
            return false;
        c->at--;
        return true;
    case CHOICE_LAZY:
        charge(m, (size_t)(c->item_end - c->item) / SET_BYTES_A_STEP);
        if (!is_one(m, c->item, c->item_end, c->at))
            return false;
        c->at++;
        return true;
    case CHOICE_OPENED:
        m->captures--;
        return false;
    case CHOICE_CLOSED:
        match_capture(m, c->capture)->size = CAPTURE_OPEN;
        return false;
    default:
        return true;
    }
}

static void back(struct match *m)
{
    while (m->left > 0) {
        m->left--;
        if (m->choices == 0) {
            m->phase = MATCH_NONE;
            return;
        }
        struct choice *c = &m->choice[m->choices - 1];
        bool again = other_way(m, c);
        m->choices -= !again || c->kind == CHOICE_OPTIONAL;
        if (again) {
            m->s = c->at;
            m->p = c->item_end + 1;
            m->phase = MATCH_RUNS;
            return;
        }
    }
}

/* ---- an attempt ---- */

/* How many choices and captures a pattern may have: what says how often an item matches, and parentheses. */
static void count(slice pattern, unsigned *choices, unsigned *captures)
{
    size_t signs = 0, opened = 0;
    for (size_t i = 0; i < pattern.n; i++) {
        char c = pattern.p[i];
        signs += c == '*' || c == '+' || c == '-' || c == '?' || c == '(' || c == ')';
        opened += c == '(';
    }
    *choices = signs < PATTERN_CHOICES_MAX ? (unsigned)signs : PATTERN_CHOICES_MAX;
    *captures = opened < PATTERN_CAPTURES_MAX ? (unsigned)opened : PATTERN_CAPTURES_MAX;
}

size_t match_size(slice pattern)
{
    unsigned choices, captures;
    count(pattern, &choices, &captures);
    return sizeof(struct match) + choices * sizeof(struct choice) + captures * sizeof(struct capture);
}

void match_init(struct match *m, slice subject, slice pattern)
{
    m->subject = subject;
    m->pattern = pattern;
    count(pattern, &m->choices_max, &m->captures_max);
    m->left = 0;
    match_at(m, subject.p);
}

void match_at(struct match *m, const char *s)
{
    m->s = s;
    m->p = m->pattern.p;
    m->captures = m->choices = 0;
    m->phase = MATCH_RUNS;
}

enum match_phase match_run(struct match *m)
{
    while (m->left > 0 && m->phase < MATCH_FOUND) {
        switch (m->phase) {
        case MATCH_RUNS: run(m); break;
        case MATCH_GROWS: grow(m); break;
        case MATCH_BALANCES: balance(m); break;
        default: back(m); break;
        }
    }
    return m->phase;
}

bool pattern_is_plain(slice pattern)
{
    for (size_t i = 0; i < pattern.n; i++)
        if (pattern.p[i] != 0 && strchr("^$*+?.([%-", pattern.p[i]) != NULL)
            return false;
    return true;
}
