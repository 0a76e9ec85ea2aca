"""Users that the device keeps for its pods: the lines of ``kubelet`` in subuid and subgid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeagent.node.device import Device, Readings
from edgeagent.node.facts import node_facts
from edgeagent.node.subids import read_first_ids
from edgeagent.pods.model.nodefacts import FIRST_IDS
from edgeagent.runtime.abilities import RuntimeInfo
from edgeagent.settings import Settings
from shared.errors import SettingsError
from shared.link import Broker
from shared.topics import Topics

OTHERS = "user:100000:65536\nkubelets:65536:65536\n"


def read(folder: Path, users: str, groups: str | None = None) -> range:
    subuid, subgid = folder / "subuid", folder / "subgid"
    subuid.write_text(users)
    subgid.write_text(users if groups is None else groups)
    return read_first_ids(subuid, subgid)


def test_without_a_line_they_are_all_but_the_lowest(tmp_path: Path) -> None:
    assert read(tmp_path, OTHERS) == FIRST_IDS
    assert read_first_ids(tmp_path / "absent", tmp_path / "absent") == FIRST_IDS
    assert FIRST_IDS[0] == 65536


def test_the_line_of_kubelet_says_where_pods_users_begin(tmp_path: Path) -> None:
    found = read(tmp_path, f"{OTHERS}kubelet:655360:131072\n")
    assert list(found) == [655360, 720896]
    names = ("edge-1", Broker("b", 1), Topics(), tmp_path, tmp_path, "process")
    facts = node_facts(
        Settings(*names), Device(first_ids=found), Readings(), RuntimeInfo("containerd", "2.0")
    )
    assert facts.first_ids == found


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kubelet:0:65536", "pods can have users from 65536 to 4294901759"),
        ("kubelet:4294836224:131072", "pods can have users from"),
        ("kubelet:100000:65536", "FIRST and COUNT must be multiples of 65536"),
        ("kubelet:65536:1000", "FIRST and COUNT must be multiples of 65536"),
        ("kubelet:65536:0", "FIRST and COUNT must be multiples of 65536"),
        ("kubelet:65536", "write one line kubelet:FIRST:COUNT"),
        ("kubelet:many:65536", "write one line kubelet:FIRST:COUNT"),
        ("kubelet:65536:-65536", "write one line kubelet:FIRST:COUNT"),
        ("kubelet:65536:65536\nkubelet:655360:65536", "write one line kubelet:FIRST:COUNT"),
    ],
)
def test_a_line_that_cannot_be_used_is_told_at_the_start(
    tmp_path: Path, line: str, words: str
) -> None:
    told = f"subuid: {re.escape(line.splitlines()[0])}: {words}"
    with pytest.raises(SettingsError, match=told):
        read(tmp_path, f"{OTHERS}{line}\n")


def test_users_and_groups_are_the_same_ones(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the lines of kubelet differ"):
        read(tmp_path, "kubelet:65536:65536\n", "kubelet:131072:65536\n")
    with pytest.raises(SettingsError, match="the lines of kubelet differ"):
        read(tmp_path, "kubelet:65536:65536\n", "")
