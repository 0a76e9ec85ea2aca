"""The four patch types, and versions in patches."""

from __future__ import annotations

import pytest

from tests.apiserver.api import APPLY, JSON_PATCH, MERGE, STRATEGIC, Api, config_map, pod


async def test_a_merge_patch_sets_and_removes(api: Api) -> None:
    await api.created("configmaps", config_map(a="1", b="2"))
    answer = await api.patch("configmaps/settings", {"data": {"a": None, "c": "3"}})
    assert answer.code == 200 and answer["data"] == {"b": "2", "c": "3"}


async def test_a_json_patch_runs_in_order_or_not_at_all(api: Api) -> None:
    await api.created("configmaps", config_map(a="1"))
    patch = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "add", "path": "/data/b", "value": "2"},
        {"op": "move", "from": "/data/a", "path": "/data/c"},
    ]
    answer = await api.patch("configmaps/settings", patch, media=JSON_PATCH)
    assert answer["data"] == {"b": "2", "c": "1"}
    again = await api.patch("configmaps/settings", patch, media=JSON_PATCH)
    assert again.refusal == (422, "Invalid")
    assert (await api.get("configmaps/settings"))["data"] == {"b": "2", "c": "1"}


async def test_conditions_are_merged_by_type(api: Api) -> None:
    await api.created("pods", pod())
    for conditions in (
        [{"type": "Ready", "status": "False"}, {"type": "Initialized", "status": "True"}],
        [{"type": "Ready", "status": "True"}],
        [{"type": "Initialized", "$patch": "delete"}],
    ):
        patch = {"status": {"conditions": conditions}}
        assert (await api.patch("pods/web/status", patch, media=STRATEGIC)).code == 200
    status = (await api.get("pods/web"))["status"]
    assert [(part["type"], part["status"]) for part in status["conditions"]] == [("Ready", "True")]


async def test_pod_addresses_are_merged_by_ip_and_can_be_replaced(api: Api) -> None:
    await api.created("pods", pod())
    first = {"status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}}
    await api.patch("pods/web/status", first, media=STRATEGIC)
    second = {
        "status": {"podIP": "10.0.0.2", "podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.2"}]}
    }
    answer = await api.patch("pods/web/status", second, media=STRATEGIC)
    assert answer["status"]["podIPs"] == [{"ip": "10.0.0.2"}]


async def test_container_statuses_are_replaced_as_a_whole(api: Api) -> None:
    await api.created("pods", pod())

    def statuses(name: str) -> dict[str, object]:
        part = {"name": name, "image": "i", "imageID": "", "ready": False, "restartCount": 0}
        return {"status": {"containerStatuses": [part]}}

    await api.patch("pods/web/status", statuses("one"), media=STRATEGIC)
    answer = await api.patch("pods/web/status", statuses("two"), media=STRATEGIC)
    assert [part["name"] for part in answer["status"]["containerStatuses"]] == ["two"]


async def test_images_are_patched_by_container_name(api: Api) -> None:
    extra = [{"name": "main", "image": "a:1"}, {"name": "side", "image": "b:1"}]
    await api.created("pods", pod(containers=extra))
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "main"}, {"name": "side"}],
            "containers": [{"name": "side", "image": "b:2"}],
        }
    }
    answer = await api.patch("pods/web", patch, media=STRATEGIC)
    images = {part["name"]: part["image"] for part in answer["spec"]["containers"]}
    assert images == {"main": "a:1", "side": "b:2"}


