"""The forms an answer comes in: whole, as a table, metadata only; and what the server offers."""

from __future__ import annotations

from tests.apiserver.api import Api, config_map, pod

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


async def test_pods_as_a_table(api: Api) -> None:
    await api.created("pods", pod())
    for path in ("pods", "pods/web"):
        answer = await api.get(path, accept=TABLE)
        assert (answer["kind"], answer["apiVersion"]) == ("Table", "meta.k8s.io/v1")
        columns = [(column["name"], column["priority"]) for column in answer["columnDefinitions"]]
        assert columns[:5] == [(name, 0) for name in ("Name", "Ready", "Status", "Restarts", "Age")]
        assert columns[5:] == [
            (name, 1) for name in ("IP", "Node", "Nominated Node", "Readiness Gates")
        ]
        (row,) = answer["rows"]
        assert row["cells"][:3] == ["web", "0/1", "Pending"]
        assert row["object"]["kind"] == "PartialObjectMetadata"
        assert row["object"]["metadata"]["name"] == "web"


async def test_the_rows_of_a_table_bring_what_was_asked_for(api: Api) -> None:
    await api.created("configmaps", config_map(a="1"))
    for include, kind in (("Object", "ConfigMap"), ("Metadata", "PartialObjectMetadata")):
        answer = await api.get("configmaps/settings", accept=TABLE, includeObject=include)
        assert answer["rows"][0]["object"]["kind"] == kind
    answer = await api.get("configmaps/settings", accept=TABLE, includeObject="None")
    assert answer["rows"][0]["object"] is None


async def test_metadata_only(api: Api) -> None:
    body = {"metadata": {"name": "pass", "labels": {"a": "b"}}, "stringData": {"w": "x"}}
    created = await api.created("secrets", body)
    one = await api.get("secrets/pass", accept=METADATA)
    assert (one["kind"], one["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert one.metadata["resourceVersion"] == created["metadata"]["resourceVersion"]
    assert set(one.body) == {"kind", "apiVersion", "metadata"}
    listed = await api.get("secrets", accept=METADATA_LIST, labelSelector="a=b")
    assert listed["kind"] == "PartialObjectMetadataList"
    assert listed.names == ["pass"] and "data" not in listed["items"][0]


async def test_a_client_that_takes_no_form_of_ours_is_refused(api: Api) -> None:
    assert (await api.get("pods", accept="text/html")).refusal == (406, "NotAcceptable")


async def test_discovery_names_resources_with_their_ways_of_writing(api: Api) -> None:
    listed = (await api.get("/api/v1"))["resources"]
    by_name = {resource["name"]: resource for resource in listed}
    assert by_name["pods"]["shortNames"] == ["po"] and by_name["pods"]["categories"] == ["all"]
    assert by_name["pods"]["kind"] == "Pod" and by_name["pods"]["namespaced"] is True
    assert by_name["nodes"]["namespaced"] is False
    assert {"pods/status", "pods/binding", "nodes/status"} <= by_name.keys()
    assert {"get", "list", "watch", "patch", "deletecollection"} <= set(by_name["pods"]["verbs"])
    groups = {group["name"]: group for group in (await api.get("/apis"))["groups"]}
    preferred = groups["coordination.k8s.io"]["preferredVersion"]
    assert preferred == {"groupVersion": "coordination.k8s.io/v1", "version": "v1"}
    one = await api.get("/apis/coordination.k8s.io")
    assert (one["kind"], one["name"]) == ("APIGroup", "coordination.k8s.io")
