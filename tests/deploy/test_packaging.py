"""Each extra alone, in a fresh environment: the program starts, and the other side is not there.

A soak test because it fetches packages; what it installs is what the Containerfiles install.
"""

from __future__ import annotations

import re
import subprocess
import time
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.parts.kubernetes import Cluster
from tests.parts.mosquitto import Mosquitto

ROOT = Path(__file__).parents[2]
INSTALL_SECONDS = 600

pytestmark = [pytest.mark.soak, pytest.mark.timeout(INSTALL_SECONDS + 120)]


@dataclass
class Installed:
    folder: Path

    def command(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def packages(self) -> set[str]:
        listed = self.run("python", "-m", "pip", "list", "--format=freeze")
        return {line.partition("==")[0].lower() for line in listed.splitlines()}

    def run(self, name: str, *arguments: str) -> str:
        """Outside the source tree, so that nothing of it is imported by chance."""
        done = subprocess.run(
            [self.command(name), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def install(folder: Path, extra: str) -> Installed:
    """From a copy: a build leaves files beside the sources."""
    source = folder / "source"
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    for name in tracked.stdout.split():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    made = Installed(folder / extra)
    venv.create(made.folder, with_pip=True)
    made.run("python", "-m", "pip", "install", "--quiet", f"{source}[{extra}]")
    return made


def runs_until(installed: Installed, words: str, *command: str, folder: Path) -> None:
    """Start it, wait for the words in its log, end it; its exit code must be 0."""
    log = folder / "log"
    with log.open("wb") as out:
        program = subprocess.Popen(
            [installed.command(command[0]), *command[1:]], cwd=folder, stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + 60
        while words not in log.read_text():
            assert program.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
    finally:
        program.terminate()
        code = program.wait(20)
    assert code == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_device_installs_nothing_of_the_cloud(mosquitto: Mosquitto, tmp_path: Path) -> None:
    edge = install(tmp_path, "edge")
    assert edge.packages() & {"kubernetes", "aiohttp", "prometheus-client", "iotcore"} == set()
    assert "edgeagent" in edge.run("edgeagent", "--help")
    arguments = ["run", "--mqtt", mosquitto.url, "--runtime", "process", "--node-name", "edge-1"]
    arguments += ["--data-dir", str(tmp_path / "data"), "--log-dir", str(tmp_path / "logs")]
    runs_until(edge, '"connected"', "edgeagent", *arguments, folder=tmp_path)


def test_a_hub_installs_nothing_of_a_device(
    embedded_kubernetes: Cluster, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    hub = install(tmp_path, "hub")
    assert hub.packages() & {"sqlite-utils", "grpclib", "grpcio", "iotcore", "sdnotify"} == set()
    assert "cloudhub" in hub.run("cloudhub", "--help")
    arguments = ["run", "--kubeconfig", str(embedded_kubernetes.kubeconfig_path)]
    arguments += ["--mqtt", mosquitto.url, "--metrics-listen", "127.0.0.1:0"]
    runs_until(hub, "connected to the broker", "cloudhub", *arguments, folder=tmp_path)


@pytest.mark.parametrize(("side", "program"), [("agent", "edgeagent"), ("hub", "cloudhub")])
def test_the_containerfiles_install_an_extra_that_exists(side: str, program: str) -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "deploy" / "containers" / f"Containerfile.{side}").read_text()
    extras = re.findall(r"'/src\[(\w+)\]'", text)
    assert len(extras) == 1 and extras[0] in project["optional-dependencies"]
    assert f'ENTRYPOINT ["/opt/kubetide/bin/{program}", "run"]' in text
    assert program in project["scripts"]
    lowest = project["requires-python"].removeprefix(">=")
    assert text.count(f"python:{lowest}-slim") == 2