async def test_node_conditions_and_addresses_are_merged_and_taints_replaced(
    api: Api, node_name: str
) -> None:
    taints = [{"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "NoSchedule"}]
    body = {"metadata": {"name": node_name}, "spec": {"taints": taints}}
    await api.created("/api/v1/nodes", body)
    path = f"/api/v1/nodes/{node_name}"
    one = {"conditions": [{"type": "Ready", "status": "True"}]}
    two = {"conditions": [{"type": "MemoryPressure", "status": "False"}]}
    home = {"addresses": [{"type": "Hostname", "address": node_name}]}
    for status in (one, two, home):
        await api.patch(f"{path}/status", {"status": status}, media=STRATEGIC)
    patch = {"spec": {"taints": [{"key": "c", "effect": "NoExecute"}]}}
    node = (await api.patch(path, patch, media=STRATEGIC)).body
    kinds = {part["type"] for part in node["status"]["conditions"]}
    assert kinds == {"Ready", "MemoryPressure"}
    assert node["status"]["addresses"] == home["addresses"]
    assert [taint["key"] for taint in node["spec"]["taints"]] == ["c"]


async def test_finalizers_are_added_one_by_one(api: Api) -> None:
    await api.created("configmaps", config_map())
    for name in ("example.com/a", "example.com/b"):
        patch = {"metadata": {"finalizers": [name]}}
        await api.patch("configmaps/settings", patch, media=STRATEGIC)
    drop = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}}
    answer = await api.patch("configmaps/settings", drop, media=STRATEGIC)
    assert answer.metadata["finalizers"] == ["example.com/b"]
    await api.patch("configmaps/settings", {"metadata": {"finalizers": None}})


@pytest.mark.parametrize("media", [MERGE, STRATEGIC])
async def test_a_patch_with_an_old_version_is_a_conflict(api: Api, media: str) -> None:
    created = await api.created("configmaps", config_map(n="1"))
    version = created["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "data": {"n": "2"}}
    assert (await api.patch("configmaps/settings", patch, media=media)).code == 200
    answer = await api.patch("configmaps/settings", patch | {"data": {"n": "3"}}, media=media)
    assert answer.refusal == (409, "Conflict")


async def test_a_status_patch_for_another_uid_does_not_go_through(api: Api) -> None:
    await api.created("pods", pod())
    other = "11111111-1111-1111-1111-111111111111"
    patch = {"metadata": {"uid": other}, "status": {"phase": "Running"}}
    answer = await api.patch("pods/web/status", patch, media=STRATEGIC)
    assert answer.refusal == (422, "Invalid")
    assert answer["details"]["causes"][0]["field"] == "metadata.uid"
    assert (await api.get("pods/web"))["status"]["phase"] == "Pending"


async def test_an_empty_patch_changes_nothing(api: Api) -> None:
    created = await api.created("configmaps", config_map())
    answer = await api.patch("configmaps/settings", {})
    assert answer.metadata["resourceVersion"] == created["metadata"]["resourceVersion"]


NO_DIRECTIVE = {"metadata": {"labels": {"$patch": "nonsense"}}}
NO_DIRECTIVE_IS_IGNORED = 36
"""Seen in 1.36; 1.20 refuses it, as the embedded server does."""


@pytest.mark.parametrize(
    ("media", "body", "code"),
    [
        (MERGE, b"[", 400),
        (JSON_PATCH, {"op": "add"}, 400),
        (STRATEGIC, NO_DIRECTIVE, 422),
    ],
    ids=["not-json", "no-list", "no-directive"],
)
async def test_a_broken_patch_is_refused(api: Api, media: str, body: object, code: int) -> None:
    await api.created("configmaps", config_map())
    answer = await api.patch("configmaps/settings", body, media=media)
    if body == NO_DIRECTIVE and api.cluster.minor >= NO_DIRECTIVE_IS_IGNORED:
        assert "$patch" not in answer.metadata.get("labels", {})
        return
    assert answer.refusal[0] in (code, 500), answer.body  # 500: some versions, for broken JSON
    assert (await api.get("configmaps/settings")).code == 200


async def test_an_unknown_patch_type_is_refused(api: Api) -> None:
    await api.created("configmaps", config_map())
    answer = await api.patch("configmaps/settings", {}, media="application/json")
    assert answer.refusal == (415, "UnsupportedMediaType")


async def test_a_patch_of_nothing_is_not_found(api: Api) -> None:
    assert (await api.patch("configmaps/settings", {})).refusal == (404, "NotFound")


async def test_apply_creates_and_then_changes(api: Api) -> None:
    for value in ("1", "2"):
        answer = await api.patch(
            "configmaps/settings", config_map(n=value), media=APPLY, fieldManager="test"
        )
        assert answer.code in (200, 201) and answer["data"] == {"n": value}


async def test_a_patch_cannot_rename(api: Api) -> None:
    await api.created("configmaps", config_map())
    answer = await api.patch("configmaps/settings", {"metadata": {"name": "other"}})
    assert answer.refusal == (400, "BadRequest")
