"""What this device is and how full it is, read from /proc and /sys. Tolerant: what cannot be read
is empty or zero, and never an error. Nothing is started, nothing is sent.

The simulator and tests pass their own ``Device`` to the agent instead.
"""

from __future__ import annotations

import ipaddress
import os
import platform
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeagent.pods.model.nodefacts import FIRST_IDS

PROC = Path("/proc")
SYS = Path("/sys")
ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "armv8l": "arm",
    "i386": "386",
    "i686": "386",
    "loongarch64": "loong64",
    "mips64": "mips64le",
}
"""Machine names that Go spells in another way."""
ELSEWHERE = (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))
"""Documentation addresses: whoever asks the kernel for the way there learns our own address."""


@dataclass(frozen=True, slots=True)
class Device:
    """What does not change while the agent runs."""

    hostname: str = ""
    cpus: int = 1
    """Of the machine: pods are not bound to those that the agent itself may use."""
    memory: int = 0
    """Bytes."""
    disk: int = 0
    """Bytes of the file system with the data folder."""
    hugepages: Mapping[str, int] = field(default_factory=dict)
    """By size in KiB: bytes set aside."""
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    kernel: str = ""
    os_image: str = ""
    architecture: str = ""
    cgroup_version: int = 2
    swap_limits: bool = False
    """Whether the kernel counts what a cgroup has swapped."""
    apparmor: bool = False
    selinux: bool = False
    first_ids: range = FIRST_IDS
    """Where the users may begin that pods have for themselves."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much of something there is, and how much of that is free."""

    capacity: int
    available: int


@dataclass(frozen=True, slots=True)
class Disk:
    """Of one file system; None = it cannot be read, or has no such limit."""

    space: Room | None = None
    """Bytes."""
    inodes: Room | None = None
    device: int | None = None
    """Its number: two paths with the same one are on the same file system."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What changes. None = it cannot be read, or means nothing on this device."""

    addresses: tuple[str, ...] = ()
    """Primary first."""
    memory: Room | None = None
    """Bytes; available are those that could be had without swapping."""
    disk: Room | None = None
    """Bytes of the file system with the data folder."""
    inodes: Room | None = None
    pids: Room | None = None


def read_device(data_dir: Path) -> Device:
    status = _text(PROC / "self/mountinfo")
    machine = platform.machine()
    # A new agent looks before its folder is made.
    there = next((one for one in (data_dir, *data_dir.parents) if one.exists()), data_dir)
    disk = _filesystem(there)
    version = 2 if " - cgroup2 " in status and (SYS / _CONTROLLERS).exists() else 1
    return Device(
        hostname=socket.gethostname(),
        cpus=os.cpu_count() or 1,
        memory=_meminfo("MemTotal"),
        disk=disk.f_blocks * disk.f_frsize if disk else 0,
        hugepages=_hugepages(),
        machine_id=_line(Path("/etc/machine-id")),
        system_uuid=_line(SYS / "class/dmi/id/product_uuid") or _line(Path("/etc/machine-id")),
        boot_id=read_boot_id(),
        kernel=platform.release(),
        os_image=_os_image(),
        architecture=ARCHITECTURES.get(machine, machine),
        cgroup_version=version,
        swap_limits=_limits_swap(version),
        apparmor=_line(SYS / "module/apparmor/parameters/enabled") == "Y",
        selinux=(SYS / "fs/selinux/enforce").exists(),
    )


_CONTROLLERS = "fs/cgroup/cgroup.controllers"


def _limits_swap(cgroup_version: int) -> bool:
    """Version 2 has the file in every cgroup but the first, where memory is counted."""
    if cgroup_version == 1:
        return (SYS / "fs/cgroup/memory/memory.memsw.limit_in_bytes").exists()
    own = _line(PROC / "self/cgroup").partition("::")[2].lstrip("/")
    folder = SYS / "fs/cgroup"
    return (folder / own / _SWAP).exists() or any(folder.glob(f"*/{_SWAP}"))


_SWAP = "memory.swap.max"


def read_now(data_dir: Path, *, node_ips: tuple[str, ...] = ()) -> Readings:
    disk = read_disk(str(data_dir))
    memory = Room(_meminfo("MemTotal"), _meminfo("MemAvailable"))
    return Readings(
        addresses=node_ips or own_addresses(),
        memory=memory if memory.available else None,
        disk=disk.space,
        inodes=disk.inodes,
        pids=_pids(),
    )


def read_disk(path: str) -> Disk:
    """The file system that ``path`` is on."""
    found = _filesystem(Path(path))
    if found is None:
        return Disk()
    return Disk(
        Room(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)
        if found.f_blocks
        else None,
        Room(found.f_files, found.f_favail) if found.f_files else None,
        _device_number(path),
    )


def _device_number(path: str) -> int | None:
    try:
        return os.stat(path).st_dev
    except OSError:
        return None


def read_boot_id() -> str:
    return _line(PROC / "sys/kernel/random/boot_id")


def own_addresses() -> tuple[str, ...]:
    """The addresses that the default routes use, IPv4 first; none without such a route.

    A link-local one reaches nobody beyond the link, and the API takes none for an endpoint.
    """
    found = []
    for address, family in ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((address, 9))
                own = str(probe.getsockname()[0])
        except OSError:
            continue
        if not ipaddress.ip_address(own).is_link_local:
            found.append(own)
    return tuple(found)


def _filesystem(folder: Path) -> os.statvfs_result | None:
    try:
        return os.statvfs(folder)
    except OSError:
        return None


def _meminfo(name: str) -> int:
    for line in _text(PROC / "meminfo").splitlines():
        label, _, rest = line.partition(":")
        words = rest.split()
        if label == name and words and words[0].isdecimal():
            return int(words[0]) * 1024
    return 0


def _hugepages() -> dict[str, int]:
    try:
        folders = sorted((SYS / "kernel/mm/hugepages").iterdir())
    except OSError:
        return {}
    found = {}
    for folder in folders:
        size = folder.name.removeprefix("hugepages-").removesuffix("kB")
        number = _line(folder / "nr_hugepages")
        if size.isdecimal() and number.isdecimal():
            found[size] = int(size) * 1024 * int(number)
    return found


def _pids() -> Room | None:
    running = _line(PROC / "loadavg").split()
    limits = [_line(PROC / "sys/kernel" / name) for name in ("pid_max", "threads-max")]
    most = min((int(one) for one in limits if one.isdecimal()), default=0)
    used = running[3].partition("/")[2] if len(running) > 3 else ""
    if not used.isdecimal() or most == 0:
        return None
    return Room(most, max(0, most - int(used)))


def _os_image() -> str:
    for file in (Path("/etc/os-release"), Path("/usr/lib/os-release")):
        for line in _text(file).splitlines():
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip("\"'")
    return "Linux"


def _line(path: Path) -> str:
    return _text(path).strip().partition("\n")[0]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
