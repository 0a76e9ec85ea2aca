"""Volumes as processes in containers see them, on a real containerd with real files and mounts."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgeagent.pods.model.errors import ConfigError, MountError
from shared.objects import Json
from tests.edge_materials.device import Device, a_device, a_new_one_of, a_pod, printed, seen_by
from tests.edge_materials.making import config_map, secret
from tests.parts.containerd import Containerd
from tests.runtime_contract.worlds import eventually


class Issued:
    """Tokens as a hub issues them; ``newest`` is the one of the moment."""

    newest = b"first"

    async def ready(self, pod: Json) -> None:
        """They are always here."""

    def token(self, pod: Json, *, audience: str, seconds: int) -> bytes:
        return self.newest + f" for {audience} and {seconds} s".encode()


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path, tokens=Issued()) as one:
        yield one


def mounted(*names: str, **fields: object) -> list[Json]:
    return [{"name": name, "mountPath": f"/v/{name}", **fields} for name in names]


async def test_an_empty_dir_is_empty_open_to_everybody_and_on_the_medium_it_asks_for(
    device: Device,
) -> None:
    volumes: list[Json] = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "small", "emptyDir": {"medium": "Memory", "sizeLimit": "64Ki"}},
    ]
    script = """
        for v in disk memory small; do
            echo $v=$(ls -A /v/$v) $(stat -c %a /v/$v) $(touch /v/$v/x && echo writable)
            echo type-$v=$(awk -v at=/v/$v '$2 == at {print $3}' /proc/mounts)
        done
        dd if=/dev/zero of=/v/small/big bs=1024 count=128 2>/dev/null || echo limit=kept
        echo size=$(df -k /v/memory | tail -1 | awk '{print $2}')
    """
    found = await device.answers(
        script,
        volumeMounts=mounted("disk", "memory", "small"),
        resources={"limits": {"memory": "32Mi"}},
        spec={"volumes": volumes, "securityContext": {"runAsUser": 1000}},
    )
    assert found["disk"].strip() == "777 writable"
    assert {found[name].strip() for name in ("memory", "small")} == {"1777 writable"}
    assert (found["type-memory"], found["type-small"]) == ("tmpfs", "tmpfs")
    assert found["type-disk"] != "tmpfs"
    assert found["limit"] == "kept"
    assert found["size"] == "32768", "without a size limit, what the pod may use"


def _a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(path))


_MAKE = {
    "Directory": lambda path: path.mkdir(),
    "File": lambda path: path.write_text("file"),
    "Socket": _a_socket,
    "CharDevice": lambda path: os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3)),
    "BlockDevice": lambda path: os.mknod(path, 0o666 | stat.S_IFBLK, os.makedev(7, 0)),
}
_SEEN = {
    "Directory": "directory",
    "File": "regular file",
    "Socket": "socket",
    "CharDevice": "character special file",
    "BlockDevice": "block special file",
    "DirectoryOrCreate": "directory",
    "FileOrCreate": "regular empty file",
}


async def test_a_host_path_of_every_type_is_mounted_when_it_is_one(
    device: Device, tmp_path: Path
) -> None:
    volumes, mounts = [], []
    for kind in ("", *_SEEN):
        path = tmp_path / f"host-{kind.lower() or 'any'}"
        if kind in _MAKE:
            _MAKE[kind](path)
        name = path.name
        volumes.append({"name": name, "hostPath": {"path": str(path), "type": kind}})
        mounts.append({"name": name, "mountPath": f"/{name}"})
    (tmp_path / "host-any").write_text("any")
    found = await device.answers(
        "for one in /host-*; do echo $one=$(stat -c %F $one); done; echo text=$(cat /host-any)",
        volumeMounts=mounts,
        spec={"volumes": volumes},
    )
    seen = {f"/host-{kind.lower()}": words for kind, words in _SEEN.items()}
    assert found == {"/host-any": "regular file", **seen, "text": "any"}
    made = (tmp_path / "host-directoryorcreate", tmp_path / "host-fileorcreate")
    assert [stat.S_IMODE(one.stat().st_mode) for one in made] == [0o755, 0o644]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("Directory", "is not a directory"),
        ("File", "is not a file"),
        ("Socket", "is not a socket file"),
        ("CharDevice", "is not a character device"),
        ("BlockDevice", "is not a block device"),
    ],
)
async def test_a_host_path_of_another_type_is_not_mounted_and_says_so(
    device: Device, tmp_path: Path, kind: str, words: str
) -> None:
    other = "File" if kind == "Directory" else "Directory"
    _MAKE[other](tmp_path / "host")
    volumes = [{"name": "host", "hostPath": {"path": str(tmp_path / "host"), "type": kind}}]
    with pytest.raises(MountError, match=f"hostPath type check failed: .* {words}") as raised:
        await device.start(a_pod("", spec={"volumes": volumes}, volumeMounts=mounted("host")))
    assert (raised.value.reason, raised.value.event) == ("ContainerCreating", "FailedMount")


KEYS: list[Json] = [
    {"name": "plain", "configMap": {"name": "settings"}},
    {"name": "modes", "configMap": {
        "name": "settings", "defaultMode": 0o640,
        "items": [{"key": "level", "path": "deep/er/level"},
                  {"key": "other", "path": "private", "mode": 0o400}],
    }},
    {"name": "closed", "secret": {"secretName": "login", "defaultMode": 0o400}},
    {"name": "maybe", "configMap": {"name": "absent", "optional": True}},
    {"name": "maybe-key", "secret": {
        "secretName": "login", "optional": True, "items": [{"key": "absent", "path": "x"}]
    }},
]  # fmt: skip
LOOK = """
    for one in /v/plain/level /v/modes/deep/er/level /v/modes/private /v/closed/word; do
        echo $one=$(stat -L -c '%a %u %g' $one) $(cat $one 2>/dev/null || echo closed)
    done
    echo maybe=$(ls /v/maybe /v/maybe-key | grep -v : | wc -w)
    echo folder=$(stat -L -c '%a %g' /v/closed) $(stat -L -c '%a %g' /v/closed/..data)
