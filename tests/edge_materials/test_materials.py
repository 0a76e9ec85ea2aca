"""Everything put together, with real files and a runtime in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from edgeagent.pods.images.pulling import Images
from edgeagent.pods.materials import envfiles
from edgeagent.pods.model.errors import ConfigError
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.model.podevents import PodEvent
from edgeagent.pods.podmaterials import PodMaterials
from edgeagent.pods.resources import cgroups
from edgeagent.pods.resources.cgroup_files import CgroupFiles
from edgeagent.pods.volumes import mounting
from edgeagent.pods.volumes.making import Volumes
from edgeagent.runtime.abilities import Handler
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice, RemoteImage
from edgeagent.runtime.port import ContainerConfig, Image
from shared.objects import Json
from tests.edge_materials.making import NODE, UID, Objects, SteppedClock, container, pod


@dataclass
class Bench:
    folder: Path
    active: list[Json] = field(default_factory=list)
    cgroup_files: CgroupFiles | None = None
    events: list[PodEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock = SteppedClock()
        self.device = MemoryDevice(clock)
        self.paths = PodPaths(self.folder / "data", self.folder / "logs")
        self.materials = PodMaterials(
            paths=self.paths,
            volumes=Volumes(self.paths, clock),
            images=Images(MemoryRuntime(self.device), clock),
            sources=Objects(),
            node=NODE,
            others=lambda: self.active,
            cgroup_files=self.cgroup_files,
        )

    async def container(self, whole: Json, *, attempt: int = 0, **given: Any) -> ContainerConfig:
        await self.materials.prepare(whole, self.events.append)
        return await self.materials.container(
            whole,
            whole["spec"]["containers"][0],
            attempt=attempt,
            image=Image("sha256:1"),
            ips=given.get("ips", ("10.0.0.7",)),
            record=self.events.append,
            handler=given.get("handler", ""),
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield Bench(tmp_path)
    if mounting.may_mount():
        mounting.unmount_below(tmp_path)


def mounted(config: ContainerConfig) -> dict[str, str]:
    return {one.container_path: one.host_path for one in config.mounts}


def text_of(path: str) -> str:
    return Path(path).read_text()


async def test_every_container_gets_a_hosts_file_and_a_place_for_its_last_words(
    bench: Bench,
) -> None:
    found = mounted(await bench.container(pod()))
    assert text_of(found["/etc/hosts"]).endswith("10.0.0.7\tweb\n")
    assert text_of(found["/dev/termination-log"]) == ""


async def test_the_hosts_file_is_left_out_without_an_address_or_where_one_is_mounted(
    bench: Bench,
) -> None:
    assert "/etc/hosts" not in mounted(await bench.container(pod(), ips=()))
    mount = {"name": "v", "mountPath": "/etc/hosts", "subPath": "hosts"}
    own = pod(container(volumeMounts=[mount]), volumes=[{"name": "v", "emptyDir": {}}])
    config = await bench.container(own)
    assert [one.container_path for one in config.mounts].count("/etc/hosts") == 1


async def test_on_the_host_network_the_nodes_names_and_addresses_are_the_pods(
    bench: Bench,
) -> None:
    env = [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    whole = pod(container(env=env), hostNetwork=True)
    config = await bench.container(whole, ips=())
    assert dict(config.env) == {"IP": "192.0.2.10"}
    assert text_of(mounted(config)["/etc/hosts"]).startswith(
        "# Kubernetes-managed hosts file (host network).\n" + text_of("/etc/hosts")
    )


async def test_the_last_words_of_the_last_two_attempts_are_kept(bench: Bench) -> None:
    whole = pod()
    main = whole["spec"]["containers"][0]
    for attempt in range(5):
        config = await bench.container(whole, attempt=attempt)
        write(mounted(config)["/dev/termination-log"], f"words {attempt}")
    folder = bench.paths.termination_log(UID, "main", attempt=0).parent
    assert sorted(os.listdir(folder)) == ["termination-3", "termination-4"]
    assert await bench.materials.termination_message(whole, main, attempt=4) == "words 4"


def write(path: str, text: str) -> None:
    Path(path).write_text(text)


def modes(*folders: Path) -> list[str]:
    return [oct(one.stat().st_mode)[-3:] for one in folders]


@pytest.fixture
def closed() -> Iterator[None]:
    """The umask under which systemd runs the agent."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("closed")
async def test_the_folder_of_a_log_is_there_before_its_container(bench: Bench) -> None:
    """CRI-O makes none; whoever collects logs may read it, whatever the umask."""
    config = await bench.container(pod())
    folder = bench.paths.log_directory(pod()) / Path(config.log_path).parent
    assert modes(folder, *folder.parents[:2]) == ["755", "755", "755"]


@pytest.mark.usefixtures("closed")
async def test_the_folder_of_a_pods_logs_is_there_before_its_sandbox(bench: Bench) -> None:
    """CRI-O would make it, and what is missing above it, for root alone."""
    bench = Bench(bench.folder / "var" / "log")
    await bench.materials.before_sandbox(pod(), bench.events.append)
    folder = bench.paths.log_directory(pod())
    assert modes(folder, *folder.parents[:3]) == ["755", "755", "755", "755"]


