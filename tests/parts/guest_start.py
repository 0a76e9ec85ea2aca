"""What a virtual machine starts from: a kernel of Debian, a first process, an empty disk.

The kernel is what ``tools/guest-kernel`` unpacked; nothing of it is installed here. The root file
system is made by ``guest_init.sh`` from the host's own tree, so the guest has the same Python,
containerd, mosquitto and systemd as the tests outside.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.parts.missing import need, refuse

PROJECT = Path(__file__).parents[2]
KERNEL = PROJECT / "build" / "machine" / "kernel"
PORT = "kubetide.commands"

_MODULES = (
    *("virtio_pci", "virtio_blk", "virtio_console", "virtio_net", "9pnet_virtio", "9p"),
    *("overlay", "crc32c_generic", "ext4"),
)
"""Of the first process; everything else is loaded when it is asked for."""

_UNIT = f"""
[Unit]
Description=Commands of the tests
DefaultDependencies=no
After=sysinit.target dbus.service

[Service]
ExecStart={sys.executable} -S {Path(__file__).with_name("guest_commands.py")} {PORT}
OOMScoreAdjust=-1000
"""


@dataclass(frozen=True)
class Kernel:
    image: Path
    modules: Path
    version: str


def need_machine() -> Kernel:
    """Skip, with the way to it, where no virtual machine can be started."""
    need("virtual machine", "qemu-system-x86_64", packages="qemu-system-x86")
    need("virtual machine", "busybox", packages="busybox-static")
    need("virtual machine", "modprobe", packages="kmod")
    if not (KERNEL / "version").exists():
        refuse("virtual machine", "no kernel: make machine unpacks one")
    return Kernel(KERNEL / "vmlinuz", KERNEL / "modules", (KERNEL / "version").read_text().strip())


def make_initramfs(kernel: Kernel, folder: Path) -> Path:
    """The first process with the modules that it needs, in an archive in ``folder``."""
    tree = folder / "initramfs"
    for name in ("bin", "modules", "units"):
        (tree / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", tree / "bin" / "busybox")
    modules = _modules(kernel)
    for module in modules:
        shutil.copy(module, tree / "modules")
    (tree / "order").write_text("".join(f"{module.name}\n" for module in modules))
    (tree / "modules-at").write_text(str(kernel.modules))
    (tree / "units" / "guest-commands.service").write_text(_UNIT)
    shutil.copy(Path(__file__).with_name("guest_init.sh"), tree / "init")
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    packed = subprocess.run(
        [str(tree / "bin" / "busybox"), "cpio", "-o", "-H", "newc"],
        input=names.encode(),
        cwd=tree,
        check=True,
        capture_output=True,
    ).stdout
    archive = folder / "initramfs.gz"
    archive.write_bytes(gzip.compress(packed, 1))
    return archive


def _modules(kernel: Kernel) -> list[Path]:
    """Of the kernel's, each after those that it needs."""
    found: dict[Path, None] = {}
    tree = kernel.modules / kernel.version
    needs = dict(line.split(":", 1) for line in (tree / "modules.dep").read_text().splitlines())
    built_in = (tree / "modules.builtin").read_text()
    for name in _MODULES:
        path = next((path for path in needs if Path(path).name == f"{name}.ko"), None)
        if path is None:
            if f"/{name}.ko" not in built_in:
                raise LookupError(f"the kernel {kernel.version} has no module {name}")
            continue
        for one in [*reversed(needs[path].split()), path]:
            found[tree / one] = None
    return list(found)


def make_disk(path: Path, *, size: str = "8G") -> Path:
    """An empty ext4 that takes no room before it is written to."""
    need("virtual machine", "mkfs.ext4", packages="e2fsprogs")
    subprocess.run(["truncate", "--size", size, path], check=True)
    subprocess.run(["mkfs.ext4", "-q", path], check=True)
    return path
