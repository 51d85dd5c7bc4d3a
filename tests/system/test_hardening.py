"""What the compiler and the linker have put into the binary against attacks."""

import re
import subprocess

from common import BINARY, SANITIZED


def test_the_binary_is_hardened():
    def readelf(*words):
        return subprocess.run(["readelf", "-W", *words, BINARY], capture_output=True, text=True, check=True).stdout
    assert "DYN (Position-Independent Executable file)" in readelf("-h")
    segments = readelf("-l")
    assert "GNU_RELRO" in segments and re.search(r"GNU_STACK .* RW +0x10$", segments, re.M)
    dynamic = readelf("-d")
    assert "BIND_NOW" in dynamic and "RPATH" not in dynamic and "RUNPATH" not in dynamic
    if SANITIZED:
        return                          # built with other flags
    symbols = readelf("--dyn-syms")
    assert "__stack_chk_fail" in symbols and "__memcpy_chk" in symbols
    producers = set(re.findall(r"GNU C11 [^\n]*", readelf("--debug-dump=info", "--dwarf-depth=1")))
    assert producers and all("-fstack-clash-protection" in p and "-ftrivial-auto-var-init=zero" in p for p in producers), producers
