"""A pod made material: everything its worker asks for before it asks the runtime.

Puts the pure parts, the files and the images together (the ``Materials`` port of ``ports.py``).
Owns no state but what is on disk. Raises ``PodTrouble`` for what may pass and ``PermanentError``
for what cannot; Events go to ``record``. Made by ``edgeagent/opening.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from edgeagent.pods.admission import preemption, refusals
from edgeagent.pods.admission.supported import by_runtime, unsupported
from edgeagent.pods.images.pulling import Images
from edgeagent.pods.logs import leftovers, logfolders, loglinks
from edgeagent.pods.materials import envfiles, hosts, naming, ownfiles, servicevars
from edgeagent.pods.materials.containers import Prepared, container_config, termination_path
from edgeagent.pods.materials.environment import Environment, Surroundings, environment
from edgeagent.pods.materials.sandboxes import sandbox_config
from edgeagent.pods.materials.sources import Sources, find
from edgeagent.pods.model import addresses, specs
from edgeagent.pods.model.errors import ConfigError
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.model.podevents import Record, warning
from edgeagent.pods.model.view import Refusal
from edgeagent.pods.resources import cgroups, kernel, unit_properties
from edgeagent.pods.resources.cgroup_files import CgroupFiles
from edgeagent.pods.resources.slices import Slices
from edgeagent.pods.rules import resizing
from edgeagent.pods.volumes import subpaths
from edgeagent.pods.volumes.making import Volume, Volumes, make_private
from edgeagent.pods.volumes.mounts import devices, mounts
from edgeagent.runtime.limits import Resources
from edgeagent.runtime.port import (
    Container,
    ContainerConfig,
    Image,
    Mount,
    SandboxConfig,
)
from shared.objects import Json
from shared.threads import Offload

log = structlog.get_logger()

NODE_HOSTS = Path("/etc/hosts")
_HOSTS = "/etc/hosts"
_LINK_SECONDS = 1.0
"""How long the start of a container waits for the link to its log."""


class PodMaterials:
    """``others`` names the active pods of the device, for what they take from one another."""

    def __init__(
        self,
        *,
        paths: PodPaths,
        volumes: Volumes,
        images: Images,
        sources: Sources,
        node: NodeFacts,
        others: Callable[[], Iterable[Json]],
        cgroup_files: CgroupFiles | None = None,
        slices: Slices | None = None,
        offload: Offload = asyncio.to_thread,
    ) -> None:
        """``cgroup_files`` is None where the runtime has no cgroups, ``slices`` where no systemd
        is to be asked.
        """
        self._paths = paths
        self._volumes = volumes
        self._images = images
        self._sources = sources
        self._node = node
        self._others = others
        self._cgroup_files = cgroup_files
        self._slices = slices
        self._offload = offload
        self._image_volumes: dict[str, dict[str, str]] = {}
        """Ids of images that are volumes, by uid of the pod and name of the volume."""

    def node_changed(self, node: NodeFacts) -> None:
        self._node = node

    def refusal(self, pod: Json) -> Refusal | None:
        metadata = pod.get("metadata")
        own = metadata.get("uid") if isinstance(metadata, dict) else None
        others = self._beside(own)
        refused = refusals.refusal(pod, others, self._node)
        if refused is None and kernel.is_critical(pod):
            return preemption.refusal(pod, others, self._node)
        return refused

    def in_the_way(self, pod: Json, leaving: Collection[str]) -> Collection[str]:
        if not kernel.is_critical(pod):
            return ()
        others = self._beside(specs.uid_of(pod))
        if refusals.refusal(pod, others, self._node) is not None:
            return ()
        return preemption.in_the_way(pod, others, leaving, self._node)

    def resize_refusal(self, allocated: Json, asked: Json) -> Refusal | None:
        return resizing.refusal(allocated, asked, self._beside(specs.uid_of(asked)), self._node)

    def _beside(self, uid: str | None) -> list[Json]:
        return [one for one in self._others() if specs.uid_of(one) != uid]

    # Volumes and logs

    async def prepare(self, pod: Json, record: Record) -> bool:
        made = await self._volumes.prepare(pod, self._sources, self._node, record=record)
        return not any(volume.is_behind for volume in made.values())

    async def refresh(self, pod: Json) -> None:
        await self._volumes.refresh(pod, self._sources, self._node)

    async def remove(self, pod: Json) -> None:
        await self._volumes.remove(specs.uid_of(pod))
        self._images.forget(specs.uid_of(pod))
        self._image_volumes.pop(specs.uid_of(pod), None)
        await self._remove_cgroup(pod)
        if files := self._cgroup_files:
            left = cgroups.left_behind(pod, self._beside(specs.uid_of(pod)), self._node)
            await self._offload(lambda: files.apply(left))

    async def _remove_cgroup(self, pod: Json) -> None:
        if files := self._cgroup_files:
            path = cgroups.parent(pod, self._node.cgroup_driver)
            version = self._node.cgroup_version
            gone = await self._offload(lambda: files.remove(path, version=version))
            unit = cgroups.unit(pod, self._node.cgroup_driver)
            if gone and unit and self._slices:
                await self._slices.stop(unit)

    async def before_sandbox(self, pod: Json, record: Record) -> None:
        paths, wanted = self._paths, self._cgroup_settings(pod)
        path = cgroups.parent(pod, self._node.cgroup_driver)

        def make() -> str:
            logfolders.make(paths.log_directory(pod), logs=paths.logs)
            if self._cgroup_files and self._node.cgroup_driver == "cgroupfs":
                return self._cgroup_files.ensure(path, wanted)
            return ""

        await self._limit_slice(pod)
        _tell_unlimited(await self._offload(make), record)

    async def link_log(self, pod: Json, name: str, *, attempt: int, container_id: str) -> None:
        """A start waits no longer for it than a moment: housekeeping makes what is missing."""
        paths = self._paths
        making = self._offload(
            lambda: loglinks.make(paths, pod, name, attempt=attempt, container_id=container_id)
        )
        try:
            await asyncio.wait_for(making, _LINK_SECONDS)
        except TimeoutError:
            log.info("link to a log not made in time", container_id=container_id)
        except OSError as error:
            log.warning("link to a log not made", folder=str(paths.links), error=str(error))

    async def forget(self, pod: Json) -> None:
        await self._offload(lambda: leftovers.remove_logs(self._paths, pod))
        await self._remove_cgroup(pod)

    async def remove_files(self, pod: Json, container: Container) -> None:
        await self._offload(lambda: leftovers.remove_files(self._paths, pod, container))

    async def termination_message(self, pod: Json, container: Json, *, attempt: int) -> str:
        uid = specs.uid_of(pod)
        file = self._paths.termination_log(uid, container["name"], attempt=attempt)
        return str(await self._offload(lambda: ownfiles.last_words(file)))

    # What the runtime is asked for

    async def image(self, pod: Json, container: Json, record: Record) -> Image:
        """The container's own, after those that it mounts as volumes."""
        volumes = specs.image_volumes(pod)
        uid = specs.uid_of(pod)
        for name in {one["name"] for one in container.get("volumeMounts") or ()} & volumes.keys():
            wanted = _as_of_container(volumes[name], container["name"])
            found = await self._ensured(pod, wanted, record, of_volume=True)
            self._image_volumes.setdefault(uid, {})[name] = found.id
        return await self._ensured(pod, container, record)

    async def _ensured(
        self, pod: Json, container: Json, record: Record, *, of_volume: bool = False
    ) -> Image:
        named = [one.get("name") for one in pod["spec"].get("imagePullSecrets") or ()]
        namespace = specs.namespace_of(pod)
        found = {
            name: find(self._sources, "Secret", namespace=namespace, name=name)
            for name in named
            if name
        }
        return await self._images.ensure(
            pod,
            container,
            secrets=[secret for secret in found.values() if secret is not None],
            missing_secrets=[name for name, secret in found.items() if secret is None],
            record=record,
            of_volume=of_volume,
        )

    def sandbox(
        self,
        pod: Json,
        *,
        attempt: int,
        seen: float,
        first_id: int,
        record: Record,
        handler: str = "",
    ) -> SandboxConfig:
        """Also tells what the pod runs without."""
        node = self._node.bound(specs.runtime_class(pod), handler)
        config, events = sandbox_config(
            pod, node, attempt=attempt, paths=self._paths, seen=seen, first_id=first_id
        )
        for left_out in (*unsupported(pod), *by_runtime(pod, self._node)):
            record(warning("UnsupportedField", f"{left_out.field}: {left_out.message}"))
        for event in events:
            record(event)
        return config

    async def container(
        self,
        pod: Json,
        container: Json,
        *,
        attempt: int,
        image: Image,
        ips: tuple[str, ...],
        record: Record,
        handler: str = "",
    ) -> ContainerConfig:
        """The configuration of the container's ``attempt``; all its files are in place then."""
        node = self._node.bound(specs.runtime_class(pod), handler)
        making = _Making(
            *(self._paths, pod, container, node, ips, self._volumes.located(pod)),
            images=self._image_volumes.get(specs.uid_of(pod), {}),
        )
        around = Surroundings(pod, node, self._sources, making.ips, making.env_file)

        wanted, files = self._cgroup_settings(pod), self._cgroup_files
        limited = self._node.cgroup_driver == "cgroupfs"  # Before its sandbox.

        def make() -> tuple[str, Environment, Prepared]:
            trouble = files.apply(wanted, only_wider=limited) if files else ""
            found = environment(container, around)
            return trouble, found, making.prepared(image, found.variables, attempt=attempt)

        trouble, found, prepared = await self._volumes.in_turn(pod, make)
        _tell_unlimited(trouble, record)
        for event in found.events:
            record(event)
        return container_config(pod, container, attempt=attempt, node=node, prepared=prepared)

    async def limit_pod(self, pod: Json, *, only_wider: bool = False) -> str:
        files = self._cgroup_files
        if files is None:
            return ""
        wanted = self._cgroup_settings(pod)
        if not only_wider:
            await self._limit_slice(pod)
        return str(await self._offload(lambda: files.apply(wanted, only_wider=only_wider)))

    async def _limit_slice(self, pod: Json) -> None:
        """Before the files: it knows whole percents only. What it is not told for the sake of what
        is used already, the files are tried with, and tell."""
        unit, files = cgroups.unit(pod, self._node.cgroup_driver), self._cgroup_files
        if unit and self._slices:
            wanted = cgroups.of_pod(pod, self._node)
            if files:
                path = cgroups.parent(pod, self._node.cgroup_driver)
                wanted = await self._offload(partial(files.harmless, path, wanted))
            await self._slices.limit(unit, unit_properties.limits(wanted))

    def _cgroup_settings(self, pod: Json) -> Mapping[str, cgroups.Settings]:
        """Of the pod and of those above it."""
        if self._cgroup_files is None:
            return {}
        return cgroups.settings(pod, self._beside(specs.uid_of(pod)), self._node)

    def awaits_services(self, pod: Json) -> bool:
        return servicevars.are_awaited(pod, self._sources)

    def resources(self, pod: Json, container: Json) -> Resources:
        return kernel.container_resources(pod, container, self._node)


