"""What pods are made of, as processes in real containers see it.

Real: containerd, images, files, mounts, the registry. The test stands in for the pod's worker.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from edgeagent.pods.model.errors import ConfigError, ImageTrouble
from tests.edge_materials.device import Device, a_device, a_new_one_of, a_pod, printed, seen_by
from tests.edge_materials.making import config_map, secret
from tests.parts import images
from tests.parts.containerd import Containerd
from tests.parts.images import ImageSpec
from tests.parts.registry import Registry
from tests.runtime_contract.worlds import eventually


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


async def test_the_environment_reaches_the_process(device: Device) -> None:
    device.objects.put(config_map("settings", level="debug"), secret("login", word="pw"))
    env = [
        {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}}},
        {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "word"}}},
        {"name": "BOTH", "value": "$(LEVEL)/$(WORD)"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    both, node, address = await device.output(
        'echo "$BOTH\n$NODE\n$IP"; hostname -i >/dev/null', env=env
    )
    assert (both, node) == ("debug/pw", "edge-1")
    assert address.count(".") == 3


async def test_names_hosts_and_dns_are_the_pods(device: Device) -> None:
    spec = {
        "hostname": "shop",
        "subdomain": "sub",
        "hostAliases": [{"ip": "127.0.0.9", "hostnames": ["alias.local"]}],
    }
    lines = await device.output("hostname; cat /etc/hosts /etc/resolv.conf", spec=spec)
    assert lines[0] == "shop"
    assert "127.0.0.9\talias.local" in lines
    assert any(line.endswith("\tshop.sub.default.svc.cluster.local\tshop") for line in lines)
    assert "nameserver 192.0.2.53" in lines
    assert [one.reason for one in device.events][:1] == ["MissingClusterDNS"]


VOLUMES = [
    {"name": "disk", "emptyDir": {}},
    {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    {"name": "config", "configMap": {"name": "settings"}},
    {"name": "secret", "secret": {"secretName": "login", "defaultMode": 0o400}},
    {
        "name": "all",
        "projected": {
            "sources": [
                {"configMap": {"name": "settings"}},
                {"downwardAPI": {"items": [
                    {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
                ]}},
            ]
        },
    },
]  # fmt: skip
MOUNTS = [{"name": one["name"], "mountPath": f"/v/{one['name']}"} for one in VOLUMES]


async def test_volumes_of_every_kind_are_seen_in_the_container(device: Device) -> None:
    device.objects.put(config_map("settings", level="debug"), secret("login", word="pw"))
    script = """
        cat /v/config/level; echo; cat /v/secret/word; echo; cat /v/all/level; echo
        stat -c %a /v/disk /v/secret/..data/word
        df -k /v/memory | tail -1 | awk '{print $2}'
        touch /v/config/new 2>/dev/null || echo read-only
        touch /v/disk/new && echo writable
    """
    found = await device.output(script, volumeMounts=MOUNTS, spec={"volumes": VOLUMES})
    assert found == ["debug", "pw", "debug", "777", "400", "1024", "read-only", "writable"]


async def test_a_running_container_sees_a_changed_config_map(device: Device) -> None:
    device.objects.put(config_map("settings", level="before"))
    volumes = [{"name": "config", "configMap": {"name": "settings"}}]
    script = "cat /c/level; echo; until grep -q after /c/level; do sleep 0.05; done; echo changed"
    mount = [{"name": "config", "mountPath": "/c"}]
    whole = a_pod(script, volumeMounts=mount, spec={"volumes": volumes})
    container_id = await device.start(whole)

    async def has_begun() -> bool:
        return printed(await seen_by(device.runtime, container_id))[:1] == ["before"]

    await eventually(has_begun)
    device.objects.put(config_map("settings", level="after"))
    await device.materials.refresh(whole)

    async def has_changed() -> bool:
        return printed(await seen_by(device.runtime, container_id))[-1] == "changed"

    await eventually(has_changed)


async def test_a_sub_path_shows_one_folder_and_not_what_it_links_to(device: Device) -> None:
    volumes = [{"name": "disk", "emptyDir": {}}]
    mount = [{"name": "disk", "mountPath": "/m", "subPathExpr": "of/$(NAME)"}]
    env = [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    whole = a_pod("touch /m/made; ls /m", volumeMounts=mount, env=env, spec={"volumes": volumes})
    assert printed(await device.ended(whole)) == ["made"]
    folder = device.paths.volume(whole["metadata"]["uid"], "disk")
    assert os.listdir(folder / "of" / whole["metadata"]["name"]) == ["made"]
    hostile = a_pod(
        "ls /m", volumeMounts=[{**mount[0], "subPathExpr": "evil"}], spec={"volumes": volumes}
    )
    await device.materials.prepare(hostile, device.events.append)
    evil = device.paths.volume(hostile["metadata"]["uid"], "disk") / "evil"
    evil.symlink_to("/etc")
    with pytest.raises(ConfigError, match="failed to prepare subPath"):
        await device.start(hostile)


async def test_who_a_container_runs_as(device: Device) -> None:
    context = {"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000, "supplementalGroups": [4000]}
    volumes = [{"name": "disk", "emptyDir": {}}]
    found = await device.output(
        "id -u; id -g; id -G; touch /m/x; stat -c %g /m/x",
        volumeMounts=[{"name": "disk", "mountPath": "/m"}],
        spec={"securityContext": context, "volumes": volumes},
    )
    assert found == ["1000", "2000", "2000 3000 4000", "3000"]


async def test_run_as_non_root_looks_at_the_image(device: Device) -> None:
    spec = {"securityContext": {"runAsNonRoot": True}}
    with pytest.raises(ConfigError, match="image will run as root"):
        await device.start(a_pod("id -u", spec=spec))
    with pytest.raises(ConfigError, match="non-numeric user \\(app\\)"):
        await device.start(a_pod("id -u", spec=spec, image=images.NAMED_USER))
    assert await device.output("id -u", spec=spec, image=images.NUMERIC_USER) == ["1234"]


async def test_privileges_are_taken_away_and_given(device: Device) -> None:
    context = {
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
    }
    script = "grep -E 'CapEff|NoNewPrivs' /proc/self/status; touch /x 2>/dev/null || echo closed"
    capabilities, no_new_privileges, closed = await device.output(script, securityContext=context)
    assert capabilities.split()[1] == f"{1 << 10:016x}"
    assert no_new_privileges.split() == ["NoNewPrivs:", "1"]
    assert closed == "closed"


async def test_limits_become_cgroup_limits(device: Device) -> None:
    resources = {"limits": {"memory": "32Mi", "cpu": "500m"}}
    script = """
        cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max
        cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max
        cat /proc/self/oom_score_adj
    """
    found = await device.output(script, resources=resources)
    assert found[:2] == [str(32 * 1024**2), "50000"]
    pods = [
        line
        for line in await device.output("cat /proc/self/cgroup")
        if "memory" in line or "0::" in line
    ]
    assert any("/kubepods/besteffort/pod" in line or line == "0::/" for line in pods)


async def test_a_container_leaves_its_last_words(device: Device) -> None:
    whole = a_pod("printf 'the disk is gone' > /dev/termination-log; exit 3")
    container = await device.ended(whole)
    assert container.exit_code == 3
    main = whole["spec"]["containers"][0]
    said = await device.materials.termination_message(whole, main, attempt=0)
    assert said == "the disk is gone"


async def test_last_words_of_a_user_without_rights_and_at_another_path(device: Device) -> None:
    spec = {"securityContext": {"runAsUser": 1000}}
    whole = a_pod("printf bye > /tmp/words", spec=spec, terminationMessagePath="/tmp/words")
    await device.ended(whole)
    main = whole["spec"]["containers"][0]
    assert await device.materials.termination_message(whole, main, attempt=0) == "bye"


async def test_everything_of_a_pod_is_gone_after_its_removal(device: Device) -> None:
    device.objects.put(secret("login", word="pw"))
    volumes = [{"name": "s", "secret": {"secretName": "login"}}, {"name": "d", "emptyDir": {}}]
    mount = [
        {"name": "s", "mountPath": "/s"},
        {"name": "d", "mountPath": "/d", "subPath": "x"},
    ]
    whole = a_pod("sleep 3600", volumeMounts=mount, spec={"volumes": volumes})
    await device.start(whole)
    await device.materials.remove(whole)
    await device.materials.forget(whole)
    assert await device.volumes.orphans([]) == ()
    assert not device.paths.log_directory(whole).exists()


NewRegistry = Callable[..., Registry]


async def test_images_come_from_a_closed_registry_with_a_pull_secret(
    device: Device, new_registry: NewRegistry
) -> None:
    registry = new_registry("me", "right")
    name = registry.push("team/app", "1", ImageSpec("app"))
    entry = {"username": "me", "password": "right"}
    logins = json.dumps({"auths": {f"{registry.host}/team": entry}})
    whole = a_pod("echo hello", image=name, spec={"imagePullSecrets": [{"name": "pull"}]})
    with pytest.raises(ImageTrouble) as raised:
        await device.start(whole)
    assert raised.value.reason == "ErrImagePull"
    assert "FailedToRetrieveImagePullSecret" in [one.reason for one in device.events]
    device.objects.put(secret("pull", **{".dockerconfigjson": logins}))
    assert printed(await device.ended(a_new_one_of(whole))) == ["hello"]
    pulled = next(one for one in device.events if one.reason == "Pulled")
    assert pulled.message.startswith(f'Successfully pulled image "{name}" in ')
    await device.runtime.remove_image(name)


async def test_a_present_image_runs_when_its_registry_is_gone(
    device: Device, new_registry: NewRegistry
) -> None:
    registry = new_registry()
    name = registry.push("app", "1", ImageSpec("app"))
    always = {"image": name, "imagePullPolicy": "Always"}
    assert await device.output("echo online", **always) == ["online"]
    registry.stop()
    assert await device.output("echo offline", **always) == ["offline"]
    assert "RegistryUnreachable" in [one.reason for one in device.events]
    await device.runtime.remove_image(name)
