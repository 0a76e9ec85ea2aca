"""``edgeagent``: the agent as a program (``run``), and what the device tells about itself.

Owns signals, the service manager's protocol and the command line. Heavy libraries are imported by
the command that needs them: ``status``, ``pods`` and ``logs`` load neither MQTT nor gRPC.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeagent import VERSION
from edgeagent.settings import (
    CLUSTER_DOMAIN,
    CONFIG,
    DATA_DIR,
    LOG_DIR,
    SHUTDOWN_GRACE,
    SHUTDOWN_GRACE_CRITICAL,
    settings_from,
)
from shared.errors import SettingsError
from shared.settings import (
    common_options,
    config_option,
    from_environment,
    run_program,
    shared_config_option,
)

if TYPE_CHECKING:
    from edgeagent.settings import Settings
    from edgeagent.snapshot import Snapshot, StoredReport

ENVIRONMENT = from_environment("EDGEAGENT")
TRIM_SECONDS = 600.0
NOT_RUNNING = 3
"""Exit code of ``status`` when no agent runs, as systemctl has it."""


class _Windows(click.types.StringParamType):
    """In the environment ';' is between two windows, or a blank after a time: one with days has a
    blank in itself."""

    def split_envvar_value(self, rv: str) -> list[str]:
        return [one.strip() for one in re.split(r";|(?<=\d)\s+", rv) if one.strip()]


data_dir_option = click.option(
    "--data-dir", default=DATA_DIR, metavar="DIR", help="The agent's database and pod volumes."
)
local_config_option = shared_config_option(CONFIG)


@click.group(context_settings=ENVIRONMENT)
@click.version_option(VERSION, message="%(prog)s %(version)s")
def cli() -> None:
    """Runs the pods that Kubernetes binds to this device, with or without a network.

    Every option is also a key of the TOML file and an environment variable: --mqtt-ca is
    mqtt-ca and EDGEAGENT_MQTT_CA.
    """


@cli.command(context_settings=ENVIRONMENT)
@config_option
@common_options
@click.option("--node-name", help="Name of the Node in Kubernetes.  [default: the host's name]")
@data_dir_option
@click.option("--log-dir", default=LOG_DIR, metavar="DIR", help="Logs of containers.")
@click.option(
    "--runtime",
    metavar="cri:unix:///PATH|process",
    help="Container runtime.  [default: the socket of containerd or CRI-O]",
)
@click.option("--node-ip", multiple=True, metavar="IP", help="Addresses of this device.")
@click.option("--cluster-dns", multiple=True, metavar="IP", help="DNS servers for pods.")
@click.option("--cluster-domain", default=CLUSTER_DOMAIN, help="Domain of the cluster.")
@click.option(
    "--maintenance-window",
    multiple=True,
    type=_Windows(),
    metavar="[DAYS ]HH:MM-HH:MM",
    help="When pods that hold their updates may be updated, in the device's local time.",
)
@click.option(
    "--shutdown-grace-period",
    type=click.IntRange(0),
    default=SHUTDOWN_GRACE,
    show_default=True,
    metavar="SECONDS",
    help="How long a shutdown of the device waits for its pods to stop; 0 = not at all.",
)
@click.option(
    "--shutdown-grace-period-critical-pods",
    type=click.IntRange(0),
    default=SHUTDOWN_GRACE_CRITICAL,
    show_default=True,
    metavar="SECONDS",
    help="The part of it for pods of a system priority, which stop after the others.",
)
@click.option(
    "--shutdown-grace-period-by-pod-priority",
    multiple=True,
    metavar="PRIORITY=SECONDS",
    help="Instead of these two: the time of each class of pods, which stop one after the other.",
)
@click.option(
    "--static-pods",
    default="",
    metavar="DIR",
    help="Manifests of pods that this device runs by itself; their mirrors appear in the API.",
)
def run(**options: Any) -> int:
    """Run the agent."""
    settings = settings_from(options)
    from shared import logs

    logs.configure(settings.log_level)
    return asyncio.run(serve(settings))


async def serve(settings: Settings) -> int:
    """The agent until SIGTERM or SIGINT; containers go on running."""
    from edgeagent.app import Agent
    from edgeagent.opening import open_ports
    from shared.tasks import alone, stop

    service = ServiceManager()
    async with open_ports(settings, ready=service.ready, told=service.status) as ports:
        agent = asyncio.create_task(Agent(settings, ports).run(), name="agent")
        pings = alone(service.ping(), name="watchdog")
        trims = alone(give_memory_back(), name="memory")
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, agent.cancel)
        try:
            await agent
        except asyncio.CancelledError:
            service.stopping()
        finally:
            await stop(pings, trims)
    return 0


async def give_memory_back() -> None:
    """What start-up and bursts leave in glibc's heap is some 3 MB; a small device wants it."""
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    await asyncio.sleep(10)
    while trim is not None:
        trim(0)
        await asyncio.sleep(TRIM_SECONDS)


