"""What other people's tools make of /openapi.json and of lignum.js: redocly and spectral have nothing to say about the document,
TypeScript takes the types that openapi-typescript makes of it, and those of lignum.js. Their packages are pinned in
tests/openapi. And a node takes each example of the document."""

import json
import os
import re
import shutil
import subprocess

import pytest

from common import ROOT


@pytest.fixture(scope="module")
def packages():
    p = subprocess.run([os.path.join(ROOT, "tests/npm"), os.path.join(ROOT, "tests/openapi")], capture_output=True, text=True)
    if p.returncode != 0:
        pytest.skip(p.stderr.strip())
    return p.stdout.strip()


def run(packages, name, *words):
    return subprocess.run([os.path.join(packages, "node_modules/.bin", name), *words], cwd=packages, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120)


@pytest.fixture
def document(node, folder):
    b = node(config="durable_streams {}")
    path = os.path.join(folder, "openapi.json")
    with open(path, "wb") as f:
        f.write(b.ok("GET", "/openapi.json").body)
    b.stop()
    return path


def test_redocly_finds_nothing(packages, document):
    p = run(packages, "redocly", "lint", "--extends", "recommended", document)
    assert p.returncode == 0 and "Warning was generated" not in p.stdout + p.stderr, (p.stdout + p.stderr)[-3000:]


def test_spectral_finds_nothing(packages, document, folder):
    rules = os.path.join(folder, "rules.yaml")
    with open(rules, "w") as f:
        f.write('extends: ["spectral:oas"]\n')
    lint = ["spectral", "lint", "--ruleset", rules, "--fail-severity", "hint"]
    p = run(packages, *lint, document)
    assert p.returncode == 0, (p.stdout + p.stderr)[-3000:]
    with open(document) as f:
        changed = json.load(f)
    changed["paths"]["/ping"]["get"]["tags"] = []
    with open(document, "w") as f:
        json.dump(changed, f)
    assert "operation-tags" in run(packages, *lint, document).stdout


def test_typescript_takes_its_types(packages, document, folder):
    types = os.path.join(folder, "api.ts")
    p = run(packages, "openapi-typescript", document, "-o", types)
    assert p.returncode == 0, p.stderr
    with open(types, "a") as f:
        f.write('const topic: components["schemas"]["Published"]["topic"] = "orders";\nexport default topic;\n'
                'export type Publish = operations["postV1TopicsTopicMessages"];\n')
    p = run(packages, "tsc", "--noEmit", "--strict", "--skipLibCheck", types)
    assert p.returncode == 0, p.stdout
    with open(types, "a") as f:
        f.write("export const wrong: components['schemas']['Published']['topic'] = 7;\n")
    assert run(packages, "tsc", "--noEmit", "--strict", "--skipLibCheck", types).returncode != 0


PROGRAM = """
import { Lignum, LignumError, Message } from "./lignum.js";
const log = new Lignum(["http://node-1:8080"], { token: "lgn_", patience: 1000 });
const receipt = await log.publish("t", ["text", new Uint8Array([0]), { data: { a: 1 }, key: new Uint8Array([1]), ttl: 5 }]);
const first: number = receipt.first;
const shop = await log.producer("t", { id: "p" }).publish("x");
for await (const m of log.follow("t", { from: first, onGap: (from: number, earliest: number) => {} })) {
  const text: string = m.text(), key: string | undefined = m.key;
  const settled: Message[] = await log.group("t", "g").claim({ limit: 2 });
}
export const code = (why: LignumError): string => why.code + shop.next_token;
// @ts-expect-error a receipt counts
const wrong: string = receipt.first;
// @ts-expect-error a message is not a number
log.publish("t", 7);
// @ts-expect-error a limit is a number
log.group("t", "g").claim({ limit: "2" });
"""


def test_typescript_takes_lignum_js_and_its_types(packages, folder):
    shutil.copy(os.path.join(ROOT, "scripts/web/lignum.js"), folder)
    with open(os.path.join(folder, "tsconfig.json"), "w") as f:
        json.dump({"compilerOptions": {
            "allowJs": True, "checkJs": True, "noEmit": True, "strict": True, "useUnknownInCatchVariables": False, "target": "es2022",
            "module": "es2022", "moduleResolution": "bundler", "types": [], "lib": ["es2022", "dom", "dom.iterable", "dom.asynciterable"],
        }, "files": ["lignum.js", "program.ts"]}, f)

    with open(os.path.join(folder, "program.ts"), "w") as f:
        f.write(PROGRAM)
    p = run(packages, "tsc", "--project", folder)
    assert p.returncode == 0, p.stdout


def test_a_node_takes_each_example(node):
    b = node(config="console { lua = true }")
    b.ok("PUT", "/v1/topics/dead", status=201)      # of the group's dead letters
    paths = b.ok("GET", "/openapi.json").json["paths"]
    examples, values = [], {"topic": "orders", "group": "mails"}
    for path, item in paths.items():
        for p in item.get("parameters", []):
            assert p["example" if "example" in p else "in"] in (values.get(p["name"]), "path"), p
        for method, op in item.items():
            for media_type, of in op.get("requestBody", {}).get("content", {}).items() if method != "parameters" else ():
                assert "example" in of, "%s %s takes %s without an example" % (method, path, media_type)
                examples.append((path, method, media_type, of["example"]))
    # Topics and messages before groups, and access tokens last: from then on one is needed.
    order = ["^/v1/topics/{topic}$", "/messages$", "/{group}$", "/groups/", "/trim$", "^/api", "console", "tokens"]
    examples.sort(key=lambda e: (next(i for i, p in enumerate(order) if re.search(p, e[0])), e[1] == "patch"))
    for path, method, media_type, example in examples:
        target = path.format(**values)
        headers = {"Content-Type": "text/plain" if media_type == "*/*" else media_type}
        if path.endswith("/cursor"):
            headers["If-Match"] = b.ok("GET", target[:-len("/cursor")]).header("etag")
        body = example if isinstance(example, str) else json.dumps(example)
        a = b.request(method.upper(), target, body, headers=headers)
        assert a.status in (200, 201), (method, target, example, a)
    assert len(examples) >= 18 and b.request("GET", "/v1/topics").status == 401
