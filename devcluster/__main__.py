"""``kubetide up`` and ``kubetide demo``: the whole system on this machine, for trying things."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

import click

from devcluster.cluster import DevCluster
from devcluster.demo import Demo
from shared import logs

LOOK_SECONDS = 1.0
"""How often it is looked whether hub and agent are still there."""


@click.group()
def main() -> None:
    """Kubetide on one machine: embedded broker, small API server, hub, one agent."""
    logs.configure("warning")


@main.command()
@click.option("--api-port", default=0, show_default="a free one", help="Port of the API server.")
def up(api_port: int) -> None:
    """Start everything and keep it running until Ctrl-C."""
    try:
        asyncio.run(_up(api_port))
    except RuntimeError as error:
        click.echo(f"it cannot go on: {error}", err=True)
        sys.exit(1)


@main.command()
def demo() -> None:
    """Run a pod, cut the link, kill it, watch it heal and catch up; leaves nothing behind."""
    try:
        asyncio.run(Demo(click.echo).run())
    except (AssertionError, RuntimeError) as error:
        click.echo(f"the demo failed: {error}", err=True)
        sys.exit(1)
    click.echo("\nall of it came true")


async def _up(api_port: int) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    cluster = DevCluster(click.echo, api_port=api_port)
    try:
        await cluster.start()
        click.echo("\nready; point kubectl at it with\n")
        click.echo(f"  export KUBECONFIG={cluster.kubeconfig}")
        click.echo("  kubectl get nodes -o wide")
        click.echo(f"\nlogs and the device's data are in {cluster.folder}; Ctrl-C ends it all")
        while not stopping.is_set():
            cluster.check()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK_SECONDS)
    finally:
        await cluster.close()


if __name__ == "__main__":
    main()
