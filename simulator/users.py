"""What people do with ``kubectl`` on an ordinary day, drawn from the seed.

Names are few, so that they are used again; every pod is bound to a device sooner or later.
Talks to the API server itself, which never fails for people: their retries are not what we test.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol

from cloudhub.fleet.pods import is_mirror
from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import CONFIG_MAPS, PODS, SECRETS, SERVICE_ACCOUNTS, SERVICES, Resource
from edgeagent.pods.model.specs import CRITICAL_PRIORITY
from shared.objects import Json
from simulator.journal import Journal
from simulator.runtime import FAILING_JOB, IMAGES

NAMESPACE = "default"
PODS_NAMED = tuple(f"pod-{number}" for number in range(6))
OBJECTS_NAMED = ("red", "blue")
PODS_WITH_TOKEN = PODS_NAMED[:2]
PODS_WITH_OWN_USERS = PODS_NAMED[1:3]
PODS_THAT_TOLERATE = PODS_NAMED[::2]
MAINTENANCE: Json = {"key": "sim/maintenance", "effect": "NoExecute"}
PLACE = "sim/place"
"""A label of Nodes that only the API knows."""
TOKEN_SECONDS = 86_400
"""So long that no renewal falls into the time in which nothing may be sent."""
GRACES = (0, 0, 1, 5, 30, 30, 30, 120)


class Condemn(Protocol):
    def __call__(self, uid: str, *, forced: bool) -> None: ...


class Users:
    def __init__(
        self,
        server: MemoryKube,
        rng: random.Random,
        *,
        journal: Journal,
        nodes: Sequence[str],
        condemn: Condemn,
    ) -> None:
        """``condemn`` is told of every pod before it is deleted, and whether by force."""
        self._server = server
        self._rng = rng
        self._journal = journal
        self._nodes = nodes
        self._condemn = condemn
        self._version = 0

    async def begin(self) -> None:
        """What every cluster has before its first node."""
        ports = [{"name": "https", "port": 443, "protocol": "TCP"}]
        spec = {"clusterIP": "10.96.0.1", "ports": ports}
        service = {"metadata": {"name": "kubernetes", "namespace": NAMESPACE}, "spec": spec}
        await self._server.create(SERVICES, NAMESPACE, service)

    async def act(self) -> None:
        """One thing that somebody does."""
        choices: list[tuple[Callable[[], object], int]] = [
            (self.create_pod, 6),
            (self.delete_pod, 3),
            (self.change_image, 2),
            (self.change_label, 1),
            (self.change_object, 3),
            (self.delete_object, 1),
            (self.bind_pod, 2),
            (self.recreate_pod, 2),
        ]
        actions = [action for action, _ in choices]
        weights = [weight for _, weight in choices]
        await self._rng.choices(actions, weights)[0]()  # type: ignore[misc]

    async def create_pod(self) -> None:
        name = self._rng.choice(PODS_NAMED)
        if await self._server.get(PODS, NAMESPACE, name) is not None:
            return
        await self.make_pod(name)

    async def make_pod(self, name: str) -> None:
        pod = self._pod(name)
        node = self._rng.choice(self._nodes)
        if self._rng.random() < 0.8:
            pod["spec"]["nodeName"] = node
        if name in PODS_WITH_TOKEN:
            await self._ensure_account()
        made = await self._server.create(PODS, NAMESPACE, pod)
        images = [one["image"] for one in pod["spec"]["containers"]]
        self._say("creates", made, node=pod["spec"].get("nodeName", "-"), images=images)

    async def _ensure_account(self) -> None:
        if await self._server.get(SERVICE_ACCOUNTS, NAMESPACE, "default") is None:
            account = {"metadata": {"name": "default", "namespace": NAMESPACE}}
            await self._server.create(SERVICE_ACCOUNTS, NAMESPACE, account)

    async def bind_pod(self) -> None:
        pods = [pod for pod in await self._pods() if not pod["spec"].get("nodeName")]
        if not pods:
            return
        pod, node = self._rng.choice(pods), self._rng.choice(self._nodes)
        self._say("binds", pod, node=node)
        await self._patch(PODS, pod, {"spec": {"nodeName": node}})

    async def delete_pod(self) -> Json | None:
        pods = await self._pods()
        if not pods:
            return None
        pod, grace = self._rng.choice(pods), self._rng.choice(GRACES)
        self._say("force-deletes" if grace == 0 else "deletes", pod, grace=grace)
        uid = pod["metadata"]["uid"]
        self._condemn(uid, forced=grace == 0)
        await self._server.delete(PODS, NAMESPACE, pod["metadata"]["name"], uid=uid, grace=grace)
        return pod

    async def recreate_pod(self) -> None:
        """Another pod under the same name, at once."""
        pods = await self._pods()
        if not pods:
            return
        metadata = self._rng.choice(pods)["metadata"]
        self._journal.say("user", f"force-deletes pod {metadata['name']}", uid=_short(metadata))
        self._condemn(metadata["uid"], forced=True)
        await self._server.delete(PODS, NAMESPACE, metadata["name"], uid=metadata["uid"], grace=0)
        await self.make_pod(metadata["name"])

    async def change_image(self) -> None:
        pods = [pod for pod in await self._pods() if not pod["metadata"].get("deletionTimestamp")]
        if not pods:
            return
        pod = self._rng.choice(pods)
        containers = [dict(one) for one in pod["spec"]["containers"]]
        if not containers[0]["image"].startswith("sim/steady"):
            return
        containers[0]["image"] = self._rng.choice(IMAGES[:2])
        self._say("sets the image of", pod, image=containers[0]["image"])
        await self._patch(PODS, pod, {"spec": {"containers": containers}})

    async def change_label(self) -> None:
        if pods := await self._pods():
            pod = self._rng.choice(pods)
            self._say("labels", pod)
            await self._patch(PODS, pod, {"metadata": {"labels": {"turn": self._next()}}})

    async def change_object(self) -> None:
        resource, name = self._rng.choice((CONFIG_MAPS, SECRETS)), self._rng.choice(OBJECTS_NAMED)
        size = self._rng.choice((10, 10, 10, 6000))
        data = {"value": self._next() * size}
        self._journal.say("user", f"writes {resource.kind} {name}", size=len(data["value"]))
        found = await self._server.get(resource, NAMESPACE, name)
        if found is None:
            made = {"metadata": {"name": name, "namespace": NAMESPACE}, "data": data}
            await self._server.create(resource, NAMESPACE, made)
        else:
            await self._patch(resource, found, {"data": data})

    async def delete_object(self) -> None:
        resource, name = self._rng.choice((CONFIG_MAPS, SECRETS)), self._rng.choice(OBJECTS_NAMED)
        found = await self._server.get(resource, NAMESPACE, name)
        if found is not None:
            self._journal.say("user", f"deletes {resource.kind} {name}")
            uid = found["metadata"]["uid"]
            await self._server.delete(resource, NAMESPACE, name, uid=uid, grace=0)

    async def finish(self) -> None:
        """Nothing is left half done: every pod bound, every named object there."""
        for pod in await self._pods():
            if not pod["spec"].get("nodeName"):
                await self._patch(PODS, pod, {"spec": {"nodeName": self._rng.choice(self._nodes)}})
        for resource in (CONFIG_MAPS, SECRETS):
            for name in OBJECTS_NAMED:
                if await self._server.get(resource, NAMESPACE, name) is None:
                    made = {"metadata": {"name": name, "namespace": NAMESPACE}, "data": {}}
                    made["data"] = {"value": self._next()}
                    await self._server.create(resource, NAMESPACE, made)
        self._journal.say("user", "leaves everything as it is")

    # -- making

    def _pod(self, name: str) -> Json:
        rng = self._rng
        image = rng.choice(IMAGES)
        policy = "Always"
        if "job" in image:
            image = rng.choice((image, FAILING_JOB))
            policy = rng.choice(("Never", "Never", "OnFailure"))
            if policy == "OnFailure":
                image = IMAGES[-1]
        containers: list[Json] = [{"name": "main", "image": image}]
        if rng.random() < 0.3:
            containers.append({"name": "side", "image": rng.choice(IMAGES[:3])})
        if rng.random() < 0.3:
            reference = {"name": rng.choice(OBJECTS_NAMED), "optional": True}
            containers[0]["envFrom"] = [{"secretRef": reference}]
        spec: Json = {
            "restartPolicy": policy,
            "terminationGracePeriodSeconds": rng.choice((1, 10, 30)),
            "containers": containers,
        }
        if rng.random() < 0.5:
            volume = {"name": rng.choice(OBJECTS_NAMED), "optional": rng.random() < 0.5}
            spec["volumes"] = [{"name": "settings", "configMap": volume}]
            mount = {"name": "settings", "mountPath": "/settings"}
            containers[0]["volumeMounts"] = [mount]
        if name in PODS_WITH_OWN_USERS:
            spec["hostUsers"] = False
        if name in PODS_THAT_TOLERATE:
            spec["tolerations"] = [{"key": MAINTENANCE["key"], "operator": "Exists"}]
        if rng.random() < 0.15:
            spec["priority"] = CRITICAL_PRIORITY
        if name in PODS_WITH_TOKEN:
            token = {"path": "token", "expirationSeconds": TOKEN_SECONDS}
            access = {"name": "access", "projected": {"sources": [{"serviceAccountToken": token}]}}
            spec["volumes"] = [*spec.get("volumes", ()), access]
        return {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}

    async def _pods(self) -> list[Json]:
        """Without mirror pods: ``static_faults.py`` has what people do to them."""
        pods = await self._server.list(PODS, namespace=NAMESPACE)
        return [pod for pod in pods if not is_mirror(pod)]

    async def _patch(self, resource: Resource, obj: Json, patch: Json) -> None:
        await self._server.patch(resource, NAMESPACE, obj["metadata"]["name"], patch)

    def _next(self) -> str:
        self._version += 1
        return f"v{self._version}."

    def _say(self, what: str, pod: Json, **details: object) -> None:
        metadata = pod["metadata"]
        self._journal.say("user", f"{what} pod {metadata['name']}", uid=_short(metadata), **details)


def _short(metadata: Json) -> str:
    return str(metadata["uid"])[-4:]
