"""The RuntimeClass of a pod that runs, whatever becomes of it in the cluster.

That containers do start again in such a sandbox is shown on containerd
(``edge_materials/test_security_on_containerd.py``).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.runtime.abilities import Handler
from shared.objects import Json
from tests.edge_pods.world import NODE, World, a_container, a_pod
from tests.parts.virtual_time import virtual

ABLE = Handler("runsc", user_namespaces=True, recursive_readonly=True)
WITHOUT = replace(NODE, handlers=(Handler(), ABLE, Handler("other")))
WITH = replace(WITHOUT, runtime_classes={"sandboxed": "runsc"})
ELSEWHERE = replace(WITHOUT, runtime_classes={"sandboxed": "other"})
AWAITED = replace(WITHOUT, runtime_classes={"sandboxed": ""})


def sandboxed(**spec: object) -> Json:
    mount = {"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": "Enabled"}
    main = a_container(volumeMounts=[mount])
    return a_pod("web", main, runtimeClassName="sandboxed", **spec)


def handlers(world: World) -> list[str]:
    return [one.seen.runtime_handler for one in world.device.pods.values()]


@virtual
@pytest.mark.parametrize("then", [WITHOUT, ELSEWHERE, AWAITED], ids=["gone", "other", "awaited"])
@pytest.mark.parametrize("spec", [{}, {"hostUsers": False}], ids=["plain", "own users"])
async def test_a_container_starts_again_though_the_class_of_its_pod_is_gone(
    then: NodeFacts, spec: Json
) -> None:
    async with World() as world:
        world.node_changed(WITH)
        uid = world.apply(sandboxed(**spec))
        await world.passes(5)
        assert handlers(world) == ["runsc"]
        world.node_changed(then)
        world.crash(uid)
        await world.passes(30)
        assert world.running(uid) == ["main"]
        assert world.container(uid)["restartCount"] == 1
        assert "volumeMounts" not in world.container(uid), "they are what the spec asks for"
        assert handlers(world) == ["runsc"]
        assert "FailedCreatePodSandBox" not in world.reasons(uid)


@virtual
async def test_a_new_sandbox_needs_the_class() -> None:
    async with World() as world:
        world.node_changed(WITH)
        uid = world.apply(sandboxed())
        await world.passes(5)
        world.node_changed(WITHOUT)
        world.device.reboot()
        await world.passes(60)
        assert world.running(uid) == []
        words = 'failed to get sandbox runtime: RuntimeClass "sandboxed" not found'
        assert words in world.messages(uid, "FailedCreatePodSandBox")[-1]
        world.node_changed(ELSEWHERE)
        await world.passes(120)
        assert world.running(uid) == ["main"]
        assert "other" in handlers(world)
