"""Any asv results folder, to be looked at: a folder in the user's cache stands for its project.

Nothing is written into the viewed folder and nothing of it runs. Its asv.conf.json is read for the project's
name, the branch and the web address of commits.
"""

import json
import os
import re
import shutil
from pathlib import Path

from nbbench.config import Settings, asv_setting, load_settings
from nbbench.errors import SubjectError, UsageError
from nbbench.record.atomic import write_text
from nbbench.record.projects import CONF, conf_of, find_results, folder_name, is_tree
from nbbench.record.shapes import digest_of
from nbbench.subject.git import git, git_text, is_url, url_without_login
from nbbench.subject.repository import clone, register
from nbbench.words import escaped

_NO_TREE = (
    "give a folder with asv's benchmarks.json and folders of machines, or one that holds it as results/"
)


def view_settings(source: str, repo: str | None, db: str | None = None) -> Settings:
    """The settings under which the results of `source` (a folder, or the URL of a git repository) are judged.

    `repo` is the project's own repository, from which order and titles come; it is remembered. Raises
    UsageError where there are no results, or no branch, and SubjectError where git fails.
    """
    results = _results(source)
    whole = results.resolve()
    conf, name = conf_of(whole), folder_name(whole)
    home = _cache() / f"{_plain(name)}-{digest_of(str(whole))[:12]}"
    home.mkdir(parents=True, exist_ok=True)
    link = home / "results"
    if not link.is_symlink():
        link.symlink_to(whole, target_is_directory=True)
    own = home / CONF
    said = {"project": name, "branches": asv_setting(own, "branches"), "show_commit_url": ""}
    said["show_commit_url"] = asv_setting(own, "show_commit_url") if conf is None else commit_address(conf)
    write_text(own, json.dumps(said, indent=1))
    flags = {"db": db or f"sqlite:///{home / 'nbbench.sqlite'}", "project": name}
    if repo is not None:
        settings = load_settings(home, overrides=flags)
        place = Path(repo).expanduser()
        place = place if place.exists() or not is_url(repo) else clone(settings, repo)
        said["branches"] = _branch(place, repo, asv_setting(conf, "branches") if conf else "")
        register(load_settings(home, overrides=flags | {"branch": said["branches"]}), place.resolve())
        said["show_commit_url"] = said["show_commit_url"] or _address_of_commits(place, repo)
        write_text(own, json.dumps(said, indent=1))
    return load_settings(home, overrides=flags | {"branch": said["branches"]})


def forget_repository(settings: Settings) -> None:
    """Take back that a repository stands for these results: their commits stand by their dates again."""
    shutil.rmtree(settings.subject_git, ignore_errors=True)
    said = {"project": settings.project, "branches": "", "show_commit_url": ""}
    write_text(settings.root / CONF, json.dumps(said, indent=1))


def commit_address(conf: Path) -> str:
    """The web address of a commit without its hash, as an asv.conf.json has it; empty where it has none."""
    said = asv_setting(conf, "show_commit_url")
    return said if re.match(r"https?://[^/]", said) else ""


def _results(source: str) -> Path:
    """The results folder that is meant. Raises UsageError where there is none."""
    folder, inside = Path(source).expanduser(), None
    if not folder.exists() and is_url(source):
        folder = inside = _cloned(source).resolve()
    shown = escaped(url_without_login(source))
    if not folder.is_dir():
        raise UsageError(f"{shown} is not a folder", hint="give a folder with asv's results, or a URL")
    below = (one for one in sorted(folder.iterdir()) if one.is_dir() and not one.name.startswith("."))
    for one in (folder, *below):
        found, _ = find_results(one)
        if is_tree(found) and (inside is None or found.resolve().is_relative_to(inside)):
            return found
    raise UsageError(f"no asv results in {shown}", hint=_NO_TREE)


def _cloned(url: str) -> Path:
    """A shallow clone in the cache, brought up to date; links in it are plain files.

    Raises SubjectError with what git said.
    """
    shown = url_without_login(url)
    name = _plain(re.split(r"[/:]", shown.rstrip("/"))[-1].removesuffix(".git"))
    target = _cache() / "clones" / digest_of(shown)[:12] / name
    plain = ["-c", "core.symlinks=false"]
    try:
        if not (target / ".git").is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            options = ["--quiet", "--depth=1", "--no-tags"]
            git(None, [*plain, "clone", *options, "--", url, str(target)], timeout_s=3600)
            git(target, ["remote", "set-url", "origin", shown])
        else:
            git(target, ["fetch", "--quiet", "--depth=1", "--no-tags", "--", url, "HEAD"], timeout_s=3600)
            git(target, [*plain, "reset", "--quiet", "--hard", "FETCH_HEAD"])
    except SubjectError as error:
        hint = f"is {shown} right, and within reach?"
        raise SubjectError(str(error).replace(url, shown), hint=hint) from error
    return target


def _branch(place: Path, repo: str, wanted: str) -> str:
    """The branch that asv.conf.json names, where the repository has it, else the one it is on.

    Raises UsageError for what is no repository, and for one without a branch.
    """
    try:
        listed = git_text(place, ["for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes"])
        names = {re.sub(r"^refs/(heads|remotes/[^/]+)/", "", ref) for ref in listed.split("\n")}
        if wanted in names - {"", "HEAD"}:
            return wanted
        return git_text(place, ["symbolic-ref", "--quiet", "--short", "HEAD"])
    except (SubjectError, NotADirectoryError) as error:
        shown = escaped(url_without_login(repo))
        raise UsageError(
            f"{shown} is no git repository on a branch",
            hint="--repo PATH|URL: a clone of the project, or its URL",
        ) from error


def _address_of_commits(place: Path, repo: str) -> str:
    """Where commits stand on the web: GitHub, GitLab and Gitea have them below one address."""
    try:
        found = git_text(place, ["config", "--get", "remote.origin.url"])
    except SubjectError:
        found = repo
    shown = url_without_login(found)
    return f"{shown.rstrip('/').removesuffix('.git')}/commit/" if re.match(r"https?://[^/]", shown) else ""


def _cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given.startswith("/") else Path.home() / ".cache") / "nbbench" / "view"


def _plain(name: str) -> str:
    """A name as a part of a path."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name).strip("-.")[-60:] or "results"
