"""``edgeagent`` as people and service managers run it: a process of its own.

The runtime is ``process``, so nothing but Python is needed; there is no broker at the port it is
given unless a test starts one.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.parts.mosquitto import Mosquitto
from tests.parts.ports import free_port

LIGHT = ("paho", "grpc", "cri_api", "msgpack", "sqlite_utils")
"""What the commands that only read must not load."""


class Program:
    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, mqtt: str = "", **environment: str) -> None:
        mqtt = mqtt or f"mqtt://127.0.0.1:{free_port()}"
        arguments = ["run", "--mqtt", mqtt, "--runtime", "process", "--node-name", "edge-1"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edgeagent", *arguments, "--data-dir", self.data, *options],
                stderr=log,
                env={**os.environ, **environment},
            )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(timeout=15)
        self.process = None
        return code

    def ask(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Exit code, and what was printed."""
        done = subprocess.run(
            [sys.executable, "-m", "edgeagent", *arguments, "--data-dir", self.data],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            env={**os.environ, **environment},
        )
        return done.returncode, done.stdout

    def until_status_says(self, words: str, *, within: float = 20.0) -> str:
        deadline = time.monotonic() + within
        while True:
            _, text = self.ask("status")
            if words in text:
                return text
            assert time.monotonic() < deadline, f"{words!r} not in: {text}\n{self.log.read_text()}"
            time.sleep(0.1)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.wait()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_says_why_there_is_no_link_and_stops_when_told(
    program: Program, how: signal.Signals
) -> None:
    program.start()
    text = program.until_status_says("Connection refused")
    assert "agent:    running" in text
    began = time.monotonic()
    assert program.stop(how) == 0
    assert time.monotonic() - began < 12
    code, text = program.ask("status")
    assert code == 3
    assert "not running" in text


def test_after_a_kill_the_device_still_answers_and_the_agent_starts(program: Program) -> None:
    program.start()
    program.until_status_says("Connection refused")
    program.stop(signal.SIGKILL)
    code, text = program.ask("status")
    assert (code, "not running" in text) == (3, True)
    assert program.ask("pods")[0] == 0
    program.start()
    program.until_status_says("agent:    running")


def test_connected_and_told_of_the_brokers_death(program: Program, mosquitto: Mosquitto) -> None:
    program.start(mqtt=mosquitto.url)
    text = program.until_status_says("link:     connected")
    assert "not there, as far as the broker knows" in text
    program.until_status_says("all delivered")
    mosquitto.kill()
    program.until_status_says("link:     not connected")


