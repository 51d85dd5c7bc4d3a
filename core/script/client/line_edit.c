#include "script/client/line_edit.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/mem.h"

enum { HISTORY_LINES = 1000, WIDTH_USUAL = 80, GAP = 2 };

struct edit {
    EditLine *el;            /* owned */
    History *history;        /* owned */
    struct buf path;         /* of the history file, NUL-terminated; empty: history is not saved */
    const char *prompt;
    bool abandoned;          /* by Ctrl-C */
    struct edit_options options;
};

static struct edit *edit_of(EditLine *el)
{
    struct edit *e = NULL;
    el_get(el, EL_CLIENTDATA, (void **)&e);
    return e;
}

static char *prompt_of(EditLine *el)
{
    return (char *)(uintptr_t)edit_of(el)->prompt;
}

/* ---- completion ---- */

static bool is_name_char(char c)
{
    static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:";
    return memchr(chars, c, sizeof chars - 1) != NULL;
}

static slice last_word(slice text)
{
    size_t n = 0;
    while (n < text.n && is_name_char(text.p[text.n - n - 1]))
        n++;
    return slice_skip(text, text.n - n);
}

struct matches {
    unsigned count;
    size_t longest;
    slice common;            /* the longest common beginning */
};

static bool next_match(slice *names, slice word, slice *name)
{
    while (slice_split(names, '\n', name))
        if (slice_starts(*name, word) && last_word(*name).n == name->n)
            return true;
    return false;
}

static struct matches find_matches(slice names, slice word)
{
    struct matches m = {0};
    for (slice name; next_match(&names, word, &name); m.count++) {
        if (m.count == 0)
            m.common = name;
        while (!slice_starts(name, m.common))
            m.common.n--;
        if (name.n > m.longest)
            m.longest = name.n;
    }
    return m;
}

static size_t terminal_width(void)
{
    struct winsize size = {0};
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : WIDTH_USUAL;
}

static void list_matches(slice names, slice word, const struct matches *m)
{
    size_t columns = terminal_width() / (m->longest + GAP), column = 0;
    for (slice name; next_match(&names, word, &name); column++) {
        const char *before = column == 0 || columns == 0 || column % columns == 0 ? "\n" : "";
        printf("%s%-*.*s", before, (int)(m->longest + GAP), SLICE_ARGS(name));
    }
    putchar('\n');
    fflush(stdout);
}

static unsigned char insert(EditLine *el, slice text)
{
    char *cstr = mem_copy(text.p, text.n);
    int rc = el_insertstr(el, cstr);
    mem_free(cstr);
    return rc < 0 ? CC_ERROR : CC_REFRESH;
}

static unsigned char complete(EditLine *el, wint_t key)
{
    (void)key;
    struct edit *e = edit_of(el);
    const LineInfo *line = el_line(el);
    slice before = slice_of(line->buffer, (size_t)(line->cursor - line->buffer));
    char *text = mem_copy(before.p, before.n);   /* a copy: libedit may change its own while the broker is asked */
    slice word = last_word(slice_of(text, before.n));
    struct buf names = {0};
    e->options.complete(e->options.arg, slice_of(text, before.n), &names);
    struct matches m = find_matches(buf_slice(&names), word);
    unsigned char what = CC_REFRESH_BEEP;
    if (m.count > 0 && m.common.n > word.n) {
        what = insert(el, slice_skip(m.common, word.n));
    } else if (m.count > 1) {
        list_matches(buf_slice(&names), word, &m);
        what = CC_REDISPLAY;
    }
    buf_fini(&names);
    mem_free(text);
    return what;
}

static unsigned char abandon(EditLine *el, wint_t key)
{
    (void)key;
    edit_of(el)->abandoned = true;
    fputs("^C\n", stdout);
    return CC_NEWLINE;
}

/* ---- history ---- */

static void history_open(struct edit *e)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    HistEvent event;
    e->history = history_init();
    history(e->history, &event, H_SETSIZE, HISTORY_LINES);
    history(e->history, &event, H_SETUNIQUE, 1);
    if (state && state[0] != '\0')
        buf_addf(&e->path, "%s/lignum_history", state);
    else if (home && home[0] != '\0')
        buf_addf(&e->path, "%s/.lignum_history", home);
    if (buf_size(&e->path) > 0)
        history(e->history, &event, H_LOAD, e->path.data);
    el_set(e->el, EL_HIST, history, e->history);
}

/* Saved after each line, so that a console that is killed loses none. libedit creates the file with mode 0600. */
static void remember(struct edit *e, const char *line)
{
    HistEvent event;
    history(e->history, &event, H_ENTER, line);
    if (buf_size(&e->path) > 0)
        history(e->history, &event, H_SAVE, e->path.data);
}

/* ---- lines ---- */

static void bind_keys(EditLine *el)
{
    el_set(el, EL_EDITOR, "emacs");
    /* The wide form, because el_set leaks the strings that it converts. */
    el_wset(el, EL_ADDFN, L"lignum-complete", L"complete the name before the cursor", complete);
    el_wset(el, EL_ADDFN, L"lignum-abandon", L"give this line up", abandon);
    el_set(el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(el, NULL);   /* ~/.editrc */
    el_set(el, EL_BIND, "^I", "lignum-complete", NULL);
    el_set(el, EL_SETTY, "-d", "-isig", NULL);   /* Ctrl-C arrives as a key */
    el_set(el, EL_BIND, "^C", "lignum-abandon", NULL);
}

struct edit *edit_new(const struct edit_options *o)
{
    setlocale(LC_CTYPE, "");
    EditLine *el = el_init("lignum", stdin, stdout, stderr);
    if (!el)
        return NULL;
    struct edit *e = MEM_NEW(struct edit);
    e->el = el;
    e->options = *o;
    el_set(el, EL_CLIENTDATA, e);
    el_set(el, EL_PROMPT, prompt_of);
    el_set(el, EL_SIGNAL, 1);
    bind_keys(el);
    history_open(e);
    return e;
}

void edit_free(struct edit *e)
{
    history_end(e->history);
    el_end(e->el);
    buf_fini(&e->path);
    mem_free(e);
}

int edit_read(struct edit *e, const char *prompt, slice *line)
{
    int n = 0;
    e->prompt = prompt;
    e->abandoned = false;
    el_set(e->el, EL_PREP_TERM, 1);   /* before the prompt, so that a Ctrl-D right after it arrives as a key */
    const char *text = el_gets(e->el, &n);
    if (e->abandoned)
        return -EINTR;
    if (!text || n <= 0)
        return -EPIPE;
    *line = slice_of(text, strcspn(text, "\r\n"));
    if (slice_trim(*line).n > 0)
        remember(e, text);
    return 0;
}
