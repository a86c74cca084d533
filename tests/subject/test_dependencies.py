"""A package and its dependency as one subject: trees hold what commits pin, and pins that cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbbench.cli import app
from nbbench.config import Settings, load_settings
from nbbench.errors import ConfigError, SubjectError
from nbbench.record.branch import order_key
from nbbench.subject.carried import pack_trees, unpack_trees
from nbbench.subject.dependencies import commit_pins
from nbbench.subject.hunks import diff_trees
from nbbench.subject.profile import dependencies, import_path
from nbbench.subject.repository import Subject, describe, list_commits, open_subject, register, tree_ids
from nbbench.subject.tree import UnfitTree, extract_commit
from nbbench.subject.work_tree import work_tree_commit
from tests.samples.pinned_pair import LOST, PLAIN, SLOW, Pair, pinned_pair
from tests.torture.tiny import git

SUBMODULE = 'path = "vendor/lens"'
PIN = 'pin = "needs.txt"'
PROFILE = """
[tool.nbbench.subject]
package = "focus"
measured_path = "src/focus"
import_root = "src"
branch = "trunk"
[tool.nbbench.subject.dependencies.lens]
repository = "../lens"
source = "lib"
"""


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return pinned_pair(tmp_path)


def project(pair: Pair, form: str, *, folder: str = "project") -> Settings:
    root = pair.focus.parent / folder
    root.mkdir(exist_ok=True)
    (root / "asv.conf.json").write_text('{"project": "focus"}')
    (root / "pyproject.toml").write_text(PROFILE + form)
    return load_settings(root, environ={})


def registered(pair: Pair, form: str) -> Subject:
    return register(project(pair, form), pair.focus)


def files(subject: Subject, tree: str) -> set[str]:
    return set(git(subject.git_dir, "ls-tree", "-r", "--name-only", tree).split())


def requirement(pin: str) -> str:
    return f"torch==2.4\nlens-extras @ git+https://host/lens-extras@{'a' * 40}\nLens @ git+https://host/lens.git@{pin}\n"


def history(pair: Pair, form: str) -> list[str]:
    """The pin, another one, an own change, what changes nothing that is measured, and a lost pin."""

    def pinned(pin: str, **more: int) -> str:
        return pair.commit(pin, **more) if form == SUBMODULE else pair.commit(needs=requirement(pin), **more)

    return [
        pinned(pair.plain, roll=1),
        pinned(pair.slow),
        pair.commit(roll=2),
        pair.commit(
            readme="words", **({} if form == SUBMODULE else {"needs": requirement(pair.slow) + "# more\n"})
        ),
        pinned(LOST),
    ]


@pytest.mark.parametrize("form", [SUBMODULE, PIN])
def test_a_commit_that_moves_the_pin_alone_is_a_tree_of_its_own(
    pair: Pair, form: str, tmp_path: Path
) -> None:
    made = history(pair, form)
    subject = registered(pair, form)
    place = "vendor/lens" if form == SUBMODULE else "dependencies/lens"
    commits = list_commits(subject)
    assert [one.hash for one in commits] == [made[0], made[1], made[2], made[4]]
    assert [one.position for one in commits] == [1, 2, 3, 4]
    assert [one.hash for one in list_commits(subject, f"{made[1]}..{made[3]}")] == [made[2]]
    assert len({one.tree for one in commits}) == 4
    own = {"src/focus/__init__.py", "src/focus/blur.py"}
    assert files(subject, commits[0].tree) == own | {
        f"{place}/lib/lens/__init__.py",
        f"{place}/lib/lens/kernel.py",
    }
    [changed] = diff_trees(subject.git_dir, commits[0].tree, commits[1].tree)
    assert changed.head_path == f"{place}/lib/lens/kernel.py"
    assert (changed.hunks[0].removed, changed.hunks[0].added) == (
        (f"    return {PLAIN}",),
        (f"    return {SLOW}",),
    )
    folder = extract_commit(subject, made[1], commits[1].tree, tmp_path / "trees")
    assert (folder / place / "lib" / "lens" / "kernel.py").read_text().endswith(f"{SLOW}\n")
    assert "roll(1" in (folder / "src" / "focus" / "blur.py").read_text()
    settings = load_settings(tmp_path / "project", environ={})
    assert import_path(settings, str(folder)) == [str(folder / "src"), str(folder / place / "lib")]
    with pytest.raises(
        UnfitTree, match=rf"commit {made[4][:8]} pins lens at {LOST[:8]}, which \.\./lens does not"
    ):
        extract_commit(subject, made[4], commits[3].tree, tmp_path / "trees")
    assert git(pair.focus, "status", "--porcelain") == ""


def test_trees_need_no_reference_and_are_found_again(pair: Pair) -> None:
    history(pair, SUBMODULE)
    subject = registered(pair, SUBMODULE)
    before = [one.tree for one in list_commits(subject)]
    kept = sorted((subject.git_dir / "objects").rglob("*"))
    assert [one.tree for one in list_commits(open_subject(project(pair, SUBMODULE)))] == before
    assert sorted((subject.git_dir / "objects").rglob("*")) == kept
    assert "composed" not in git(subject.git_dir, "for-each-ref")


def test_a_lost_commit_that_turns_up_is_another_tree(pair: Pair, tmp_path: Path) -> None:
    made = pair.commit(pair.slow, roll=1)
    away = pair.lens.rename(tmp_path / "away")
    settings = project(pair, SUBMODULE)
    subject = register(settings, pair.focus)
    before, key = describe(subject, made).tree, order_key(settings, [])
    with pytest.raises(UnfitTree, match="does not have") as said:
        extract_commit(subject, made, before, tmp_path / "trees")
    assert "nbbench subject use" in str(said.value.hint)
    away.rename(pair.lens)
    subject = open_subject(settings)
    after = describe(subject, made).tree
    assert after != before and order_key(settings, []) != key
    assert (extract_commit(subject, made, after, tmp_path / "trees") / "vendor/lens/lib/lens").is_dir()


def test_a_commit_without_a_pin_has_its_own_source_alone(pair: Pair) -> None:
    first = pair.commit(roll=1)
    second = pair.commit(pair.plain)
    subject = registered(pair, SUBMODULE)
    assert [one.hash for one in list_commits(subject)] == [first, second]
    assert files(subject, describe(subject, first).tree) == {"src/focus/__init__.py", "src/focus/blur.py"}
    assert tree_ids(subject, [LOST]) == {LOST: ""}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("{}", True),
        ("  {}  ", True),
        ("lens @ git+ssh://git@host/a.git@{}", True),
        ('"LENS @ git+https://host/a@{}",', True),
        ('source = {{ git = "https://host/my/lens.git?rev=x#{}" }}', True),
        ("# lens {}", False),
        ("lenses @ git+https://host/lenses@{}", False),
        ("lens-extras @ git+https://host/x@{}", False),
        ("other @ git+https://host/other@{}", False),
        ("lens==1.0 --hash=sha256:" + "ab" * 32, False),
        ("lens @ git+https://host/lens@v1.2", False),
        ("{}f lens", False),
    ],
)
def test_the_hash_in_a_file(pair: Pair, line: str, found: bool) -> None:
    made = pair.commit(roll=1, needs=f"torch\n{line.format(LOST)}\n")
    subject = registered(pair, PIN)
    assert commit_pins(subject.git_dir, subject.dependencies[0], [made]) == ({made: LOST} if found else {})


def test_the_measured_path_may_hold_the_submodule(pair: Pair) -> None:
    pair.commit(pair.plain, roll=1)
    settings = project(pair, SUBMODULE)
    path = settings.root / "pyproject.toml"
    path.write_text(path.read_text().replace('"src/focus"', '"."'))
    subject = register(load_settings(settings.root, environ={}), pair.focus)
    [one] = list_commits(subject)
    assert files(subject, one.tree) >= {"src/focus/blur.py", "vendor/lens/lib/lens/kernel.py"}


def test_commits_are_carried_with_what_they_pin(pair: Pair, tmp_path: Path) -> None:
    for form in (SUBMODULE, PIN):
        made = [
            pair.commit(pair.plain, roll=3, needs=requirement(pair.plain)),
            pair.commit(pair.slow, roll=4),
        ]
        subject = registered(pair, form)
        wanted, pack = tree_ids(subject, made), pack_trees(subject, made)
        node = project(pair, form, folder=f"node-{form[:3]}")
        (node.root / "pyproject.toml").write_text((PROFILE + form).replace("../lens", "nowhere"))
        node = load_settings(node.root, environ={})
        unpack_trees(node, pack, made)
        there = open_subject(node)
        assert tree_ids(there, made) == wanted
        folder = extract_commit(there, made[1], wanted[made[1]], tmp_path / form[:3])
        assert any(folder.rglob("kernel.py"))


def work_tree(pair: Pair) -> tuple[Subject, Path]:
    """A registered pair whose submodule is checked out."""
    pair.commit(pair.plain, roll=1)
    place = pair.focus / "vendor" / "lens"
    git(pair.focus.parent, "clone", "--quiet", str(pair.lens), str(place))
    git(place, "checkout", "--quiet", "--detach", pair.plain)
    return registered(pair, SUBMODULE), place


def test_a_work_tree_is_judged_with_what_lies_in_its_submodule(pair: Pair) -> None:
    subject, place = work_tree(pair)
    head = describe(subject, "HEAD").tree
    assert work_tree_commit(subject).tree == head
    git(place, "checkout", "--quiet", pair.slow)
    moved = work_tree_commit(subject)
    [changed] = diff_trees(subject.git_dir, head, moved.tree)
    assert changed.hunks[0].added == (f"    return {SLOW}",)
    (place / "lib" / "lens" / "kernel.py").write_text("def dim(image):\n    return image\n")
    before = git(place, "status", "--porcelain"), git(pair.focus, "status", "--porcelain")
    edited = work_tree_commit(subject)
    assert edited == work_tree_commit(subject)
    [changed] = diff_trees(subject.git_dir, head, edited.tree)
    assert changed.hunks[0].added == ("    return image",)
    git(place, "commit", "--all", "--quiet", "--message", "only here")
    assert work_tree_commit(subject).tree == edited.tree
    assert before == (" M lib/lens/kernel.py".strip(), "M vendor/lens")


def test_a_work_tree_without_the_submodule_has_what_its_index_pins(pair: Pair) -> None:
    pair.commit(pair.plain, roll=1)
    subject = registered(pair, SUBMODULE)
    git(pair.focus, "update-index", "--cacheinfo", f"160000,{pair.slow},vendor/lens")
    [changed] = diff_trees(subject.git_dir, describe(subject, "HEAD").tree, work_tree_commit(subject).tree)
    assert changed.hunks[0].added == (f"    return {SLOW}",)


def test_a_work_tree_has_the_pin_of_its_file(pair: Pair) -> None:
    pair.commit(roll=1, needs=requirement(pair.plain))
    subject = registered(pair, PIN)
    (pair.focus / "needs.txt").write_text(requirement(pair.slow))
    [changed] = diff_trees(subject.git_dir, describe(subject, "HEAD").tree, work_tree_commit(subject).tree)
    assert changed.hunks[0].added == (f"    return {SLOW}",)
    (pair.focus / "needs.txt").unlink()
    assert "dependencies/lens/lib/lens/kernel.py" not in files(subject, work_tree_commit(subject).tree)


def test_odd_names_and_what_is_no_file(pair: Pair) -> None:
    path = pair.focus / "third party" / "lëns"
    path.mkdir(parents=True)
    (pair.focus / "needs.txt").mkdir()
    (pair.focus / "needs.txt" / "file").write_text(LOST)
    git(pair.focus, "update-index", "--add", "--cacheinfo", f"160000,{pair.slow},third party/lëns")
    made = pair.commit(roll=1)
    subject = registered(pair, 'path = "./third party/lëns/"')
    assert "third party/lëns/lib/lens/kernel.py" in "".join(
        git(subject.git_dir, "-c", "core.quotePath=false", "ls-tree", "-r", describe(subject, made).tree)
    )
    subject = registered(pair, 'pin = "third party/lëns"')
    assert commit_pins(subject.git_dir, subject.dependencies[0], [made]) == {}
    subject = registered(pair, PIN)
    assert commit_pins(subject.git_dir, subject.dependencies[0], [made]) == {}


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("", "no folder for its source"),
        ('path = "src"', "no folder for its source"),
        ('path = "src/focus"', "no folder for its source"),
        ('path = "../out"', "path"),
        ('path = "/etc"', "path"),
        ('path = "a/.git/hooks"', "path"),
        ('path = "a\\nb"', "path"),
        ('path = "--output=x"', "path"),
        ('pin = "../needs.txt"', "pin"),
        ('path = "a"\nsubmodule = true', "submodule"),
    ],
)
def test_a_place_that_is_none_is_refused(pair: Pair, form: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        dependencies(project(pair, form))


def test_a_url_is_cloned_where_a_subject_is_registered(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    for pin in (pair.plain, LOST):
        pair.commit(needs=requirement(pin), roll=1)
    root = project(pair, PIN).root
    path = root / "pyproject.toml"
    path.write_text(path.read_text().replace("../lens", f"file://{pair.lens}"))
    assert app.run(["subject", "use", str(pair.focus), "--root", str(root)]) == 0
    told = capsys.readouterr().out
    assert "in dependencies/lens/lib: 2 commits pin 2, of which 1 cannot be had" in told


def test_a_transport_that_runs_programs_is_refused(pair: Pair, tmp_path: Path) -> None:
    from nbbench.subject.repository import clone

    witness = tmp_path / "ran"
    with pytest.raises(SubjectError, match="not allowed"):
        clone(project(pair, SUBMODULE), f"ext::touch {witness}")
    assert not witness.exists()
