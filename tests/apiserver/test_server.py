"""The embedded server as a whole: its scheduler, its housekeeping, its end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import yaml

from devcluster.apiserver import ApiServer
from devcluster.apiserver.access import Access
from devcluster.apiserver.housekeeping import EventExpiry, create_first_objects
from devcluster.apiserver.objects import Objects, Target
from devcluster.apiserver.resources import EVENTS, NODES, PODS
from devcluster.apiserver.scheduling import choose
from devcluster.apiserver.status import ApiError
from devcluster.apiserver.store import Store
from tests.apiserver.api import Api, config_map, pod
from tests.parts.kubernetes import Cluster

READY = {"conditions": [{"type": "Ready", "status": "True"}]}


class HandClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    server = ApiServer(tls=False, history=10)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def api(server: ApiServer, tmp_path: Path) -> AsyncIterator[Api]:
    cluster = Cluster(
        url=server.url,
        token=server.token,
        ca_file=tmp_path,
        kubeconfig_path=tmp_path,
        minor=32,
        stop=lambda: None,
    )
    headers = {"Authorization": f"Bearer {server.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield Api(cluster, session, "default")


async def _eventually_gone(api: Api, path: str) -> None:
    async with asyncio.timeout(10):
        while (await api.get(path)).code != 404:
            await asyncio.sleep(0.01)


async def test_a_waiting_pod_is_bound_when_a_ready_node_appears(api: Api) -> None:
    await api.created("pods", pod(nodeName=None))
    async with api.watch("pods") as events:
        while True:
            _, seen = await events.next()
            if seen["status"].get("conditions"):
                break
        assert seen["status"]["conditions"][0]["reason"] == "Unschedulable"
        await api.created("/api/v1/nodes", {"metadata": {"name": "edge-1"}, "status": READY})
        kind, bound = await events.next()
    assert (kind, bound["spec"]["nodeName"]) == ("MODIFIED", "edge-1")
    assert [part["status"] for part in bound["status"]["conditions"]] == ["True"]
    said = (await api.get("events")).body["items"]
    assert [(one["type"], one["reason"], one["reportingComponent"]) for one in said] == [
        ("Warning", "FailedScheduling", "default-scheduler"),
        ("Normal", "Scheduled", "default-scheduler"),
    ]
    assert (
        said[1]["message"] == f"Successfully assigned default/{bound['metadata']['name']} to edge-1"
    )


async def test_a_watch_that_cannot_be_continued_is_told_so(api: Api) -> None:
    await api.created("configmaps", config_map())
    for n in range(30):
        await api.put("configmaps/settings", config_map(n=str(n)))
    async with api.watch("configmaps", resourceVersion="2") as events:
        ((kind, status),) = await events.rest()
    assert (kind, status["kind"], status["code"]) == ("ERROR", "Status", 410)
    assert "too old resource version" in status["message"]


async def test_a_watch_from_before_a_restart_is_told_so(api: Api) -> None:
    version = (await api.get("configmaps")).metadata["resourceVersion"]
    await asyncio.sleep(0.1)  # versions start at the time, so a later life needs to be later
    later = ApiServer(tls=False)
    await later.start()
    cluster = replace(api.cluster, url=later.url, token=later.token)
    headers = {"Authorization": f"Bearer {later.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        again = Api(cluster, session, "default")
        async with again.watch("configmaps", resourceVersion=version) as events:
            assert (await events.next())[1]["code"] == 410
    await later.stop()


async def test_a_page_of_a_list_that_is_forgotten_is_refused(api: Api) -> None:
    for name in ("a", "b"):
        await api.created("configmaps", config_map(name))
    first = await api.get("configmaps", limit="1")
    for n in range(30):
        await api.put("configmaps/a", config_map("a", n=str(n)))
    answer = await api.get("configmaps", **{"continue": first.metadata["continue"]})
    assert answer.refusal == (410, "Expired")


async def test_a_deleted_namespace_takes_its_content_with_it(api: Api) -> None:
    await api.created("/api/v1/namespaces", {"metadata": {"name": "gone"}})
    for path, body in (("configmaps", config_map()), ("pods", pod(nodeName=None))):
        await api.created(f"/api/v1/namespaces/gone/{path}", body)
    await api.delete("/api/v1/namespaces/gone")
    await _eventually_gone(api, "/api/v1/namespaces/gone")
    assert (await api.get("/api/v1/configmaps", fieldSelector="metadata.name=settings")).names == []


async def test_a_namespace_waits_for_a_pod_that_still_runs(api: Api) -> None:
    await api.created("/api/v1/namespaces", {"metadata": {"name": "slow"}})
    await api.created("/api/v1/namespaces/slow/pods", pod())
    await api.delete("/api/v1/namespaces/slow")
    path = "/api/v1/namespaces/slow/pods/web"
    async with asyncio.timeout(10):
        while not (await api.get(path)).metadata.get("deletionTimestamp"):
            await asyncio.sleep(0.01)
    await api.delete(path, {"gracePeriodSeconds": 0})
    await _eventually_gone(api, "/api/v1/namespaces/slow")


async def test_every_namespace_has_its_default_account(api: Api) -> None:
    await api.created("/api/v1/namespaces", {"metadata": {"name": "fresh"}})
    async with api.watch("/api/v1/namespaces/fresh/serviceaccounts") as events:
        assert await events.take(1) == [("ADDED", "default")]


async def test_a_token_of_a_service_account_opens_the_door(api: Api) -> None:
    await api.created("serviceaccounts", {"metadata": {"name": "robot"}})
    answer = await api.post("serviceaccounts/robot/token", {"spec": {}})
    headers = {"Authorization": f"Bearer {answer['status']['token']}"}
    assert (await api.send("GET", "pods", headers=headers)).code == 200
    headers = {"Authorization": f"Bearer {answer['status']['token']}x"}
    assert (await api.send("GET", "pods", headers=headers)).code == 401


def test_a_token_of_a_service_account_ends() -> None:
    access = Access()
    token = access.account_token({"sub": "x"}, seconds=10, now=100)
    assert access.allows(f"Bearer {token}", now=109)
    assert not access.allows(f"Bearer {token}", now=110)


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Basic x", "Bearer a.b", "Bearer é.é"])
def test_what_is_no_token_is_refused(given: str) -> None:
    assert not Access().allows(given, now=0)


async def test_health_and_version_are_open_and_nothing_else(api: Api) -> None:
    headers = {"Authorization": ""}
    codes = {
        path: (await api.send("GET", path, headers=headers)).code
        for path in ("/healthz", "/livez", "/readyz", "/version", "/api", "/api/v1/pods", "/x")
    }
    assert list(codes.values()) == [200, 200, 200, 200, 401, 401, 401]


async def test_stopping_ends_the_watches_and_frees_the_port() -> None:
    server = ApiServer(tls=False)
    await server.start()
    headers = {"Authorization": f"Bearer {server.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        url = (
            f"{server.url}/api/v1/configmaps?watch=1&resourceVersion={server.objects.store.version}"
        )
        async with session.get(url) as response:
            async with asyncio.timeout(5):
                await server.stop()
                assert await response.read() == b""
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(url)


async def test_a_body_over_the_limit_is_refused(api: Api) -> None:
    answer = await api.post("configmaps", config_map(big="x" * 4_000_000))
    assert answer.refusal == (413, "RequestEntityTooLarge")


def test_the_kubeconfig_points_at_the_server_and_trusts_it() -> None:
    server = ApiServer(port=6443)
    content = yaml.safe_load(server.kubeconfig())
    cluster = content["clusters"][0]["cluster"]
    assert cluster["server"] == "https://127.0.0.1:6443"
    assert cluster["certificate-authority-data"]
    assert content["users"][0]["user"] == {"token": server.token}


def _objects() -> tuple[Objects, HandClock]:
    clock = HandClock()
    objects = Objects(Store(), clock, random_source=random.Random(1))
    create_first_objects(objects)
    return objects, clock


async def test_events_are_forgotten_an_hour_after_their_last_write() -> None:
    objects, clock = _objects()
    expiry = EventExpiry(objects)
    sweeping = asyncio.create_task(expiry.run())
    await asyncio.sleep(0)
    for name in ("old", "kept"):
        about = {"kind": "Pod", "name": "web", "namespace": "default"}
        objects.create(
            Target(EVENTS, "default", ""), {"metadata": {"name": name}, "involvedObject": about}
        )
    clock.seconds += 3000
    objects.update(Target(EVENTS, "default", "kept"), lambda event: event | {"count": 2})
    clock.seconds += 700
    for _ in range(100):
        await asyncio.sleep(0)
    sweeping.cancel()
    names = [event["metadata"]["name"] for event in objects.store.list(EVENTS.storage)]
    assert names == ["kept"]


def _node(name: str, *taints: dict[str, str], **spec: object) -> dict[str, object]:
    metadata = {"name": name, "labels": {"zone": name}}
    return {"metadata": metadata, "spec": {"taints": list(taints)} | spec, "status": READY}


def test_a_pod_goes_to_the_first_node_that_it_fits_on() -> None:
    edge = {"key": "edge", "value": "yes", "effect": "NoSchedule"}
    soft = {"key": "soft", "value": "yes", "effect": "PreferNoSchedule"}
    away = _node("away") | {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    nodes = [away, _node("closed", unschedulable=True), _node("tainted", edge), _node("b", soft)]
    assert choose({"spec": {}}, nodes) == "b"
    assert choose({"spec": {"nodeSelector": {"zone": "nowhere"}}}, nodes) == ""
    for toleration, wanted in (
        ({"key": "edge", "operator": "Exists"}, "tainted"),
        ({"key": "edge", "value": "yes", "effect": "NoSchedule"}, "tainted"),
        ({"key": "edge", "value": "no"}, "b"),
        ({"key": "edge", "operator": "Exists", "effect": "NoExecute"}, "b"),
        ({"operator": "Exists"}, "closed"),
    ):
        assert choose({"spec": {"tolerations": [toleration]}}, nodes) == wanted, toleration


def test_a_refused_change_leaves_the_object_and_its_version() -> None:
    objects, _ = _objects()
    target = Target(NODES, "", "edge-1")
    before = objects.create(target, {"metadata": {"name": "edge-1"}})
    with pytest.raises(ApiError):
        objects.update(target, lambda node: node | {"metadata": {"name": "other"}})
    assert objects.get(target) is before
    with pytest.raises(ApiError):
        objects.get(Target(PODS, "default", "edge-1"))
