"""What other people's tools make of /openapi.json: redocly has nothing to say about it, and TypeScript takes the types that
openapi-typescript makes of it. Their packages are pinned in tests/openapi."""

import os
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
