"""The hooks into asv's commands."""

from __future__ import annotations

from typing import Any

import pytest
from asv import util
from asv.plugins import github

from nbbench.measure import asv_hooks


def test_what_git_refuses_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(cls: Any) -> None:
        raise util.ProcessError(["git", "push"], 128, "", "warning: x\nfatal: 'origin' is no repository\n")

    monkeypatch.setattr(github.GithubPages, "run", classmethod(refused))
    asv_hooks._say_what_git_refuses()
    with pytest.raises(util.UserError, match=r"^git refuses: fatal: 'origin' is no repository$"):
        github.GithubPages.run()
