"""Create, read, update: identity, versions, conflicts, and what is refused."""

from __future__ import annotations

import pytest

from tests.apiserver.api import Api, config_map


async def test_a_created_object_is_stamped_and_can_be_read(api: Api) -> None:
    created = await api.created("configmaps", config_map(color="red"))
    metadata = created["metadata"]
    assert metadata["namespace"] == api.namespace
    assert metadata["uid"] and metadata["resourceVersion"] and metadata["creationTimestamp"]
    read = await api.get("configmaps/settings")
    assert read.body["data"] == {"color": "red"}
    assert (read["kind"], read["apiVersion"]) == ("ConfigMap", "v1")
    assert read.metadata["uid"] == metadata["uid"]


async def test_a_second_object_of_one_name_already_exists(api: Api) -> None:
    await api.created("configmaps", config_map())
    answer = await api.post("configmaps", config_map())
    assert answer.refusal == (409, "AlreadyExists")
    assert answer["details"] == {"name": "settings", "kind": "configmaps"}
    assert answer["message"] == 'configmaps "settings" already exists'


async def test_an_absent_object_is_not_found_by_name(api: Api) -> None:
    answer = await api.get("pods/nobody")
    assert answer.refusal == (404, "NotFound")
    assert answer["message"] == 'pods "nobody" not found'
    assert answer["details"] == {"name": "nobody", "kind": "pods"}


