"""A virtual machine with a kernel, a systemd and a disk of its own, for what this one cannot show.

Cgroup version 2, AppArmor, units of systemd, a real shutdown and a real power cut. The host's file
tree is its root file system, read-only below a disk image that is the guest's (``guest_start``).
It sees that tree as ``/host`` too, where its own ``/tmp`` does not hide the tests'. Commands go in
and their output comes back over a virtio port (``guest_commands``). Its network reaches the
loopback ports of this machine, as ports of ``HOST``, and nothing else. Without hardware
virtualisation QEMU emulates the processors, some twenty times slower.
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parts import patience
from tests.parts.guest_start import PORT, PROJECT, make_disk, make_initramfs, need_machine

MEMORY = 2560
"""MiB."""

PROCESSORS = 2

HOST = "10.0.2.2"
"""What is 127.0.0.1 outside."""


@dataclass(frozen=True)
class Done:
    code: int
    output: bytes

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace")


class Guest:
    """One disk, and the machine that runs on it from ``boot`` to its end."""

    def __init__(self, folder: Path | None = None) -> None:
        self._kernel = need_machine()
        self.folder = folder or Path(tempfile.mkdtemp(prefix="ktg-"))
        self.console = self.folder / "console.log"
        self.disk = make_disk(self.folder / "disk.raw")
        self._initramfs = make_initramfs(self._kernel, self.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._boots: queue.Queue[str] = queue.Queue()
        self._last = 0

    def start(self, *, drive: Sequence[str] = (), within: float = 300) -> None:
        """Power on; returns when systemd has started what takes commands."""
        end = self.folder / f"port-{time.monotonic_ns()}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(end))
            listener.listen()
            listener.settimeout(30)
            command = [*self._command(end), *(drive or self._drive())]
            with (self.folder / "qemu.log").open("ab") as log:
                self._process = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                )
            self._port, _ = listener.accept()
        threading.Thread(target=self._listen, args=(self._port,), daemon=True).start()
        self.wait_for_boot(within=within)

    def wait_for_boot(self, *, within: float = 300) -> str:
        """Until it is up (again); the id of that boot."""
        try:
            return self._boots.get(timeout=within)
        except queue.Empty:
            self.cut_power()
            raise AssertionError(f"the guest did not boot:\n{self.last_words()}") from None

    def run(self, *argv: str, within: float = 120) -> Done:
        """A command in the guest, and what came of it."""
        self._last += 1
        number, answers = self._last, queue.Queue[dict[str, Any]]()
        self._answers[number] = answers
        self._port.sendall(json.dumps({"id": number, "argv": argv}).encode() + b"\n")
        output, deadline = b"", time.monotonic() + within
        while True:
            try:
                answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(
                    f"{shlex.join(argv)} took more than {within:.0f} s in the guest:\n"
                    f"{output.decode(errors='replace')[-5000:]}\n{self.last_words()}"
                ) from None
            if "code" in answer:
                return Done(answer["code"], output)
            output += base64.b64decode(answer["output"])

    def sh(self, script: str, *, within: float = 120) -> str:
        """The output of a script that must succeed."""
        done = self.run("/bin/sh", "-ec", script, within=within)
        assert done.code == 0, f"{script}\nended with {done.code}:\n{done.text}"
        return done.text.strip()

    def python(self, *arguments: str, within: float = 120) -> Done:
        """The project's own Python, in the project's folder."""
        program = shlex.join([str(PROJECT / ".venv" / "bin" / "python"), *arguments])
        program = f"env {patience.NAME}=5 {program}"
        return self.run("/bin/sh", "-c", f"cd {PROJECT} && exec {program}", within=within)

    def write(self, path: str, text: str) -> None:
        data = base64.b64encode(text.encode()).decode()
        self.sh(f"mkdir -p $(dirname {path}) && echo {data} | base64 -d >{path}")

    def until(self, script: str, wanted: str, *, within: float = 120) -> None:
        """Until the output of a script is this."""
        deadline = time.monotonic() + within
        while (seen := self.run("/bin/sh", "-c", script).text.strip()) != wanted:
            assert time.monotonic() < deadline, (
                f"{script}\nis {seen!r}, not {wanted!r}, after {within:.0f} s"
            )
            time.sleep(0.5)

    def wait_for_off(self, *, within: float = 180) -> None:
        """Until it has switched itself off."""
        assert self._process is not None
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the guest is still on:\n{self.last_words()}") from None
        self._switched_off()

    def cut_power(self) -> None:
        """What it had not written to its disk by now, it has never written."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._switched_off()

    def close(self) -> None:
        self.cut_power()
        shutil.rmtree(self.folder)

    def last_words(self) -> str:
        with contextlib.suppress(OSError):
            return self.console.read_text(errors="replace")[-3000:]
        return ""

    def _switched_off(self) -> None:
        self._process = None
        with contextlib.suppress(OSError):
            self._port.shutdown(socket.SHUT_RDWR)
        self._port.close()

    def _command(self, end: Path) -> list[str]:
        return [
            *("nice", "-n", "5", "qemu-system-x86_64", "-machine", "q35", *_accelerator()),
            *("-m", str(MEMORY), "-smp", str(PROCESSORS), "-nodefaults", "-display", "none"),
            *("-kernel", str(self._kernel.image), "-initrd", str(self._initramfs)),
            *("-append", "console=ttyS0 quiet mitigations=off panic=-1 systemd.show_status=1"),
            *("-chardev", f"file,id=console,path={self.console},append=on"),
            *("-serial", "chardev:console", "-device", "virtio-serial", "-device", "virtio-rng"),
            *("-chardev", f"socket,id=commands,path={end}"),
            *("-device", f"virtserialport,chardev=commands,name={PORT}"),
            *("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"),
            *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
            *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
        ]

    def _drive(self) -> list[str]:
        return ["-drive", f"file={self.disk},format=raw,if=virtio,cache=writeback,discard=unmap"]

    def _listen(self, port: socket.socket) -> None:
        """Sorts what comes in. A line that a dying guest left unfinished is nobody's."""
        with contextlib.suppress(OSError), port.makefile("rb") as lines:
            for line in lines:
                try:
                    message = json.loads(line)
                except ValueError:
                    continue
                if "boot" in message:
                    self._boots.put(message["boot"])
                elif message["id"] in self._answers:
                    self._answers[message["id"]].put(message)


def _accelerator() -> list[str]:
    """Of the processors where they can do it, or none: an emulated kernel is slow but true."""
    flags = Path("/proc/cpuinfo").read_text()
    if Path("/dev/kvm").exists() and (" vmx " in flags or " svm " in flags):
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", "Nehalem"]
