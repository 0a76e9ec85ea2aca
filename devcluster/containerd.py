"""A private containerd with its own folders, socket, bridge and subnet; nothing shared.

``start``/``kill``/``restart`` are for a runtime that dies: state stays on disk and the containers
go on (their shims are processes of their own). ``reboot`` is a power cut of the whole device.
``close`` leaves nothing: pods, shims, mounts, network, folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from devcluster.images import PAUSE
from edgeagent.runtime.cri import CriRuntime
from shared.errors import TemporaryError

PROGRAMS = ("containerd", "ctr", "runc", "iptables", "setpriv")
PACKAGES = "containerd runc containernetworking-plugins iptables"
CNI_PLUGINS = next((p for p in ("/usr/lib/cni", "/opt/cni/bin") if os.path.isdir(p)), "")
CAP_SYS_RESOURCE = 24

_CONFIG = """
version = 2
root = "{root}/root"
state = "{root}/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{root}/containerd.sock"

[ttrpc]
  address = "{root}/containerd.sock.ttrpc"

[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = {restrict}
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{root}/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{root}/certs.d"
"""


def why_not() -> str:
    """Why this machine cannot run containers; empty when it can."""
    if os.geteuid() != 0:
        return "needs root"
    absent = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    return f"{', '.join(absent)} not found: apt-get install {PACKAGES}" if absent else ""


def search_path() -> str:
    """Daemons live in sbin, which an ordinary user's PATH may lack."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"])


class Containerd:
    """One containerd process over one folder."""

    def __init__(self, program: str = "containerd", *, disk: Path | None = None) -> None:
        """``program`` may be another one than the system's, with its own tools beside it; ``disk``
        is where its folder is made, if not where temporary files are."""
        self._program = program
        self.root = Path(tempfile.mkdtemp(prefix="ktc-", dir=disk))
        # Pods with users of their own pass through it to their files.
        self.root.chmod(0o711)
        self.socket = self.root / "containerd.sock"
        self.address = f"unix://{self.socket}"
        self.log = self.root / "containerd.log"
        self.bridge = f"kt{secrets.token_hex(4)}"
        self.subnet = f"10.{secrets.randbelow(50) + 200}.{secrets.randbelow(256)}.0/24"
        self._process: subprocess.Popen[bytes] | None = None
        self._write_settings()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when it answers; it dies with the test run, whatever ends that."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", self._program, "--config", self._settings],
                stdout=log,
                stderr=log,
                env=self._environment(),
            )
        deadline = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"containerd did not start: {self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """As a crash would: SIGKILL, containers go on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def ctr(self, *arguments: str) -> str:
        command = ["ctr", "--address", str(self.socket), "--namespace", "k8s.io", *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env=self._environment()
        ).stdout

    def import_images(self, archive: Path) -> None:
        self.ctr("images", "import", str(archive))

    def reboot(self) -> None:
        """A power cut of the device: every process gone, /run and the network with it."""
        self.power_off()
        self.start()

    def power_off(self) -> None:
        self.kill()
        self._kill_shims(with_containers=True)
        self._unmount()
        shutil.rmtree(self.root / "state", ignore_errors=True)
        subprocess.run(["ip", "link", "delete", self.bridge], capture_output=True, check=False)

    def close(self) -> None:
        if self._process is None:
            self.start()
        try:
            self.remove_pods()
        finally:
            self.kill()
            self._kill_shims()
            self._unmount()
            subprocess.run(["ip", "link", "delete", self.bridge], capture_output=True, check=False)
            shutil.rmtree(self.root)

    @property
    def _settings(self) -> Path:
        return self.root / "config.toml"

    def _write_settings(self) -> None:
        config = _CONFIG.format(
            root=self.root,
            pause=PAUSE,
            restrict=str(not _may_lower_oom_score()).lower(),
            plugins=CNI_PLUGINS,
            snapshotter="native" if _on_overlay(self.root) else "overlayfs",
        )
        self._settings.write_text(config)
        network = self.root / "net.d" / "10-test.conflist"
        network.parent.mkdir()
        network.write_text(json.dumps(self._network()))

    def _network(self) -> dict[str, object]:
        addresses = {
            "type": "host-local",
            "dataDir": str(self.root / "addresses"),
            "ranges": [[{"subnet": self.subnet}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {"type": "bridge", "bridge": self.bridge, "isGateway": True, "ipam": addresses}
        ports = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
        return {"cniVersion": "0.4.0", "name": self.bridge, "plugins": [bridge, ports]}

    def _answers(self) -> bool:
        command = ["ctr", "--address", str(self.socket), "--timeout", "1s", "version"]
        done = subprocess.run(command, capture_output=True, check=False, env=self._environment())
        return done.returncode == 0

    def _environment(self) -> dict[str, str]:
        """Shims and ``ctr`` come from where the program is, and only then from the system."""
        folder = os.path.dirname(self._program)
        path = os.pathsep.join([folder, search_path()]) if folder else search_path()
        return {**os.environ, "PATH": path}

    def remove_pods(self) -> None:
        """In a thread: the caller may be in a loop of its own."""
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _remove_pods(self.address)).result()

    def _kill_shims(self, *, with_containers: bool = False) -> None:
        """Shims by the socket in their command line; their children are the containers."""
        shims = {pid for pid, command in _commands() if self._is_shim(command)}
        children = {pid for pid, parent in _parents().items() if parent in shims}
        for pid in shims | (children if with_containers else set()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _is_shim(self, command: bytes) -> bool:
        return b"containerd-shim" in command and os.fsencode(self.socket) in command

    def _unmount(self) -> None:
        table = Path("/proc/self/mountinfo").read_text().splitlines()
        for line in reversed(table):
            target = line.split()[4]
            if target.startswith(f"{self.root}/"):
                subprocess.run(["umount", "--lazy", target], check=True)


async def _remove_pods(address: str) -> None:
    """Again when containerd fails once, as it does when a shim dies just then."""
    runtime = CriRuntime(address)
    try:
        for tries_left in reversed(range(10)):
            try:
                left = await runtime.list_sandboxes()
                await asyncio.gather(*(runtime.remove_sandbox(one.id) for one in left))
                return
            except TemporaryError:
                if not tries_left:
                    raise
                await asyncio.sleep(0.5)
    finally:
        await runtime.close()


def _commands() -> Iterator[tuple[int, bytes]]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield int(folder.name), (folder / "cmdline").read_bytes()


def _parents() -> dict[int, int]:
    """Parent of every process."""
    found: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            found[int(folder.name)] = int(fields[1])
    return found


def _may_lower_oom_score() -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1)
    return False


def _on_overlay(folder: Path) -> bool:
    """overlayfs does not stack on itself, which is what a CI job in a container would need."""
    command = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(folder)]
    kind = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return "overlay" in kind
