"""`nbbench init` on odd places, and interrupted: it leaves a whole project, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nbbench.cli import app
from nbbench.record import atomic
from tests.samples.pinned_pair import pinned_pair
from tests.torture.tiny import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    (folder / "softfocus").mkdir(parents=True)
    (folder / "softfocus" / "__init__.py").write_text("")
    git(folder, "init", "--quiet", "--initial-branch=trunk")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def listing(folder: Path) -> dict[str, bytes]:
    """Files but git's own, and folders."""
    found = (path for path in folder.rglob("*") if ".git" not in path.relative_to(folder).parts)
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in found}


def init(*arguments: object) -> int:
    return app.run(["init", "--branch", "trunk", "--ci", "github", *map(str, arguments)])


def interrupts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Interrupt the first file, then the second, and so on, until there are no more."""
    write, left = atomic.write_text, 0

    def write_text(path: Path, text: str) -> None:
        nonlocal left
        write(path, text)
        left -= 1
        if left < 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(atomic, "write_text", write_text)
    for number in range(20):
        left = number
        yield
        if left >= 0:
            return


def test_an_interrupt_leaves_nothing(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    before, codes = listing(repository), []
    for _ in interrupts(monkeypatch):
        codes.append(init())
        if codes[-1]:
            assert listing(repository) == before
    assert codes == [130] * (len(codes) - 1) + [0] and len(codes) > 5
    assert (repository / ".github" / "workflows" / "nbbench.yml").is_file()


def test_an_interrupt_puts_back_what_was_to_be_overwritten(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    assert init() == 0
    mine = repository / "benchmarks" / "benchmarks" / "workloads.py"
    mine.write_text("# mine\n")
    before, codes = listing(repository / "benchmarks" / "benchmarks"), []
    for _ in interrupts(monkeypatch):
        codes.append(init("--force"))
        if codes[-1]:
            assert listing(repository / "benchmarks" / "benchmarks") == before
    assert codes[-1] == 0 and mine.read_text() != "# mine\n"


def test_an_error_leaves_nothing(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    before = listing(repository)
    assert app.run(["init", "--branch", "none"]) == app.run(["init", "--package", "none"]) == 2
    assert listing(repository) == before


def test_a_folder_outside_of_a_repository_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "no" / "where"
    assert app.run(["init", str(folder)]) == 2
    assert f"{folder} is in no git repository" in capsys.readouterr().err
    assert not folder.parent.exists()
    assert app.run(["init"]) == 2
    assert f"{tmp_path} is in no git repository" in capsys.readouterr().err


def test_a_folder_in_a_repository_elsewhere_is_enough(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert init(repository / "speed") == 0
    assert "PROJECT: speed #" in (repository / ".github" / "workflows" / "nbbench.yml").read_text()


def test_submodules_that_can_be_measured_are_those_in_the_work_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not one that is not checked out, that has an odd name, or that a link leads out of the repository."""
    pair = pinned_pair(tmp_path)
    places = ["vendor/lens", "vendor/away", 'vendor/o"dd', "vendor/linked"]
    for place in places:
        git(pair.focus, "update-index", "--add", "--cacheinfo", f"160000,{pair.slow},{place}")
    git(pair.focus, "commit", "--quiet", "--message", "submodules")
    (pair.focus / "src" / "focus" / "blur.py").write_text("")
    git(pair.focus, "add", "src")
    git(pair.focus, "commit", "--quiet", "--message", "source")
    for place in ("vendor/lens", 'vendor/o"dd'):
        git(tmp_path, "clone", "--quiet", str(pair.lens), str(pair.focus / place))
    (pair.focus / "vendor" / "linked").symlink_to(pair.lens)
    monkeypatch.chdir(pair.focus)
    before = listing(pair.focus)
    assert init("--dependency", "vendor/away") == init("--dependency", "vendor/linked") == 2
    assert "there are: vendor/lens\n" in capsys.readouterr().err and listing(pair.focus) == before
    assert init() == 0
    told = capsys.readouterr().out
    assert "beside    vendor/lens has a package: --dependency vendor/lens" in told
    assert told.count("beside ") == 1
