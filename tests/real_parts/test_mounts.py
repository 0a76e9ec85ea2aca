"""A mount that a failed test left behind is gone before pytest can follow it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeagent.pods.volumes import mounting
from tests.parts.missing import need_root
from tests.parts.mounts import nothing_mounted_after


def test_what_a_test_leaves_mounted_is_let_go_and_fails_it(tmp_path: Path) -> None:
    need_root("mounts")
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    for folder in (outside, outside / "deep", inside, inside / "at"):
        folder.mkdir()
    mounting.tmpfs(outside / "deep", mode=0o700)
    (outside / "deep" / "file").touch()
    try:
        with (
            pytest.raises(AssertionError, match="left mounted"),
            nothing_mounted_after(inside),
        ):
            mounting.bind(str(outside), inside / "at")
        assert not [one for one in mounting.mount_points() if one.startswith(f"{inside}/")]
        assert (outside / "deep" / "file").exists()
        assert mounting.is_mounted(outside / "deep")
    finally:
        mounting.unmount_below(outside)