async def test_a_folder_that_a_runtime_closed_is_opened_to_collectors(bench: Bench) -> None:
    bench.paths.logs.mkdir(mode=0o750)
    folder = bench.paths.log_directory(pod())
    (folder / "main").mkdir(parents=True)
    for one in (folder, folder / "main"):
        one.chmod(0o700)
    await bench.container(pod())
    assert modes(folder, folder / "main") == ["755", "755"]
    assert modes(bench.paths.logs) == ["750"], "somebody else's choice"


@pytest.mark.parametrize("of_pod", [False, True])
async def test_what_a_link_in_place_of_a_log_folder_leads_to_is_left_alone(
    bench: Bench, of_pod: bool
) -> None:
    """A pod that may write into the folder of all logs can put one there."""
    target = bench.folder / "elsewhere"
    (target / "main").mkdir(parents=True)
    for one in (target, target / "main"):
        (one / "0.log").touch()
        one.chmod(0o700)
    folder = bench.paths.log_directory(pod())
    (bench.paths.logs if of_pod else folder).mkdir(parents=True)
    (folder if of_pod else folder / "main").symlink_to(target)
    await bench.container(pod(), attempt=3)
    assert (target / "0.log").exists()
    assert (target / "main" / "0.log").exists()
    assert modes(target, target / "main") == ["700", "700"]


async def test_all_logs_may_be_elsewhere_by_a_link(bench: Bench) -> None:
    disk = bench.folder / "disk"
    disk.mkdir()
    bench.paths.logs.symlink_to(disk)
    folder = bench.paths.log_directory(pod()) / "main"
    await bench.container(pod())
    (folder / "0.log").touch()
    await bench.container(pod(), attempt=2)
    assert os.listdir(disk / folder.parent.name / "main") == []


async def test_logs_that_a_runtime_forgot_at_boot_go_but_for_the_last(bench: Bench) -> None:
    """CRI-O forgets all containers then, so that nobody removes them with their logs."""
    await bench.container(pod())
    folder = bench.paths.log_directory(pod()) / "main"
    for name in ("0.log", "1.log", "1.log.20260101-000000.gz", "2.log", "10.log", "notes.log"):
        write(str(folder / name), "line")
    bench.paths.links.mkdir()
    links = [bench.paths.links / f"{at}.log" for at in (1, 2)]
    for at, link in enumerate(links, start=1):
        link.symlink_to(folder / f"{at}.log")
    await bench.container(pod(), attempt=3)
    assert sorted(os.listdir(folder)) == ["10.log", "2.log", "notes.log"]
    assert [link.is_symlink() for link in links] == [False, True]


async def test_last_words_are_cut_and_never_read_through_a_link(bench: Bench) -> None:
    whole = pod()
    main = whole["spec"]["containers"][0]
    await bench.container(whole)
    file = bench.paths.termination_log(UID, "main", attempt=0)
    write(str(file), "x" * 10_000 + "the error")
    words = await bench.materials.termination_message(whole, main, attempt=0)
    assert (len(words), words[-10:]) == (4096, "xthe error"), "as a kubelet: the end"
    file.unlink()
    file.symlink_to("/etc/passwd")
    assert await bench.materials.termination_message(whole, main, attempt=0) == ""


async def test_an_image_volume_says_how_its_image_was_written(bench: Bench) -> None:
    """CRI-O mounts none without, where its settings want signatures."""
    mount = {"name": "data", "mountPath": "/data"}
    volume = {"name": "data", "image": {"reference": "data:1"}}
    whole = pod(container(volumeMounts=[mount]), volumes=[volume])
    image = bench.device.add_image("data:1")
    bench.device.add_image("busybox:1")
    await bench.materials.image(whole, whole["spec"]["containers"][0], bench.events.append)
    config = await bench.container(whole)
    [mounted] = [one for one in config.mounts if one.container_path == "/data"]
    assert (mounted.image, mounted.user_image) == (image.id, "data:1")


async def test_variables_from_a_file_that_an_init_container_left(bench: Bench) -> None:
    ref = {"volumeName": "v", "path": "out/env", "key": "DB"}
    env = [{"name": "DB", "valueFrom": {"fileKeyRef": ref}}]
    volumes = [{"name": "v", "emptyDir": {}}]
    writes = container("writes", volumeMounts=[{"name": "v", "mountPath": "/v"}])
    with pytest.raises(ConfigError, match='cannot find the volume "v" referenced by FileKeyRef'):
        await bench.container(pod(container(env=env), volumes=volumes))
    whole = pod(container(env=env), initContainers=[writes], volumes=volumes)
    with pytest.raises(ConfigError, match="couldn't parse env file"):
        await bench.container(whole)
    volume = bench.paths.volume(UID, "v")
    (volume / "out").mkdir()
    write(str(volume / "out/env"), "DB='postgres'\n")
    assert dict((await bench.container(whole)).env) == {"DB": "postgres"}
    write(str(volume / "out/env"), "DB='" + "x" * envfiles.MOST_BYTES + "'")
    with pytest.raises(ConfigError, match="couldn't parse env file"):
        await bench.container(whole)
    (volume / "out/env").unlink()
    (volume / "out/env").symlink_to("/etc/os-release")
    with pytest.raises(ConfigError, match="couldn't parse env file"):
        await bench.container(whole)


