"""Mounting and unmounting, by the C library's own calls; no program is started.

Only root can; ``may_mount`` says so, and callers decide what a volume is without it. Unmounting
is lazy, so that a process which still looks into a volume can never hold a pod's end up, and
never follows a link. Under systemd all mounts of a device are shared: a bound folder is a peer of
its source, and what is unmounted below one of them is unmounted below the other too. So nothing
is unmounted before it is cut off from its peers: the device's own mounts stay.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import re
from pathlib import Path

_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 1 << 18
_DETACH, _NO_FOLLOW = 2, 8
_OCTAL = re.compile(r"\\([0-7]{3})")


def may_mount() -> bool:
    return os.geteuid() == 0


def tmpfs(target: Path, *, mode: int, size: int = 0, group: int | None = None) -> None:
    """Memory, kept out of swap where the kernel can; ``size`` 0 = the kernel's default limit."""
    options = [f"mode={mode:o}"]
    if group is not None:
        options.append(f"gid={group}")
    if size:
        options.append(f"size={size}")
    try:
        _mount("tmpfs", target, kind="tmpfs", options=",".join([*options, "noswap"]))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _mount("tmpfs", target, kind="tmpfs", options=",".join(options))


def hugetlbfs(
    target: Path, *, mode: int, page_size: int, size: int = 0, group: int | None = None
) -> None:
    """Files of huge pages, to be mapped; ``size`` 0 = as many as the device has set aside."""
    options = [f"pagesize={page_size}", f"mode={mode:o}"]
    if group is not None:
        options.append(f"gid={group}")
    if size:
        options.append(f"size={size}")
    _mount("hugetlbfs", target, kind="hugetlbfs", options=",".join(options))
    target.chmod(mode)  # As an option it has no bit that gives files their folder's group.


def bind(source: str, target: Path) -> None:
    """As a kubelet binds: without what is mounted below ``source`` by now."""
    _mount(source, target, flags=_BIND)


def is_mounted(target: Path) -> bool:
    return os.path.realpath(target) in mount_points()


def unmount_below(folder: Path) -> None:
    """Everything that is mounted at or below ``folder``, the deepest first, and nowhere else."""
    top = os.path.realpath(folder)
    below = [point for point in mount_points() if point == top or point.startswith(top + "/")]
    for point in sorted(below, key=len):
        _cut_off(point)
    for point in sorted(below, key=len, reverse=True):
        _cut_off(point)  # What an earlier one at the same point has hidden so far.
        _unmount(point)


def mount_points() -> list[str]:
    """Of this process's mount namespace, in mount order; a point may appear more than once."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        return [_OCTAL.sub(lambda code: chr(int(code[1], 8)), line.split(" ")[4]) for line in lines]


def _cut_off(point: str) -> None:
    """From all peers of what is mounted at ``point`` and below: unmounting there stays here.

    Through a descriptor, because the call itself would follow a link in the last place.
    """
    try:
        opened = os.open(point, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _mount("none", Path(f"/proc/self/fd/{opened}"), flags=_RECURSIVE | _PRIVATE)
    except OSError as error:
        if error.errno != errno.EINVAL:  # Nothing is mounted there any more.
            raise OSError(error.errno, error.strerror, point) from error
    finally:
        os.close(opened)


def _unmount(point: str) -> None:
    if _libc().umount2(os.fsencode(point), _DETACH | _NO_FOLLOW) != 0:
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOENT):
            raise OSError(code, os.strerror(code), point)


def _mount(source: str, target: Path, *, kind: str = "", flags: int = 0, options: str = "") -> None:
    words = [os.fsencode(source), os.fsencode(target), kind.encode() or None]
    if _libc().mount(*words, ctypes.c_ulong(flags), options.encode() or None) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
