"""hostPaths that are made where containers are at work: no link of theirs is followed by it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edgeagent.pods.volumes import hostpath
from tests.edge_materials.volume_device import mode


def test_a_link_put_in_the_place_of_a_file_leaves_its_target_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, target, looked = tmp_path / "volume", tmp_path / "target", Path.exists
    target.touch()
    target.chmod(0o600)

    def exists(one: Path) -> bool:
        found = looked(one)
        if one == path and not found:
            path.symlink_to(target)
        return found

    monkeypatch.setattr(Path, "exists", exists)
    hostpath.prepare({"path": str(path), "type": "FileOrCreate"})
    assert mode(target) == 0o600


@pytest.mark.parametrize("is_link", [True, False])
def test_what_is_put_in_the_place_of_a_folder_just_made_keeps_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_link: bool
) -> None:
    target, path = tmp_path / "target", tmp_path / "volume"
    (target / "of others").mkdir(parents=True)
    target.chmod(0o700)
    making = os.mkdir

    def mkdir(name: str, *how: Any, **where: Any) -> None:
        making(name, *how, **where)
        path.rename(tmp_path / "aside")
        path.symlink_to(target) if is_link else target.rename(path)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with suppress(ValueError):
        hostpath.prepare({"path": str(path), "type": "DirectoryOrCreate"})
    assert mode(target if is_link else path) == 0o700


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("FileOrCreate", "hostPath type check failed: {} is not a file"),
        ("DirectoryOrCreate", "mkdir {}: not a directory"),
    ],
)
def test_nothing_is_made_through_a_link_that_leads_nowhere(
    tmp_path: Path, kind: str, words: str
) -> None:
    path = tmp_path / "volume"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=words.format(path)):
        hostpath.prepare({"path": str(path), "type": kind})
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_was_there_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to("disk")
    path = f"{tmp_path}/data/a/b"
    hostpath.prepare({"path": path, "type": "DirectoryOrCreate"})
    assert mode(tmp_path / "disk/a/b") == 0o755
