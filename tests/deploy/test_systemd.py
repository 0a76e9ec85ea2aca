"""The agent's unit as systemd reads it; what it says to systemd is in ``tests/edge_program``."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.parts.missing import need
from tests.parts.pages import block

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "edgeagent.service"


@pytest.fixture(autouse=True)
def systemd() -> None:
    need("systemd", "systemd-analyze", packages="systemd")


def analyze(*arguments: str) -> str:
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """It also looks for the program, which is on a device only."""
    text = UNIT.read_text()
    assert text.count("/opt/kubetide/bin/python") == 1
    here = tmp_path / UNIT.name
    here.write_text(text.replace("/opt/kubetide/bin/python", "/bin/true"))
    assert analyze("verify", str(here)) == ""


def test_the_drop_in_for_processes_lets_pods_be_other_users(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/kubetide/bin/python", "/bin/true"))
    drop_in = tmp_path / f"{UNIT.name}.d" / "process.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(block("runtimes.md", "[Service]"))
    assert analyze("verify", str(unit)) == ""
    both = f"{unit.read_text()}{drop_in.read_text()}"
    bounds = re.findall("(?m)^CapabilityBoundingSet=(.+)", both)
    assert len(bounds) == 2
    assert {"CAP_SETUID", "CAP_SETGID", "CAP_CHOWN"} <= set(" ".join(bounds).split())


def test_the_exposure_is_what_the_documentation_says() -> None:
    rating = analyze("security", "--offline=true", str(UNIT))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", rating)
    assert found
    documented = re.search(r"rates it ([0-9.]+)", (ROOT / "docs/deployment.md").read_text())
    assert documented
    assert found[1] == documented[1]


def test_what_it_starts_is_a_command_that_the_agent_has() -> None:
    from edgeagent.__main__ import cli
    from edgeagent.settings import CONFIG

    unit = configparser.RawConfigParser(strict=False)
    unit.read(UNIT)
    words = shlex.split(unit["Service"]["ExecStart"])
    assert words[1:4] == ["-OO", "-m", "edgeagent"]
    command = cli.commands[words[4]]
    assert words[5] in {name for option in command.params for name in option.opts}
    assert words[6:] == [CONFIG]


def test_it_stops_before_logind_and_the_runtime_and_may_talk_to_the_bus() -> None:
    """The order of stopping is the reverse of ``After``; none of them has to be there."""
    lines = [line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line]
    words = {key: set(value.split()) for key, value in reversed(lines) if key not in ("After",)}
    after = {word for key, value in lines if key == "After" for word in value.split()}
    assert {"dbus.service", "systemd-logind.service", "containerd.service", "crio.service"} <= after
    assert (words["Wants"], words.get("Requires")) == ({"local-fs.target"}, None)
    assert "AF_UNIX" in words["RestrictAddressFamilies"]
    assert not {"PrivateNetwork", "PrivateUsers", "DynamicUser", "User"} & words.keys()
