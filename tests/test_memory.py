"""The memory of a large pass is returned to the system."""

import subprocess
import sys

import pytest

from syncd import memory

RESIDENT = """
import threading
from syncd import memory
memory.share_one_arena()
def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) / 1024
def work():
    global kept
    many = [bytearray(5000) for _ in range(20_000)]  # below the size that glibc maps apart
    kept = many[::200]  # here and there one stays, as in a real heap
thread = threading.Thread(target=work)
thread.start()
thread.join()
before = resident()
memory.give_back()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own functions")
def test_what_is_free_goes_back_to_the_system():
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 40, "MiB of some 100"


def test_a_c_library_without_these_functions_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    memory.share_one_arena()
    memory.give_back()
