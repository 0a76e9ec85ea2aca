"""Lists: selectors, pages, versions."""

from __future__ import annotations

import pytest

from tests.apiserver.api import Api, config_map, pod


async def _some(api: Api) -> None:
    for name, labels in (
        ("a", {"tier": "front", "app": "shop"}),
        ("b", {"tier": "back"}),
        ("c", {"app": "shop"}),
    ):
        await api.created("configmaps", config_map(name, labels | {"mine": "yes"}))


async def test_a_list_says_its_kind_and_version_and_its_items_do_not(api: Api) -> None:
    await _some(api)
    answer = await api.get("configmaps", labelSelector="mine")
    assert (answer["kind"], answer["apiVersion"]) == ("ConfigMapList", "v1")
    assert answer.names == ["a", "b", "c"]
    assert "kind" not in answer["items"][0] and "apiVersion" not in answer["items"][0]
    versions = [int(item["metadata"]["resourceVersion"]) for item in answer["items"]]
    assert int(answer.metadata["resourceVersion"]) >= max(versions)


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("tier=front", "a"),
        ("tier==front", "a"),
        ("tier!=front", "bc"),
        ("tier", "ab"),
        ("!tier", "c"),
        ("tier in (front, back)", "ab"),
        ("tier notin (front)", "bc"),
        ("app=shop,!tier", "c"),
        ("app=shop,tier in (front)", "a"),
        ("tier=", ""),
    ],
)
async def test_label_selectors(api: Api, selector: str, names: str) -> None:
    await _some(api)
    answer = await api.get("configmaps", labelSelector=f"mine,{selector}")
    assert "".join(answer.names) == names


@pytest.mark.parametrize("selector", ["a b", "a in b", "a in (", "=x", "a=b=c", "a,,b"])
async def test_a_label_selector_that_cannot_be_read_is_refused(api: Api, selector: str) -> None:
    assert (await api.get("configmaps", labelSelector=selector)).refusal == (400, "BadRequest")


async def test_field_selectors_of_pods(api: Api) -> None:
    await api.created("pods", pod("here"))
    await api.created("pods", pod("there", nodeName="edge-2"))
    await api.patch("pods/there/status", {"status": {"phase": "Running"}})
    for selector, names in (
        ("spec.nodeName=edge-1", ["here"]),
        ("spec.nodeName!=edge-1", ["there"]),
        ("status.phase==Running", ["there"]),
        ("status.phase!=Running,spec.nodeName=edge-2", []),
        ("metadata.name=here", ["here"]),
        (f"metadata.namespace={api.namespace},metadata.name=there", ["there"]),
    ):
        assert (await api.get("pods", fieldSelector=selector)).names == names, selector


async def test_a_field_that_a_kind_does_not_offer_is_refused(api: Api) -> None:
    answer = await api.get("pods", fieldSelector="spec.containers=x")
    assert answer.refusal == (400, "BadRequest")
    assert "field label not supported: spec.containers" in answer["message"]


async def test_pages_of_a_list_show_one_moment(api: Api) -> None:
    await _some(api)
    first = await api.get("configmaps", limit="2", labelSelector="mine")
    assert first.names == ["a", "b"]
    await api.delete("configmaps/c")
    await api.created("configmaps", config_map("d", {"mine": "yes"}))
    rest = await api.get(
        "configmaps", limit="2", labelSelector="mine", **{"continue": first.metadata["continue"]}
    )
    assert rest.names == ["c"]
    assert rest.metadata["resourceVersion"] == first.metadata["resourceVersion"]
    assert not rest.metadata.get("continue")


async def test_a_broken_continue_token_is_refused(api: Api) -> None:
    answer = await api.get("configmaps", limit="2", **{"continue": "nonsense"})
    assert answer.refusal == (400, "BadRequest")


async def test_all_namespaces_at_once(api: Api) -> None:
    await api.created("configmaps", config_map("one", {"in": api.namespace}))
    answer = await api.get("/api/v1/configmaps", labelSelector=f"in={api.namespace}")
    assert [item["metadata"]["namespace"] for item in answer["items"]] == [api.namespace]


async def test_version_zero_is_served_and_a_broken_one_refused(api: Api) -> None:
    assert (await api.get("configmaps", resourceVersion="0")).code == 200
    assert (await api.get("configmaps", resourceVersion="x")).code in (400, 500)


async def test_a_version_of_the_future_is_not_served(api: Api) -> None:
    answer = await api.get("configmaps", resourceVersion="9000000000000000", timeout="10s")
    assert answer.refusal == (504, "Timeout")
    assert "Too large resource version" in answer["message"]
