"""What stands in configMap, secret, downwardAPI and projected volumes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.materials.sources import Missing
from edgeagent.pods.volumes.contents import File, NoTokens, Origin, checked, files_of
from shared.objects import Json
from tests.edge_materials.making import NODE, Objects, config_map, container, pod, secret

HERE = Objects(config_map("c", a="1", b="2"), secret("s", a="s1", t="s2"))


class OneToken:
    def token(self, pod: Json, *, audience: str, seconds: int) -> bytes:
        return f"{audience}/{seconds}".encode()


def files(kind: str, *, of: Json | None = None, **volume: Any) -> dict[str, File]:
    return files_of(kind, volume, Origin(of or pod(), NODE, HERE, OneToken()))


def texts(kind: str, **volume: Any) -> dict[str, str]:
    return {path: file.data.decode() for path, file in files(kind, **volume).items()}


def test_every_key_of_a_config_map_is_a_file() -> None:
    assert files("configMap", name="c") == {"a": File(b"1", 0o644), "b": File(b"2", 0o644)}


def test_every_key_of_a_secret_is_a_file() -> None:
    assert texts("secret", secretName="s") == {"a": "s1", "t": "s2"}


def test_binary_data_of_a_config_map_is_there_too() -> None:
    both = {**config_map("c", a="1"), "binaryData": {"z": "AP8="}}
    found = files_of("configMap", {"name": "c"}, Origin(pod(), NODE, Objects(both), OneToken()))
    assert found["z"].data == b"\0\xff"


def test_items_choose_keys_paths_and_modes() -> None:
    items = [{"key": "a", "path": "x/y", "mode": 0o400}, {"key": "b", "path": "z"}]
    found = files("configMap", name="c", items=items, defaultMode=0o600)
    assert found == {"x/y": File(b"1", 0o400), "z": File(b"2", 0o600)}


def test_a_missing_object_or_key_is_named_as_a_kubelet_names_it() -> None:
    with pytest.raises(Missing, match=r'^configmap "no" not found$'):
        files("configMap", name="no")
    with pytest.raises(Missing, match=r'^secret "no" not found$'):
        files("secret", secretName="no")
    items = [{"key": "no", "path": "x"}]
    with pytest.raises(ValueError, match=r"^configmap references non-existent config key: no$"):
        files("configMap", name="c", items=items)
    with pytest.raises(ValueError, match=r"^references non-existent secret key: no$"):
        files("secret", secretName="s", items=items)


def test_what_is_optional_may_be_missing() -> None:
    assert files("configMap", name="no", optional=True) == {}
    items = [{"key": "no", "path": "x"}, {"key": "a", "path": "y"}]
    assert texts("secret", secretName="s", items=items, optional=True) == {"y": "s1"}


def test_the_downward_api_shows_fields_and_resources() -> None:
    one = container(resources={"limits": {"cpu": "500m"}})
    of = pod(one, metadata={"labels": {"b": "2", "a": 'x"y'}, "annotations": {"n": "l1\nl2"}})
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "notes", "fieldRef": {"fieldPath": "metadata.annotations"}},
        {"path": "me/name", "fieldRef": {"fieldPath": "metadata.name"}, "mode": 0o400},
        {
            "path": "cpu",
            "resourceFieldRef": {
                "containerName": "main", "resource": "limits.cpu", "divisor": "1m"
            },
        },
    ]  # fmt: skip
    found = files("downwardAPI", of=of, items=items)
    assert found["labels"].data == b'a="x\\"y"\nb="2"'
    assert found["notes"].data == b'n="l1\\nl2"'
    assert found["me/name"] == File(b"web", 0o400)
    assert found["cpu"].data == b"500"


def test_everything_that_a_volume_lacks_is_named_once() -> None:
    fields = [{"path": path, "fieldRef": {"fieldPath": path}} for path in ("spec.no", "status.no")]
    with pytest.raises(
        Missing, match=r"^\[unsupported fieldPath: spec.no, unsupported fieldPath: status.no\]$"
    ):
        files("downwardAPI", items=fields)
    lacking = [
        {"configMap": {"name": "no"}},
        {"configMap": {"name": "no", "optional": True}},
        {"downwardAPI": {"items": fields}},
        {"secret": {"name": "no"}},
        {"configMap": {"name": "no"}},
    ]
    with pytest.raises(Missing) as raised:
        files("projected", sources=[*lacking, {"configMap": {"name": "c"}}])
    assert str(raised.value) == (
        '[configmap "no" not found, unsupported fieldPath: spec.no,'
        ' unsupported fieldPath: status.no, secret "no" not found]'
    )
    with pytest.raises(Missing, match=r'^configmap "no" not found$'):
        files("projected", sources=[lacking[0], lacking[4]])


PROJECTED = [
    {"configMap": {"name": "c", "items": [{"key": "a", "path": "config/a"}]}},
    {"secret": {"name": "s", "items": [{"key": "t", "path": "t", "mode": 0o400}]}},
    {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607, "audience": "api"}},
]


def test_a_projected_volume_holds_all_its_sources() -> None:
    found = files("projected", sources=PROJECTED, defaultMode=0o640)
    assert found == {
        "config/a": File(b"1", 0o640),
        "t": File(b"s2", 0o400),
        "ns": File(b"default", 0o640),
        "token": File(b"api/3607", 0o640),
    }


def test_a_token_belongs_to_the_one_user_that_all_containers_run_as() -> None:
    of = pod(container(), container("b"), securityContext={"runAsUser": 1000})
    assert files("projected", of=of, sources=PROJECTED)["token"] == File(b"api/3607", 0o600, 1000)
    other = container("c", securityContext={"runAsUser": 7})
    of = pod(container(), other, securityContext={"runAsUser": 1000})
    assert files("projected", of=of, sources=PROJECTED)["token"].mode == 0o644
    of = pod(securityContext={"fsGroup": 5})
    assert files("projected", of=of, sources=PROJECTED)["token"] == File(b"api/3607", 0o600)


def test_without_tokens_the_reason_and_the_way_out_are_named() -> None:
    origin = Origin(pod(serviceAccountName="robot"), NODE, HERE, NoTokens())
    with pytest.raises(Missing, match=r'"robot".*automountServiceAccountToken: false'):
        files_of("projected", {"sources": PROJECTED}, origin)


def test_files_may_belong_to_a_user() -> None:
    items = [{"key": "a", "path": "a", "user": 7}, {"key": "b", "path": "b"}]
    found = files("configMap", name="c", items=items, defaultUser=1000)
    assert (found["a"].owner, found["b"].owner) == (7, 1000)
    token = {"serviceAccountToken": {"path": "token", "user": 9}}
    assert files("projected", sources=[token])["token"] == File(b"/3600", 0o600, 9)


@pytest.mark.parametrize("kind", ["clusterTrustBundle", "podCertificate", "surprise"])
def test_an_unknown_source_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"projected source {kind} is not supported"):
        files("projected", sources=[{kind: {"path": "x"}}])


@pytest.mark.parametrize(
    "path", ["", "/x", "../x", "a/../b", "a/..", "..data", "..x/y", "./..x", ".", "./", "a\0b"]
)
def test_a_path_never_leaves_its_volume(path: str) -> None:
    with pytest.raises(ValueError, match="invalid path"):
        files("configMap", name="c", items=[{"key": "a", "path": path}])


@pytest.mark.parametrize("path", ["./a/b", "a//b", "a/./b", "a/b/", "a/b/.", "././/a/b"])
def test_a_path_may_be_written_in_more_words_than_it_needs(path: str) -> None:
    info = {"path": path, "fieldRef": {"fieldPath": "metadata.name"}}
    token = {"serviceAccountToken": {"path": path}}
    items = [{"key": "a", "path": path}]
    assert files("configMap", name="c", items=items).keys() == {"a/b"}
    assert files("downwardAPI", items=[info]).keys() == {"a/b"}
    assert files("projected", sources=[token]).keys() == {"a/b"}


@pytest.mark.parametrize("key", ["..", "../../etc/passwd", "a/b", "..data", ""])
def test_a_key_never_leaves_its_volume(key: str) -> None:
    hostile = Objects(config_map("c", **{key: "x"}))
    with pytest.raises(ValueError, match=r"invalid path|valid key"):
        files_of("configMap", {"name": "c"}, Origin(pod(), NODE, hostile, OneToken()))


@given(st.text(alphabet="./ab\0", max_size=12))
def test_a_checked_path_is_below_its_volume(path: str) -> None:
    try:
        parts = checked(path).split("/")
    except ValueError:
        return
    assert all(part not in ("", ".", "..") for part in parts) and not parts[0].startswith("..")
