"""A bar chart as SVG: one bar a row for the median, and a line from the lowest to the highest value."""

WIDTH, LABELS, BAR, GAP, TOP = 860, 330, 16, 8, 44
OURS, THEIRS = "#2f6f4f", "#9aa5b1"


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def bar(y, scale, row):
    label, median, least, most = row
    colour = OURS if label.startswith("Lignum") else THEIRS
    middle = y + BAR / 2
    return "".join([
        '<text x="%d" y="%.1f" text-anchor="end">%s</text>' % (LABELS - 8, middle + 4, escape(label)),
        '<rect x="%d" y="%.1f" width="%.1f" height="%d" fill="%s"/>' % (LABELS, y, median * scale, BAR, colour),
        '<path d="M%.1f %.1fH%.1f" stroke="#222"/>' % (LABELS + least * scale, middle, LABELS + most * scale),
        '<text x="%.1f" y="%.1f">%s</text>\n' % (LABELS + most * scale + 6, middle + 4, "{:,.0f}".format(median)),
    ])


def bars(title, rows):
    """rows: (label, median, least, most), drawn with the highest first."""
    rows = sorted(rows, key=lambda r: -r[1])
    scale = (WIDTH - LABELS - 100) / max([r[3] for r in rows] + [1])
    height = TOP + len(rows) * (BAR + GAP) + GAP
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">\n' % (
        WIDTH, height)
    back = '<rect width="100%" height="100%" fill="white"/>\n'
    name = '<text x="12" y="26" font-size="15" font-weight="bold">%s</text>\n' % escape(title)
    drawn = "".join(bar(TOP + i * (BAR + GAP), scale, r) for i, r in enumerate(rows))
    return head + back + name + drawn + "</svg>\n"
