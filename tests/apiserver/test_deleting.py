"""Deletion: at once, with grace, with preconditions, with finalizers, in bulk."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.api import Api, config_map, pod


def _grace(obj: dict[str, Any]) -> int | None:
    seconds = obj["metadata"].get("deletionGracePeriodSeconds")
    return None if seconds is None else int(seconds)


async def test_a_config_map_goes_at_once_and_the_answer_is_a_status(api: Api) -> None:
    created = await api.created("configmaps", config_map())
    answer = await api.delete("configmaps/settings")
    assert (answer.code, answer["kind"], answer["status"]) == (200, "Status", "Success")
    assert answer["details"]["uid"] == created["metadata"]["uid"]
    assert (await api.delete("configmaps/settings")).refusal == (404, "NotFound")


async def test_a_bound_pod_is_only_marked_and_gets_its_own_grace_period(api: Api) -> None:
    await api.created("pods", pod(terminationGracePeriodSeconds=7))
    answer = await api.delete("pods/web")
    assert (answer.code, answer["kind"]) == (200, "Pod")
    assert answer.metadata["deletionTimestamp"] and _grace(answer.body) == 7
    assert (await api.get("pods/web")).metadata["deletionTimestamp"]


async def test_a_second_delete_may_only_shorten_the_grace_period(api: Api) -> None:
    await api.created("pods", pod())
    first = (await api.delete("pods/web")).body
    longer = (await api.delete("pods/web", {"gracePeriodSeconds": 60})).body
    shorter = (await api.delete("pods/web", {"gracePeriodSeconds": 5})).body
    assert [_grace(obj) for obj in (first, longer, shorter)] == [30, 30, 5]
    assert longer["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert shorter["metadata"]["deletionTimestamp"] < first["metadata"]["deletionTimestamp"]


async def test_grace_zero_removes_a_bound_pod_marked_and_then_deleted(api: Api) -> None:
    created = await api.created("pods", pod())
    version = created["metadata"]["resourceVersion"]
    assert (await api.delete("pods/web", {"gracePeriodSeconds": 0})).code == 200
    assert (await api.get("pods/web")).code == 404
    async with api.watch("pods", resourceVersion=version) as events:
        marked, gone = await events.next(), await events.next()
    assert [marked[0], gone[0]] == ["MODIFIED", "DELETED"]
    assert _grace(marked[1]) == _grace(gone[1]) == 0
    assert int(gone[1]["metadata"]["resourceVersion"]) > int(
        marked[1]["metadata"]["resourceVersion"]
    )


async def test_a_marked_pod_is_removed_by_grace_zero(api: Api) -> None:
    await api.created("pods", pod())
    await api.delete("pods/web")
    await api.delete("pods/web", {"gracePeriodSeconds": 0})
    assert (await api.get("pods/web")).code == 404


async def test_the_grace_period_may_come_in_the_query(api: Api) -> None:
    await api.created("pods", pod())
    await api.delete("pods/web", gracePeriodSeconds="0")
    assert (await api.get("pods/web")).code == 404


async def test_a_pod_that_is_bound_nowhere_goes_at_once(api: Api) -> None:
    await api.created("pods", pod(nodeName=None))
    await api.delete("pods/web")
    assert (await api.get("pods/web")).code == 404


async def test_a_pod_that_has_ended_goes_at_once(api: Api) -> None:
    await api.created("pods", pod())
    await api.patch("pods/web/status", {"status": {"phase": "Succeeded"}})
    await api.delete("pods/web")
    assert (await api.get("pods/web")).code == 404


async def test_a_delete_for_another_uid_is_a_conflict(api: Api) -> None:
    created = await api.created("pods", pod())
    other = {"preconditions": {"uid": "11111111-1111-1111-1111-111111111111"}}
    answer = await api.delete("pods/web", other | {"gracePeriodSeconds": 0})
    assert answer.refusal == (409, "Conflict")
    assert (await api.get("pods/web")).code == 200
    right = {"preconditions": {"uid": created["metadata"]["uid"]}, "gracePeriodSeconds": 0}
    assert (await api.delete("pods/web", right)).code == 200
    assert (await api.get("pods/web")).code == 404


async def test_a_delete_of_an_old_version_is_a_conflict(api: Api) -> None:
    created = await api.created("configmaps", config_map())
    version = created["metadata"]["resourceVersion"]
    await api.patch("configmaps/settings", {"data": {"n": "2"}})
    answer = await api.delete(
        "configmaps/settings", {"preconditions": {"resourceVersion": version}}
    )
    assert answer.refusal == (409, "Conflict")


async def test_a_finalizer_holds_an_object_until_it_is_taken_off(api: Api) -> None:
    body = config_map()
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await api.created("configmaps", body)
    answer = await api.delete("configmaps/settings")
    assert answer["kind"] == "ConfigMap" and answer.metadata["deletionTimestamp"]
    assert (await api.get("configmaps/settings")).code == 200
    refused = await api.patch(
        "configmaps/settings", {"metadata": {"finalizers": ["example.com/hold", "example.com/x"]}}
    )
    assert refused.refusal == (422, "Invalid")
    assert (await api.patch("configmaps/settings", {"metadata": {"finalizers": None}})).code == 200
    assert (await api.get("configmaps/settings")).code == 404


async def test_a_finalizer_holds_a_pod_through_grace_zero(api: Api) -> None:
    body = pod()
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await api.created("pods", body)
    await api.delete("pods/web", {"gracePeriodSeconds": 0})
    assert _grace((await api.get("pods/web")).body) == 0
    await api.patch("pods/web", {"metadata": {"finalizers": None}})
    assert (await api.get("pods/web")).code == 404


async def test_a_collection_is_deleted_by_selector(api: Api) -> None:
    for name, colour in (("a", "red"), ("b", "blue"), ("c", "red")):
        await api.created("configmaps", config_map(name, {"colour": colour}))
    assert (await api.delete("configmaps", labelSelector="colour=red")).code == 200
    assert (await api.get("configmaps", labelSelector="colour")).names == ["b"]


async def test_a_dry_run_deletes_nothing(api: Api) -> None:
    await api.created("configmaps", config_map())
    assert (await api.delete("configmaps/settings", dryRun="All")).code == 200
    assert (await api.get("configmaps/settings")).code == 200


async def test_nothing_new_comes_into_a_namespace_that_ends(api: Api) -> None:
    body = config_map()
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await api.created("configmaps", body)
    namespace = f"/api/v1/namespaces/{api.namespace}"
    await api.delete(namespace)
    assert (await api.get(namespace))["status"]["phase"] == "Terminating"
    answer = await api.post("configmaps", config_map("late"))
    assert answer.refusal == (403, "Forbidden")
    assert "because it is being terminated" in answer["message"]
    await api.patch("configmaps/settings", {"metadata": {"finalizers": None}})


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_a_namespace_that_everything_needs_may_not_be_deleted(api: Api, name: str) -> None:
    answer = await api.delete(f"/api/v1/namespaces/{name}")
    assert (answer.code, answer["reason"]) == (403, "Forbidden")
    words = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    assert answer["message"] == words
    found = await api.get(f"/api/v1/namespaces/{name}")
    assert found["status"]["phase"] == "Active"
