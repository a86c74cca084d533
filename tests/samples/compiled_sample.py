"""Small programs whose compiled work is counted by hand, recorded in a process of their own.

Its arguments are the source root and names of programs. It prints the compiled work of each as JSON, by name.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import sysconfig
from pathlib import Path

PACKAGE = "compiledsubject"
N = 1000
SOURCE = """import logging

import torch

X, Y = torch.full((1000,), 0.5), torch.full((1000,), 2.0)
LOG = logging.getLogger("torch._dynamo.symbolic_convert.__graph_breaks")


def chain():
    return ((X * 2 + Y).sin() * X).exp()


def reduction():
    return (X * 2).sum()


def printing():
    doubled = X * 2
    print("hello")
    return doubled + 1


def item():
    doubled = X * 2
    largest = doubled.max().item()
    return doubled * largest


@torch.compile
def twice(x):
    return (x + 1) * 2


def own():
    return twice(X) + 3


def sizes():
    return twice(X).sum() + twice(X[:500]).sum()


def each_run():
    COUNT.append(len(COUNT))
    return X * len(COUNT)


COUNT = []


def forged():
    LOG.debug("Graph break in user code at /etc/x:3\\nGraph Break Reason: \\x1b[31m/a/place 0x7fff12 no")
    return X * 2


def broken():
    raise ValueError("broken")
"""


def compiler_missing() -> str:
    """Why nothing can be compiled here; '' where it can."""
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if shutil.which("g++") is None:
        return "there is no g++"
    return "" if header.is_file() else f"there is no {header}"


def write_subject(folder: Path) -> None:
    """The subject below `folder`, which is its source root."""
    folder.mkdir()
    (folder / f"{PACKAGE}.py").write_text(SOURCE)


def main() -> None:
    """Record every program, then show what a torch without one of the names does."""
    from nbbench.model import to_plain
    from nbbench.probe.compiled import NotToldError, record_compiled

    root = sys.argv[1]
    sys.path.insert(0, root)
    subject = importlib.import_module(PACKAGE)
    real, sys.stdout = sys.stdout, sys.stderr
    found = {}
    for name in sys.argv[2].split(","):
        found[name] = to_plain(record_compiled(name, getattr(subject, name), pixels=N, source_root=root))
    from torch._inductor import metrics

    del metrics.num_bytes_accessed
    try:
        record_compiled("chain", subject.chain, pixels=N, source_root=root)
    except NotToldError as error:
        found["missing"] = str(error)
    print(json.dumps(found), file=real, flush=True)


if __name__ == "__main__":
    main()
