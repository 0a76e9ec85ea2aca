"""What each kind of probe asks of a container on a real containerd, and what counts as an answer.

Servers run in the containers and say in their logs what they were asked; where busybox has none
(TLS, gRPC) one of the test's own listens on the device, and the probe goes there.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health
from grpclib.server import Server

from shared.objects import Json
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.edge_pods.probed import a_probe, do, never, runs, told
from tests.parts import certificates
from tests.parts.containerd import Containerd
from tests.parts.ports import free_port

SERVER = r"""
cat > /handler <<'END'
#!/bin/sh
cr=$(printf '\r')
read -r line
echo "$line" > /proc/1/fd/1
while read -r header && [ "$header" != "$cr" ]; do echo "$header" > /proc/1/fd/1; done
case "$line" in
*/bad*) printf 'HTTP/1.1 500 Broken\r\n\r\nsecret' ;;
*/old*) printf 'HTTP/1.1 302 Found\r\nLocation: /new\r\n\r\n' ;;
*/away*) printf 'HTTP/1.1 302 Found\r\nLocation: http://elsewhere.test/\r\n\r\nover there' ;;
*/slow*) sleep 4 ;;
*) printf 'HTTP/1.1 200 OK\r\n\r\nok' ;;
esac
END
chmod +x /handler
exec nc -ll -p 8080 -e /handler
"""
"""Answers by the path, and writes every line of the request into its log."""


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


async def test_an_http_probe_asks_by_named_port_path_and_headers(device: Device) -> None:
    headers = [
        {"name": "X-Tag", "value": "a"},
        {"name": "X-Tag", "value": "b"},
        {"name": "Host", "value": "shop.test"},
    ]
    get = {"path": "/health?full=1", "port": "web", "httpHeaders": headers}
    container = a_script(SERVER, ports=[{"name": "web", "containerPort": 8080}])
    uid = device.apply({**container, "readinessProbe": a_probe(httpGet=get)})
    await device.until(lambda: bool(device.container(uid).get("ready")))
    await device.until(lambda: len(device.log(uid).splitlines()) >= 7)
    assert device.log(uid).replace("\r", "").splitlines()[:7] == [
        "GET /health?full=1 HTTP/1.1",
        "Host: shop.test",
        "User-Agent: kube-probe/1.34",
        "Accept: */*",
        "X-Tag: a",
        "X-Tag: b",
        "Connection: close",
    ]


async def test_codes_redirects_time_outs_and_ports_that_are_not_there(device: Device) -> None:
    """One server; one container for each way to be probed, since all share the pod's network."""

    def asks(name: str, path: str, port: int | str = 8080) -> Json:
        get = {"path": path, "port": port}
        seconds = {"timeoutSeconds": 1} if name == "slow" else {}
        probe = a_probe(httpGet=get, initialDelaySeconds=1, **seconds)
        return a_script(OBEYS, name, readinessProbe=probe)

    uid = device.apply(
        a_script(SERVER, "server"),
        asks("good", "/"),
        asks("moved", "/old"),
        asks("away", "/away"),
        asks("bad", "/bad"),
        asks("slow", "/slow"),
        asks("closed", "/", port=8081),
        asks("nowhere", "/", port="nowhere"),
    )
    for name in ("good", "moved", "away"):
        await device.until(lambda name=name: bool(device.container(uid, name).get("ready")))  # type: ignore[misc]
    await device.until(lambda: "GET /new HTTP/1.1" in device.log(uid, "server"))
    assert told(device, uid, "ProbeWarning", "away")[0] == (
        "Readiness probe warning: Probe terminated redirects, Response body: over there"
    )
    assert not told(device, uid, "ProbeWarning", "moved")
    url = f"http://{device.status(uid)['podIP']}:8080"
    late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    refused = f"dial tcp {url[7:-1]}1: connect: connection refused"
    errored = "errored and resulted in unknown state: couldn't find port: nowhere"
    failed = {
        "bad": "Readiness probe failed: HTTP probe failed with statuscode: 500",
        "slow": f'Readiness probe failed: Get "{url}/slow": {late}',
        "closed": f'Readiness probe failed: Get "{url[:-1]}1/": {refused}',
        "nowhere": f"Readiness probe {errored}",
    }
    for name, words in failed.items():
        await device.until(
            lambda name=name, words=words: words in told(device, uid, "Unhealthy", name)  # type: ignore[misc]
        )
    assert not any(device.container(uid, name)["ready"] for name in failed)