async def test_a_cgroup_that_the_sandbox_keeps_goes_after_it(tmp_path: Path) -> None:
    """CRI-O has a cgroup of its own in the pod's, until the sandbox is removed."""
    bench = Bench(tmp_path, cgroup_files=CgroupFiles(tmp_path / "cgroup"))
    path = cgroups.parent(pod(), NODE.cgroup_driver).lstrip("/")
    of_pod = tmp_path / "cgroup" / ("memory" if NODE.cgroup_version == 1 else "") / path
    (of_pod / "crio-s1").mkdir(parents=True)
    await bench.materials.remove(pod())
    assert of_pod.is_dir()
    (of_pod / "crio-s1").rmdir()
    await bench.materials.forget(pod())
    assert not of_pod.exists()


async def test_that_a_pod_could_not_be_limited_as_a_whole_is_an_event(tmp_path: Path) -> None:
    top = tmp_path / "cgroup"
    hierarchy = top / ("cpu" if NODE.cgroup_version == 1 else "")
    hierarchy.mkdir(parents=True)
    (hierarchy / "cgroup.procs").touch()
    (hierarchy / "kubepods").touch()
    bench = Bench(tmp_path, cgroup_files=CgroupFiles(top))
    await bench.materials.before_sandbox(pod(), bench.events.append)
    told = {(one.type, one.reason) for one in bench.events}
    assert told == {("Warning", "FailedCreatePodContainer")}
    words = "unable to ensure pod container exists: "
    assert all(one.message.startswith(words) for one in bench.events)
    assert "Not a directory" in bench.events[0].message


async def test_the_mounts_of_a_container_go_by_the_handler_of_its_sandbox(bench: Bench) -> None:
    mount = {"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": "Enabled"}
    whole = pod(
        container(volumeMounts=[mount]),
        volumes=[{"name": "v", "emptyDir": {}}],
        runtimeClassName="gone",
    )
    able = Handler("runsc", recursive_readonly=True)
    bench.materials.node_changed(replace(NODE, handlers=(Handler(), able)))
    with pytest.raises(ConfigError, match="not supported by the runtime"):
        await bench.container(whole)
    made = await bench.container(whole, handler="runsc")
    assert next(one for one in made.mounts if one.container_path == "/v").recursive_readonly


async def test_a_pod_is_not_in_its_own_way(bench: Bench) -> None:
    wanted = pod(container(ports=[{"containerPort": 80, "hostPort": 80}]))
    bench.active = [wanted]
    assert bench.materials.refusal(wanted) is None
    other = {**wanted, "metadata": {**wanted["metadata"], "uid": "other"}}
    refusal = bench.materials.refusal(other)
    assert refusal and refusal.reason == "NodePorts"


@pytest.mark.parametrize("whole", [{}, {"metadata": []}, {"metadata": {"uid": 5}}])
def test_a_pod_that_makes_no_sense_is_refused(bench: Bench, whole: Json) -> None:
    refusal = bench.materials.refusal(whole)
    assert refusal and refusal.reason == "UnsupportedPodField"


def test_what_a_pod_runs_without_is_told_when_it_starts(bench: Bench) -> None:
    whole = pod(container(teleport=True))
    bench.materials.sandbox(whole, attempt=0, seen=0.0, first_id=0, record=bench.events.append)
    told = [one.message for one in bench.events if one.reason == "UnsupportedField"]
    assert told == [
        "spec.containers[0].teleport: this version of the agent does not know the field"
    ]


@pytest.mark.parametrize("nameless", [{}, {"name": ""}, {"name": None}])
async def test_a_pull_secret_without_a_name_is_as_good_as_none(
    bench: Bench, nameless: Json
) -> None:
    bench.device.registry["busybox:1"] = RemoteImage()
    whole = pod(imagePullSecrets=[nameless])
    await bench.materials.image(whole, whole["spec"]["containers"][0], bench.events.append)
    assert [one.reason for one in bench.events] == ["Pulling", "Pulled"]


async def test_of_a_sandboxs_addresses_containers_learn_one_of_each_family(bench: Bench) -> None:
    env = [{"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}}]
    many = ("10.0.0.5", "192.168.7.5", "fd00::5")
    config = await bench.container(pod(container(env=env)), ips=many)
    assert dict(config.env) == {"IPS": "10.0.0.5,fd00::5"}


async def test_a_node_that_changed_is_what_the_next_container_sees(bench: Bench) -> None:
    env = [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}]
    bench.materials.node_changed(replace(NODE, ips=("198.51.100.1",)))
    assert dict((await bench.container(pod(container(env=env)))).env) == {"IP": "198.51.100.1"}
