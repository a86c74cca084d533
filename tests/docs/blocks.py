"""Fills blocks of a Markdown page with the output of nbbench commands, from committed results alone.

`python -m tests.docs.blocks docs/findings.md` replaces what stands between

    <!-- nbbench: regressions --markdown -->
    <!-- /nbbench -->

by what the command prints. It runs in a copy of the results that git tracks, as they are staged, without
a registered subject: the page can be made, and checked, on any clone, whatever was measured there.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from nbbench.cli.app import run
from nbbench.errors import EXIT_OK

_BLOCK = re.compile(r"(<!-- nbbench: (?P<command>[^\n]+?) -->\n)(?P<body>.*?)(<!-- /nbbench -->)", re.DOTALL)


def fill(text: str, root: Path) -> str:
    """`text` with every block filled anew from the results of the project at `root`.

    Raises ValueError when a command fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        _copy_tracked(root, copy)
        return _BLOCK.sub(lambda block: f"{block[1]}{_output(block['command'], copy)}\n{block[4]}", text)


def _copy_tracked(root: Path, copy: Path) -> None:
    """Write the tracked settings and results into `copy`; all of them where `root` is no clone."""
    names = ["asv.conf.json", "results"]
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z", *names], capture_output=True)
    if listed.returncode:
        shutil.copy(root / "asv.conf.json", copy)
        shutil.copytree(root / "results", copy / "results", ignore=shutil.ignore_patterns("nbbench.sqlite*"))
        return
    command = ["git", "-C", root, "checkout-index", "-z", "--stdin", f"--prefix={copy}/"]
    subprocess.run(command, input=listed.stdout, check=True)


def _output(command: str, root: Path) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run([*shlex.split(command), "--quiet", "--root", str(root)])
    if code != EXIT_OK:
        raise ValueError(f"nbbench {command} ended with exit code {code}")
    return out.getvalue().strip()


def main(paths: list[str]) -> None:
    """Fill the blocks of each named page in place."""
    root = Path(__file__).resolve().parents[2]
    for name in paths:
        path = Path(name)
        path.write_text(fill(path.read_text(encoding="utf-8"), root), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
