"""``cloudhub``: reads settings, opens the real ports, runs the hub until a signal.

Exit code 0 after SIGTERM or SIGINT, 2 for a wrong setting, 1 when the API server refuses what the
hub cannot do without.
"""

from __future__ import annotations

import asyncio
import random
import signal
from typing import Any

import click
import structlog

from cloudhub.settings import HubSettings, own_namespace, parse_taints, replica_name
from shared import logs
from shared.clock import SystemClock
from shared.errors import KubeRefused
from shared.settings import (
    broker_from,
    common_options,
    config_option,
    from_environment,
    run_program,
)
from shared.topics import Topics

log = structlog.get_logger()

OUTSIDE_NAMESPACE = "default"


@click.group(context_settings=from_environment("CLOUDHUB"))
def commands() -> None:
    """The cloud hub of Kubetide: pods from the Kubernetes API to devices over MQTT, and back."""


@commands.command(context_settings=from_environment("CLOUDHUB"))
@config_option
@common_options
@click.option(
    "--kubeconfig",
    default="",
    metavar="FILE",
    show_default="$KUBECONFIG, else the pod's service account, else ~/.kube/config",
    help="How to reach the API server.",
)
@click.option(
    "--context", metavar="NAME", help="Context within the kubeconfig, if not its current."
)
@click.option(
    "--metrics-listen", default=":9090", metavar="HOST:PORT", help="/metrics, /healthz, /readyz."
)
@click.option(
    "--namespace",
    default=lambda: own_namespace() or OUTSIDE_NAMESPACE,
    metavar="NAME",
    show_default="the pod's",
    help="Where the replicas keep their Leases.",
)
@click.option(
    "--replica",
    default="",
    metavar="NAME",
    show_default="the host's name",
    help="Unlike that of any other replica.",
)
@click.option(
    "--node-taint",
    multiple=True,
    metavar="KEY[=VALUE]:EFFECT",
    help="Set on Nodes when they are created; may be repeated.",
)
@click.option(
    "--keep-pods-when-offline/--evict-pods-when-offline",
    default=True,
    help="Whether pods of an offline node are kept from eviction.",
)
def run(**options: Any) -> int:
    """Run the hub until SIGTERM or SIGINT."""
    logs.configure(options["log_level"])
    settings = HubSettings(
        broker=broker_from(options),
        topics=Topics(options["root"]),
        replica=replica_name(options["replica"]),
        namespace=options["namespace"],
        taints=parse_taints(options["node_taint"]),
        keep_pods_when_offline=options["keep_pods_when_offline"],
    )
    return asyncio.run(_run_until_signal(settings, options))


async def _run_until_signal(settings: HubSettings, options: dict[str, Any]) -> int:
    serving = asyncio.create_task(_serve(settings, options), name="hub")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        log.info("stopped")
    except KubeRefused as refused:
        log.error("the hub cannot work", error=str(refused))
        return 1
    return 0


async def _serve(settings: HubSettings, options: dict[str, Any]) -> None:
    # Late, so that ``--help`` and a wrong setting do not wait for the Kubernetes client.
    from cloudhub.app import Hub
    from cloudhub.kube.access import open_access
    from cloudhub.kube.client import KubeClient
    from cloudhub.metrics import Metrics
    from cloudhub.probing import probes
    from shared.paho_link import PahoLink

    clock, rng, metrics = SystemClock(), random.SystemRandom(), Metrics()
    access = await open_access(options["kubeconfig"], options["context"] or "")
    kube = KubeClient(access, clock=clock, rng=rng, count=metrics.requested)
    log.info("hub starts", api=access.server, broker=str(settings.broker), name=settings.replica)
    link = PahoLink(settings.broker)
    hub = Hub(settings, kube=kube, link=link, clock=clock, rng=rng, metrics=metrics)
    try:
        async with probes(options["metrics_listen"], metrics, hub.conditions()):
            await hub.run()
    finally:
        await kube.close()


def main() -> None:
    run_program(commands, "cloudhub")


if __name__ == "__main__":
    main()