"""


async def test_files_have_the_paths_and_modes_that_items_and_default_mode_say(
    device: Device,
) -> None:
    device.objects.put(config_map("settings", level="debug", other="x"), secret("login", word="pw"))
    mounts = mounted(*(one["name"] for one in KEYS))
    found = await device.answers(LOOK, volumeMounts=mounts, spec={"volumes": KEYS})
    assert found == {
        "/v/plain/level": "644 0 0 debug",
        "/v/modes/deep/er/level": "640 0 0 debug",
        "/v/modes/private": "400 0 0 x",
        "/v/closed/word": "400 0 0 pw",
        "maybe": "0",
        "folder": "1777 0 755 0",
    }


async def test_fs_group_owns_the_files_and_a_user_of_that_group_reads_them(device: Device) -> None:
    """Without it a user who is not root reads only what is open to everybody."""
    device.objects.put(config_map("settings", level="debug", other="x"), secret("login", word="pw"))
    mounts = mounted(*(one["name"] for one in KEYS))
    context: Json = {"runAsUser": 1000, "runAsGroup": 1000}
    spec: Json = {"volumes": KEYS, "securityContext": context}
    without = await device.answers(LOOK, volumeMounts=mounts, spec=spec)
    assert {name: without[name] for name in without if name.startswith("/")} == {
        "/v/plain/level": "644 0 0 debug",
        "/v/modes/deep/er/level": "640 0 0 closed",
        "/v/modes/private": "400 0 0 closed",
        "/v/closed/word": "400 0 0 closed",
    }
    context["fsGroup"] = 3000
    assert await device.answers(LOOK, volumeMounts=mounts, spec=spec) == {
        "/v/plain/level": "644 0 3000 debug",
        "/v/modes/deep/er/level": "640 0 3000 debug",
        "/v/modes/private": "440 0 3000 x",
        "/v/closed/word": "440 0 3000 pw",
        "maybe": "0",
        "folder": "3777 3000 2755 3000",
    }


PROJECTED: Json = {
    "name": "all",
    "projected": {
        "defaultMode": 0o444,
        "sources": [
            {"configMap": {"name": "settings", "items": [{"key": "level", "path": "c/level"}]}},
            {"secret": {"name": "login", "items": [
                {"key": "word", "path": "word", "mode": 0o400}
            ]}},
            {"downwardAPI": {"items": [
                {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
                {"path": "memory", "resourceFieldRef": {
                    "containerName": "main", "resource": "limits.memory", "divisor": "1Mi"}},
            ]}},
            {"serviceAccountToken": {
                "path": "token", "audience": "vault", "expirationSeconds": 600
            }},
        ],
    },
}  # fmt: skip


async def test_a_projected_volume_holds_all_its_sources(device: Device) -> None:
    device.objects.put(config_map("settings", level="debug"), secret("login", word="pw"))
    script = "cd /v/all; for one in c/level word name memory token; do stat -L -c %a $one; " + (
        "cat $one; echo; done; touch x 2>/dev/null || echo read-only"
    )
    whole = a_pod(
        script,
        volumeMounts=mounted("all"),
        resources={"limits": {"memory": "32Mi"}},
        spec={"volumes": [PROJECTED]},
    )
    name, token = whole["metadata"]["name"], "first for vault and 600 s"
    assert printed(await device.ended(whole)) == [
        *("444", "debug", "400", "pw", "444", name, "444", "32", "444", token, "read-only")
    ]


async def test_of_a_projected_volume_what_is_optional_may_be_missing_and_the_group_reads_it(
    device: Device,
) -> None:
    device.objects.put(config_map("settings", level="debug"))
    optional: list[Json] = [
        {"configMap": {"name": "absent", "optional": True}},
        {"secret": {"name": "absent", "optional": True}},
        {"configMap": {
            "name": "settings", "optional": True, "items": [{"key": "none", "path": "none"}]
        }},
    ]  # fmt: skip
    there: list[Json] = [
        {"configMap": {"name": "settings"}},
        {"downwardAPI": {"items": [
            {"path": "kind", "fieldRef": {"fieldPath": "metadata.namespace"}, "mode": 0o400}
        ]}},
    ]  # fmt: skip
    script = (
        "cd /v/all; echo files=$(ls);"
        " for one in level kind; do echo $one=$(stat -L -c '%a %u %g' $one) $(cat $one); done"
    )

    def spec(*sources: Json) -> Json:
        projected = {"defaultMode": 0o640, "sources": list(sources)}
        context = {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 3000}
        return {"volumes": [{"name": "all", "projected": projected}], "securityContext": context}

    assert await device.answers(
        script, volumeMounts=mounted("all"), spec=spec(*optional, *there)
    ) == {"files": "kind level", "level": "640 0 3000 debug", "kind": "440 0 3000 default"}
    needed = {"secret": {"name": "absent"}}
    with pytest.raises(MountError, match='secret "absent" not found') as raised:
        await device.start(a_pod("", spec=spec(*there, needed), volumeMounts=mounted("all")))
    assert raised.value.event == "FailedMount"


async def test_a_token_is_readable_by_those_it_is_for_and_a_renewed_one_is_seen(
    device: Device,
) -> None:
    """By the one user that all containers run as, by the fsGroup, else by everybody."""
    for context, owner in (
        ({}, "444 0 0"),
        ({"runAsUser": 1000}, "600 1000 0"),
        ({"runAsUser": 1000, "fsGroup": 3000}, "640 1000 3000"),
    ):
        source = {"serviceAccountToken": {"path": "token", "audience": "a"}}
        volume = {"name": "all", "projected": {"sources": [source], "defaultMode": 0o444}}
        found = await device.answers(
            "echo token=$(stat -L -c '%a %u %g' /v/all/token) $(cat /v/all/token)",
            volumeMounts=mounted("all"),
            spec={"volumes": [volume], "securityContext": context},
        )
        assert found["token"] == f"{owner} first for a and 3600 s"
    script = (
        "cat /v/all/token; echo; until grep -q second /v/all/token; do sleep 0.05; done; echo seen"
    )
    whole = a_pod(script, volumeMounts=mounted("all"), spec={"volumes": [volume]})
    container_id = await device.start(whole)
    await says(device, container_id, "first")
    Issued.newest = b"second"
    try:
        await device.materials.refresh(whole)
        await says(device, container_id, "seen")
    finally:
        Issued.newest = b"first"


async def says(device: Device, container_id: str, word: str) -> None:
    async def said() -> bool:
        return word in " ".join(printed(await seen_by(device.runtime, container_id)))

    await eventually(said)


async def test_an_update_is_seen_as_a_whole_and_through_a_sub_path_never(device: Device) -> None:
    """Both keys through one look at ``..data`` are of one version, whatever the moment."""
    device.objects.put(config_map("settings", one="0", two="0"))
    volumes: list[Json] = [{"name": "config", "configMap": {"name": "settings"}}]
    script = """
        while :; do
            cd -P /v/config/..data && a=$(cat one) && b=$(cat two) || continue
            [ "$a" = "$b" ] || echo torn $a $b
            [ "$a" = 30 ] && break
        done 2>/dev/null
        echo sub=$(cat /sub) file=$(readlink /v/config/one) old=$(ls -A /v/config | wc -l)
    """
    mounts = [*mounted("config"), {"name": "config", "mountPath": "/sub", "subPath": "one"}]
    whole = a_pod(script, volumeMounts=mounts, spec={"volumes": volumes})
    container_id = await device.start(whole)
    for version in range(1, 31):
        device.objects.put(config_map("settings", one=str(version), two=str(version)))
        await device.materials.refresh(whole)
    await says(device, container_id, "sub=")
    container = await seen_by(device.runtime, container_id)
    assert printed(container) == ["sub=0 file=..data/one old=4"]


async def test_a_volume_is_mounted_below_one_that_is_only_read(device: Device) -> None:
    """A token below a secret, a writable folder below a configMap: neither hides the other."""
    device.objects.put(config_map("settings", level="info"), secret("keys", key="hidden"))
    token = {"serviceAccountToken": {"path": "token"}}
    volumes: list[Json] = [
        {"name": "config", "configMap": {"name": "settings"}},
        {"name": "cache", "emptyDir": {}},
        {"name": "keys", "secret": {"secretName": "keys"}},
        {"name": "account", "projected": {"sources": [token]}},
    ]
    mounts = [
        {"name": "account", "mountPath": "/run/secrets/kubernetes.io/serviceaccount"},
        {"name": "cache", "mountPath": "/etc/app/cache/deep"},
        {"name": "config", "mountPath": "/etc/app"},
        {"name": "keys", "mountPath": "/run/secrets"},
    ]
    script = """
        cd /run/secrets
        echo key=$(cat key) token=$(cat kubernetes.io/serviceaccount/token)
        touch /etc/app/cache/deep/kept
        until [ "$(cat /etc/app/level)" = debug ]; do sleep 0.05; done
        echo now=$(cat /etc/app/level) cache=$(ls /etc/app/cache/deep)
    """
    spec = {"volumes": volumes, "securityContext": {"runAsUser": 1000}}
    whole = a_pod(script, volumeMounts=mounts, spec=spec)
    container_id = await device.start(whole)
    await says(device, container_id, "key=hidden token=first for")
    device.objects.put(config_map("settings", level="debug"))
    await device.materials.refresh(whole)
    await says(device, container_id, "now=debug cache=kept")


async def test_the_downward_api_follows_labels_and_annotations(device: Device) -> None:
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    volumes = [{"name": "info", "downwardAPI": {"items": items}}]
    script = (
        "cat /v/info/labels; echo; until grep -q new /v/info/labels; do sleep 0.05; done; echo seen"
    )
    whole = a_pod(script, volumeMounts=mounted("info"), spec={"volumes": volumes})
    whole["metadata"]["labels"] = {"a": "1", "b": 'x"y'}
    container_id = await device.start(whole)
    await says(device, container_id, 'a="1" b="x\\"y"')
    whole["metadata"]["labels"]["c"] = "new"
    await device.materials.refresh(whole)
    await says(device, container_id, "seen")


async def test_a_sub_path_is_a_file_or_folder_of_the_volume_and_is_made_when_it_is_missing(
    device: Device,
) -> None:
    device.objects.put(config_map("settings", level="debug", other="x"))
    volumes: list[Json] = [
        {"name": "config", "configMap": {"name": "settings"}},
        {"name": "disk", "emptyDir": {}},
    ]
    mounts = [
        {"name": "config", "mountPath": "/etc/level", "subPath": "level"},
        {"name": "disk", "mountPath": "/a", "subPath": "made/here"},
        {"name": "disk", "mountPath": "/b", "subPathExpr": "$(WHO)/$(WHO)", "readOnly": True},
        {"name": "disk", "mountPath": "/disk"},
    ]
    script = """
        cat /etc/level; echo
        touch /a/x; ls /disk/made/here
        touch /b/x 2>/dev/null || echo read-only
        stat -c %a /disk/me/me
    """
    found = await device.output(
        script,
        volumeMounts=mounts,
        env=[{"name": "WHO", "value": "me"}],
        spec={"volumes": volumes, "securityContext": {"runAsUser": 1000}},
    )
    assert found == ["debug", "x", "read-only", "777"]


@pytest.mark.parametrize("target", ["/", "../../..", "/etc/passwd", "inside/../../../x"])
async def test_a_sub_path_that_a_container_linked_out_of_the_volume_is_refused(
    device: Device, target: str
) -> None:
    volumes = [{"name": "disk", "emptyDir": {}}]
    whole = a_pod("ls /m", spec={"volumes": volumes}, volumeMounts=mounted("disk", subPath="evil"))
    await device.materials.prepare(whole, device.events.append)
    folder = device.paths.volume(whole["metadata"]["uid"], "disk")
    (folder / "inside").mkdir()
    (folder / "evil").symlink_to(target)
    words = "failed to (prepare subPath|create subPath directory) for volumeMount"
    with pytest.raises(ConfigError, match=words) as raised:
        await device.start(whole)
    assert raised.value.reason == "CreateContainerConfigError"
    assert target not in str(raised.value)


async def test_a_sub_path_expression_needs_its_variables_and_must_stay_inside(
    device: Device,
) -> None:
    volumes = [{"name": "disk", "emptyDir": {}}]
    env = [
        {"name": "UP", "value": "../x"},
        {"name": "ROOT", "value": "/etc"},
        {"name": "EMPTY", "value": ""},
    ]
    for expression, words in (
        ("$(NONE)/x", "missing value for NONE"),
        ("$(EMPTY)", "missing value for EMPTY"),
        ("$(UP)", "must not contain '..'"),
        ("$(ROOT)", "must not be an absolute path"),
    ):
        mounts = mounted("disk", subPathExpr=expression)
        whole = a_pod("ls", spec={"volumes": volumes}, volumeMounts=mounts, env=env)
        with pytest.raises(ConfigError, match=words.replace("(", "\\(")):
            await device.start(a_new_one_of(whole))