def test_a_second_agent_on_the_same_data_is_one_clear_line(program: Program) -> None:
    program.start()
    program.until_status_says("agent:    running")
    arguments = ("run", "--mqtt", "mqtt://127.0.0.1:9", "--runtime", "process")
    code, text = program.ask(*arguments)
    assert code == 2
    assert text.splitlines()[-1].startswith(f"edgeagent: data-dir: {program.data} is in use")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("run",), "edgeagent: mqtt is not set"),
        (("run", "--mqtt=mqtt://b", "--node-name=Not_OK"), "node-name: 'Not_OK'"),
        (("run", "--mqtt=mqtt://b", "--runtime=docker"), "runtime: 'docker'"),
        (("run", "--mqtt=mqtt://b", "--runtime=process", "--root=a/#"), "root: 'a/#'"),
        (("run", "--mqtt=mqtt://b", "--runtime=process", "--node-ip=me"), "node-ip: 'me'"),
        (("run", "--mqtt=mqtt://b", "--runtime=process", "--log-dir=x"), "log-dir: 'x'"),
        (
            ("run", "--mqtt=mqtt://b", "--runtime=process", "--shutdown-grace-period=5"),
            "shutdown-grace-period-critical-pods: 10 is more than shutdown-grace-period (5)",
        ),
        (
            ("run", "--mqtt=mqtt://b", "--runtime=process", "--shutdown-grace-period=30s"),
            "'--shutdown-grace-period': '30s' is not a valid integer",
        ),
        (("logs", "web"), "has no agent.db: no agent has run with it yet"),
        (("status",), "has no agent.db: no agent has run with it yet"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(
    program: Program, arguments: tuple[str, ...], line: str
) -> None:
    program.data.mkdir()
    code, text = program.ask(*arguments)
    assert code == 2
    assert line in text
    assert text.count("\n") == 1


def test_every_setting_works_from_the_file_and_the_environment(
    program: Program, tmp_path: Path
) -> None:
    config = tmp_path / "edgeagent.toml"
    config.write_text('cluster-dns = ["10.96.0.10", "nonsense"]\nmqtt-username = "u"\n')
    code, text = program.ask(
        *("run", "--config", str(config), "--mqtt=mqtt://b", "--runtime=process")
    )
    assert (code, "cluster-dns: 'nonsense'" in text) == (2, True)


def test_windows_in_the_environment_have_a_semicolon_or_a_blank_after_a_time_between_them(
    program: Program,
) -> None:
    for windows in (
        "Sat,Sun 02:00-04:00; 22:00-23:00;nonsense here",
        "02:00-04:00 22:00-23:00 nonsense here;",
        "Sat 02:00-04:00;;Sun 22:00-23:00 nonsense here",
    ):
        code, text = program.ask(
            *("run", "--mqtt=mqtt://b", "--runtime=process"), EDGEAGENT_MAINTENANCE_WINDOW=windows
        )
        assert (code, "maintenance-window: 'nonsense here' is not" in text) == (2, True), windows


@pytest.mark.parametrize("command", ["status", "pods", "logs web", "release web"])
def test_what_is_asked_at_the_device_finds_the_data_by_the_file_of_the_agent(
    command: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    config = tmp_path / "edgeagent.toml"
    config.write_text(f'mqtt = "mqtt://b"\nlog-level = "info"\ndata-dir = "{data}"\n')
    asked = [sys.executable, "-m", "edgeagent", *command.split(), "--config", str(config)]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 2
    assert str(data) in done.stderr


class Notified:
    """The service manager's end of sd_notify."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(15)

    def until(self, said: Callable[[str], bool]) -> str:
        while not said(line := self._socket.recv(4096).decode()):
            pass
        return line

    def close(self) -> None:
        self._socket.close()


def test_the_service_manager_hears_of_readiness_life_and_status(
    program: Program, tmp_path: Path
) -> None:
    notified = Notified(tmp_path / "notify")
    program.start(NOTIFY_SOCKET=notified.path, WATCHDOG_USEC="400000")
    notified.until(lambda line: line == "READY=1")
    notified.until(lambda line: line.startswith("STATUS=not connected"))
    for _ in range(3):
        notified.until(lambda line: line == "WATCHDOG=1")
    assert program.stop() == 0
    notified.until(lambda line: line == "STOPPING=1")
    notified.close()


@pytest.mark.parametrize("command", ["status", "pods", "logs"])
def test_commands_that_only_read_load_nothing_heavy(program: Program, command: str) -> None:
    """And no database while the agent answers."""
    program.start()
    program.until_status_says("agent:    running")
    arguments = [command, *(["web"] if command == "logs" else []), "--data-dir", str(program.data)]
    assert loaded_by(arguments, *LIGHT, "sqlite3") == []
    program.stop()
    assert loaded_by(arguments, *LIGHT) == []


def loaded_by(arguments: list[str], *names: str) -> list[str]:
    script = (
        "import sys\nfrom edgeagent.__main__ import cli\n"
        f"try: cli.main({arguments!r}, standalone_mode=False)\n"
        "except Exception: pass\n"
        f"print('loaded', *[name for name in {names!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    word, *found = done.stdout.splitlines()[-1].split()
    assert word == "loaded"
    return found
