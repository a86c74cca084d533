"""A small subject with all kinds of host work, recorded in its own process (arguments: folder, source)."""

from __future__ import annotations

import importlib
import json
import subprocess  # noqa: F401  # the subject's import of it must not take half a MiB
import sys
from pathlib import Path
from types import ModuleType

PACKAGE = "hostsubject"
SOURCE = '''"""Docstring."""
import os, subprocess, sys, threading, time, warnings


class Thing:
    """Docstring."""

    def __init__(self, n=3):
        self.values = [i * i for i in range(n)]
        self.names = {k: str(k) for k in range(n) if k % 2}

    def total(self):
        return sum(v for v in self.values)

    @property
    def one(self): return 1


def steps(n):
    for i in range(n):
        try:
            yield i
        finally:
            pass


def loop(n):
    x = 0
    while x < n: x += 1
    for i in range(n): x += i
    for i in range(n):
        if i % 3:
            continue
        elif i > 4:
            break
        x += (1 if i
              else 2)
    return x


def recover():
    try:
        raise ValueError("x")
    except ValueError as error:
        return str(error)
    finally:
        len("abc")


class Text(str): pass


async def later():
    return 1


def output():
    print("hello", 5)
    sys.stderr.write("x" * 7)
    sys.stdout.buffer.write(b"abc")
    os.write(1, b"fd")


def calls():
    Text("q").upper(); "a".join(["b"]); dict.fromkeys([1])
    sorted([3, 1, 2], key=lambda v: -v)
    max(*[1, 2])
    match len([len(str(x)) for x in (1, 2, 3)]):
        case 3: pass
        case _: return 1
    later().close()


def in_memory(n):
    exec("x = 0\\nfor i in range(n):\\n    x += i\\nf = lambda: 1\\nf()", {"n": n})
    return eval("n + 1")


def elsewhere():
    worker = threading.Thread(target=loop, args=(7,))
    worker.start()
    worker.join()
    time.sleep(0)
    subprocess.run(["true"])
    if not (child := os.fork()): os._exit(0)
    os.waitpid(child, 0)
    if torch := sys.modules.get("torch"):
        torch.set_default_dtype("float64" if torch.get_default_dtype() == "float32" else "float32")


def run(n=5):
    in_memory(n); elsewhere()
    import wave
    thing = Thing(n)
    thing.total(); thing.one
    list(steps(n)); loop(n); recover(); output(); calls()
    warnings.warn("old", DeprecationWarning)
    with open(__file__) as stream:
        stream.read()
    big = bytes(3_000_000)
    many = [float(i) for i in range(200_000)]
    return len(big) + len(many)
'''


def write_subject(folder: Path) -> Path:
    """The package below a folder; its module."""
    package = folder / PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    module = package / "work.py"
    module.write_text(SOURCE)
    return module


def set_default_dtype(dtype: str) -> None:
    """What the subject calls in place of torch's."""
    sys.modules["torch"].dtype = dtype


def record(folder: str, source: str) -> list:
    """Import and two runs, as lists, told by this source of events."""
    from nbbench.model import Phase
    from nbbench.probe import host_events
    from nbbench.probe.host_work import HostRecorder

    sys.path.insert(0, folder)
    sys.modules["torch"] = torch = ModuleType("torch")
    torch.dtype = "float32"
    torch.get_default_dtype = lambda: torch.dtype
    torch.set_default_dtype = set_default_dtype
    recorder = HostRecorder(folder, source=getattr(host_events, source))
    with recorder.phase(Phase.IMPORT):
        module = importlib.import_module(f"{PACKAGE}.work")
    for phase in (Phase.FIRST, Phase.WARM):
        with recorder.phase(phase):
            module.run()
    return [[one.phase, one.counts] for one in recorder.phases]


if __name__ == "__main__":
    print(json.dumps(record(sys.argv[1], sys.argv[2])))
