"""What a run of the bench prints and writes: doc/performance.md, one page of main ratios and pictures, and
doc/performance/rows.md with all rows. Each page keeps what stands outside its markers."""

import datetime
import os
import platform
import statistics
import subprocess

import peers
import plot
import rows
import sweep
import targets

DOC = os.path.join(peers.ROOT, "doc")
BEGIN, END = "<!-- figures: made by make bench -->", "<!-- end of figures -->"
QUIET = 0.08                   # the share of the CPUs that others may use; beyond it the page says so


def middle(rounds, name, key):
    values = [r[name][key] for r in rounds if name in r]
    return statistics.median(values) if values else None


def spread_of(rounds, name, key):
    """(median, lowest, highest) of a row's figure, or None if the row was skipped."""
    values = [r[name][key] for r in rounds if name in r]
    return (statistics.median(values), min(values), max(values)) if values else None


# ------------------------------------------------------------------------------------------- tables

def cpu_name():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown CPU")


def file_system(path):
    out = subprocess.run(["df", "--output=source,fstype", path], capture_output=True, text=True).stdout.split()
    return "%s on %s" % (out[-1], out[-2]) if len(out) >= 4 else "unknown"


def machine(o, others):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    words = "%s: %s, %d cores shared by server and load, %.0f GiB of memory, Linux %s, %s. %d rounds of %g s a row." % (
        datetime.date.today().isoformat(), cpu_name(), os.cpu_count(), memory, platform.release(),
        file_system(os.path.join(peers.ROOT, "build")), o.rounds, o.seconds)
    if others > QUIET:
        words += " **Not quiet: other processes used %.0f %% of the CPUs.**" % (100 * others)
    return [words, ""]


def server_table(chosen):
    lines = ["| server | version | settings |", "|---|---|---|"]
    for kind in rows.servers(chosen):
        version = "**skipped: not here**" if kind.missing() else kind.version()
        lines.append("| %s | %s | %s |" % (kind.name, version, kind.settings))
    return lines + [""]


def row_line(rounds, row):
    rate = spread_of(rounds, row.name, "rate")
    if not rate:
        return "| %s | skipped | | | | | |" % row.name
    of = {key: middle(rounds, row.name, key) for key in ("p50_us", "p99_us", "server_us", "load_us")}
    return "| %s | %s | %s - %s | %.2f | %.2f | %.2f | %.2f |" % (
        row.name, *("{:,.0f}".format(v) for v in rate), of["p50_us"] / 1e3, of["p99_us"] / 1e3, of["server_us"],
        of["load_us"])


def row_tables(rounds, chosen):
    lines = []
    for title in dict.fromkeys(r.title for r in chosen):
        lines += ["## %s" % title, "", "| row | a second | spread | p50 ms | p99 ms | server us each | load us each |",
                  "|---|---:|---:|---:|---:|---:|---:|"]
        lines += [row_line(rounds, r) for r in chosen if r.title == title] + [""]
    return lines


LIMITS = {
    "fdatasync_4k_per_s": "write of 4 KiB and fdatasync, one after another, /s",
    "disk_1m_mb_per_s": "write of 1 MiB and fdatasync, MB/s",
    "cold_read_mb_per_s": "sequential read past the page cache, MB/s",
    "sendfile_64k_mb_per_s": "sendfile of 64 KiB pieces over loopback, MB/s",
    "sendfile_1m_mb_per_s": "sendfile of 1 MiB pieces over loopback, MB/s",
    "asked_64k_mb_per_s": "the same, each of 64 KiB asked for when the last has been read, MB/s",
    "asked_1m_mb_per_s": "the same of 1 MiB, MB/s",
    "asked_8m_mb_per_s": "the same of 8 MiB, MB/s",
    "round_trips_1_per_s": "200 bytes there and back, 1 connection, /s",
    "round_trips_64_per_s": "200 bytes there and back, 64 connections, one thread a side, /s",
}


def limit_table(rounds):
    lines = ["## Limits of this machine, in the same rounds", "", "| limit | median | spread |", "|---|---:|---:|"]
    for key, text in LIMITS.items():
        values = [r["limits"][key] for r in rounds]
        lines.append("| %s | %s | %s - %s |" % (text, *("{:,.0f}".format(v) for v in (
            statistics.median(values), min(values), max(values)))))
    return lines + [""]