async def test_generate_name_gives_every_object_another_name(api: Api) -> None:
    body = {"metadata": {"generateName": "part-"}}
    names = {(await api.created("configmaps", body))["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("part-") and len(name) == 10 for name in names)


async def test_nothing_is_created_in_a_namespace_that_does_not_exist(api: Api) -> None:
    answer = await api.post("/api/v1/namespaces/nowhere/configmaps", config_map())
    assert answer.refusal == (404, "NotFound")
    assert answer["message"] == 'namespaces "nowhere" not found'


async def test_every_write_takes_a_newer_version_and_a_write_of_nothing_new_takes_none(
    api: Api,
) -> None:
    first = await api.created("configmaps", config_map(n="1"))
    second = (await api.put("configmaps/settings", config_map(n="2"))).body
    third = (await api.put("configmaps/settings", config_map(n="2"))).body
    versions = [int(obj["metadata"]["resourceVersion"]) for obj in (first, second, third)]
    assert versions[0] < versions[1] == versions[2]
    assert second["metadata"]["uid"] == first["metadata"]["uid"]


async def test_an_update_on_an_old_version_is_a_conflict_and_changes_nothing(api: Api) -> None:
    old = await api.created("configmaps", config_map(n="1"))
    await api.put("configmaps/settings", config_map(n="2"))
    answer = await api.put("configmaps/settings", old | {"data": {"n": "3"}})
    assert answer.refusal == (409, "Conflict")
    assert answer["message"].endswith(
        "the object has been modified; "
        "please apply your changes to the latest version and try again"
    )
    assert (await api.get("configmaps/settings"))["data"] == {"n": "2"}


async def test_an_update_for_another_uid_is_a_conflict(api: Api) -> None:
    body = config_map(n="1")
    await api.created("configmaps", body)
    body["metadata"]["uid"] = "11111111-1111-1111-1111-111111111111"
    answer = await api.put("configmaps/settings", body)
    assert answer.refusal == (409, "Conflict")


async def test_an_update_of_nothing_is_not_found(api: Api) -> None:
    answer = await api.put("configmaps/settings", config_map())
    assert answer.refusal == (404, "NotFound")


async def test_a_lease_is_updated_only_with_its_version(api: Api) -> None:
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{api.namespace}/leases"
    lease = {"metadata": {"name": "hub"}, "spec": {"holderIdentity": "a"}}
    created = await api.created(leases, lease)
    assert (await api.put(f"{leases}/hub", lease)).refusal == (422, "Invalid")
    created["spec"]["holderIdentity"] = "b"
    assert (await api.put(f"{leases}/hub", created)).code == 200
    assert (await api.put(f"{leases}/hub", created)).refusal == (409, "Conflict")


async def test_the_renew_time_of_a_lease_keeps_its_microseconds(api: Api) -> None:
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{api.namespace}/leases"
    spec = {"holderIdentity": "a", "renewTime": "2026-01-02T03:04:05.678901Z"}
    created = await api.created(leases, {"metadata": {"name": "hub"}, "spec": spec})
    assert created["spec"]["renewTime"] == "2026-01-02T03:04:05.678901Z"


async def test_an_update_under_another_name_is_refused(api: Api) -> None:
    await api.created("configmaps", config_map("one"))
    answer = await api.put("configmaps/one", config_map("two"))
    assert answer.refusal == (400, "BadRequest")
    assert "does not match the name on the URL" in answer["message"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{not json", 400),
        (b"[]", 400),
        ({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "x"}}, 400),
        ({"metadata": {"name": "x"}, "data": {"n": 1}}, 400),
        ({"metadata": {"name": "UPPER"}}, 422),
        ({"metadata": {}}, 422),
        ({"metadata": {"name": "x", "labels": {"bad key!": "v"}}}, 422),
        ({"metadata": {"name": "x", "labels": {"key": "-bad"}}}, 422),
        ({"metadata": {"name": "x", "resourceVersion": "5"}}, 500),
        ({"metadata": {"name": "x"}, "data": {"bad/key": "v"}}, 422),
        ({"metadata": {"name": "x"}, "data": {"key": "v" * 1_100_000}}, 422),
    ],
    ids=[
        *("not-json", "a-list", "another-kind", "a-number-as-text", "bad-name", "no-name"),
        *("bad-label-key", "bad-label-value", "with-a-version", "bad-data-key", "too-large"),
    ],
)
async def test_a_bad_body_is_refused_with_its_reason(api: Api, body: object, code: int) -> None:
    answer = await api.post("configmaps", body)
    assert answer.refusal[0] == code, answer.body
    assert answer["message"]


async def test_a_body_of_an_unknown_media_type_is_refused(api: Api) -> None:
    headers = {"Content-Type": "text/plain"}
    answer = await api.send("POST", "configmaps", body=b"x", headers=headers)
    assert answer.refusal == (415, "UnsupportedMediaType")


async def test_yaml_is_a_body_too(api: Api) -> None:
    text = b"metadata: {name: settings}\ndata: {color: red}\n"
    headers = {"Content-Type": "application/yaml"}
    answer = await api.send("POST", "configmaps", body=text, headers=headers)
    assert answer.code == 201
    assert answer["data"] == {"color": "red"}


async def test_a_dry_run_answers_and_leaves_nothing(api: Api) -> None:
    answer = await api.post("configmaps", config_map(), dryRun="All")
    assert answer.code == 201 and answer.metadata["uid"]
    assert (await api.get("configmaps/settings")).code == 404


async def test_secrets_take_plain_text_and_show_base64(api: Api) -> None:
    body = {"metadata": {"name": "pass"}, "stringData": {"word": "hunter2"}}
    created = await api.created("secrets", body)
    assert created["data"] == {"word": "aHVudGVyMg=="}
    assert created["type"] == "Opaque" and "stringData" not in created


async def test_an_immutable_config_map_stays_as_it_is(api: Api) -> None:
    await api.created("configmaps", config_map(n="1") | {"immutable": True})
    answer = await api.patch("configmaps/settings", {"data": {"n": "2"}})
    assert answer.refusal == (422, "Invalid")
    assert answer["details"]["causes"][0]["field"] == "data"


@pytest.mark.parametrize("path", ["nothings", "pods/web/nothing", "/apis/nowhere/v1/pods", "/x"])
async def test_an_unknown_path_is_not_found(api: Api, path: str) -> None:
    assert (await api.get(path)).code == 404


async def test_a_method_that_a_resource_lacks_is_refused(api: Api) -> None:
    assert (await api.put("configmaps", config_map())).refusal == (405, "MethodNotAllowed")


async def test_without_the_token_nothing_is_told(api: Api) -> None:
    headers = {"Authorization": "Bearer wrong"}
    answer = await api.send("GET", "pods", headers=headers)
    assert answer.refusal == (401, "Unauthorized")


async def test_half_a_character_is_stored_as_the_mark_of_the_unreadable(api: Api) -> None:
    """And breaks no list or watch of others."""
    body = b'{"metadata": {"name": "half"}, "data": {"a": "x\\ud800y", "b": "\\ud83d\\ude00"}}'
    created = (await api.post("configmaps", body)).body
    assert created["data"] == {"a": "x\ufffdy", "b": "\U0001f600"}
    assert "half" in (await api.get("configmaps")).names
