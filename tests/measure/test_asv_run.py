"""What nbbench says of an asv that fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nbbench.config import load_settings
from nbbench.errors import HostError
from nbbench.measure import asv_run


def test_the_reason_is_said_where_no_suite_could_be_imported(tmp_path: Path) -> None:
    """asv's last line names no reason; the one before it does."""
    printed = "·· Last error: the server did not start\\n·· Failed to build the project."
    code = f"import sys; print('{printed}'); sys.exit(1)"
    (tmp_path / "asv.conf.json").write_text("{}")
    settings = load_settings(tmp_path)
    with pytest.raises(HostError, match="asv run failed: the server did not start"):
        asv_run._follow([sys.executable, "-c", code], settings, {}, {}, print, lambda _: None)
