"""``/etc/hosts`` and last words on disks that are full or worn, and after a kill in between."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeagent.pods.materials import ownfiles
from tests.edge_materials.making import UID, container, pod
from tests.edge_materials.test_materials import Bench, bench, closed, mounted, text_of

__all__ = ["bench", "closed"]

OLD, NEW = b"10.0.0.7\told\n" * 50, b"10.0.0.8\tnew\n" * 500


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file gets larger than this inside, as if the disk had no more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_hosts_file_that_has_no_room_for_its_new_text_keeps_the_old_one(tmp_path: Path) -> None:
    """Healthy containers have it mounted."""
    file = tmp_path / "hosts"
    file.write_bytes(OLD)
    with room(2000), pytest.raises(OSError, match="File too large"):
        ownfiles.write_in_place(file, NEW)
    assert file.read_bytes() == OLD


def test_a_hosts_file_is_written_in_place(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    for data in (OLD, NEW, OLD):
        ownfiles.write_in_place(file, data)
        assert file.read_bytes() == data
        inode = file.stat().st_ino
    ownfiles.write_in_place(file, b"")
    assert (file.read_bytes(), file.stat().st_ino) == (b"", inode)


def test_a_hosts_file_that_a_container_made_long_is_not_read_whole(tmp_path: Path) -> None:
    """It costs the container nothing, for a file has holes."""
    file = tmp_path / "hosts"
    file.touch()
    os.truncate(file, 1 << 40)
    ownfiles.write_in_place(file, NEW)
    assert file.stat().st_size == len(NEW)
    assert file.read_bytes() == NEW


@pytest.mark.usefixtures("closed")
async def test_a_hosts_file_is_for_everybody_also_after_a_kill_before_it_was(
    bench: Bench,
) -> None:
    """What was cut off there would be right in its text and closed for ever."""
    file = Path(mounted(await bench.container(pod()))["/etc/hosts"])
    assert oct(file.stat().st_mode)[-3:] == "644"
    file.chmod(0o600)
    await bench.container(pod(), attempt=1)
    assert oct(file.stat().st_mode)[-3:] == "644"
    assert text_of(str(file)).endswith("10.0.0.7\tweb\n")


async def test_last_words_that_a_worn_disk_does_not_give_back_hold_up_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a disk fails the look at a file as well as its reading."""
    await bench.container(pod())
    file = bench.paths.termination_log(UID, "main", attempt=0)
    file.write_text("words")
    look = os.stat

    def worn(path: object, **how: object) -> os.stat_result:
        if str(path) == str(file):
            raise OSError(errno.EIO, "Input/output error")
        return look(path, **how)  # type: ignore[arg-type, call-overload, no-any-return]

    monkeypatch.setattr(os, "stat", worn)
    monkeypatch.setattr(os, "lstat", lambda path: worn(path, follow_symlinks=False))
    assert await bench.materials.termination_message(pod(), container(), attempt=0) == ""
