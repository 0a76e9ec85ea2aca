"""Nothing stays mounted below a test's folder, however the test ended.

Pytest deletes old folders with everything in them, and would follow a mount that a failed test
left there out of the folder. So whatever is still mounted is let go, whole trees at once, and
only then does the test fail for it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeagent.pods.volumes import mounting


@contextmanager
def nothing_mounted_after(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        left = _below(folder)
        while points := _below(folder):
            # The topmost one, on its own: so that nothing outside is unmounted along with it.
            top = min(points, key=len)
            subprocess.run(["mount", "--make-rprivate", top], check=True)
            subprocess.run(["umount", "--lazy", top], check=True)
    assert not left, f"left mounted: {left}"


def _below(folder: Path) -> list[str]:
    return [point for point in mounting.mount_points() if point.startswith(f"{folder}/")]
