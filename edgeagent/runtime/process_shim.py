"""The small parent of one host process: keeps its log and learns its exit code.

Run by ``runtime/process.py`` as a script of its own, one per container, from the standard library
alone. It detaches itself, so that it outlives the agent: an agent that comes back finds the
process running, its log complete and, later, its true exit code. Its folder holds:

* ``spec.json``     (agent) command, env, folder, user, log file;
* ``started.json``  (shim) the process and the shim, each by pid and start time;
* ``exit.json``     (shim) exit code and time, or why the command could not be started.

When the process ends, whatever it left behind is killed, as in a container. The first process
waits until the command has started, prints what went wrong and exits 1 when it could not be.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

START_ERROR = 128
LONGEST_LINE = 16 * 1024
"""Longer ones are written in parts, marked as the CRI log format wants it."""
DRAIN_SECONDS = 2.0
_PR_SET_CHILD_SUBREAPER = 36


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Whole or not at all, also after a power cut; readable by nobody else (env has secrets)."""
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def start_time(pid: int) -> int:
    """Clock ticks since boot; with the pid it names one process for ever. 0 = not alive."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if after_name[0] in "ZX" else int(after_name[19])


class CriLog:
    """Lines in the CRI log format; goes on in a new file when its own was moved away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def write(self, stream: str, data: bytes) -> None:
        *lines, rest = (self._open[stream] + data).split(b"\n")
        written = b"".join(self._line(stream, line) for line in lines)
        while len(rest) >= LONGEST_LINE:
            written += self._entry(stream, b"P", rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        self._open[stream] = rest
        self._append(written)

    def close(self) -> None:
        """What has no newline at the end of all is a line too."""
        for stream, rest in self._open.items():
            if rest:
                self._append(self._line(stream, rest))
        self._file.close()

    def _line(self, stream: str, line: bytes) -> bytes:
        parts = [line[at : at + LONGEST_LINE] for at in range(0, len(line), LONGEST_LINE)] or [b""]
        tags = [b"P"] * (len(parts) - 1) + [b"F"]
        return b"".join(self._entry(stream, *pair) for pair in zip(tags, parts, strict=True))

    def _entry(self, stream: str, tag: bytes, text: bytes) -> bytes:
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        return f"{stamp}.{nanoseconds:09d}Z {stream} ".encode() + tag + b" " + text + b"\n"

    def _append(self, entries: bytes) -> None:
        if not entries:
            return
        try:
            moved = not os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            moved = True
        if moved:
            self._file.close()
            self._file = self._path.open("ab", buffering=0)
        self._file.write(entries)


def main(folder: Path) -> int:
    heard, report = os.pipe()
    if os.fork() > 0:
        os.close(report)
        with os.fdopen(heard) as words:
            problem = words.read()
        print(problem, file=sys.stderr)  # noqa: T201
        return 1 if problem else 0
    os.close(heard)
    _detach()
    supervise(folder, report)
    return 0


def supervise(folder: Path, report: int) -> None:
    spec = json.loads((folder / "spec.json").read_text())
    try:
        log = CriLog(Path(spec["log"]))
        process = _start(spec)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        problem = f"cannot start {spec['command'][0]!r}: {error}"
        _write_end(folder, START_ERROR, reason="StartError", message=problem)
        os.write(report, problem.encode())
        return
    write_record(folder / "started.json", _started(process.pid))
    os.close(report)
    _copy_output(process, log)
    code = process.returncode
    _write_end(folder, code if code >= 0 else 128 - code)


def _detach() -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)


def _start(spec: dict[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        spec["command"],
        cwd=spec["working_dir"],
        env=spec["env"],
        user=spec["user"],
        group=spec["group"],
        extra_groups=spec["extra_groups"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _started(pid: int) -> dict[str, Any]:
    return {
        "pid": pid,
        "pid_start": start_time(pid),
        "shim": os.getpid(),
        "shim_start": start_time(os.getpid()),
        "started_at": time.time_ns(),
    }


def _copy_output(process: subprocess.Popen[bytes], log: CriLog) -> None:
    """Until the process has ended, and then what is left in its pipes."""
    assert process.stdout and process.stderr
    ended = os.pidfd_open(process.pid)
    deadline = None
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ, "stdout")
        waiting.register(process.stderr, selectors.EVENT_READ, "stderr")
        waiting.register(ended, selectors.EVENT_READ, "ended")
        while waiting.get_map():
            ready = waiting.select(None if deadline is None else DRAIN_SECONDS)
            if deadline is not None and (not ready or time.monotonic() > deadline):
                break
            for key, _ in ready:
                data = b"" if key.data == "ended" else os.read(key.fd, 65536)
                if data:
                    log.write(key.data, data)
                    continue
                waiting.unregister(key.fileobj)
                if key.data == "ended":
                    _kill_rest(process)
                    deadline = time.monotonic() + DRAIN_SECONDS
    log.close()


def _kill_rest(process: subprocess.Popen[bytes]) -> None:
    """The group first, while the unreaped leader keeps its number from being given away."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    orphans = Path(f"/proc/self/task/{os.getpid()}/children")
    while pids := orphans.read_text().split():
        for pid in map(int, pids):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _write_end(folder: Path, code: int, *, reason: str = "", message: str = "") -> None:
    reason = reason or ("Completed" if code == 0 else "Error")
    record = {"exit_code": code, "reason": reason, "message": message}
    write_record(folder / "exit.json", {**record, "finished_at": time.time_ns()})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
