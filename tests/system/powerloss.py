"""A model of what a disk may hold after a power failure.

A build with fault points logs every call that changes the disk. Disk replays such a log up to any point and separates what is
durable from what only the kernel has:

* bytes written to a file are durable once a sync of it (fdatasync, fsync, syncfs) that *began* after the write has
  *ended*;
* a name (create, rename, exchange, unlink, mkdir) is durable once a sync of its directory, or of the whole filesystem,
  that began after it has ended;
* any part of everything else may have reached the disk: data page by page in any order, names in order.

crashed() returns one of the possible states, chosen by a random generator. The model is stricter than ext4, where an fsync of
a file also makes its name durable.
"""

import os

PAGE = 4096


class File:
    def __init__(self, content=b""):
        self.durable = bytearray(content)
        self.size_now = len(content)
        self.pending = []           # (number, "write", at, bytes) or (number, "size", n)


def apply(data, change):
    if change[1] == "size":
        n = change[2]
        if n < len(data):
            del data[n:]
        else:
            data.extend(bytes(n - len(data)))
    else:
        at, new = change[2], change[3]
        if len(data) < at + len(new):
            data.extend(bytes(at + len(new) - len(data)))
        data[at:at + len(new)] = new


class Disk:
    def __init__(self, base, found=None):
        """`found`: the durable contents to begin with, in the form that crashed() returns."""
        self.base = base
        self.number = 0             # number of operations so far
        # The kernel's view: path -> File or "dir".
        self.names = {p: v if v == "dir" else File(v) for p, v in (found or {base: "dir"}).items()}
        self.durable = dict(self.names)
        self.steps = []             # name changes that are not durable yet: (number, directories, change)
        self.syncs = {}             # token -> (kind, what, number at its beginning)

    # -- changes

    def create(self, path):
        if path not in self.names:
            self.names[path] = File()
            self._step({os.path.dirname(path)}, ("set", path, self.names[path]))

    def mkdir(self, path):
        if path not in self.names:
            self.names[path] = "dir"
            self._step({os.path.dirname(path)}, ("set", path, "dir"))

    def remove(self, path):
        if path in self.names:
            del self.names[path]
            self._step({os.path.dirname(path)}, ("del", path))

    def rename(self, a, b):
        moved = {p: v for p, v in self.names.items() if p == a or p.startswith(a + "/")}
        for p in moved:
            del self.names[p]
        for p, v in moved.items():
            self.names[b + p[len(a):]] = v
        self._step({os.path.dirname(a), os.path.dirname(b)}, ("move", a, b))

    def link(self, a, b):
        f = self._file(a)
        if f and b not in self.names:
            self.names[b] = f
            self._step({os.path.dirname(b)}, ("set", b, f))

    def exchange(self, a, b):
        self._apply_name(self.names, ("swap", a, b))
        self._step({os.path.dirname(a), os.path.dirname(b)}, ("swap", a, b))

    def write(self, path, at, data):
        f = self._file(path)
        if f:
            self.number += 1
            f.pending.append((self.number, "write", at, data))
            f.size_now = max(f.size_now, at + len(data))

    def allocate(self, path, end):
        """Allocated space reads as zeros; it only ever extends a file."""
        f = self._file(path)
        if f and end > f.size_now:
            self.truncate(path, end)

    def truncate(self, path, size):
        f = self._file(path)
        if f:
            self.number += 1
            f.pending.append((self.number, "size", size))
            f.size_now = size

    def sync_begins(self, token, kind, path):
        """kind: "file", "dir" or "all"."""
        what = self.names.get(path) if kind == "file" else path
        self.syncs[token] = (kind, what, self.number)

    def sync_ends(self, token):
        kind, what, until = self.syncs.pop(token)
        if kind == "file" and isinstance(what, File):
            self._harden(what, until)
        elif kind == "dir" or what == "dir":
            self._harden_names(until, what)
        elif kind == "all":
            for v in set(v for v in list(self.names.values()) + list(self.durable.values()) if v != "dir"):
                self._harden(v, until)
            self._harden_names(until, None)

    def _file(self, path):
        f = self.names.get(path)
        return f if isinstance(f, File) else None

    def _step(self, directories, change):
        self.number += 1
        self.steps.append((self.number, directories, change))

    def _harden(self, f, until):
        for change in [c for c in f.pending if c[0] <= until]:
            apply(f.durable, change)
        f.pending = [c for c in f.pending if c[0] > until]

    def _harden_names(self, until, directory):
        # A journalling filesystem keeps the order of name changes, so all earlier changes are durable with the last of these.
        last = max([n for n, where, _ in self.steps if n <= until and (directory is None or directory in where)], default=0)
        for n, _, change in self.steps:
            if n <= last:
                self._apply_name(self.durable, change)
        self.steps = [s for s in self.steps if s[0] > last]

    @staticmethod
    def _apply_name(names, change):
        if change[0] == "set":
            names[change[1]] = change[2]
        elif change[0] == "del":
            names.pop(change[1], None)
        elif change[0] == "swap":
            a, b = change[1:]
            names[a], names[b] = names[b], names[a]
        else:
            a, b = change[1:]
            for p in [p for p in names if p == a or p.startswith(a + "/")]:
                names[b + p[len(a):]] = names.pop(p)

    # -- the outcome

    def crashed(self, rng, luck):
        """{path: bytes or "dir"}: a possible state after a power failure now. Luck 0 keeps only what is durable, luck 1
        everything that was written, and a value between them a random part."""
        names = dict(self.durable)
        kept = sum(1 for _ in self.steps) if luck == 1 else sum(1 for _ in iter(lambda: rng.random() < luck, False))
        for _, _, change in self.steps[:kept]:
            self._apply_name(names, change)
        return {p: v if v == "dir" else self._survives(v, rng, luck) for p, v in names.items()}

    @staticmethod
    def _survives(f, rng, luck):
        data = bytearray(f.durable)
        # Size changes in order up to the first lost one; of each write, any of its pages.
        sizes_last = True
        for change in f.pending:
            if change[1] == "size":
                sizes_last = sizes_last and rng.random() < luck
                if sizes_last:
                    apply(data, change)
                continue
            at, new = change[2], change[3]
            i = 0
            while i < len(new):
                n = min(PAGE - (at + i) % PAGE, len(new) - i)
                if rng.random() < luck:
                    apply(data, (0, "write", at + i, new[i:i + n]))
                i += n
        return bytes(data)

    def save(self, state, to):
        """Writes a state returned by crashed() below the directory `to`."""
        for path, value in sorted(state.items()):
            target = to + path[len(self.base):]
            if value == "dir":
                os.makedirs(target, exist_ok=True)
            elif os.path.isdir(os.path.dirname(target)):
                with open(target, "wb") as f:
                    f.write(value)
