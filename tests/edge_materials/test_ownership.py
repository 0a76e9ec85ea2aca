"""fsGroup on trees that a program went wild in, or that others change meanwhile."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeagent.pods.volumes import ownership, walking
from edgeagent.pods.volumes.removing import remove
from tests.edge_materials.volume_device import ROOT_ONLY

DEPTH = 1500
"""More than Python would call itself, and than most processes may have files."""


@ROOT_ONLY
def test_a_deep_volume_is_given_to_the_group_with_few_files(tmp_path: Path) -> None:
    try:
        bottom = deep(tmp_path)
        with few_files():
            assert ownership.give(tmp_path, 4242) == ""
        assert [os.fstat(bottom).st_gid, tmp_path.stat().st_gid] == [4242, 4242]
        os.close(bottom)
    finally:
        # What pytest takes for it would call itself.
        remove(tmp_path / "0")


def test_every_folder_is_seen_once_with_the_names_in_it(tmp_path: Path) -> None:
    for folder in ("a/b/c", "a/d", "e"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "a/file").touch()
    (tmp_path / "a/link").symlink_to(tmp_path)
    seen = [sorted(names) for _, names in walking.every_folder(str(tmp_path))]
    assert sorted(seen) == [[], [], [], ["a", "e"], ["b", "d", "file", "link"], ["c"]]


@pytest.mark.parametrize("is_removed", [True, False])
def test_the_rest_is_found_when_the_folder_being_looked_at_goes(
    tmp_path: Path, *, is_removed: bool
) -> None:
    """A folder that moves up takes nobody along: its ``..`` is not where it was come from."""
    for folder in ("top/a/b", "top/c/b"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "stranger").touch()
    seen = []
    for folder, names in walking.every_folder(str(tmp_path / "top")):
        seen.append(sorted(names))
        if names == ["b"]:
            inner = Path(os.readlink(f"/proc/self/fd/{folder}")) / "b"
        elif not names and is_removed:
            inner.rmdir()
        elif not names:
            inner.rename(tmp_path / f"moved-{len(seen)}")
    assert seen == [["a", "c"], ["b"], [], ["b"], []]


def test_a_folder_that_becomes_a_link_is_not_entered(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "folder").mkdir(parents=True)
    (outside / "secret").mkdir(parents=True)
    walk = walking.every_folder(str(inside))
    assert next(walk)[1] == ["folder"]
    (inside / "folder").rmdir()
    (inside / "folder").symlink_to(outside)
    assert list(walk) == []


def deep(top: Path) -> int:
    """The lowest of many folders, opened."""
    here = os.open(top, os.O_RDONLY)
    for number in range(DEPTH):
        os.mkdir(str(number), dir_fd=here)
        deeper = os.open(str(number), os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    return here


@contextmanager
def few_files() -> Iterator[None]:
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
