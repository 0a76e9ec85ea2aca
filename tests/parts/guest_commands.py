"""Runs inside the virtual machine: what comes in on the virtio port is run, what it says goes back.

One JSON document a line, both ways. In: ``{"id", "argv"}``. Out: ``{"boot"}`` once, then any
number of ``{"id", "output"}`` (base64) and one ``{"id", "code"}`` for each command. Commands run
beside each other. Standard library only: it starts before anything else is known to work.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO


class Answers:
    """The way out, shared by all commands that run."""

    def __init__(self, port: BinaryIO) -> None:
        self._port = port
        self._lock = threading.Lock()

    def say(self, **message: object) -> None:
        data = json.dumps(message).encode() + b"\n"
        with self._lock:
            while data:
                data = data[self._port.write(data) :]


def run(request: dict[str, object], answers: Answers) -> None:
    try:
        process = subprocess.Popen(
            request["argv"],  # type: ignore[call-overload]
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
        )
    except OSError as error:
        text = base64.b64encode(str(error).encode()).decode()
        answers.say(id=request["id"], output=text)
        answers.say(id=request["id"], code=127)
        return
    while chunk := process.stdout.read1(32768):
        answers.say(id=request["id"], output=base64.b64encode(chunk).decode())
    answers.say(id=request["id"], code=process.wait())


def find_port(name: str) -> str:
    """Without udev a port has no name in /dev, only in sysfs."""
    for folder in Path("/sys/class/virtio-ports").iterdir():
        if (folder / "name").read_text().strip() == name:
            return f"/dev/{folder.name}"
    raise SystemExit(f"no virtio port {name}")


def main() -> None:
    with open(find_port(sys.argv[1]), "r+b", buffering=0) as port:
        answers = Answers(port)
        answers.say(boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        rest = b""
        while chunk := port.read(32768):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line:
                    threading.Thread(target=run, args=(json.loads(line), answers)).start()


if __name__ == "__main__":
    main()
