"""Only what a power cut damaged is removed, and only of the sandbox that could not be stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeagent.runtime.cni_results import remove_damaged

ID, OTHER = "a" * 64, "b" * 64
WHOLE = b'{"kind": "cniCacheV1", "containerId": "a"}'


@pytest.mark.parametrize("left", [b"", b"\0" * 300, WHOLE[:20], b"\xff\xfe\xfd"])
def test_what_cannot_be_read_is_removed(tmp_path: Path, left: bytes) -> None:
    damaged, beside = tmp_path / f"pods-{ID}-eth0", tmp_path / f"cni-loopback-{ID}-lo"
    damaged.write_bytes(left)
    beside.write_bytes(WHOLE)
    assert remove_damaged(ID, folder=tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == [beside.name]
    assert not remove_damaged(ID, folder=tmp_path)


def test_what_is_of_another_sandbox_stays(tmp_path: Path) -> None:
    names = [f"pods-{OTHER}-eth0", ID, f"{ID}-eth0", f"pods-{ID}"]
    for name in names:
        (tmp_path / name).touch()
    assert not remove_damaged(ID, folder=tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == set(names)


def test_links_and_folders_stay(tmp_path: Path) -> None:
    results, elsewhere = tmp_path / "results", tmp_path / "elsewhere"
    results.mkdir()
    elsewhere.touch()
    (results / f"pods-{ID}-eth0").symlink_to(elsewhere)
    (results / f"pods-{ID}-eth1").mkdir()
    assert not remove_damaged(ID, folder=results)
    assert elsewhere.exists() and len(list(results.iterdir())) == 2


@pytest.mark.parametrize("odd", ["", "eth0", "..", "A" * 64, "pods", "a" * 31, f"{ID}/.."])
def test_an_id_that_is_none_removes_nothing(tmp_path: Path, odd: str) -> None:
    (tmp_path / "pods-eth0-").touch()
    (tmp_path / "x--y").touch()
    assert not remove_damaged(odd, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_without_the_folder_there_is_nothing_to_mend(tmp_path: Path) -> None:
    assert not remove_damaged(ID, folder=tmp_path / "absent")
