"""The registered subject: borrowed refs and objects, ranges, positions; the user's clone untouched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime

import pytest

from nbbench.config import load_settings
from nbbench.errors import HostError, SubjectError, UsageError
from nbbench.subject import repository
from nbbench.subject.repository import (
    clone,
    describe,
    is_ancestor,
    list_commits,
    measurable,
    open_subject,
    register,
    resolve,
    tree_ids,
)
from nbbench.subject.subjects.nanobragg.demo import BRANCH, PLANTED, TIP_HASH

MEASURED = [event.hash for event in PLANTED if event.kind != "docs"]
IDENTITY = {
    "GIT_AUTHOR_NAME": "user",
    "GIT_AUTHOR_EMAIL": "user@example.invalid",
    "GIT_COMMITTER_NAME": "user",
    "GIT_COMMITTER_EMAIL": "user@example.invalid",
}


def run(folder, *arguments, stdin=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | IDENTITY
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], env=environment, check=True, capture_output=True, input=stdin
    )
    return done.stdout.decode().strip()


def commit(folder, message="change", path="src/nanobrag_torch/extra.py", text="x = 1\n"):
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    run(folder, "add", "--all")
    run(folder, "commit", "--quiet", "--cleanup=verbatim", "-F", "-", stdin=message.encode())
    return run(folder, "rev-parse", "HEAD")


def listing(folder):
    return sorted((str(p.relative_to(folder)), p.lstat().st_mtime_ns) for p in folder.rglob("*"))


@pytest.fixture
def settings(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    (root / "asv.conf.json").write_text('{"project": "nanoBragg PyTorch"}')
    return load_settings(root, environ={})


@pytest.fixture
def subject(settings, pristine):
    return register(settings, pristine)


class TestRegister:
    def test_refs_without_objects(self, settings, pristine):
        made = register(settings, pristine)
        assert made.git_dir == settings.subject_git == settings.root / ".nbbench" / "subject.git"
        assert made.source == str(pristine / ".git")
        assert resolve(made, BRANCH) == TIP_HASH
        objects = made.git_dir / "objects"
        assert (objects / "info" / "alternates").read_text() == f"{pristine / '.git' / 'objects'}\n"
        assert [p for p in objects.rglob("*") if p.is_file()] == [objects / "info" / "alternates"]
        assert run(made.git_dir, "symbolic-ref", "HEAD") == f"refs/heads/{BRANCH}"
        assert json.loads((made.git_dir / "nbbench.json").read_text()) == {
            "schema": 1,
            "source": str(pristine / ".git"),
            "git_dir": str(pristine / ".git"),
        }

    def test_nothing_half_made_is_left(self, settings, subject):
        assert [p.name for p in settings.state_dir.iterdir()] == ["subject.git"]

    def test_a_subfolder_a_worktree_and_a_bare_repository(self, settings, source, tmp_path):
        assert register(settings, source / "src").source == str(source / ".git")
        run(source, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"), TIP_HASH)
        assert register(settings, tmp_path / "tree").source == str(source / ".git")
        run(tmp_path, "clone", "--quiet", "--bare", str(source), str(tmp_path / "bare.git"))
        assert register(settings, tmp_path / "bare.git").source == str(tmp_path / "bare.git")
        assert len(list_commits(open_subject(settings))) == len(MEASURED)

    def test_a_clone_that_borrows_objects_itself(self, settings, source, tmp_path):
        run(tmp_path, "clone", "--quiet", "--shared", str(source), str(tmp_path / "shared"))
        assert len(list_commits(register(settings, tmp_path / "shared"))) == len(MEASURED)

    def test_tags_and_other_branches(self, settings, source):
        run(source, "tag", "--annotate", "-m", "first", "v1", MEASURED[0])
        run(source, "branch", "fix/one", MEASURED[3])
        made = register(settings, source)
        assert resolve(made, "v1") == MEASURED[0]
        assert resolve(made, "fix/one") == MEASURED[3]

    def test_missing_branch(self, settings, source):
        run(source, "branch", "-m", BRANCH, "main")
        with pytest.raises(SubjectError, match="has no branch 'feature/spec-based-2'") as caught:
            register(settings, source)
        assert "fetch it" in caught.value.hint and caught.value.exit_code == 2
        assert list(settings.state_dir.iterdir()) == []

    def test_the_subject_before_stays_when_another_is_refused(self, settings, subject, source, tmp_path):
        run(source, "branch", "-m", BRANCH, "main")
        for wrong, error in ((source, SubjectError), (tmp_path, UsageError)):
            with pytest.raises(error):
                register(settings, wrong)
            assert open_subject(settings) == subject
            assert [p.name for p in settings.state_dir.iterdir()] == ["subject.git"]

    def test_another_subject_replaces_it(self, settings, subject, source):
        newer = commit(source)
        assert resolve(register(settings, source), BRANCH) == newer
        assert open_subject(settings).source == str(source / ".git")

    def test_remote_branch_alone(self, settings, source, tmp_path):
        run(tmp_path, "clone", "--quiet", "--no-checkout", str(source), str(tmp_path / "theirs"))
        run(tmp_path / "theirs", "update-ref", "-d", f"refs/heads/{BRANCH}")
        made = register(settings, tmp_path / "theirs")
        assert [c.hash for c in list_commits(made)] == MEASURED

    def test_own_remote_comes_before_others(self, settings, source):
        run(source, "update-ref", f"refs/remotes/origin/{BRANCH}", MEASURED[5])
        run(source, "update-ref", f"refs/remotes/fork/{BRANCH}", MEASURED[4])
        run(source, "update-ref", f"refs/remotes/origin/attic/{BRANCH}", MEASURED[3])
        run(source, "checkout", "--quiet", "--detach")
        run(source, "update-ref", "-d", f"refs/heads/{BRANCH}")
        assert resolve(register(settings, source), BRANCH) == MEASURED[5]

    def test_branch_from_the_settings(self, source, settings):
        run(source, "branch", "other", MEASURED[2])
        other = load_settings(settings.root, environ={"NBBENCH_BRANCH": "other"})
        assert [c.hash for c in list_commits(register(other, source))] == MEASURED[:3]

    @pytest.mark.parametrize("kind", ["folder", "file", "missing"])
    def test_no_repository(self, settings, tmp_path, kind):
        path = tmp_path / "something"
        if kind == "folder":
            path.mkdir()
        elif kind == "file":
            path.write_text("x")
        with pytest.raises(UsageError, match="is not a git repository") as caught:
            register(settings, path)
        assert caught.value.exit_code == 2 and caught.value.hint
        assert not settings.subject_git.exists()

    def test_a_clone_of_another_user(self, settings, source, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        if subprocess.run(["git", "config", "--system", "safe.directory"], capture_output=True).stdout:
            pytest.skip("git trusts every folder here")
        try:
            for path in (source, source / ".git"):
                os.chown(path, 12345, 12345)
        except OSError:
            pytest.skip("files cannot be given away here")
        with pytest.raises(HostError, match="belongs to another user") as caught:
            register(settings, source)
        assert "safe.directory" in caught.value.hint

    def test_a_folder_that_cannot_be_written(self, settings, pristine):
        settings.state_dir.write_text("a file is in the way")
        with pytest.raises(HostError, match="cannot write"):
            register(settings, pristine)

    def test_odd_characters_in_the_path(self, settings, pristine, tmp_path):
        odd = shutil.copytree(pristine, tmp_path / "ü b'\"$x")
        assert len(list_commits(register(settings, odd))) == len(MEASURED)


class TestOpen:
    def test_none_registered(self, settings):
        with pytest.raises(SubjectError, match="no subject is registered") as caught:
            open_subject(settings)
        assert "nbbench subject" in caught.value.hint

    def test_clone_gone(self, settings, source):
        register(settings, source)
        shutil.rmtree(source)
        with pytest.raises(SubjectError, match="is gone"):
            open_subject(settings)

    @pytest.mark.parametrize("text", ["", "{", "{}", '{"source": 3, "x"', "[]"])
    def test_unreadable_record(self, settings, subject, text):
        (subject.git_dir / "nbbench.json").write_text(text)
        with pytest.raises(SubjectError, match="unreadable"):
            open_subject(settings)

    def test_refs_follow_the_clone(self, settings, source):
        register(settings, source)
        newer = commit(source, "new work")
        run(source, "tag", "v2")
        found = open_subject(settings)
        assert resolve(found, BRANCH) == resolve(found, "v2") == newer
        assert [c.hash for c in list_commits(found)] == [*MEASURED, newer]

    def test_rewound_and_deleted_refs(self, settings, source):
        run(source, "branch", "gone")
        register(settings, source)
        run(source, "branch", "-D", "gone")
        run(source, "reset", "--quiet", "--hard", MEASURED[4])
        found = open_subject(settings)
        assert resolve(found, BRANCH) == MEASURED[4]
        with pytest.raises(UsageError):
            resolve(found, "gone")

    def test_a_branch_that_becomes_a_folder_of_branches(self, settings, source):
        run(source, "branch", "fix")
        register(settings, source)
        run(source, "branch", "-D", "fix")
        run(source, "branch", "fix/one")
        assert resolve(open_subject(settings), "fix/one") == TIP_HASH
        run(source, "branch", "-D", "fix/one")
        run(source, "branch", "fix")
        assert resolve(open_subject(settings), "fix") == TIP_HASH

    def test_branch_that_disappears(self, settings, source):
        register(settings, source)
        run(source, "branch", "-m", BRANCH, "main")
        with pytest.raises(SubjectError, match="has no branch"):
            open_subject(settings)

    def test_a_second_look_changes_nothing(self, settings, subject):
        before = listing(subject.git_dir)
        open_subject(settings)
        assert listing(subject.git_dir) == before


def test_the_users_repository_is_never_touched(settings, source, tmp_path):
    before = listing(source)
    register(settings, source)
    subject = open_subject(settings)
    commits = list_commits(subject, f"{MEASURED[2]}..{MEASURED[6]}")
    describe(subject, commits[0].hash)
    tree_ids(subject, MEASURED)
    for position in (0, -1):
        from nbbench.subject.tree import extract_tree

        one = list_commits(subject)[position]
        extract_tree(subject.git_dir, one.hash, one.tree, subject.measured_path, tmp_path / "trees")
    with pytest.raises(UsageError):
        resolve(subject, "nothing")
    assert listing(source) == before


class TestCommits:
    def test_oldest_first_with_positions_trees_and_dates(self, subject):
        commits = list_commits(subject)
        assert [c.hash for c in commits] == MEASURED
        assert [c.position for c in commits] == list(range(1, len(MEASURED) + 1))
        assert len({c.tree for c in commits}) == len(MEASURED)
        assert commits[0].date == datetime(2025, 9, 22, 9, 14, tzinfo=UTC)
        assert commits[0].subject == "feat(core): initial PyTorch port of the diffraction simulator"

    def test_documentation_and_tests_are_left_out(self, subject):
        assert not {e.hash for e in PLANTED if e.kind == "docs"} & {c.hash for c in list_commits(subject)}

    def test_range_keeps_positions_of_the_whole_branch(self, subject):
        commits = list_commits(subject, f"{MEASURED[2][:10]}..{MEASURED[6][:10]}")
        assert [c.hash for c in commits] == MEASURED[3:7]
        assert [c.position for c in commits] == [4, 5, 6, 7]

    def test_open_ranges_and_single_names(self, subject):
        assert [c.hash for c in list_commits(subject, f"{MEASURED[10]}..")] == MEASURED[11:]
        assert [c.hash for c in list_commits(subject, MEASURED[2])] == MEASURED[:3]
        assert [c.hash for c in list_commits(subject, BRANCH)] == MEASURED
        assert [c.hash for c in list_commits(subject, f"{BRANCH}~4..{BRANCH}")] == MEASURED[-3:]

    def test_three_dots(self, subject):
        assert [c.hash for c in list_commits(subject, f"{MEASURED[0]}...{MEASURED[2]}")] == MEASURED[1:3]

    def test_backwards_and_empty_ranges_hold_nothing(self, subject):
        assert list_commits(subject, f"{MEASURED[6]}..{MEASURED[2]}") == []
        assert list_commits(subject, f"{TIP_HASH}..{TIP_HASH}") == []
        assert list_commits(subject, f"{TIP_HASH}~1..{TIP_HASH}") == []  # documentation only

    @pytest.mark.parametrize(
        "span",
        [
            "nothing",
            "nothing..",
            "..nothing",
            f"{TIP_HASH}..nothing",
            "0" * 40,
            "..",
            "",
            " ",
            "a b",
            "HEAD^{tree}",
        ],
    )
    def test_unknown(self, subject, span):
        with pytest.raises(UsageError, match="unknown commit"):
            list_commits(subject, span)

    @pytest.mark.parametrize(
        "span", ["--all", "-1", "--output=stolen", "-n5..HEAD", "HEAD..--all", "HEAD...-x", "--", "-"]
    )
    def test_options_are_refused(self, subject, span, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UsageError, match="unknown commit"):
            list_commits(subject, span)
        with pytest.raises(UsageError, match="unknown commit"):
            describe(subject, span)
        assert not (tmp_path / "stolen").exists()

    def test_merges_count_once(self, settings, source):
        run(source, "checkout", "--quiet", "-b", "side", MEASURED[5])
        commit(source, "side one", text="y = 1\n")
        commit(source, "side two", text="y = 2\n")
        run(source, "checkout", "--quiet", BRANCH)
        run(source, "merge", "--quiet", "--no-ff", "-m", "merge side", "side")
        made = register(settings, source)
        assert [c.subject for c in list_commits(made)][len(MEASURED) :] == ["merge side"]

    def test_commits_before_the_measured_path_existed(self, settings, tmp_path):
        folder = tmp_path / "young"
        folder.mkdir()
        run(folder, "init", "--quiet", f"--initial-branch={BRANCH}")
        commit(folder, "only docs", path="README.md")
        first = commit(folder, "code")
        run(folder, "rm", "--quiet", "-r", "src")
        run(folder, "commit", "--quiet", "-m", "code is gone")
        made = register(settings, folder)
        assert [c.hash for c in list_commits(made)] == [first]
        assert describe(made, BRANCH).tree == ""
        assert describe(made, first).tree

    def test_nothing_measurable(self, settings, tmp_path):
        folder = tmp_path / "docs"
        folder.mkdir()
        run(folder, "init", "--quiet", f"--initial-branch={BRANCH}")
        commit(folder, "only docs", path="README.md")
        assert list_commits(register(settings, folder)) == []

    @pytest.mark.parametrize(
        ("title", "shown"),
        [
            ("vertical\vtab", "vertical tab"),
            ("carriage\rreturn", "carriage return"),
            ("next\x85line", "next line"),
            ("line\u2028separator", "line separator"),
            ("x\x1cy", "x y"),
            ("\x1b[31mred\x1b]0;title\x07", "red"),
            ("right\u202eleft", "right left"),
            ("ü ∂ 🚀", "ü ∂ 🚀"),
        ],
    )
    def test_a_title_cannot_repaint_a_terminal(self, settings, source, title, shown):
        """J11: whatever prints a title, prints it safely."""
        newer = commit(source, f"{title}\n\nbody\n")
        made = register(settings, source)
        assert [c.hash for c in list_commits(made)] == [*MEASURED, newer]
        assert list_commits(made)[-1].subject == describe(made, newer).subject == shown

    def test_no_title_at_all(self, settings, source):
        (source / "src/nanobrag_torch/extra.py").write_text("x = 1\n")
        run(source, "add", "--all")
        run(source, "commit", "--quiet", "--allow-empty-message", "-m", "")
        made = register(settings, source)
        assert list_commits(made)[-1].subject == describe(made, BRANCH).subject == ""

    def test_a_tag_with_the_branchs_name(self, settings, source):
        run(source, "tag", BRANCH, MEASURED[2])
        assert [c.hash for c in list_commits(register(settings, source))] == MEASURED

    def test_settings_of_the_user(self, subject, tmp_path, monkeypatch):
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / ".gitconfig").write_text(
            "[log]\n\tfollow = true\n\tshowSignature = true\n\tdate = relative\n[color]\n\tui = always\n"
            "[core]\n\tquotePath = true\n[format]\n\tpretty = oneline\n"
        )
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert [c.hash for c in list_commits(subject)] == MEASURED
        assert describe(subject, BRANCH).hash == TIP_HASH


class TestNames:
    """H1, E4: names mean what git means by them in the registered clone."""

    def test_head_is_the_clones_checkout(self, settings, source):
        made = register(settings, source)
        run(source, "checkout", "--quiet", "-b", "mine", MEASURED[4])
        newer = commit(source)
        made = open_subject(settings)
        assert (resolve(made, "HEAD"), resolve(made, "@"), resolve(made, BRANCH)) == (newer, newer, TIP_HASH)
        assert resolve(made, "HEAD~1") == MEASURED[4]
        assert [c.hash for c in list_commits(made, f"{MEASURED[3]}..")] == [MEASURED[4], newer]
        run(source, "checkout", "--quiet", "--detach", MEASURED[2])
        assert resolve(made, "HEAD") == MEASURED[2]

    def test_head_of_a_work_tree_beside_the_clone(self, settings, source, tmp_path):
        run(source, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"), MEASURED[3])
        made = register(settings, tmp_path / "tree")
        assert resolve(made, "HEAD") == resolve(open_subject(settings), "HEAD") == MEASURED[3]
        run(source, "worktree", "remove", str(tmp_path / "tree"))
        assert resolve(open_subject(settings), "HEAD") == TIP_HASH

    def test_remote_tracking_branches_and_what_was_checked_out_before(self, settings, source, tmp_path):
        run(tmp_path, "clone", "--quiet", str(source), str(tmp_path / "second"))
        newer = commit(source)
        run(tmp_path / "second", "fetch", "--quiet")
        run(tmp_path / "second", "checkout", "--quiet", "-b", "work", MEASURED[5])
        made = register(settings, tmp_path / "second")
        assert resolve(made, f"origin/{BRANCH}") == newer
        assert resolve(made, f"origin/{BRANCH}~1") == TIP_HASH
        assert resolve(made, "@{-1}") == TIP_HASH
        assert [c.hash for c in list_commits(made, f"{BRANCH}..origin/{BRANCH}")] == [newer]

    def test_the_branch_wins_over_a_tag_of_its_name(self, settings, source):
        run(source, "tag", BRANCH, MEASURED[2])
        made = register(settings, source)
        assert resolve(made, BRANCH) == TIP_HASH
        assert resolve(made, f"{BRANCH}~1") == run(source, "rev-parse", f"{TIP_HASH}~1")
        assert resolve(made, f"tags/{BRANCH}") == MEASURED[2]
        assert list_commits(made, f"{MEASURED[2]}..{BRANCH}")[-1].hash == MEASURED[-1]


class TestShallow:
    """E5: a history that is cut off is refused with the remedy, and changes nothing."""

    def test_it_is_refused_and_the_registration_stays(self, settings, subject, source, tmp_path):
        run(tmp_path, "clone", "--quiet", "--depth=2", f"file://{source}", str(tmp_path / "cut"))
        with pytest.raises(SubjectError, match="is a shallow clone") as caught:
            register(settings, tmp_path / "cut")
        assert caught.value.hint.endswith("fetch --unshallow") and caught.value.exit_code == 2
        assert open_subject(settings) == subject
        assert [p.name for p in settings.state_dir.iterdir()] == ["subject.git"]
        run(tmp_path / "cut", "fetch", "--quiet", "--unshallow")
        assert [c.hash for c in list_commits(register(settings, tmp_path / "cut"))] == MEASURED

    def test_a_clone_that_becomes_shallow(self, settings, source):
        register(settings, source)
        (source / ".git" / "shallow").write_text(f"{MEASURED[4]}\n")
        with pytest.raises(SubjectError, match="is a shallow clone"):
            open_subject(settings)


def test_a_clone_whose_history_has_a_hole_does_not_replace_a_good_one(settings, subject, source):
    parent = run(source, "rev-parse", f"{TIP_HASH}~1")
    (source / ".git" / "objects" / parent[:2] / parent[2:]).unlink()
    with pytest.raises(SubjectError):
        register(settings, source)
    assert open_subject(settings) == subject


class TestDescribe:
    def test_commit_by_any_name(self, subject):
        for name in (TIP_HASH, TIP_HASH[:8], BRANCH, "HEAD"):
            found = describe(subject, name)
            assert found.hash == TIP_HASH
        assert found.tree == tree_ids(subject, [MEASURED[-1]])[MEASURED[-1]]  # documentation only
        assert found.subject.startswith("docs(fix_plan)")

    def test_trees_of_equal_source_are_equal(self, subject):
        first, second = (describe(subject, PLANTED[n].hash) for n in (0, 1))
        assert first.tree == second.tree != describe(subject, PLANTED[2].hash).tree

    def test_unknown(self, subject):
        with pytest.raises(UsageError, match="unknown commit 'nope'") as caught:
            describe(subject, "nope")
        assert "nbbench commits" in caught.value.hint

    def test_a_blob_or_a_tree_is_no_commit(self, subject):
        with pytest.raises(UsageError, match="unknown commit"):
            describe(subject, tree_ids(subject, [TIP_HASH])[TIP_HASH])

    def test_trees_of_nothing(self, subject):
        assert tree_ids(subject, []) == {}

    def test_missing_commit_has_no_tree(self, subject):
        assert tree_ids(subject, ["0" * 40, TIP_HASH])["0" * 40] == ""


class TestAncestors:
    def test_along_the_branch(self, subject):
        older, newer = (describe(subject, MEASURED[i]) for i in (2, 5))
        assert is_ancestor(subject, older, newer) and is_ancestor(subject, older, older)
        assert not is_ancestor(subject, newer, older)

    def test_across_branches(self, settings, source):
        run(source, "checkout", "--quiet", "-b", "aside", MEASURED[2])
        aside = commit(source)
        subject = register(settings, source)
        one, other = (describe(subject, name) for name in (aside, MEASURED[5]))
        assert not is_ancestor(subject, one, other) and not is_ancestor(subject, other, one)
        assert is_ancestor(subject, describe(subject, MEASURED[1]), one)


def test_measurable(settings, source):
    (source / "notes.md").write_text("text")
    run(source, "rm", "-r", "--quiet", "src/nanobrag_torch")
    run(source, "commit", "--quiet", "-m", "gone")
    subject = register(settings, source)
    assert measurable(subject, MEASURED[2]) == describe(subject, MEASURED[2])
    with pytest.raises(UsageError, match="has no src/nanobrag_torch"):
        measurable(subject, BRANCH)
    with pytest.raises(UsageError, match="unknown commit 'nope'"):
        measurable(subject, "nope")


class TestClone:
    def test_clone_and_update(self, settings, source):
        there = clone(settings, f"file://{source}")
        assert there.is_relative_to(settings.state_dir / "clones")
        assert [c.hash for c in list_commits(register(settings, there))] == MEASURED
        newer = commit(source)
        assert clone(settings, f"file://{source}") == there
        assert resolve(open_subject(settings), BRANCH) == newer

    def test_nothing_there(self, settings, tmp_path):
        with pytest.raises(SubjectError, match="git clone failed"):
            clone(settings, f"file://{tmp_path}/nothing.git")

    @pytest.mark.parametrize("login", ["user:s3cr3tpw", "s3cr3tpw", "user:s3cr3tpw%40x"])
    def test_a_login_in_the_url_is_kept_nowhere(self, settings, source, login):
        """J1"""
        there = clone(settings, f"file://{login}@{source}")
        made = register(settings, there)
        assert "s3cr3tpw" not in f"{there}{made}"
        kept = [p for p in settings.state_dir.rglob("*") if p.is_file()]
        assert kept and not any(b"s3cr3tpw" in p.read_bytes() or "s3cr3tpw" in str(p) for p in kept)

    @pytest.mark.parametrize("login", ["user:s3cr3tpw", "user:s3cr3tpw/a@b", "s3cr3tpw"])
    def test_a_login_is_in_no_error(self, settings, tmp_path, login):
        with pytest.raises(SubjectError) as caught:
            clone(settings, f"https://{login}@localhost.invalid/x.git?private_token=s3cr3tpw")
        assert "s3cr3tpw" not in f"{caught.value} {caught.value.hint}"

    def test_an_option_is_no_url(self, settings, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SubjectError, match="git clone failed"):
            clone(settings, "--upload-pack=touch stolen;:x.git")
        assert not list(tmp_path.rglob("stolen"))


def test_the_answer_of_git_is_never_taken_from_a_folder_above(settings, tmp_path, monkeypatch):
    """A project inside another repository must not register that one by accident."""
    run(tmp_path, "init", "--quiet")
    with pytest.raises(SubjectError, match="no subject is registered"):
        open_subject(settings)
    assert repository.open_subject is open_subject
