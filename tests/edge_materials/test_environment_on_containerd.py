"""The environment of a container, as its process sees it on a real containerd."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from edgeagent.pods.model.errors import ConfigError
from shared.objects import Json
from tests.edge_materials.device import NODE, Device, a_device, a_new_one_of, a_pod, printed
from tests.edge_materials.making import config_map, secret
from tests.parts.containerd import Containerd

MIB = 1024**2


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


def field_of(path: str) -> Json:
    return {"fieldRef": {"fieldPath": path}}


def amount(resource: str, *, divisor: str = "", container: str = "") -> Json:
    named = {"containerName": container} if container else {}
    return {"resourceFieldRef": {"resource": resource, **named, "divisor": divisor or "0"}}


def variables(**origins: Json | str) -> list[Json]:
    return [
        {"name": name, "value": one} if isinstance(one, str) else {"name": name, "valueFrom": one}
        for name, one in origins.items()
    ]


async def test_references_are_expanded_in_env_command_and_args(device: Device) -> None:
    """``$(VAR)`` goes to what stands above it; ``$$`` escapes; what is not known stays as it is."""
    env = variables(A="one", B="$(A)/$$(A)/$(NONE)/$(LATER)", LATER="late", EMPTY="")
    command = ["/bin/sh", "-c", "echo '$(B)'; for word; do echo \"$word\"; done", "$(A)"]
    args = ["$(A)", "$$(A)", "$$$(A)", "$(NONE)", "$(LATER)", "[$(EMPTY)]", "$(A", "a$"]
    found = await device.output("", env=env, command=command, args=args)
    assert found[0] == "one/$(A)/$(NONE)/$(LATER)"
    assert found[1:] == ["one", "$(A)", "$one", "$(NONE)", "late", "[]", "$(A", "a$"]


async def test_fields_of_the_pod_are_in_the_environment(device: Device) -> None:
    paths = {
        "NAME": "metadata.name",
        "NAMESPACE": "metadata.namespace",
        "UID_": "metadata.uid",
        "LABEL": "metadata.labels['app.kubernetes.io/name']",
        "NOTE": "metadata.annotations['note']",
        "NO_LABEL": "metadata.labels['absent']",
        "NODE": "spec.nodeName",
        "ACCOUNT": "spec.serviceAccountName",
        "HOST_IP": "status.hostIP",
        "HOST_IPS": "status.hostIPs",
        "POD_IP": "status.podIP",
        "POD_IPS": "status.podIPs",
    }
    env = variables(**{name: field_of(path) for name, path in paths.items()})
    whole = a_pod("env; ip -4 -o addr show dev eth0", env=env, spec={"serviceAccountName": "robot"})
    whole["metadata"]["labels"] = {"app.kubernetes.io/name": "shop"}
    whole["metadata"]["annotations"] = {"note": 'two words, "quoted"'}
    lines = printed(await device.ended(whole))
    found = dict(line.partition("=")[::2] for line in lines)
    address = lines[-1].split()[3].partition("/")[0]
    metadata = whole["metadata"]
    assert {name: found[name] for name in paths} == {
        "NAME": metadata["name"],
        "NAMESPACE": "default",
        "UID_": metadata["uid"],
        "LABEL": "shop",
        "NOTE": 'two words, "quoted"',
        "NO_LABEL": "",
        "NODE": "edge-1",
        "ACCOUNT": "robot",
        "HOST_IP": "192.0.2.10",
        "HOST_IPS": "192.0.2.10",
        "POD_IP": address,
        "POD_IPS": address,
    }


async def test_resources_are_in_the_environment_rounded_up_to_the_divisor(device: Device) -> None:
    """A limit that is not set, or is zero, is what the node can give."""
    allocatable = {
        "cpu": Fraction(2),
        "memory": Fraction(4096 * MIB),
        "ephemeral-storage": Fraction(10**10),
    }
    device.materials.node_changed(replace(NODE, allocatable=allocatable))
    env = variables(
        CPU_LIMIT=amount("limits.cpu"),
        CPU_LIMIT_MILLI=amount("limits.cpu", divisor="1m"),
        CPU_REQUEST=amount("requests.cpu", divisor="1m"),
        MEMORY=amount("limits.memory"),
        MEMORY_MI=amount("limits.memory", divisor="1Mi"),
        MEMORY_GI=amount("limits.memory", divisor="1Gi"),
        MEMORY_REQUEST=amount("requests.memory", divisor="1Ki"),
        DISK=amount("limits.ephemeral-storage", divisor="1M"),
        OTHER_CPU=amount("limits.cpu", container="other"),
        OTHER_MEMORY=amount("limits.memory", divisor="1Mi", container="other"),
        OTHER_REQUEST=amount("requests.memory", container="other"),
        ZERO=amount("limits.cpu", container="zero"),
    )
    resources = {
        "requests": {"cpu": "125m", "memory": "32Mi"},
        "limits": {"cpu": "1250m", "memory": "64Mi"},
    }
    whole = a_pod("env", env=env, resources=resources)
    whole["spec"]["containers"] += [
        {"name": "other", "image": "none"},
        {"name": "zero", "image": "none", "resources": {"limits": {"cpu": "0"}}},
    ]
    found = dict(line.partition("=")[::2] for line in printed(await device.ended(whole)))
    expected = {
        "CPU_LIMIT": "2",
        "CPU_LIMIT_MILLI": "1250",
        "CPU_REQUEST": "125",
        "MEMORY": str(64 * MIB),
        "MEMORY_MI": "64",
        "MEMORY_GI": "1",
        "MEMORY_REQUEST": "32768",
        "DISK": "10000",
        "OTHER_CPU": "2",
        "OTHER_MEMORY": "4096",
        "OTHER_REQUEST": "0",
        "ZERO": "2",
    }
    assert {name: found[name] for name in expected} == expected


async def test_env_from_takes_all_keys_and_skips_invalid_names_with_an_event(
    device: Device,
) -> None:
    """With its prefix; a later source wins, env wins over all; what is optional may be missing."""
    odd = {"valid": "1", "also.valid-1": "2", "not=valid": "3", "n\u00e4me": "4"}
    device.objects.put(
        {**config_map("settings"), "data": {**odd, "both": "config"}},
        secret("login", both="secret"),
    )
    sources = [
        {"configMapRef": {"name": "settings"}, "prefix": "P_"},
        {"configMapRef": {"name": "settings"}},
        {"secretRef": {"name": "login"}},
        {"configMapRef": {"name": "absent", "optional": True}},
        {"secretRef": {"name": "absent", "optional": True}},
    ]
    env = variables(valid="own", QUOTED="$(P_valid)")
    found = await device.answers("", command=["/bin/env"], envFrom=sources, env=env)
    expected = {
        "P_valid": "1",
        "P_also.valid-1": "2",
        "also.valid-1": "2",
        "P_both": "config",
        "both": "secret",
        "valid": "own",
        "QUOTED": "1",
    }
    assert {name: found[name] for name in expected} == expected
    assert not {"not", "P_not", "n\u00e4me"} & set(found)
    skipped = [one for one in device.events if one.reason == "InvalidEnvironmentVariableNames"]
    assert [one.message for one in skipped] == [
        f"Keys [{keys}] from the EnvFrom configMap default/settings were skipped since they are"
        " considered invalid environment variable names."
        for keys in ("P_not=valid, P_n\u00e4me", "not=valid, n\u00e4me")
    ]
    assert skipped[0].field_path == "spec.containers{main}"


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ({"configMapKeyRef": {"name": "absent", "key": "x"}}, 'configmap "absent" not found'),
        ({"secretKeyRef": {"name": "absent", "key": "x"}}, 'secret "absent" not found'),
        (
            {"configMapKeyRef": {"name": "settings", "key": "x"}},
            "couldn't find key x in ConfigMap default/settings",
        ),
    ],
)
async def test_a_container_waits_for_what_its_environment_needs_and_starts_when_it_is_there(
    device: Device, origin: Json, words: str
) -> None:
    device.objects.put(config_map("settings", level="debug"))
    whole = a_pod("echo $NEEDED", env=variables(NEEDED=origin))
    with pytest.raises(ConfigError) as raised:
        await device.start(whole)
    assert (raised.value.reason, str(raised.value)) == ("CreateContainerConfigError", words)
    (ref,) = origin.values()
    make = secret if "secretKeyRef" in origin else config_map
    device.objects.put(make(ref["name"], x="here"))
    assert printed(await device.ended(a_new_one_of(whole))) == ["here"]


async def test_a_container_waits_for_the_object_that_env_from_names(device: Device) -> None:
    whole = a_pod("echo $LEVEL", envFrom=[{"configMapRef": {"name": "settings"}}])
    with pytest.raises(ConfigError, match='configmap "settings" not found') as raised:
        await device.start(whole)
    assert raised.value.reason == "CreateContainerConfigError"
    device.objects.put(config_map("settings", LEVEL="debug"))
    assert printed(await device.ended(a_new_one_of(whole))) == ["debug"]


async def test_a_container_begins_where_it_says_with_the_input_that_it_says(
    device: Device,
) -> None:
    script = "pwd; readlink /proc/self/fd/0; [ -t 1 ] && echo on a terminal || echo in a log"

    async def seen(**fields: object) -> list[str]:
        return [line.rstrip("\r") for line in await device.output(script, **fields)]

    assert await seen(workingDir="/made/here") == ["/made/here", "/dev/null", "in a log"]
    _, stream, where = await seen(stdin=True)
    assert stream != "/dev/null", "somebody may write into it"
    assert where == "in a log"
    _, stream, where = await seen(stdin=True, tty=True)
    assert stream.startswith("/dev/pts/")
    assert where == "on a terminal"


async def test_an_optional_key_that_is_missing_leaves_its_variable_out(device: Device) -> None:
    device.objects.put(config_map("settings", level="debug"))
    env = variables(
        FROM_CONFIG={"configMapKeyRef": {"name": "absent", "key": "x", "optional": True}},
        FROM_KEY={"configMapKeyRef": {"name": "settings", "key": "x", "optional": True}},
        FROM_SECRET={"secretKeyRef": {"name": "absent", "key": "x", "optional": True}},
    )
    assert not [line for line in await device.output("env", env=env) if line.startswith("FROM_")]
