"""The environment of a container."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from edgeagent.pods.materials.envfiles import BadEnvFile, EnvFile
from edgeagent.pods.materials.environment import Environment, Surroundings, environment
from edgeagent.pods.materials.fieldrefs import quoted
from edgeagent.pods.model.errors import ConfigError
from shared.objects import Json
from tests.edge_materials.making import NODE, UID, Objects, config_map, container, pod, secret

HERE = Objects(
    config_map("settings", level="debug", colour="red"), secret("login", user="me", password="pw")
)


def made(one: Json, *, of: Json | None = None, objects: Objects = HERE) -> Environment:
    around = Surroundings(of or pod(one), NODE, objects, ("10.0.0.7", "fd00::7"), _no_file)
    return environment(one, around)


def values(*variables: Json, **fields: Any) -> dict[str, str]:
    return made(container(env=list(variables), **fields)).variables


def refused(*variables: Json, **fields: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        values(*variables, **fields)
    assert raised.value.reason == "CreateContainerConfigError"
    return str(raised.value)


def _no_file(volume: str, path: str, key: str) -> str:
    raise FileNotFoundError(path)


def var(name: str, value: str | None = None, **origin: Any) -> Json:
    return {"name": name, "value": value} if value is not None else {
        "name": name, "valueFrom": origin
    }  # fmt: skip


def test_a_value_may_refer_to_variables_above_it_only() -> None:
    found = values(var("A", "1"), var("B", "$(A)2"), var("C", "$(D)"), var("D", "4"))
    assert found == {"A": "1", "B": "12", "C": "$(D)", "D": "4"}


def test_the_last_of_two_variables_with_one_name_wins() -> None:
    assert values(var("A", "1"), var("A", "$(A)2")) == {"A": "12"}


def test_a_variable_without_value_is_empty() -> None:
    assert values({"name": "A"}, var("B", "")) == {"A": "", "B": ""}


def test_a_key_of_a_config_map_and_of_a_secret() -> None:
    found = values(
        var("LEVEL", configMapKeyRef={"name": "settings", "key": "level"}),
        var("PASSWORD", secretKeyRef={"name": "login", "key": "password"}),
    )
    assert found == {"LEVEL": "debug", "PASSWORD": "pw"}


def test_what_is_missing_is_named_as_a_kubelet_names_it() -> None:
    ref = {"name": "absent", "key": "k"}
    assert refused(var("A", configMapKeyRef=ref)) == 'configmap "absent" not found'
    assert refused(var("A", secretKeyRef=ref)) == 'secret "absent" not found'
    key = refused(var("A", configMapKeyRef={"name": "settings", "key": "k"}))
    assert key == "couldn't find key k in ConfigMap default/settings"
    key = refused(var("A", secretKeyRef={"name": "login", "key": "k"}))
    assert key == "couldn't find key k in Secret default/login"


def test_what_is_optional_and_missing_is_left_out() -> None:
    found = values(
        var("A", configMapKeyRef={"name": "absent", "key": "k", "optional": True}),
        var("B", secretKeyRef={"name": "login", "key": "k", "optional": True}),
        envFrom=[{"configMapRef": {"name": "absent", "optional": True}}],
    )
    assert found == {}


def test_env_from_takes_every_key_with_its_prefix() -> None:
    sources = [
        {"configMapRef": {"name": "settings"}},
        {"prefix": "L_", "secretRef": {"name": "login"}},
    ]
    assert values(envFrom=sources) == {
        "level": "debug", "colour": "red", "L_user": "me", "L_password": "pw"
    }  # fmt: skip


def test_env_beats_env_from_and_may_refer_to_it() -> None:
    sources = [{"configMapRef": {"name": "settings"}}]
    found = values(var("level", "$(level)-er"), envFrom=sources)
    assert found["level"] == "debug-er"


def test_a_later_source_beats_an_earlier_one() -> None:
    objects = Objects(config_map("a", k="1"), config_map("b", k="2"))
    one = container(envFrom=[{"configMapRef": {"name": name}} for name in ("a", "b")])
    assert made(one, objects=objects).variables == {"k": "2"}


def test_env_from_without_its_object_is_refused() -> None:
    assert refused(envFrom=[{"secretRef": {"name": "absent"}}]) == 'secret "absent" not found'


def test_invalid_names_of_env_from_are_skipped_with_an_event() -> None:
    objects = Objects(config_map("odd", **{"a=b": "1", "good": "2", "tést": "3"}))
    found = made(container(envFrom=[{"configMapRef": {"name": "odd"}}]), objects=objects)
    assert found.variables == {"good": "2"}
    (event,) = found.events
    assert (event.type, event.reason) == ("Warning", "InvalidEnvironmentVariableNames")
    assert "Keys [a=b, tést] from the EnvFrom configMap default/odd were skipped" in event.message
    assert event.field_path == "spec.containers{main}"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "default"),
        ("metadata.uid", UID),
        ("metadata.labels['app']", "shop"),
        ("metadata.labels['absent']", ""),
        ("metadata.annotations['note/x']", "hello"),
        ("spec.nodeName", "edge-1"),
        ("spec.serviceAccountName", "robot"),
        ("status.hostIP", "192.0.2.10"),
        ("status.hostIPs", "192.0.2.10"),
        ("status.podIP", "10.0.0.7"),
        ("status.podIPs", "10.0.0.7,fd00::7"),
    ],
)
def test_fields_of_the_pod(path: str, value: str) -> None:
    one = container(env=[var("FIELD", fieldRef={"fieldPath": path})])
    metadata = {"labels": {"app": "shop"}, "annotations": {"note/x": "hello"}}
    of = pod(one, metadata=metadata, serviceAccountName="robot")
    assert made(one, of=of).variables == {"FIELD": value}


@pytest.mark.parametrize("path", ["metadata.labels", "spec.containers", "status.phase", ""])
def test_other_fields_are_refused(path: str) -> None:
    assert refused(var("A", fieldRef={"fieldPath": path})) == f"unsupported fieldPath: {path}"


RESOURCES = {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", None, "2"),  # rounded up to whole cores
        ("limits.cpu", "1m", "1500"),
        ("requests.cpu", "1m", "250"),
        ("limits.memory", None, str(64 * 1024**2)),
        ("limits.memory", "1Mi", "64"),
        ("limits.memory", "1Gi", "1"),
        ("requests.memory", "1Mi", "64"),  # a request that is missing is the limit
        ("limits.ephemeral-storage", None, str(10**10)),  # no limit: what the node has
        ("requests.ephemeral-storage", None, "0"),
    ],
)
def test_resources_of_the_container(resource: str, divisor: str | None, value: str) -> None:
    ref = {"resource": resource, "divisor": divisor}
    assert values(var("R", resourceFieldRef=ref), resources=RESOURCES) == {"R": value}


def test_a_limit_that_is_not_set_is_what_the_node_can_give() -> None:
    assert values(var("CPUS", resourceFieldRef={"resource": "limits.cpu"})) == {"CPUS": "2"}


def test_resources_of_another_container_by_name() -> None:
    other = container("other", resources={"limits": {"cpu": "4"}})
    ref = {"containerName": "other", "resource": "limits.cpu"}
    one = container(env=[var("R", resourceFieldRef=ref)])
    assert made(one, of=pod(one, other)).variables == {"R": "4"}


def test_an_init_container_that_is_named_has_no_limits_but_its_own() -> None:
    inits = [container("init"), container("sidecar", resources={"limits": {"cpu": "3"}})]
    one = container(
        env=[
            var(f"{name}-{what}", resourceFieldRef={"containerName": name, "resource": what})
            for name in ("init", "sidecar", "main")
            for what in ("limits.cpu", "limits.memory")
        ]
    )
    found = made(one, of=pod(one, initContainers=inits)).variables
    assert list(found.values()) == ["0", "0", "3", "0", "2", str(4 * 1024**3)]


def test_an_init_container_that_names_none_is_told_what_the_node_can_give() -> None:
    ref = {"resource": "limits.cpu"}
    init = container("init", env=[var("OWN", resourceFieldRef=ref)])
    init["env"].append(var("NAMED", resourceFieldRef={**ref, "containerName": "init"}))
    found = made(init, of=pod(container(), initContainers=[init])).variables
    assert found == {"OWN": "2", "NAMED": "0"}


def test_an_ephemeral_container_cannot_be_named() -> None:
    ref = {"containerName": "debug", "resource": "limits.cpu"}
    one = container(env=[var("R", resourceFieldRef=ref)])
    with pytest.raises(ConfigError, match=r"^container debug not found$"):
        made(one, of=pod(one, ephemeralContainers=[container("debug")]))


def test_a_value_no_process_can_get_is_refused_without_being_shown() -> None:
    message = refused(var("SECRET", "before\0after"))
    assert "SECRET" in message and "after" not in message


@pytest.mark.parametrize(
    "fields",
    [
        {"env": [var("KEY", secretKeyRef={"name": "binary", "key": "KEY"})]},
        {"env": [var("KEY", fileKeyRef={"volumeName": "v", "path": "p", "key": "KEY"})]},
        {"envFrom": [{"secretRef": {"name": "binary"}}]},
    ],
)
def test_a_value_that_is_no_text_is_refused_without_being_shown(fields: Json) -> None:
    """A runtime would not take it: what it and its client say of that may quote the value."""
    binary = secret("binary")
    binary["data"]["KEY"] = base64.b64encode(b"hidden\xff\xfe").decode()
    one = container(**fields)
    around = Surroundings(pod(one), NODE, Objects(binary), (), lambda *_: "hidden\udcff\udcfe")
    with pytest.raises(ConfigError) as raised:
        environment(one, around)
    assert str(raised.value) == (
        "environment variable 'KEY' cannot be passed to a process: its value is not text in UTF-8"
    )


def test_a_key_of_a_file_that_another_container_wrote() -> None:
    ref = {"volumeName": "shared", "path": "out.env", "key": "DB"}
    one = container(env=[var("DB", fileKeyRef=ref)])
    around = Surroundings(pod(one), NODE, HERE, (), lambda *place: "/".join(place))
    assert environment(one, around).variables == {"DB": "shared/out.env/DB"}
    assert refused(var("DB", fileKeyRef=ref)) == "couldn't parse env file"
    assert values(var("DB", fileKeyRef={**ref, "optional": True})) == {}


def test_files_of_variables_take_quoted_values_and_nothing_else() -> None:
    file = EnvFile("# comment\n\nA='1'\n B='two\nlines' # more\nC=''\nmy.key='x'")
    values = {name: file.value_of(name) for name in ("A", "B", "C", "D", "my.key", "A")}
    assert values == {"A": "1", "B": "two\nlines", "C": "", "D": None, "my.key": "x"}
    for bad in ("A=1", "A='1' x", "A ='1'", "A=", "A", "A='1", "A='$(B)'B='2'", "='1'"):
        with pytest.raises(BadEnvFile, match="line 1"):
            EnvFile(bad).value_of("A")


def test_names_with_blanks_and_blanks_before_a_value_are_what_a_kubelet_takes_them_for() -> None:
    file = EnvFile("export A='1'\nB= '2'\nC=\t\nA='3'\n \t\n")
    values = {name: file.value_of(name) for name in ("A", "export A", "B", "C")}
    assert values == {"A": "3", "export A": "1", "B": "", "C": ""}


def test_the_first_value_counts_and_nothing_after_it_does() -> None:
    file = EnvFile("A='1'\nA='2'\nB='3'\nnonsense\nC='4'")
    assert [file.value_of(name) for name in ("A", "B", "A")] == ["1", "3", "1"]
    for missing in ("C", "D"):
        with pytest.raises(BadEnvFile, match="line 4"):
            file.value_of(missing)
    assert file.value_of("B") == "3"


def test_lines_may_end_as_on_windows() -> None:
    assert EnvFile("A='1'\r\nB='two\r\nlines'\r\n").value_of("B") == "two\nlines"


def test_quoting_is_what_go_programs_read() -> None:
    assert quoted('a"b\\c\n\x01é\u200b') == '"a\\"b\\\\c\\n\\x01é\\u200b"'
