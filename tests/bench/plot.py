"""Pictures of the bench as SVG, drawn by gnuplot (Debian: gnuplot-nox)."""

import subprocess

COLOURS = {"Lignum": "#2f6f4f", "Redis, always": "#b23a48", "bare program": "#9aa5b1"}
HEAD = """set terminal svg size %d,%d background "white" font "sans-serif,12"
set output %s
set title %s
set grid ytics lc rgb "#dddddd"
set tics nomirror
set border 3
"""


def quoted(text):
    return '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"')


def block(name, rows):
    """A named block of data: rows of numbers and texts."""
    cells = [" ".join(quoted(c) if isinstance(c, str) else "%g" % c for c in row) for row in rows]
    return "$%s << END\n%s\nEND\n" % (name, "\n".join(cells))


def shown(value):
    """A place on an axis: 50 k, 0.5."""
    return "%g k" % (value / 1000) if value >= 1000 else "%g" % value


def tics(least, most):
    """1, 2 and 5 of each power of ten between two positive numbers."""
    places = [digit * 10.0 ** power for power in range(-6, 10) for digit in (1, 2, 5)]
    return ", ".join("%s %g" % (quoted(shown(p)), p) for p in places if least / 2 <= p <= most * 2)


def run(script):
    out = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True)
    if out.returncode:
        raise RuntimeError("gnuplot: " + out.stderr)


def bars(path, title, rows):
    """A bar for the median and a line from the lowest to the highest value. rows: (label, median, lowest, highest)."""
    rows = sorted(rows, key=lambda r: r[1])
    data = [(label, *values, 1 if label.startswith("Lignum") else 0) for label, *values in rows]
    run(HEAD % (860, 70 + 26 * len(rows), quoted(path), quoted(title)) + block("data", data) + """
unset key
set format x "%.0s %c"
set grid xtics lc rgb "#dddddd"
set yrange [-0.7:{last}.7]
set xrange [0:*]
colour(ours) = ours > 0 ? {ours} : {others}
plot $data using (0):0:(0):2:($0-0.33):($0+0.33):(colour($5)):ytic(1) with boxxyerror fs solid lc rgb variable, \\
     $data using 2:0:3:4 with xerrorbars pt 7 ps 0.1 lc rgb "#222222"
""".format(last=len(rows) - 1, ours="0x2f6f4f", others="0x9aa5b1"))


def lines(path, title, x_label, y_label, curves):
    """Curves over places of equal distance, with a logarithmic height and the spread of each point.

    curves: [(name, dashed, [(place's label, median, lowest, highest)])]; curves of one program have its colour."""
    places = list(dict.fromkeys(p[0] for _, _, points in curves for p in points))
    values = [v for _, _, points in curves for p in points for v in p[1:]]
    script = HEAD % (860, 420, quoted(path), quoted(title)) + """
set xlabel {x}
set ylabel {y}
set logscale y
set ytics ({heights})
set autoscale yfix
set offsets 0, 0, graph 0.05, graph 0.05
set key outside right top
set xrange [-0.3:{last}.3]
set xtics ({tics})
""".format(x=quoted(x_label), y=quoted(y_label), last=len(places) - 1, heights=tics(min(values), max(values)),
           tics=", ".join("%s %d" % (quoted(p), i) for i, p in enumerate(places)))
    drawn = []
    for i, (name, dashed, points) in enumerate(curves):
        script += block("c%d" % i, [(places.index(place), *values) for place, *values in points])
        colour = next((c for program, c in COLOURS.items() if name.startswith(program)), "#222222")
        style = "lc rgb %s lw 2 dt %d" % (quoted(colour), 2 if dashed else 1)
        drawn += ["$c%d using 1:2:3:4 with yerrorlines %s pt 7 ps 0.5 title %s" % (i, style, quoted(name))]
    run(script + "plot " + ", ".join(drawn) + "\n")