async def test_an_https_probe_of_a_named_host_trusts_any_certificate(
    device: Device, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = certificates.make(tmp_path / "certificates").server
    context.load_cert_chain(pair.certificate, pair.key)
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        get = {"scheme": "HTTPS", "host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]}
        uid = device.apply(a_script(OBEYS, readinessProbe=a_probe(httpGet={**get, "path": "/s"})))
        await device.until(lambda: bool(device.container(uid).get("ready")))
        await device.kill_agent()
    assert asked[0] == b"GET /s HTTP/1.1\r\n"


async def test_a_tcp_probe_is_a_connection_that_can_be_opened(device: Device) -> None:
    unused = free_port()
    closed = a_probe(tcpSocket={"port": unused})
    elsewhere = a_probe(tcpSocket={"port": unused, "host": "127.0.0.1"})
    uid = device.apply(
        a_script(SERVER, readinessProbe=a_probe(tcpSocket={"port": 8080})),
        a_script(OBEYS, "closed", readinessProbe=closed),
        a_script(OBEYS, "elsewhere", readinessProbe=elsewhere),
    )
    await device.until(lambda: bool(device.container(uid).get("ready")))
    ip = device.status(uid)["podIP"]
    for name, host in (("closed", ip), ("elsewhere", "127.0.0.1")):
        await device.until(lambda name=name: bool(told(device, uid, "Unhealthy", name)))  # type: ignore[misc]
        refused = f"Readiness probe failed: dial tcp {host}:{unused}: connect: connection refused"
        assert told(device, uid, "Unhealthy", name)[0] == refused
        assert not device.container(uid, name)["ready"]


@asynccontextmanager
async def grpc_server(*handlers: object, host: str = "127.0.0.1") -> AsyncIterator[int]:
    server = Server(list(handlers))  # type: ignore[arg-type]
    await server.start(host, 0)
    try:
        yield server._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    finally:
        server.close()
        await server.wait_closed()


class _Named:
    def __mapping__(self) -> dict[str, object]:
        return {"/shop.Orders/Buy": None}


async def test_a_grpc_probe_asks_the_health_service(device: Device) -> None:
    """Of pods on the device's network, so that the server can be the test's own."""
    device.pods.node_changed(replace(device.node, ips=("127.0.0.1",)))
    health = ServiceStatus()
    health.set(True)
    async with (
        grpc_server(Health({_Named(): [health]})) as port,  # type: ignore[dict-item]
        grpc_server() as other,
    ):

        def asks(name: str, **grpc: object) -> Json:
            return a_script(OBEYS, name, readinessProbe=a_probe(grpc=grpc))

        uid = device.apply(
            asks("all", port=port),
            asks("orders", port=port, service="shop.Orders"),
            asks("unheard", port=port, service="un.heard"),
            asks("none", port=other),
            hostNetwork=True,
        )
        for name in ("all", "orders"):
            await device.until(lambda name=name: bool(device.container(uid, name).get("ready")))  # type: ignore[misc]
        health.set(False)
        await device.until(lambda: not device.container(uid, "orders")["ready"])
        failed = ("orders", "unheard", "none")
        await device.until(lambda: all(told(device, uid, "Unhealthy", name) for name in failed))
        await device.kill_agent()
    protocol = "the grpc health protocol (grpc.health.v1.Health)"
    words = {name: told(device, uid, "Unhealthy", name)[0] for name in failed}
    assert words["orders"] == (
        'Readiness probe failed: service unhealthy (responded with "NOT_SERVING")'
    )
    assert "error: health rpc probe failed: rpc error: code = NotFound" in words["unheard"]
    assert f"failed: error: this server does not implement {protocol}: " in words["none"]


async def test_a_pod_on_the_devices_network_is_probed_where_the_device_is_now(
    device: Device,
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.3", 0) as server:
        probe = a_probe(tcpSocket={"port": server.sockets[0].getsockname()[1]})
        device.pods.node_changed(replace(device.node, ips=("127.0.0.2",)))
        uid = device.apply(a_script(OBEYS, readinessProbe=probe), hostNetwork=True)
        await device.until(lambda: bool(told(device, uid, "Unhealthy")))
        device.pods.node_changed(replace(device.node, ips=("127.0.0.3",)))
        await device.until(lambda: bool(device.container(uid)["ready"]))
        await device.kill_agent()


async def test_an_exec_probe_is_its_exit_code_and_says_what_the_command_said(
    device: Device,
) -> None:
    refers = {"exec": {"command": ["test", "$(MODE)", "=", "fast"]}}
    says = runs("echo on stdout; echo on stderr >&2; exit 3")
    uid = device.apply(
        a_script(OBEYS, readinessProbe=a_probe(**refers), env=[{"name": "MODE", "value": "fast"}]),
        a_script(OBEYS, "says", readinessProbe=a_probe(**says)),
    )
    await device.until(lambda: bool(device.container(uid).get("ready")))
    await device.until(lambda: bool(told(device, uid, "Unhealthy", "says")))
    words = "Readiness probe failed: on stdout\non stderr\n"
    assert told(device, uid, "Unhealthy", "says")[0] == words
    assert not device.container(uid, "says")["ready"]


async def test_an_exec_probe_that_takes_too_long_fails_and_its_command_is_killed(
    device: Device,
) -> None:
    probe = a_probe(
        **runs("echo begun > /proc/1/fd/1; sleep 77"), periodSeconds=2, timeoutSeconds=1
    )
    uid = device.apply(a_script(OBEYS, readinessProbe=probe))
    await device.until(lambda: len(told(device, uid, "Unhealthy")) >= 1)
    command = "/bin/sh -c echo begun > /proc/1/fd/1; sleep 77"
    late = f'command timed out: "{command}" timed out after 1s'
    assert told(device, uid, "Unhealthy")[0] == f"Readiness probe failed: {late}"
    await device.until(lambda: device.log(uid).count("begun") >= 3)
    still_there = "while [ $(ps | grep -c '[s]leep 77') -gt 1 ]; do sleep 0.1; done"
    await do(device, uid, still_there)


async def test_a_probe_whose_command_is_not_there_restarts_nothing_and_is_told(
    device: Device,
) -> None:
    probe = a_probe(exec={"command": ["/no/such/program"]})
    uid = device.apply(a_script(OBEYS, livenessProbe=probe))
    await device.until(lambda: bool(told(device, uid, "Unhealthy")))
    words = told(device, uid, "Unhealthy")[0]
    assert words.startswith("Liveness probe errored and resulted in unknown state: ")
    assert "/no/such/program" in words
    await never(lambda: told(device, uid, "Killing"), seconds=3)
    assert device.container(uid)["restartCount"] == 0
