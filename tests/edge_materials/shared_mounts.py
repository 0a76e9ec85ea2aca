"""A device under systemd in a mount namespace of its own: everything it mounts may propagate.

Run by ``test_shared_mounts.py`` below ``unshare --mount``: a tmpfs, made shared, stands for the
device's root, with a stick mounted in a folder that a pod uses by ``subPath``. Says as JSON what
the steps that it is given left there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from edgeagent.pods.volumes import mounting, removing, subpaths


def main(root: Path, steps: list[str]) -> dict[str, object]:
    tmpfs(root)
    subprocess.run(["mount", "--make-shared", root], check=True)
    host, pod = root / "host", root / "pods/uid"
    stick, at = host / "used/stick", pod / "subpaths/v/main/0"
    stick.mkdir(parents=True)
    seen: list[bool] = []
    do: dict[str, Callable[[], object]] = {
        "plug": lambda: plug(stick),
        "start": lambda: subpaths.expose(host, "used", at=at),
        "start below": lambda: subpaths.expose(host, "used/stick", at=at),
        "look": lambda: seen.append((at / "stick/file").exists()),
        "look below": lambda: seen.append((at / "file").exists()),
        "cover": lambda: tmpfs(at),
        "end": lambda: removing.remove(pod),
    }
    for step in steps:
        do[step]()
    return {
        "stick": (stick / "file").exists(),
        "mounted": [one for one in mounting.mount_points() if one.startswith(f"{pod}/")],
        "pod": pod.exists(),
        "seen": seen,
    }


def plug(stick: Path) -> None:
    tmpfs(stick)
    (stick / "file").touch()


def tmpfs(folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2:])))
