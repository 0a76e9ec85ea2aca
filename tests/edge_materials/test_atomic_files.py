"""Folders that change as one, on a real disk."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeagent.pods.volumes.atomic import write
from edgeagent.pods.volumes.contents import File
from tests.parts.small_disk import SmallDisk

NOW = 1_700_000_000.0
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")


def put(folder: Path, files: dict[str, str], *, group: int | None = None) -> bool:
    wanted = {path: File(text.encode(), 0o644) for path, text in files.items()}
    return write(folder, wanted, now=NOW, group=group)


def seen(folder: Path) -> dict[str, str]:
    """What a container sees that looks at visible names only."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for name in sorted(os.listdir(folder))
        if not name.startswith("..")
        for path in ([folder / name] if (folder / name).is_file() else (folder / name).rglob("*"))
        if path.is_file()
    }


def test_files_are_seen_through_the_data_link(tmp_path: Path) -> None:
    assert put(tmp_path, {"a": "1", "d/e/f": "2"})
    assert seen(tmp_path) == {"a": "1", "d/e/f": "2"}
    assert os.readlink(tmp_path / "a") == "..data/a"
    assert os.readlink(tmp_path / "..data").startswith("..2023_11_14_22_13_20.")


def test_a_change_swaps_one_link_and_takes_the_old_files_away(tmp_path: Path) -> None:
    put(tmp_path, {"a": "1", "b": "2"})
    before = os.readlink(tmp_path / "..data")
    assert put(tmp_path, {"a": "9", "c/d": "3"})
    assert seen(tmp_path) == {"a": "9", "c/d": "3"}
    assert os.readlink(tmp_path / "..data") != before
    hidden = [name for name in os.listdir(tmp_path) if name.startswith("..")]
    assert sorted(hidden) == sorted(["..data", os.readlink(tmp_path / "..data")])


def test_a_reader_that_opened_the_old_folder_keeps_a_whole_view(tmp_path: Path) -> None:
    put(tmp_path, {"a": "1", "b": "1"})
    with (tmp_path / "a").open() as still_open:
        put(tmp_path, {"a": "2", "b": "2"})
        assert still_open.read() == "1"


def test_the_same_files_are_not_written_again(tmp_path: Path) -> None:
    put(tmp_path, {"a": "1"})
    before = os.readlink(tmp_path / "..data")
    assert not put(tmp_path, {"a": "1"})
    assert os.readlink(tmp_path / "..data") == before


def test_a_new_mode_is_a_change(tmp_path: Path) -> None:
    write(tmp_path, {"a": File(b"1", 0o644)}, now=NOW, group=None)
    assert write(tmp_path, {"a": File(b"1", 0o400)}, now=NOW, group=None)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o400


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write(tmp_path, {"d/a": File(b"1", 0o666)}, now=NOW, group=None)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "d/a").stat().st_mode) == 0o666
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o755


@ROOT_ONLY
def test_the_group_of_the_pod_owns_and_reads_the_files(tmp_path: Path) -> None:
    write(tmp_path, {"d/a": File(b"1", 0o400)}, now=NOW, group=4242)
    file, folder = (tmp_path / "d/a").stat(), (tmp_path / "d").stat()
    assert (file.st_gid, stat.S_IMODE(file.st_mode)) == (4242, 0o440)
    assert (folder.st_gid, stat.S_IMODE(folder.st_mode)) == (4242, 0o2755)


@ROOT_ONLY
def test_a_file_of_one_user_belongs_to_that_user(tmp_path: Path) -> None:
    write(tmp_path, {"token": File(b"x", 0o600, 1000)}, now=NOW, group=None)
    found = (tmp_path / "token").stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (1000, 0o600)


def test_what_a_crash_left_half_written_is_cleared(tmp_path: Path) -> None:
    put(tmp_path, {"a": "1"})
    half = tmp_path / "..2023_11_14_22_13_20.halfdone"
    (half / "x").mkdir(parents=True)
    (tmp_path / "..data_tmp").symlink_to(half.name)
    assert seen(tmp_path) == {"a": "1"}
    assert put(tmp_path, {"a": "2"})
    assert seen(tmp_path) == {"a": "2"}
    assert not half.exists() and not (tmp_path / "..data_tmp").is_symlink()


def test_what_a_full_disk_did_not_take_is_not_left_on_it(small_disk: SmallDisk) -> None:
    folder = small_disk.folder / "volume"
    folder.mkdir()
    put(folder, {"a": "1"})
    small_disk.fill()
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            put(folder, {"a": "2", "b": "x" * 10_000})
    assert seen(folder) == {"a": "1"}
    assert sorted(os.listdir(folder)) == sorted(["..data", os.readlink(folder / "..data"), "a"])
    small_disk.free()
    assert put(folder, {"a": "2"})
    assert seen(folder) == {"a": "2"}


def test_what_crashes_left_does_not_fill_the_disk_that_it_is_on(small_disk: SmallDisk) -> None:
    folder = small_disk.folder / "volume"
    (folder / "..2023_11_14_22_13_20.halfdone").mkdir(parents=True)
    (folder / "..2023_11_14_22_13_20.halfdone/a").write_bytes(b"x" * 700_000)
    assert put(folder, {"a": "x" * 700_000})


def test_a_crash_between_swap_and_links_is_repaired(tmp_path: Path) -> None:
    put(tmp_path, {"a": "1"})
    (tmp_path / "a").unlink()
    put(tmp_path, {"a": "1"})
    assert seen(tmp_path) == {"a": "1"}


def test_what_a_kill_left_of_the_old_files_goes_though_the_new_ones_are_shown(
    tmp_path: Path,
) -> None:
    """Between the swap and the clean-up: a Secret that was withdrawn would lie there for ever."""
    put(tmp_path, {"a": "1"})
    old = tmp_path / "..2023_11_14_22_13_19.old"
    old.mkdir()
    (old / "a").write_text("withdrawn")
    assert not put(tmp_path, {"a": "1"})
    assert sorted(os.listdir(tmp_path)) == sorted(["..data", os.readlink(tmp_path / "..data"), "a"])
    assert seen(tmp_path) == {"a": "1"}


NAMES = st.sampled_from(["a", "b", "c.txt", "d/x", "d/y", "e/f/g"])
CONTENTS = st.dictionaries(NAMES, st.text(max_size=5).map(lambda t: t.replace("\r", "")))


@settings(max_examples=60, deadline=None)
@given(st.lists(CONTENTS, min_size=1, max_size=5))
def test_after_any_changes_exactly_the_newest_files_are_seen(steps: list[dict[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        for files in steps:
            put(Path(name), files)
            assert seen(Path(name)) == files
