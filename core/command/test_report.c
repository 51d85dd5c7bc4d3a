#include "command/test_report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

int test_format_parse(const char *name, enum test_format *out)
{
    static const char *const names[] = {"text", "tap", "junit"};
    for (int i = 0; i < 3; i++)
        if (strcmp(names[i], name) == 0) {
            *out = (enum test_format)i;
            return 0;
        }
    return -EINVAL;
}

static double seconds(uint64_t ns)
{
    return (double)ns / (double)NS_PER_S;
}

/* Each line of the text, after an indent. */
static void print_lines(const char *indent, const char *text)
{
    slice rest = slice_from(text), line;
    while (slice_split(&rest, '\n', &line))
        printf("%s%.*s\n", indent, SLICE_ARGS(line));
}

static void print_text(const struct test_report *r, const struct test_result *t)
{
    if (t->failed) {
        if (t->name[0] == '\0')
            printf("FAIL %s cannot be loaded\n", t->file);
        else
            printf("FAIL %s:%u %s\n", t->file, t->line, t->name);
        print_lines("    ", t->message);
    } else if (r->verbose || t->message[0] != '\0') {
        printf("ok %s (%.0f ms)\n", t->name, seconds(t->ns) * 1000);
        if (t->message[0] != '\0')
            print_lines("    note: ", t->message);
    }
    if (t->log[0] != '\0' && (t->failed || r->verbose))
        print_lines("    | ", t->log);
}

static void print_tap(const struct test_report *r, const struct test_result *t)
{
    unsigned number = r->passed + r->failed + r->not_loaded;
    if (number == 1)
        puts("TAP version 14");
    printf("%sok %u - %s", t->failed ? "not " : "", number, t->file);
    for (const char *c = t->name[0] == '\0' ? "" : t->name; *c != '\0'; c++) {
        if (c == t->name)
            fputs(": ", stdout);
        if (*c == '#' || *c == '\\')
            putchar('\\');
        putchar(*c == '\n' ? ' ' : *c);
    }
    putchar('\n');
    if (t->message[0] != '\0') {
        printf("  ---\n  at: %s:%u\n  %s: |\n", t->file, t->line, t->failed ? "message" : "note");
        print_lines("    ", t->message);
        puts("  ...");
    }
}

static void add_xml(struct buf *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        const char *name = *c == '<' ? "&lt;" : *c == '>' ? "&gt;" : *c == '&' ? "&amp;" : *c == '"' ? "&quot;" : NULL;
        bool control = (unsigned char)*c < ' ' && *c != '\n' && *c != '\t';
        if (name != NULL)
            buf_addf(out, "%s", name);
        else
            buf_add_char(out, control ? ' ' : *c);
    }
}

static void add_element(struct buf *out, const char *name, const char *text)
{
    if (text[0] == '\0')
        return;
    buf_addf(out, "      <%s>", name);
    add_xml(out, text);
    buf_addf(out, "</%s>\n", name);
}

static void add_junit(struct buf *out, const struct test_result *t)
{
    buf_addf(out, "    <testcase classname=\"");
    add_xml(out, t->file);
    buf_addf(out, "\" name=\"");
    add_xml(out, t->name[0] == '\0' ? "the file is loaded" : t->name);
    buf_addf(out, "\" file=\"");
    add_xml(out, t->file);
    buf_addf(out, "\" line=\"%u\" time=\"%.3f\">\n", t->line, seconds(t->ns));
    add_element(out, t->failed ? "failure" : "system-out", t->message);
    if (t->failed)
        add_element(out, "system-err", t->log);
    buf_addf(out, "    </testcase>\n");
}

void test_report_add(struct test_report *r, const struct test_result *t)
{
    r->ns += t->ns;
    if (t->name[0] == '\0')
        r->not_loaded++;
    else if (t->failed)
        r->failed++;
    else
        r->passed++;
    if (r->format == TEST_TEXT)
        print_text(r, t);
    else if (r->format == TEST_TAP)
        print_tap(r, t);
    else
        add_junit(&r->cases, t);
    fflush(stdout);
}

void test_report_end(struct test_report *r, uint64_t ns)
{
    unsigned failed = r->failed + r->not_loaded, all = r->passed + failed;
    if (r->format == TEST_TEXT) {
        printf("%u passed, %u failed", r->passed, r->failed);
        if (r->not_loaded > 0)
            printf(", %u files cannot be loaded", r->not_loaded);
        printf(" in %.2f s\n", seconds(ns));
    } else if (r->format == TEST_TAP) {
        printf("1..%u\n", all);
    } else {
        printf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"%u\" failures=\"%u\" time=\"%.3f\">\n"
               "  <testsuite name=\"lignum\" tests=\"%u\" failures=\"%u\" errors=\"0\" time=\"%.3f\">\n%.*s"
               "  </testsuite>\n</testsuites>\n", all, failed, seconds(ns), all, failed, seconds(r->ns),
               SLICE_ARGS(buf_slice(&r->cases)));
    }
    buf_fini(&r->cases);
    fflush(stdout);
}