@dataclass(frozen=True, slots=True)
class _Making:
    """One container's mounts and files; blocking."""

    paths: PodPaths
    pod: Json
    container: Json
    node: NodeFacts
    sandbox_ips: tuple[str, ...]
    volumes: Mapping[str, Volume]
    images: Mapping[str, str]
    """Ids of those that are volumes, by volume."""
    env_files: dict[tuple[str, str], envfiles.EnvFile] = field(default_factory=dict)

    @property
    def ips(self) -> tuple[str, ...]:
        """On the host's network the node's addresses are the pod's."""
        if specs.on_host_network(self.pod):
            return self.node.ips
        return addresses.of_pod(self.sandbox_ips, self.node.named_ips)

    def env_file(self, name: str, path: str, key: str) -> str | None:
        if (name, path) not in self.env_files:
            self.env_files[name, path] = envfiles.EnvFile(self._text(name, path))
        return self.env_files[name, path].value_of(key)

    def _text(self, name: str, path: str) -> str:
        volume = self.volumes.get(name)
        if volume is None:
            raise ConfigError(f'cannot find the volume "{name}" referenced by FileKeyRef')
        data = subpaths.read(Path(volume.path), path, most=envfiles.MOST_BYTES)
        if len(data) > envfiles.MOST_BYTES:
            raise envfiles.BadEnvFile("the file is too large")
        return data.decode(errors="surrogateescape")

    def prepared(self, image: Image, variables: Mapping[str, str], *, attempt: int) -> Prepared:
        make_private(self.paths.pod(specs.uid_of(self.pod)), below=self.paths.data)
        logfolders.make_ready(self.paths, self.pod, self.container["name"], attempt=attempt)
        made = mounts(
            self.pod,
            self.container,
            volumes=self.volumes,
            environment=variables,
            node=self.node,
            paths=self.paths,
            images=self.images,
        )
        taken = {one.container_path for one in made}
        file = self._termination_file(attempt)
        made.append(self._own(file, termination_path(self.container)))
        if _HOSTS not in taken and (self.ips or specs.on_host_network(self.pod)):
            made.append(self._own(self._hosts_file(), _HOSTS))
        raw = devices(self.container, self.volumes)
        groups = [one.group for one in self.volumes.values() if one.group is not None]
        return Prepared(image, variables, made, raw, str(file), groups)

    def _own(self, source: Path, path: str) -> Mount:
        return Mount(str(source), path, selinux_relabel=self.node.selinux)

    def _termination_file(self, attempt: int) -> Path:
        """Writable by whoever the container runs as; the one before the last is let go."""
        uid, name = specs.uid_of(self.pod), self.container["name"]
        file = self.paths.termination_log(uid, name, attempt=attempt)
        old = self.paths.termination_log(uid, name, attempt=attempt - 2)
        old.unlink(missing_ok=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        file.chmod(0o666)
        return file

    def _hosts_file(self) -> Path:
        """Containers that run have this very file mounted."""
        file = self.paths.hosts(specs.uid_of(self.pod))
        aliases = self.pod["spec"].get("hostAliases") or ()
        if specs.on_host_network(self.pod):
            text = hosts.for_host_network(NODE_HOSTS.read_text(errors="replace"), aliases)
        else:
            name = naming.hostname(self.pod, self.node)
            text = hosts.for_pod(self.ips, name.short, domain=name.domain, aliases=aliases)
        ownfiles.write_in_place(file, text.encode())
        return file


def _as_of_container(volume: Json, name: str) -> Json:
    """An image that is a volume is pulled by the same rules, for the container that waits."""
    named = {"image": volume.get("reference"), "imagePullPolicy": volume.get("pullPolicy")}
    return {"name": name, **named}


def _tell_unlimited(trouble: str, record: Record) -> None:
    """On a kubelet such a pod does not start. Here its containers still have their own limits."""
    if trouble:
        words = f"unable to ensure pod container exists: {trouble}"
        record(warning("FailedCreatePodContainer", words))