class ServiceManager:
    """sd_notify: ready, one line of status, and a sign of life from the event loop itself."""

    def __init__(self) -> None:
        self._notify: Callable[[str], None] = lambda line: None
        if os.environ.get("NOTIFY_SOCKET"):
            from sdnotify import SystemdNotifier

            self._notify = SystemdNotifier().notify

    def ready(self) -> None:
        self._notify("READY=1")

    def status(self, line: str) -> None:
        self._notify(f"STATUS={line}")

    def stopping(self) -> None:
        self._notify("STOPPING=1")

    async def ping(self) -> None:
        """Twice per interval that the manager asks for; a hung loop is then restarted."""
        interval = int(os.environ.get("WATCHDOG_USEC") or 0) / 1e6
        while interval:
            self._notify("WATCHDOG=1")
            await asyncio.sleep(interval / 2)


@cli.command(context_settings=ENVIRONMENT)
@local_config_option
@data_dir_option
def status(data_dir: str) -> int:
    """Tell how the agent, its link and its pods stand; needs no network."""
    from edgeagent.local.describing import describe

    snapshot = _snapshot(data_dir)
    click.echo(describe(snapshot, now=time.time()), nl=False)
    return 0 if snapshot.agent_runs else NOT_RUNNING


@cli.command(context_settings=ENVIRONMENT)
@local_config_option
@data_dir_option
def pods(data_dir: str) -> None:
    """List the pods of this device; needs no network."""
    from edgeagent.local.describing import table, wanted

    click.echo(table(wanted(_snapshot(data_dir)), now=time.time()), nl=False)


@cli.command(context_settings=ENVIRONMENT)
@click.argument("pod")
@click.option("-c", "--container", default="", help="Which container, when there are several.")
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Go on until the container is started anew or the pod has ended.",
)
@click.option("--tail", type=click.IntRange(0), help="Only the last lines.")
@click.option("-p", "--previous", is_flag=True, help="Of the container before its last restart.")
@click.option("-n", "--namespace", default="default", help="Namespace of the pod.")
@local_config_option
@data_dir_option
def logs(
    pod: str,
    *,
    container: str,
    follow: bool,
    tail: int | None,
    previous: bool,
    namespace: str,
    data_dir: str,
) -> None:
    """Print the logs of a container of POD; needs no network."""
    from edgeagent.local.logs import find_log, read

    snapshot = _snapshot(data_dir)
    report = _report(snapshot, namespace, pod)
    folder = Path(snapshot.standing.get("log_dir") or LOG_DIR)
    path = find_log(folder / f"{namespace}_{pod}_{report.uid}", container, previous=previous)

    def over() -> bool:
        """Finished, or gone from this device; not while nobody can tell."""
        try:
            now = _snapshot(data_dir)
        except SettingsError:
            return False
        found = [one for one in now.reports if (one.namespace, one.name) == (namespace, pod)]
        return not found or found[0].status.get("phase") in ("Succeeded", "Failed")

    for text in read(path, tail=tail, follow=follow, over=over):
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()


@cli.command(context_settings=ENVIRONMENT)
@click.argument("pod")
@click.option("-n", "--namespace", default="default", help="Namespace of the pod.")
@local_config_option
@data_dir_option
def release(pod: str, *, namespace: str, data_dir: str) -> None:
    """Let go on what is on hold for POD; needs no network, but a running agent."""
    from edgeagent.local import telling

    what = telling.release(Path(data_dir), namespace, pod)
    click.echo(f"the {what} of {namespace}/{pod} goes on now")


def _snapshot(data_dir: str) -> Snapshot:
    """Of the running agent, or else of what was stored last."""
    from edgeagent.local.telling import ask_snapshot

    if (told := ask_snapshot(Path(data_dir))) is not None:
        return told
    from edgeagent.store.reading import read_snapshot

    return read_snapshot(Path(data_dir))


def _report(snapshot: Snapshot, namespace: str, pod: str) -> StoredReport:
    for report in snapshot.reports:
        if (report.namespace, report.name) == (namespace, pod):
            return report
    names = ", ".join(sorted(snapshot.wanted_pods)) or "none"
    raise SettingsError(f"there is no pod {namespace}/{pod} here; known are: {names}")


def main() -> None:
    run_program(cli, "edgeagent")


if __name__ == "__main__":
    main()
