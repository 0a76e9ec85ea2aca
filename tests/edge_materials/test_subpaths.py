"""subPath: inside the volume, whatever a container left in there."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeagent.pods.volumes import mounting, subpaths
from edgeagent.pods.volumes.subpaths import UnsafePath, check, expose, read

ROOT_ONLY = pytest.mark.skipif(not mounting.may_mount(), reason="binding a path needs root")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "volume"
    folder.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("host")
    yield folder
    if mounting.may_mount():
        mounting.unmount_below(tmp_path)


def opened(volume: Path, path: str) -> Path:
    return Path(expose(volume, path, at=volume.parent / "subpaths/0"))


def test_a_file_and_a_folder_inside_the_volume(volume: Path) -> None:
    (volume / "d").mkdir()
    (volume / "d/f").write_text("inside")
    assert (opened(volume, "d") / "f").read_text() == "inside"
    assert opened(volume, "d/f").read_text() == "inside"


@ROOT_ONLY
def test_what_is_mounted_is_what_was_checked(volume: Path) -> None:
    """A container swaps the folder for a link to the host after the check: too late."""
    (volume / "d").mkdir()
    (volume / "d/f").write_text("inside")
    exposed = opened(volume, "d")
    (volume / "d").rename(volume / "e")
    (volume / "d").symlink_to(volume.parent / "outside")
    assert os.listdir(exposed) == ["f"]
    with pytest.raises(UnsafePath):
        opened(volume, "d")


@ROOT_ONLY
def test_a_restarted_container_gets_its_path_again(volume: Path) -> None:
    (volume / "d").mkdir()
    first, second = opened(volume, "d"), opened(volume, "d")
    assert first == second
    assert mounting.mount_points().count(str(first)) == 1


def test_a_missing_folder_is_made_with_the_mode_of_the_volume(volume: Path) -> None:
    volume.chmod(0o2777)
    opened(volume, "new/deep")
    for made in ("new", "new/deep"):
        assert stat.S_IMODE((volume / made).stat().st_mode) == 0o2777


def test_a_link_that_stays_inside_is_followed(volume: Path) -> None:
    (volume / "real").mkdir()
    (volume / "real/f").write_text("inside")
    (volume / "link").symlink_to("real")
    assert (opened(volume, "link") / "f").read_text() == "inside"


@pytest.mark.parametrize("target", ["/etc", "../outside", "../../..", "/proc/self/root", "/"])
def test_a_link_that_leaves_the_volume_is_refused(volume: Path, target: str) -> None:
    (volume / "link").symlink_to(target)
    for path in ("link", "link/made", "link/secret"):
        with pytest.raises((UnsafePath, OSError)):
            opened(volume, path)
    assert os.listdir(volume.parent / "outside") == ["secret"]


def test_a_link_to_nowhere_makes_nothing_outside(volume: Path) -> None:
    (volume / "link").symlink_to(volume.parent / "outside/made-by-attack")
    for path in ("link", "link/x"):
        with pytest.raises((UnsafePath, OSError)):
            opened(volume, path)
    assert os.listdir(volume.parent / "outside") == ["secret"]


def test_a_link_loop_is_refused(volume: Path) -> None:
    (volume / "a").symlink_to("b")
    (volume / "b").symlink_to("a")
    with pytest.raises((UnsafePath, OSError)):
        opened(volume, "a/x")


def test_a_link_that_appears_between_check_and_open_is_refused(volume: Path) -> None:
    (volume / "d").mkdir()
    inside = subpaths._inside(volume, "d")
    (volume / "d").rmdir()
    (volume / "d").symlink_to(volume.parent / "outside")
    with (
        pytest.raises(UnsafePath, match="changed while it was opened"),
        subpaths._opened(volume, inside),
    ):
        raise AssertionError("opened")


@pytest.mark.parametrize("path", ["/abs", "..", "../x", "a/../../x", "a/..", "a\0b"])
def test_absolute_paths_and_backsteps_are_refused(path: str) -> None:
    with pytest.raises(UnsafePath):
        check(path)


def test_two_dots_inside_a_name_are_just_a_name() -> None:
    assert check("..x/a..b/...") == "..x/a..b/..."


def test_reading_a_file_follows_the_same_rules(volume: Path) -> None:
    (volume / "f").write_text("inside")
    (volume / "link").symlink_to("../outside/secret")
    os.mkfifo(volume / "pipe")
    assert read(volume, "f", most=3) == b"insi"
    (volume / "folder").mkdir()
    for path in ("link", "pipe", "folder"):
        with pytest.raises(UnsafePath):
            read(volume, path, most=100)
    with pytest.raises(FileNotFoundError):
        read(volume, "absent", most=100)


NAMES = st.sampled_from(["a", "b", "c"])
TARGETS = st.sampled_from(["a", "b", "a/b", "..", "../outside", "/", ".", "../volume/a", "c/../.."])
TREES = st.lists(
    st.tuples(st.lists(NAMES, min_size=1, max_size=3), st.none() | TARGETS), max_size=6
)


@settings(max_examples=150, deadline=None)
@given(TREES, st.lists(NAMES, min_size=1, max_size=4))
def test_no_tree_of_links_leads_out(
    tree: list[tuple[list[str], str | None]], path: list[str]
) -> None:
    """Whatever folders and links there are: what is opened lies in the volume, or nothing is."""
    with tempfile.TemporaryDirectory() as name:
        volume, outside = Path(name) / "volume", Path(name) / "outside"
        volume.mkdir()
        outside.mkdir()
        for parts, target in tree:
            _grow(volume, parts, target)
        try:
            subpaths._make(volume, "/".join(path))
            inside = subpaths._inside(volume, "/".join(path))
            with subpaths._opened(volume, inside) as descriptor:
                real = os.path.realpath(f"/proc/self/fd/{descriptor}")
                assert real == str(volume) or real.startswith(f"{volume}/")
        except (UnsafePath, OSError):
            pass
        assert not os.listdir(outside)
        assert sorted(os.listdir(name)) == ["outside", "volume"]


def _grow(volume: Path, parts: list[str], target: str | None) -> None:
    """Puts a folder or a link there, as far as what is there already lets it be inside."""
    place = volume
    for part in parts[:-1]:
        place = place / part
        if place.is_symlink() or place.is_file():
            return
        place.mkdir(exist_ok=True)
    last = place / parts[-1]
    if os.path.lexists(last):
        return
    if target is None:
        last.mkdir()
    else:
        last.symlink_to(target)


def test_containers_that_start_together_may_need_the_same_missing_folders(volume: Path) -> None:
    for number in range(100):
        ends = [f"{number}/deep/one", f"{number}/deep/two"]
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda path: subpaths._make(volume, path), ends))
        assert sorted(os.listdir(volume / f"{number}/deep")) == ["one", "two"]
