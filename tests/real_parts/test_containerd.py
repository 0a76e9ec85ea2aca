"""The containerd that other tests stand on: private, restartable, with its images."""

from __future__ import annotations

from pathlib import Path

from devcluster.containerd import Containerd
from tests.parts import images
from tests.parts.containerd import new_containerd


def test_has_every_test_image(containerd: Containerd) -> None:
    names = containerd.ctr("images", "list", "--quiet").split()
    assert {images.PAUSE, *(spec.name for spec in images.SPECS)} <= set(names)


def test_keeps_its_images_when_killed_and_restarted(containerd: Containerd) -> None:
    before, pid = containerd.ctr("images", "list", "--quiet"), containerd.pid
    containerd.restart()
    assert containerd.pid != pid
    assert containerd.ctr("images", "list", "--quiet") == before


def test_two_can_run_side_by_side_and_leave_nothing(
    containerd: Containerd, image_archive: Path
) -> None:
    other = new_containerd(image_archive)
    assert other.address != containerd.address
    other.ctr("images", "remove", images.APP_V2)
    assert images.APP_V2 in containerd.ctr("images", "list", "--quiet")
    other.close()
    assert not other.root.exists()
    assert str(other.root) not in Path("/proc/self/mountinfo").read_text()
