"""A small file system below a test's own folder, that can be filled, made read-only or broken.

Owns the mount: made here, let go at the end of the test with whatever pods mounted below it, so
that nothing that deletes the test's folder later can follow it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.parts.missing import need, need_root, refuse
from tests.parts.mounts import nothing_mounted_after


class SmallDisk:
    def __init__(self, folder: Path, *, size: str) -> None:
        self.folder = folder
        self._size = size
        self._filler = folder / "filler"

    def mount(self) -> None:
        self.folder.mkdir()
        options = f"size={self._size},mode=700"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        subprocess.run(command, check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def fill(self) -> None:
        """To the last byte."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        filler.write(b"x" * size)
                except OSError:
                    pass

    def free(self) -> None:
        self._filler.unlink()

    def writable(self, can: bool) -> None:
        """Not while anybody has a file of it open for writing."""
        how = "rw" if can else "ro"
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.folder)], check=True)


class FailingDisk(SmallDisk):
    """An ext4 in a file: ``fail`` makes it read-only under whoever uses it, as an I/O error."""

    def mount(self) -> None:
        need("failing disk", "mkfs.ext4", "losetup", packages="e2fsprogs mount")
        self.folder.mkdir()
        image = self.folder.with_suffix(".ext4")
        subprocess.run(["truncate", "--size", self._size, image], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        command = ["mount", "-t", "ext4", "-o", "loop", str(image), str(self.folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            refuse("failing disk", "no loop device can be mounted here")

    def fail(self) -> None:
        """For good, until it is mounted anew."""
        subprocess.run(["mount", "-o", "remount,abort", str(self.folder)], check=True)


@pytest.fixture
def new_disk(tmp_path: Path) -> Iterator[Callable[..., SmallDisk]]:
    """Makes mounted ones: ``new_disk("64m")``, ``new_disk("64m", FailingDisk)``."""
    need_root("small file system")
    made: list[SmallDisk] = []

    def make(size: str, kind: type[SmallDisk] = SmallDisk) -> SmallDisk:
        disk = kind(tmp_path / f"disk-{len(made)}", size=size)
        disk.mount()
        made.append(disk)
        return disk

    with nothing_mounted_after(tmp_path):
        yield make
        for disk in made:
            disk.unmount()


@pytest.fixture
def small_disk(new_disk: Callable[..., SmallDisk]) -> SmallDisk:
    """Of 1 MiB."""
    return new_disk("1m")
