"""README.md does what it says: its curl lines, its lignum.lua and its console lines, as they stand, in their order.

Every line of a ```sh block that holds curl lines is run (after replacing the port by the test's); every `lignum>` line of
a transcript is typed into the console, and what follows it must come back; a ```lua block becomes lignum.lua, by
a reload; a ```json block must be what the first curl line answered.
"""

import os
import re
import shutil
import subprocess
import unittest

from lignum import BINARY, ROOT, Test

README = os.path.join(ROOT, "README.md")


def blocks(text):
    """[(language, body)] in order."""
    return [(m.group(1), m.group(2)) for m in re.finditer(r"(?m)^```(\w*)\n(.*?)^```", text, re.S)]


def curl_lines(body):
    return [l for l in body.splitlines() if re.search(r"(^|\| *)curl ", l)]


def transcript(body):
    """[(typed, answer)] of a console session."""
    return [(m.group(1), m.group(2).strip()) for m in re.finditer(r"(?m)^lignum> (.*)\n((?:(?!lignum> ).*\n)*)", body)]


class Readme(Test):
    def test_the_readmes_lines_work_as_they_stand(self):
        if not os.path.exists(README):
            self.skipTest("there is no README.md yet")
        if not shutil.which("curl"):
            self.skipTest("curl is not installed")
        self.b = self.broker(config=open(os.path.join(ROOT, "lignum.lua")).read())
        self.answers, self.typed = [], 0
        for language, body in blocks(open(README).read()):
            if language == "sh":
                for line in curl_lines(body):
                    self.answers.append(self.runs(line))
            elif language == "lua":
                self.b.write_config(body)
                self.b.reload()
            elif language == "json":
                self.assertEqual(self.answers[0].strip(), body.strip())
            elif language == "":
                for typed, answer in transcript(body):
                    r = self.b.lignum("console", self.b.console, "-e", typed)
                    self.assertEqual((r.code, r.out.strip()), (0, answer), typed)
                    self.typed += 1
        self.assertGreater(len(self.answers), 4)
        self.assertGreater(self.typed, 0)
        self.assertEqual(self.b.get("/hello/you").json["hello"], "you")

    def runs(self, line):
        here = line.replace("localhost:8080", "127.0.0.1:%d" % self.b.port)
        script = "set -e -o pipefail\ncurl() { command curl -sS --fail-with-body \"$@\"; }\n" + here
        p = subprocess.run(["bash", "-c", script], capture_output=True, timeout=30, cwd=self.b.folder, text=True)
        self.assertEqual(p.returncode, 0, "%s\n%s%s" % (line, p.stdout, p.stderr))
        return p.stdout

    def test_the_failover_in_the_readme_works_as_it_stands(self):
        """Its ```bash block: five lines, in a cluster of their own on other ports."""
        lines = [body for language, body in blocks(open(README).read()) if language == "bash"]
        self.assertEqual([len(b.strip().splitlines()) for b in lines], [5])
        port = 20000 + os.getpid() % 4000 * 3
        folder = os.path.join(self.folder, "cluster")
        p = subprocess.Popen([os.path.join(ROOT, "tests/cluster"), "--port", str(port), "--folder", folder, "--binary", BINARY],
                             stdout=subprocess.PIPE, text=True)
        try:
            for line in p.stdout:
                if line.startswith("Ctrl-C"):
                    break
            script = lines[0].replace("build/cluster", folder)
            for i in range(3):
                script = script.replace("localhost:%d" % (8080 + i), "127.0.0.1:%d" % (port + i))
            script = "set -e -o pipefail\ncurl() { command curl -sS --fail-with-body \"$@\"; }\n" + script
            ran = subprocess.run(["bash", "-c", script], capture_output=True, timeout=30, text=True)
            self.assertEqual(ran.returncode, 0, ran)
            self.assertEqual(ran.stdout.splitlines()[-2:], ["before", "after"], ran)
        finally:
            p.terminate()
            p.communicate(timeout=30)
        self.assertEqual(p.returncode, 0)

    def test_the_files_that_the_readme_names_exist(self):
        text = open(README).read()
        named = set(re.findall(r"\]\(([\w./-]+)\)", text)) | set(re.findall(r"`((?:core|scripts|doc|tests)/[\w./-]+)`", text))
        self.assertEqual([n for n in sorted(named) if not os.path.exists(os.path.join(ROOT, n))], [])

    def test_the_reading_of_the_readme_finds_what_there_is(self):
        text = "```sh\n# say\ncurl x\nprintf a | curl y\n```\n```\nlignum> a\n4\nlignum> b\nc\nd\n```\n"
        (_, sh), (_, console) = blocks(text)
        self.assertEqual(curl_lines(sh), ["curl x", "printf a | curl y"])
        self.assertEqual(transcript(console), [("a", "4"), ("b", "c\nd")])


if __name__ == "__main__":
    unittest.main()
