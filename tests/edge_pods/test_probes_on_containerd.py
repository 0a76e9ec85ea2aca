"""Probes of whole pods on a real containerd: what reaches a container, what follows, what is told.

Servers run in the containers and say in their logs what they were asked; where busybox has none
(TLS, gRPC) one of the test's own listens on the device, and the probe goes there.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health
from grpclib.server import Server

from shared.objects import Json
from tests.edge_pods.device import OBEYS, SHARED, Device, a_device, a_script, a_sharer
from tests.parts import certificates
from tests.parts.containerd import Containerd
from tests.parts.patience import PATIENCE
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


LATE = 10 * PATIENCE
"""Seconds that a busy machine may be late."""


def a_probe(**fields: object) -> Json:
    """With time enough for a busy machine, where time is not the matter."""
    return {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 10, **fields}


def runs(script: str) -> Json:
    return {"exec": {"command": ["/bin/sh", "-c", script]}}


def told(device: Device, uid: str, reason: str, name: str = "main") -> list[str]:
    """The messages of these Events about the container, as often as they happened."""
    where = f"{{{name}}}"
    events = device.reports.by_uid[uid].events if uid in device.reports.by_uid else []
    return [
        one.message
        for one in events
        if one.reason == reason and one.field_path.endswith(where)
        for _ in range(one.count)
    ]


def condition(device: Device, uid: str, name: str) -> Json:
    found = device.status(uid).get("conditions", ())
    return next((dict(one) for one in found if one["type"] == name), {})


def log_times(device: Device, uid: str, name: str = "main") -> list[float]:
    pod = device.desired.wanted[uid].pod
    file = device.paths.log_directory(pod) / name / "0.log"
    lines = file.read_text().splitlines() if file.exists() else []
    stamps = [line.split(" ", 1)[0] for line in lines]
    return [datetime.fromisoformat(f"{one[:19]}{one[19:26]}+00:00").timestamp() for one in stamps]


async def do(device: Device, uid: str, script: str, name: str = "main") -> None:
    container_id = device.container(uid, name)["containerID"].split("//")[1]
    done = await device.runtime.exec_sync(container_id, ["/bin/sh", "-c", script], 10)
    assert done.exit_code == 0


async def never(condition: Any, *, seconds: float) -> None:
    for _ in range(int(seconds / 0.05)):
        assert not condition()
        await asyncio.sleep(0.05)


# What a probe does


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


# The numbers


async def test_probes_begin_after_the_initial_delay_and_come_by_the_period(device: Device) -> None:
    slow = runs("echo asked > /proc/1/fd/1; sleep 0.6")
    probe = a_probe(**slow, initialDelaySeconds=3, periodSeconds=2, timeoutSeconds=5)
    uid = device.apply(a_script(f"echo started; {OBEYS}", readinessProbe=probe))
    await device.until(lambda: len(log_times(device, uid)) >= 5, seconds=30)
    started, *asked = log_times(device, uid)
    assert 2.9 <= asked[0] - started < 3 + LATE
    between = [after - before for before, after in pairwise(asked)]
    assert min(between) < 2.4, "from one beginning to the next, however long they take"
    assert asked[-1] - asked[0] > 1.5 * len(between)


async def test_it_takes_so_many_successes_and_failures_in_a_row(device: Device) -> None:
    asks = runs("[ ! -e /v/bad ] && echo good >> /v/asked || { echo bad >> /v/asked; false; }")
    probe = a_probe(**asks, successThreshold=3, failureThreshold=2)
    uid = device.apply(a_sharer(OBEYS, readinessProbe=probe), volumes=SHARED)
    asked = device.paths.volume(uid, "shared") / "asked"
    await device.until(lambda: bool(device.container(uid).get("ready")))
    assert asked.read_text().count("good") >= 3
    (asked.parent / "bad").touch()
    await device.until(lambda: not device.container(uid)["ready"])
    assert asked.read_text().count("bad") >= 2
    assert device.container(uid)["restartCount"] == 0


# What follows


async def test_a_container_that_fails_its_liveness_probe_is_killed_and_started_again(
    device: Device,
) -> None:
    probe = a_probe(**runs("echo gone; test -e /alive"), failureThreshold=2)
    uid = device.apply(a_script(f"touch /alive; {OBEYS}", livenessProbe=probe))
    await device.until(lambda: device.runs(uid))
    assert device.container(uid)["ready"], "liveness says nothing of readiness"
    await do(device, uid, "rm /alive")
    await device.until(lambda: device.container(uid).get("restartCount") == 1)
    assert told(device, uid, "Unhealthy") == ["Liveness probe failed: gone\n"] * 2
    words = "Container main failed liveness probe, will be restarted"
    assert told(device, uid, "Killing") == [words]
    assert device.container(uid)["lastState"]["terminated"]["exitCode"] == 7


@pytest.mark.parametrize("kind", ["liveness", "startup"])
async def test_a_probe_has_a_grace_period_of_its_own(device: Device, kind: str) -> None:
    probe = a_probe(**runs("exit 1"), terminationGracePeriodSeconds=2, initialDelaySeconds=1)
    stubborn = a_script("trap '' TERM; while :; do sleep 1; done", **{f"{kind}Probe": probe})
    uid = device.apply(stubborn, terminationGracePeriodSeconds=600)
    await device.until(lambda: device.container(uid).get("restartCount") == 1)
    words = f"Container main failed {kind} probe, will be restarted"
    assert told(device, uid, "Killing")[0] == words
    last = device.container(uid)["lastState"]["terminated"]
    assert last["exitCode"] == 137


async def test_without_restarts_a_failed_liveness_probe_ends_the_pod(device: Device) -> None:
    probe = a_probe(**runs("exit 1"), initialDelaySeconds=1)
    uid = device.apply(a_script(OBEYS, livenessProbe=probe), restartPolicy="Never")
    await device.until(lambda: device.status(uid).get("phase") == "Failed")
    assert told(device, uid, "Killing") == ["Container main failed liveness probe"]
    assert device.ended(uid)["exitCode"] == 7


async def test_until_the_startup_probe_succeeds_the_others_wait(device: Device) -> None:
    says = "echo {} > /proc/1/fd/1; {}"
    uid = device.apply(
        a_script(
            OBEYS,
            startupProbe=a_probe(
                **runs(says.format("startup", "test -e /up")), failureThreshold=90
            ),
            livenessProbe=a_probe(**runs(says.format("liveness", "test -e /up"))),
            readinessProbe=a_probe(**runs(says.format("readiness", "test -e /up"))),
        )
    )
    await device.until(lambda: device.log(uid).count("startup") >= 2)
    assert (device.container(uid)["started"], device.container(uid)["ready"]) == (False, False)
    await do(device, uid, "touch /up")
    await device.until(lambda: bool(device.container(uid)["ready"]))
    assert device.container(uid)["started"] is True
    await device.until(lambda: "liveness" in device.log(uid) and "readiness" in device.log(uid))
    asked = device.log(uid).splitlines()
    first = min(asked.index("liveness"), asked.index("readiness"))
    assert set(asked[:first]) == {"startup"}
    assert "startup" not in asked[first:]


async def test_a_sidecar_that_has_not_started_up_holds_up_the_containers(device: Device) -> None:
    sidecar = a_script(
        OBEYS,
        "proxy",
        restartPolicy="Always",
        startupProbe=a_probe(**runs("test -e /up"), failureThreshold=90),
        readinessProbe=a_probe(**runs("test -e /ready")),
        livenessProbe=a_probe(**runs("test ! -e /dead")),
    )
    uid = device.apply(a_script(OBEYS), initContainers=[sidecar])
    await device.until(lambda: bool(told(device, uid, "Unhealthy", "proxy")))
    assert not device.runs(uid)
    initialized = condition(device, uid, "Initialized")
    assert initialized["message"] == "containers with incomplete status: [proxy]"
    await do(device, uid, "touch /up", "proxy")
    await device.until(lambda: device.runs(uid))
    assert condition(device, uid, "Ready")["message"] == "containers with unready status: [proxy]"
    await do(device, uid, "touch /ready", "proxy")
    await device.until(lambda: condition(device, uid, "Ready")["status"] == "True")
    await do(device, uid, "touch /dead", "proxy")
    await device.until(lambda: device.container(uid, "proxy")["restartCount"] == 1)
    words = "Init container proxy failed liveness probe"
    assert told(device, uid, "Killing", "proxy")[0] == words


async def test_conditions_change_with_readiness_and_say_since_when(device: Device) -> None:
    probe = a_probe(**runs("test -e /ready"))
    uid = device.apply(a_script(OBEYS, readinessProbe=probe), a_script(OBEYS, "other"))
    await device.until(lambda: device.runs(uid) and device.runs(uid, "other"))
    unready = condition(device, uid, "Ready")
    assert (unready["status"], unready["reason"]) == ("False", "ContainersNotReady")
    assert unready["message"] == "containers with unready status: [main]"
    await asyncio.sleep(1.1)  # A stamp has whole seconds.
    assert condition(device, uid, "Ready")["lastTransitionTime"] == unready["lastTransitionTime"]
    await do(device, uid, "touch /ready")
    await device.until(lambda: bool(device.container(uid)["ready"]))
    for name in ("Ready", "ContainersReady"):
        ready = condition(device, uid, name)
        assert ready["status"] == "True"
        assert "reason" not in ready
        assert ready["lastTransitionTime"] > unready["lastTransitionTime"]
    initialized = condition(device, uid, "Initialized")
    assert initialized["lastTransitionTime"] <= unready["lastTransitionTime"]


async def test_of_a_pod_that_stops_only_readiness_is_probed(device: Device) -> None:
    """What drains its connections stays ready for as long as it says so."""
    probes = {
        "readinessProbe": a_probe(**runs("test -e /ready")),
        "livenessProbe": a_probe(**runs("test ! -e /stopping")),
    }
    waits = "until [ -e /{} ]; do sleep 0.1; done"
    stops = f"touch /stopping; {waits.format('drained')}; rm /ready; {waits.format('go')}; exit 7"
    uid = device.apply(a_script(f"trap '{stops}' TERM; touch /ready; sleep 3600 & wait", **probes))
    await device.until(lambda: bool(device.container(uid).get("ready")))
    device.delete(uid, grace=60)
    await device.until(lambda: "Killing" in device.reasons(uid))
    await never(lambda: not device.container(uid)["ready"], seconds=2.5)
    await do(device, uid, "touch /drained")
    await device.until(lambda: condition(device, uid, "Ready")["status"] == "False")
    assert device.runs(uid)
    await do(device, uid, "touch /go")
    await device.until(lambda: device.finished(uid))
    assert device.ended(uid)["exitCode"] == 7
    assert {*told(device, uid, "Unhealthy")} == {"Readiness probe failed: "}
    assert not any(one["ready"] for one in device.status(uid)["containerStatuses"])


async def test_a_new_agent_keeps_what_is_ready_until_it_has_asked(device: Device) -> None:
    probe = a_probe(**runs("test -e /ready"), periodSeconds=2)
    uid = device.apply(a_script(f"touch /ready; {OBEYS}", readinessProbe=probe))
    await device.until(lambda: bool(device.container(uid).get("ready")))
    await device.kill_agent()
    device.reports.by_uid.clear()
    device.start_agent()
    await device.until(lambda: device.runs(uid))
    await asyncio.sleep(3)
    history = device.reports.by_uid[uid].history
    assert all(one["containerStatuses"][0]["ready"] for one in history)
    await do(device, uid, "rm /ready")
    await device.until(lambda: not device.container(uid)["ready"])