def target_table(outcomes):
    lines = ["| | median | spread | wanted | |", "|---|---:|---:|---:|---|"]
    for t in outcomes:
        lines.append("| %s | %s | %s | %s | %s |" % (t.text, t.median(), t.spread(), t.wanted(), t.verdict()))
    return lines + [""]


# ------------------------------------------------------------------------------------------- pictures

def points(rounds, key, scale, names):
    """[(place, median, lowest, highest)] of the rows [(place, row's name)] that ran."""
    found = [(place, spread_of(rounds, name, key)) for place, name in names]
    return [(place, *(v * scale for v in values)) for place, values in found if values]


def program(kind):
    """The name of a server of the sweep, without its disk."""
    return kind.name.partition(", disk")[0]


def draw_latency(rounds, path):
    curves = [(program(sweep.SERVERS[0][i]), False,
               points(rounds, "rate", 1, [("%g" % (us / 1000), sweep.name_of(sweep.SERVERS[us][i], 64))
                                          for us in sweep.ADDED_US])) for i in range(3)]
    plot.lines(path, "Durable publish of 100 B, 64 connections, by the disk's latency", "added to each fdatasync, ms",
               "messages a second", curves)


def draw_connections(rounds, path):
    curves = [("%s, %s" % (program(kind), words), key == "p99_us",
               points(rounds, key, .001, [(str(c), sweep.name_of(kind, c)) for c in sweep.CONNECTIONS]))
              for kind in sweep.SERVERS[0][:2] for key, words in (("p50_us", "median"), ("p99_us", "99 of 100"))]
    plot.lines(path, "Time to the answer of a durable publish of 100 B", "connections", "ms", curves)


def draw_topics(rounds, path):
    curves = [(kind.name, False, points(rounds, "rate", 1, [("{:,}".format(n), rows.topics(n, kind).name)
                                                           for n in rows.TOPIC_COUNTS])) for kind in rows.TOPIC_KINDS]
    plot.lines(path, "Durable publish of 100 B, 64 connections, by topics that take turns", "topics", "messages a second",
               curves)


def draw_bars(rounds, path, title, names):
    found = [(label, spread_of(rounds, name, "rate")) for label, name in names]
    plot.bars(path, title, [(label, *values) for label, values in found if values])


def draw(rounds):
    folder = os.path.join(DOC, "performance")
    for file, title, names in rows.PLOTS:
        draw_bars(rounds, os.path.join(folder, file), title, names)
    draw_latency(rounds, os.path.join(folder, "disk.svg"))
    draw_topics(rounds, os.path.join(folder, "topics.svg"))
    draw_connections(rounds, os.path.join(folder, "connections.svg"))


# ------------------------------------------------------------------------------------------- pages

def main_page(o, outcomes, found, busy):
    main = [t for t in outcomes if t.text in targets.MAIN] + [p.redis for p in found if p.connections in sweep.MAIN]
    return machine(o, busy) + target_table(main) + [
        "![Rate by the disk's latency](performance/disk.svg)", "",
        "![Rate by the number of topics](performance/topics.svg)", "",
        "![Latency by connections](performance/connections.svg)", "",
        "![Others, at 64 connections](performance/publish.svg)", ""]


def rows_page(o, rounds, chosen, outcomes, found, singles, busy):
    others = [r for r in chosen if r.title != sweep.TITLE]
    return (machine(o, busy) + ["## Targets", ""] + target_table(outcomes) + ["![Batches and reads](batch.svg)", ""]
            + row_tables(rounds, others) + sweep.table(found) + limit_table(rounds) + singles
            + ["## Servers", ""] + server_table(others))


def write_page(name, lines):
    path = os.path.join(DOC, name)
    with open(path) as f:
        whole = f.read()
    with open(path, "w") as f:
        f.write(whole.split(BEGIN)[0] + "\n".join([BEGIN, "", *lines, END]) + whole.split(END)[1])


def write(o, rounds, chosen, outcomes, found, singles, busy):
    """Writes both pages and their pictures. found: the points of the sweep; singles: lines of what is taken once;
    busy: the share of the CPUs that other processes used."""
    write_page("performance.md", main_page(o, outcomes, found, busy))
    write_page("performance/rows.md", rows_page(o, rounds, chosen, outcomes, found, singles, busy))
    draw(rounds)
