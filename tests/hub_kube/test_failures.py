"""What the client makes of a server's refusals, delays and nonsense."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cloudhub.kube.access import open_access
from cloudhub.kube.client import KubeClient
from cloudhub.kube.port import LEASES, PODS, Resource
from shared.clock import SystemClock
from shared.errors import KubeError, KubeRefused, SettingsError
from tests.hub_kube.scripted import Script, listed, refused, says, serving, write_kubeconfig

Counted = list[tuple[str, str, str]]


@asynccontextmanager
async def client_of(
    script: Script, folder: Path, counted: Counted | None = None
) -> AsyncIterator[KubeClient]:
    counts: Counted = [] if counted is None else counted
    async with serving(script, folder) as kubeconfig:
        access = await open_access(str(kubeconfig))
        client = KubeClient(
            access, clock=SystemClock(), rng=random.Random(1), count=lambda *c: counts.append(c)
        )
        try:
            yield client
        finally:
            await client.close()


async def test_a_missing_right_is_named_so_that_it_can_be_granted(tmp_path: Path) -> None:
    script = Script([refused(403, "Forbidden", 'pods "web" is forbidden')])
    async with client_of(script, tmp_path) as kube:
        with pytest.raises(KubeRefused) as caught:
            await kube.patch(PODS, "shop", "web", {}, subresource="status")
    text = str(caught.value)
    assert caught.value.status == 403
    assert "patch pods/status web in shop" in text
    assert "a Role" in text and "verb 'patch' on resource 'pods/status' in apiGroup ''" in text


async def test_the_api_group_is_part_of_a_missing_right(tmp_path: Path) -> None:
    script = Script([refused(403, "Forbidden")])
    async with client_of(script, tmp_path) as kube:
        with pytest.raises(KubeRefused, match=r"apiGroup 'coordination\.k8s\.io'"):
            await kube.get(LEASES, "kube-node-lease", "n1")


async def test_unknown_credentials_say_where_to_look(tmp_path: Path) -> None:
    script = Script([refused(401, "Unauthorized")])
    async with client_of(script, tmp_path) as kube:
        with pytest.raises(KubeRefused, match="check the kubeconfig or the token") as caught:
            await kube.list(PODS)
    assert caught.value.status == 401


@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 413, 415, 422])
async def test_a_no_of_the_server_is_permanent(status: int, tmp_path: Path) -> None:
    script = Script([refused(status, "SomeReason", "because")])
    async with client_of(script, tmp_path) as kube:
        with pytest.raises(KubeRefused, match="because") as caught:
            await kube.create(PODS, "shop", {"metadata": {"name": "web"}})
    assert (caught.value.status, caught.value.reason) == (status, "SomeReason")


@pytest.mark.parametrize("status", [302, 408, 429, 500, 502, 503, 504])
async def test_a_server_in_trouble_is_temporary(status: int, tmp_path: Path) -> None:
    async with client_of(Script([says("<html>", status=status)]), tmp_path) as kube:
        with pytest.raises(KubeError, match="<html>") as caught:
            await kube.get(PODS, "shop", "web")
    assert caught.value.status == status
    assert caught.value.delay is None


async def test_retry_after_is_the_least_delay(tmp_path: Path) -> None:
    script = Script([says("{}", status=429, Retry_After="7")])
    async with client_of(script, tmp_path) as kube:
        with pytest.raises(KubeError) as caught:
            await kube.get(PODS, "shop", "web")
    assert caught.value.delay == 7


async def test_retry_after_may_stand_in_the_body(tmp_path: Path) -> None:
    script = Script([refused(503, "ServiceUnavailable", details={"retryAfterSeconds": 3})])
    async with client_of(script, tmp_path) as kube:
        with pytest.raises(KubeError) as caught:
            await kube.get(PODS, "shop", "web")
    assert caught.value.delay == 3


@pytest.mark.parametrize("wait", ["-1", "soon", "nan"])
async def test_an_odd_retry_after_is_ignored(wait: str, tmp_path: Path) -> None:
    async with client_of(Script([says("{}", status=429, Retry_After=wait)]), tmp_path) as kube:
        with pytest.raises(KubeError) as caught:
            await kube.get(PODS, "shop", "web")
    assert caught.value.delay is None


async def test_a_server_that_is_away_is_temporary_and_named(tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1")
    kube = KubeClient(await open_access(str(kubeconfig)), clock=SystemClock(), rng=random.Random(1))
    with pytest.raises(KubeError, match=r"get pods web in shop: http://127\.0\.0\.1:1"):
        await kube.get(PODS, "shop", "web")
    await kube.close()


@pytest.mark.parametrize("body", ["", "not json", "[]", '{"kind": "Status"}', '{"items": []}'])
async def test_an_answer_that_is_no_list_is_never_an_empty_list(body: str, tmp_path: Path) -> None:
    async with client_of(Script([says(body)]), tmp_path) as kube:
        with pytest.raises(KubeError):
            await kube.list(PODS)


async def test_a_list_goes_on_until_the_last_page(tmp_path: Path) -> None:
    script = Script([listed("a", "b", **{"continue": "more"}), listed("c")])
    async with client_of(script, tmp_path) as kube:
        found = await kube.list(PODS, label_selector="app=web")
    assert [pod["metadata"]["name"] for pod in found] == ["a", "b", "c"]
    assert [request.query.get("continue") for request in script.seen] == [None, "more"]
    assert {request.query["labelSelector"] for request in script.seen} == {"app=web"}


async def test_pages_that_expire_are_replaced_by_one_whole_list(tmp_path: Path) -> None:
    script = Script(
        [listed("a", **{"continue": "more"}), refused(410, "Expired"), listed("a", "b")]
    )
    async with client_of(script, tmp_path) as kube:
        found = await kube.list(PODS)
    assert [pod["metadata"]["name"] for pod in found] == ["a", "b"]
    assert "limit" not in script.seen[2].query


async def test_every_request_is_counted_by_verb_resource_and_status(tmp_path: Path) -> None:
    counted: Counted = []
    script = Script([says({"kind": "Pod"}), refused(404, "NotFound"), refused(409, "Conflict")])
    async with client_of(script, tmp_path, counted) as kube:
        await kube.get(PODS, "shop", "web")
        assert await kube.get(PODS, "shop", "web") is None
        await kube.delete(PODS, "shop", "web", uid="u", grace=0)
    assert counted == [
        ("get", "pods", "200"),
        ("get", "pods", "404"),
        ("delete", "pods", "409"),
    ]


async def test_the_token_travels_in_the_header_and_in_no_error(tmp_path: Path) -> None:
    script = Script([says("{}", status=500)])
    async with client_of(script, tmp_path) as kube:
        with pytest.raises(KubeError) as caught:
            await kube.get(PODS, "shop", "web")
    assert script.seen[0].headers["Authorization"] == "Bearer a-token"
    assert "a-token" not in str(caught.value)


async def test_a_kubeconfig_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist; name a file with --kubeconfig"):
        await open_access(str(tmp_path / "nothing"))


@pytest.mark.parametrize("text", ["", "[]", "{", "clusters: 3", "current-context: x"])
async def test_a_broken_kubeconfig_is_a_settings_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(SettingsError, match="config"):
        await open_access(str(tmp_path / "config"))


async def test_a_context_that_is_not_there_is_a_settings_error(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
    with pytest.raises(SettingsError, match="elsewhere"):
        await open_access(str(path), "elsewhere")


async def test_no_token_of_a_broken_kubeconfig_is_repeated(tmp_path: Path) -> None:
    user = {"name": "u", "user": {"token": "geheim", "exec": {}}}
    config = {"contexts": [{"name": "c", "context": {"user": "u", "cluster": "c"}}]}
    config |= {"clusters": [{"name": "c", "geheim": 1}], "users": [user]}
    (tmp_path / "config").write_text(json.dumps({**config, "current-context": "c"}))
    with pytest.raises(SettingsError) as caught:
        await open_access(str(tmp_path / "config"))
    assert "geheim" not in str(caught.value)


def test_paths_follow_the_scope_of_the_resource() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("shop", "web", "status") == "/api/v1/namespaces/shop/pods/web/status"
    nodes = Resource("api/v1", "nodes", "Node", namespaced=False)
    assert nodes.path("ignored", "n1") == "/api/v1/nodes/n1"
