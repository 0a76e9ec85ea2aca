"""Volumes below volumes that containers only read: the folders that they are mounted on."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.model.errors import MountError
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.volumes import mounting
from edgeagent.pods.volumes.making import Volumes
from edgeagent.pods.volumes.nested import make, points
from shared.objects import Json
from tests.edge_materials.making import (
    NODE,
    UID,
    Objects,
    SteppedClock,
    config_map,
    container,
    pod,
)


def at(name: str, path: str, **fields: Any) -> Json:
    return {"name": name, "mountPath": path, **fields}


def points_of(*mounts: Json, **others: Any) -> list[str]:
    return points(pod(container(volumeMounts=list(mounts))), "top", **others)


def test_each_volume_below_needs_its_folder() -> None:
    below = [at("a", "/etc/app/cache"), at("b", "/etc/app/deep/er"), at("c", "/etc/other")]
    assert points_of(at("top", "/etc/app"), *below) == ["cache", "deep/er"]
    assert points_of(at("top", "/"), at("a", "/data")) == ["data"]
    assert points_of(*below) == []


def test_what_is_below_another_volume_is_of_that_one() -> None:
    mounts = [at("top", "/v"), at("a", "/v/a"), at("b", "/v/a/b"), at("c", "/v/a-b"), at("d", "/v")]
    assert points_of(*mounts) == ["a", "a-b"]


def test_of_every_container_and_however_a_path_is_written() -> None:
    ways = ["/v//a/", "v/b", "/x/../v/c", "//v/./d"]
    containers = [container(volumeMounts=[at("top", "/v/"), at("o", way)]) for way in ways]
    whole = pod(*containers[:2], initContainers=containers[2:3], ephemeralContainers=containers[3:])
    assert points(whole, "top") == ["a", "b", "c", "d"]


def test_below_a_sub_path_nothing_is_of_the_volume() -> None:
    assert points_of(at("top", "/v", subPath="x"), at("a", "/v/a")) == []


def test_a_sub_path_over_a_file_has_a_file_there() -> None:
    mounts = [at("top", "/v"), at("a", "/v/key", subPath="file"), at("b", "/v/other")]
    assert points_of(*mounts, shown=["key", "other"]) == ["other"]


PATHS = st.text(st.sampled_from("/.abc"), min_size=1, max_size=12)


@given(PATHS, st.lists(PATHS, max_size=4))
def test_no_path_leads_out_of_the_volume(top: str, others: list[str]) -> None:
    for point in points_of(at("top", top), *(at("o", path) for path in others)):
        assert point
        assert not {"", ".", ".."} & set(point.split("/"))


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    volume.mkdir()
    outside.mkdir()
    (volume / "link").symlink_to(outside)
    make(volume, ["link/made", "link", "a/b"], group=None)
    assert os.listdir(outside) == []
    assert (volume / "link").is_symlink()
    assert (volume / "a/b").is_dir()


def test_the_names_of_the_volume_itself_are_left_alone(tmp_path: Path) -> None:
    make(tmp_path, ["..data", "..data/x", "..2026/x"], group=None)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("group", [None, os.getgid()])
def test_folders_are_open_to_be_passed_whatever_the_umask(
    tmp_path: Path, group: int | None
) -> None:
    before = os.umask(0o077)
    try:
        make(tmp_path, ["a/b"], group=group)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b")}
    assert modes == {0o755 if group is None else 0o2755}


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[Volumes]:
    yield Volumes(PodPaths(tmp_path / "data", tmp_path / "logs"), SteppedClock())
    if mounting.may_mount():
        mounting.unmount_below(tmp_path)


CONFIG = {"name": "top", "configMap": {"name": "c"}}


async def test_an_update_leaves_the_folder_of_another_volume(
    volumes: Volumes, tmp_path: Path
) -> None:
    """Also one that brings a file of the same name: what is mounted there hides it anyway."""
    one = container(volumeMounts=[at("top", "/v"), at("cache", "/v/cache")])
    whole, objects = pod(one, volumes=[CONFIG]), Objects(config_map("c", a="1"))
    made = await volumes.prepare(whole, objects, NODE)
    folder = Path(made["top"].path)
    there = (folder / "cache").stat().st_ino
    for data in ({"a": "2"}, {"cache": "x", "b": "3"}, {"b": "4"}):
        objects.put(config_map("c", **data))
        assert await volumes.refresh(whole, objects, NODE) == ("top",)
        assert (folder / "cache").stat().st_ino == there
        assert not (folder / "cache").is_symlink()
    assert (folder / "b").read_text() == "4"
    await volumes.remove(UID)
    assert not (tmp_path / "data/pods" / UID).exists()


async def test_a_path_that_no_device_has_room_for_fails_the_mount(volumes: Volumes) -> None:
    for path in ("/v/" + "a" * 300, "/v" + "/a" * 3000, "/v/a\0b"):
        one = container(volumeMounts=[at("top", "/v"), at("o", path)])
        with pytest.raises(MountError):
            await volumes.prepare(pod(one, volumes=[CONFIG]), Objects(config_map("c", a="1")), NODE)


def test_a_disk_that_became_read_only_costs_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "read-only file system")

    monkeypatch.setattr(os, "fchmod", refuse)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with suppress(OSError):
            make(tmp_path, ["a"], group=None)
    assert len(os.listdir("/proc/self/fd")) <= before
    monkeypatch.undo()
    make(tmp_path, ["a"], group=None)
    monkeypatch.setattr(os, "fchmod", refuse)
    make(tmp_path, ["a"], group=None)
