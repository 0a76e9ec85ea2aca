"""The folder is believed when it was read, and a file when it stands still."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edgeagent.desired import DesiredPod
from edgeagent.staticpods.folder import Folder
from tests.edge_static.test_manifests import NODE, manifest, with_container, written

NOW = "2026-01-01T00:00:00Z"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "manifests").mkdir()
    return tmp_path / "manifests"


def opened(place: Path, **pods: DesiredPod) -> Folder:
    return Folder(place, node=NODE, pods={f"{name}.yaml": pod for name, pod in pods.items()})


def look(folder: Folder, times: int = 1, *, now: str = NOW) -> dict[str, DesiredPod]:
    for _ in range(times):
        folder.take(folder.look(), now=now)
    return folder.chosen()


def names(folder: Folder) -> list[str]:
    return [pod.key.name for pod in folder.chosen().values()]


def test_the_first_look_takes_every_manifest_and_skips_what_is_hidden(place: Path) -> None:
    (place / "a.yaml").write_bytes(written(manifest("a")))
    (place / "b.json").write_bytes(b'{"apiVersion": "v1"}')
    (place / "c.yml").write_bytes(written(manifest("c")))
    (place / ".d.yaml").write_bytes(written(manifest("d")))
    (place / "notes.txt").write_text("no manifest")
    folder = opened(place)
    assert sorted(look(folder)) == ["a.yaml", "c.yml"]
    assert folder.troubles().keys() == {"b.json"}


SPOILED = [
    b"x: &a [*a]",
    b"x: !!timestamp foo",
    b"x: !!bool maybe",
    b"x: !!int ''",
    b"x: !!float ''",
    b'{"x": ' + b"[" * 600 + b"]" * 600 + b"}",
]


@pytest.mark.parametrize("data", SPOILED, ids=range(len(SPOILED)))
def test_whatever_a_file_says_is_its_own_trouble_alone(data: bytes, place: Path) -> None:
    (place / "a.yaml").write_bytes(written(manifest("a")))
    (place / "b.yaml").write_bytes(data)
    folder = opened(place)
    assert sorted(look(folder)) == ["a.yaml"]
    assert folder.troubles().keys() == {"b.yaml"}


@pytest.mark.parametrize("value", ["\ud83d", 2**64, -(10**30)])
def test_what_no_message_can_carry_is_refused(value: object, place: Path) -> None:
    pod = with_container(args=["x"])
    pod["spec"]["odd"] = value
    (place / "a.json").write_text(json.dumps(pod))
    folder = opened(place)
    assert look(folder) == {}
    assert folder.troubles().keys() == {"a.json"}


def test_when_it_was_first_seen_is_told_and_stays(place: Path) -> None:
    (place / "a.yaml").write_bytes(written(manifest("a")))
    folder = opened(place)
    first = look(folder)["a.yaml"].pod["metadata"]["annotations"]["kubernetes.io/config.seen"]
    os.utime(place / "a.yaml", (1, 1))
    later = look(folder, 3, now="2027-01-01T00:00:00Z")["a.yaml"]
    assert later.pod["metadata"]["annotations"]["kubernetes.io/config.seen"] == first == NOW


def test_a_changed_file_is_taken_when_it_stands_still(place: Path) -> None:
    (place / "a.yaml").write_bytes(written(manifest("a")))
    folder = opened(place)
    old = look(folder)["a.yaml"].uid
    for size in range(3):
        (place / "a.yaml").write_bytes(written(with_container(args=["x" * (size + 1)])))
        assert look(folder)["a.yaml"].uid == old
    assert look(folder)["a.yaml"].uid != old


@pytest.mark.parametrize("broken", [b"", b"metadata: [", written({"apiVersion": "v1"})])
def test_a_broken_file_leaves_its_last_good_pod(place: Path, broken: bytes) -> None:
    (place / "a.yaml").write_bytes(written(manifest("a")))
    folder = opened(place)
    good = look(folder)
    (place / "a.yaml").write_bytes(broken)
    assert look(folder, 3) == good
    assert folder.troubles().keys() == {"a.yaml"}
    (place / "a.yaml").write_bytes(written(manifest("a")))
    assert look(folder, 2) == good
    assert not folder.troubles()


def test_what_an_earlier_process_knew_counts_while_its_file_is_broken(place: Path) -> None:
    (place / "a.yaml").write_bytes(written(manifest("a")))
    known = look(opened(place))
    (place / "a.yaml").write_bytes(b"no pod")
    assert look(opened(place, a=known["a.yaml"]), 3) == known


def test_a_file_that_cannot_be_read_leaves_its_pod_and_is_tried_again(place: Path) -> None:
    (place / "a.yaml").write_bytes(written(manifest("a")))
    folder = opened(place)
    good = look(folder)
    (place / "a.yaml").unlink()
    (place / "a.yaml").symlink_to(place / "nowhere")
    assert look(folder, 3) == good
    assert folder.troubles()["a.yaml"].startswith("it cannot be read")
    (place / "a.yaml").unlink()
    (place / "a.yaml").mkdir()
    assert look(folder, 3) == good
    assert folder.troubles()["a.yaml"] == "it is not a file"


def test_only_a_folder_that_was_read_says_that_a_file_is_gone_and_says_it_twice(
    place: Path,
) -> None:
    (place / "a.yaml").write_bytes(written(manifest("a")))
    folder = opened(place)
    look(folder)
    place.rename(place.with_name("away"))
    with pytest.raises(FileNotFoundError):
        folder.look()
    assert names(folder) == ["a-edge-1"]
    place.mkdir()
    assert list(look(folder)) == ["a.yaml"]
    assert not look(folder)


def test_a_renamed_file_is_the_same_pod(place: Path) -> None:
    (place / "b.yaml").write_bytes(written(manifest("a")))
    folder = opened(place)
    before = look(folder)["b.yaml"]
    (place / "b.yaml").rename(place / "a.yaml")
    for _ in range(4):
        assert list(look(folder).values()) == [before]
        assert not folder.troubles()
    assert list(folder.chosen()) == ["a.yaml"]


def test_a_second_file_of_one_name_takes_nothing_from_the_first(place: Path) -> None:
    (place / "b.yaml").write_bytes(written(manifest("web")))
    folder = opened(place)
    before = look(folder)
    (place / "a.yaml").write_bytes(written(with_container(args=["other"])))
    assert look(folder, 3) == before
    assert folder.troubles() == {"a.yaml": "b.yaml gives another pod of that name"}
    (place / "b.yaml").unlink()
    assert list(look(folder, 2)) == ["a.yaml"]
    assert not folder.troubles()


def test_a_file_beyond_all_measure_is_not_read(place: Path) -> None:
    (place / "a.yaml").write_bytes(b"#" * (1024 * 1024 + 1))
    folder = opened(place)
    assert not look(folder)
    assert folder.troubles() == {"a.yaml": "it is larger than 1024 KiB"}
