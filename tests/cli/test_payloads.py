"""Hostile texts in every place that a measured repository or a results file fills, through every command."""

from __future__ import annotations

import json
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cli_project import Project, write_results
from payloads import ALL, PAYLOADS

MACHINE = "\"><img src=x onerror='alert(1)'>|`m`\x1b[2J\u202e"
BAD_TAGS = {"img", "svg", "iframe", "object", "embed"}


class Page(HTMLParser):
    """Collects what could run: foreign tags, handlers, addresses, and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.bad += [tag] if tag in BAD_TAGS else []
        for name, value in attrs:
            if name.startswith("on") or re.match(r"\s*(javascript|data):", value or ""):
                self.bad.append(f"{tag} {name}={value}")


def check_text(text: str) -> None:
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)[:2000]
    assert not re.search(r"^\W*INJECTED", text, re.MULTILINE)


def check_markdown(text: str) -> None:
    check_text(text)
    assert not re.search(
        r"<(?!!-- nbbench|/?(?:details|summary|br|sub)\b)[a-zA-Z/!?]", _outside_of_code(text)
    )
    assert not re.search(r"(?<!\\)\]\((javascript|data):", _outside_of_code(text))


def _outside_of_code(text: str) -> str:
    """Markdown without its code: blocks, and spans with as many backticks on both sides."""
    text = re.sub(r"^(`{3,}).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", "", text)


def check_html(text: str) -> None:
    page = Page()
    page.feed(text)
    assert page.bad == []


def check_file(path: Path) -> None:
    """A file by its ending."""
    text = path.read_text(encoding="utf-8")
    checks = {
        ".md": check_markdown,
        ".html": check_html,
        ".json": json.loads,
        ".xml": ElementTree.fromstring,
        ".txt": check_text,
    }
    if check := checks.get(path.suffix):
        check(text)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[str]]:
    """A project with real git history: titles, machine, units, parameters and reasons are hostile."""
    root = tmp_path_factory.mktemp("hostile") / "project"
    root.mkdir()
    source = Path(__file__).resolve().parents[2] / "asv.conf.json"
    (root / "asv.conf.json").write_text(source.read_text())
    commits = _history(root.parent / "subject")
    project = Project(root)
    assert project.run("subject", "use", str(root.parent / "subject")).exit_code == 0
    level = [1.0, 1.004, 0.997, 1.002, 0.999, 1.001]
    write_results(root, {"suite.time_slow": level + [1.3 * v for v in level], "suite.time_same": level * 2})
    _make_hostile(root / "results", commits)
    return project, commits


def _history(folder: Path) -> list[str]:
    """Twelve commits of the measured path, with every payload as a title, as bytes that are no UTF-8 once."""
    package = folder / "src" / "nanobrag_torch"
    package.mkdir(parents=True)
    who = {f"GIT_{part}_{word}": "<i>u</i>" for part in ("AUTHOR", "COMMITTER") for word in ("NAME", "EMAIL")}
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}

    def git(*arguments: str, data: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=clean | who, input=data, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    git("init", "--quiet", "--initial-branch=feature/spec-based-2")
    made = []
    for number in range(12):
        (package / "__init__.py").write_text(f"REVISION = {number}\n")
        git("add", "--all")
        title = PAYLOADS[number % len(PAYLOADS)].replace("\0", "").encode() + (
            b" \xff\xfe" if number == 6 else b""
        )
        title += b" " + PAYLOADS[3].encode() if number == 6 else b""
        date = f"--date=2025-03-{number + 1:02d}T12:00:00+00:00"
        git(
            "-c",
            "i18n.commitEncoding=utf-8",
            "commit",
            "--quiet",
            "--allow-empty-message",
            date,
            "-F",
            "-",
            data=title,
        )
        made.append(git("rev-parse", "HEAD"))
    return made


def _make_hostile(results: Path, commits: list[str]) -> None:
    """Rename what the hand-made results name, so that every text in them is hostile."""
    folder = results / MACHINE
    (results / "m").rename(folder)
    (folder / "machine.json").write_text(
        json.dumps({"machine": MACHINE, "cpu": ALL, "os": ALL, "version": 1})
    )
    declared = json.loads((results / "benchmarks.json").read_text())
    for one in (declared["suite.time_slow"], declared["suite.time_same"]):
        one |= {
            "unit": ALL,
            "type": "track",
            "params": [[repr(ALL)]],
            "param_names": [ALL],
            "pretty_name": ALL,
        }
    (results / "benchmarks.json").write_text(json.dumps(declared))
    for number, path in enumerate(sorted(folder.glob("0*.json"))):
        content = json.loads(path.read_text())
        content |= {"commit_hash": commits[number], "params": {"machine": MACHINE, "cpu": ALL}}
        for row in content["results"].values():
            row[1] = [[repr(ALL)]]
        path.unlink()
        (folder / f"{commits[number][:8]}-env.json").write_text(json.dumps(content))
    (folder / "broken.json").write_text(ALL.replace("\0", ""))


COMMANDS = [
    ("commits",),
    ("import",),
    ("regressions",),
    ("regressions", "--all"),
    ("plan",),
    ("db", "info"),
    ("doctor",),
    ("db", "rebuild"),
    ("explain", "HEAD~1", "HEAD"),
    ("ledger", "HEAD"),
    ("regressions", "--project", ALL),
    ("plan", ALL),
    ("explain", ALL, ALL),
    ("gate", ALL, ALL),
    ("bisect", ALL, ALL),
    ("ledger", ALL),
    ("dtypes", ALL),
    ("flag", ALL, "acknowledged", "--reason", ALL),
    ("run", "--bench", ALL),
    ("run", "--commits", ALL),
    ("export", "--stamp", ALL),
    ("subject", "use", ALL),
    ("import", ALL),
    (ALL,),
]


@pytest.mark.parametrize(
    "arguments", COMMANDS, ids=lambda a: " ".join(a)[:20].encode("ascii", "replace").decode()
)
@pytest.mark.parametrize("form", ["", "--json", "--markdown"])
def test_every_command_shows_text_as_text(
    hostile: tuple[Project, list[str]], arguments: tuple[str, ...], form: str
) -> None:
    project, _ = hostile
    arguments = tuple(part.replace("\0", "") for part in arguments)
    done = project.run(*arguments, *([form] if form else []))
    assert "Traceback" not in done.stderr, done.stderr
    assert done.exit_code in (0, 2, 3, 4), (done.exit_code, done.stderr[-500:])
    check_text(done.stderr)
    if form == "--json":
        json.loads(done.stdout)
    elif form == "--markdown":
        check_markdown(done.stdout)
    else:
        check_text(done.stdout)


def test_files_hold_text_as_text(hostile: tuple[Project, list[str]]) -> None:
    project, _ = hostile
    done = project.run("regressions", "--json")
    event = json.loads(done.stdout)["flags"][0]["event"]["id"]
    done = project.run("flag", event, "acknowledged", "--reason", " ".join(PAYLOADS[:8]))
    assert done.exit_code == 0, done.stderr
    assert project.run("publish", "--page-only").exit_code == 0
    assert project.run("export").exit_code in (0, 3, 4)
    made = [
        p
        for p in project.root.rglob("*")
        if p.is_file() and "results" not in p.relative_to(project.root).parts[:1]
    ]
    kinds = {path.suffix for path in made}
    assert {".html", ".md", ".json"} <= kinds
    for path in made:
        if ".nbbench" not in path.parts and path.parent != project.root:
            check_file(path)
    assert not list(project.root.rglob("INJECTED*"))
