"""What a device is asked when its pods did not come back: all that could tell why."""

from __future__ import annotations

from tests.parts.guest import Guest
from tests.parts.guest_start import PROJECT

_AGENT = f"{PROJECT}/.venv/bin/python -m edgeagent"


QUESTIONS = (
    "journalctl --no-pager --boot --unit containerd --lines 150",
    "journalctl --no-pager --boot --unit edgeagent --lines 150",
    "systemctl --no-pager --failed; systemctl --no-pager status containerd edgeagent",
    f"{_AGENT} status",
    f"{_AGENT} pods",
    "ctr -n k8s.io containers ls",
    "ctr -n k8s.io tasks ls",
    "ctr -n k8s.io images ls",
    "ctr -n k8s.io snapshots ls",
    "findmnt --types ext4,overlay --output TARGET,FSTYPE,OPTIONS | head -40; df -h /machine",
    "find /var/lib/kubetide /var/lib/cni /var/lib/containerd/io.containerd.grpc.v1.cri -empty",
    "find /var/lib/kubetide /var/lib/cni -ls | tail -100",
    "dmesg | tail -60",
)


def post_mortem(guest: Guest) -> str:
    """The answers, one after the other; a question that has no answer is no reason to stop."""
    told = []
    for question in QUESTIONS:
        try:
            answer = guest.run("/bin/sh", "-c", question, within=120).text
        except AssertionError as error:
            answer = str(error)
        told.append(f"==== {question}\n{answer}")
    return "\n".join(told)
