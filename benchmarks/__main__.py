"""``make bench``: every row of DESIGN's table for Kubetide, into docs/benchmarks.md.

Real parts: mosquitto, containerd, and a real kube-apiserver when there is one, else the embedded
API server. ``python -m benchmarks pods link`` runs only the named groups and prints them.
"""

from __future__ import annotations

import asyncio
import datetime
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import device, full, hub, link, pods
from benchmarks.floor import Floor
from benchmarks.rows import Row, table
from devcluster.containerd import Containerd
from tests.parts import certificates, images
from tests.parts.containerd import new_containerd
from tests.parts.kubernetes import assets_folder, start_embedded, start_kube_apiserver
from tests.parts.mosquitto import Mosquitto, Settings
from tests.parts.system import System, running_system

GROUPS = ("pods", "device", "full", "link", "link-tls", "hub-restart", "hub-cost")
AS_IN_THE_UNIT = {
    "PYTHONOPTIMIZE": "2",
    "PYTHONDONTWRITEBYTECODE": "",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "131072",
}
"""What deploy/systemd/edgeagent.service gives the agent; compiled since its first start."""
DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def main(groups: Sequence[str]) -> None:
    unknown = set(groups) - set(GROUPS)
    if unknown:
        sys.exit(f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    rows = asyncio.run(run(groups or GROUPS))
    print(table(rows))
    if not groups:
        DOCUMENT.write_text(document(rows))


async def run(groups: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ktb-") as folder:
        archive = images.build_all(Path(folder))
        for group in groups:
            print(f"# {group}", file=sys.stderr, flush=True)
            containerd = new_containerd(archive)
            try:
                rows += await _group(group, containerd, Path(folder))
            finally:
                containerd.close()
    return rows


async def _group(group: str, containerd: Containerd, folder: Path) -> list[Row]:
    tls = certificates.make(folder) if group == "link-tls" else None
    broker = Mosquitto(Settings(tls=tls, limits={"max_queued_messages": "100000"}))
    broker.start()
    try:
        with _api(folder, embedded=group.startswith("hub")) as kubeconfig:
            return await _on_system(group, kubeconfig, broker, containerd)
    finally:
        broker.close()


async def _on_system(
    group: str, kubeconfig: str, broker: Mosquitto, containerd: Containerd
) -> list[Row]:
    async with running_system(
        kubeconfig=kubeconfig,
        broker=broker,
        containerd=containerd,
        direct=group.startswith("link"),
        agent_env=AS_IN_THE_UNIT,
    ) as system:
        await system.node_is("True")
        return await _measure(group, system, containerd)


async def _measure(group: str, system: System, containerd: Containerd) -> list[Row]:
    if group in ("pods", "full"):
        floor = Floor(containerd)
        try:
            return await (pods if group == "pods" else full).rows(system, floor)
        finally:
            await floor.close()
    if group == "device":
        return await device.rows(system)
    if group.startswith("link"):
        return await link.rows(system, tls=group == "link-tls")
    return await (hub.restart_rows(system) if group == "hub-restart" else hub.cost_rows(system))


@contextmanager
def _api(folder: Path, *, embedded: bool) -> Iterator[str]:
    """A kubeconfig of a running API server: a real one where there is one."""
    home = Path(tempfile.mkdtemp(dir=folder))
    if embedded or not _has_real_api():
        cluster = start_embedded(home)
    else:
        cluster = start_kube_apiserver(assets_folder(), home)
    try:
        yield str(cluster.kubeconfig_path)
    finally:
        cluster.stop()


def _has_real_api() -> bool:
    try:
        return bool(assets_folder())
    except pytest.skip.Exception:
        return False


def document(rows: Sequence[Row]) -> str:
    cpu = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    api = "a real kube-apiserver" if _has_real_api() else "the embedded API server"
    return f"""# Benchmarks

`make bench` makes this page. Times are no tests and depend on the machine; the ratio to the bare
runtime calls of the same run travels better. KubeEdge's figures: master of 2026-08 on a 2-core
machine, Kubernetes 1.36, containerd 1.6.

Measured {datetime.date.today()} on {cpu}, Linux {platform.release()}, Python
{platform.python_version()}, with mosquitto, containerd and {api} (the rows about the hub: the
embedded one).

{table(rows)}
"""


if __name__ == "__main__":
    main(sys.argv[1:])
