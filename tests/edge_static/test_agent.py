"""Static pods in the whole agent: in virtual time, over a runtime in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

from structlog.testing import capture_logs

from edgeagent.local.describing import describe, wanted
from edgeagent.runtime.memory_device import Behaviour
from edgeagent.store import FILE
from edgeagent.store.reading import read_snapshot
from shared.objects import ObjectKey
from shared.static_pods import list_key
from tests.edge_program.test_agent import Machine
from tests.edge_session.conftest import Model
from tests.edge_session.rig import NODE, Hub, a_hub, until
from tests.edge_static.test_manifests import manifest, with_container, written
from tests.parts.virtual_time import virtual

WEB = f"web-{NODE}"


def machine_of(model: Model) -> tuple[Machine, Path]:
    machine = Machine(model)
    machine.static_pods = model.folder / "manifests"
    machine.static_pods.mkdir()
    return machine, machine.static_pods


def phase_of(hub: Hub) -> str:
    """Of the static pod, as the hub heard it last."""
    reports = hub.reports.get(ObjectKey("StaticPod", "default", WEB))
    return str(reports[-1].status.get("phase")) if reports else ""


def uids(machine: Machine) -> set[str]:
    return {
        one.uid
        for one in (machine.containers.inspected(pod) for pod in machine.containers.pods.values())
        if any(container.state.value == "running" for container in one.containers)
    }


@virtual
async def test_it_runs_without_any_cloud(tmp_path: Path) -> None:
    machine, place = machine_of(Model(tmp_path))
    machine.model.broker.crash()
    (place / "web.yaml").write_bytes(written(manifest()))
    async with machine.agent():
        await until(lambda: machine.running() == {WEB})
        snapshot = read_snapshot(machine.folder)
        assert snapshot.wanted_pods == {f"default/{WEB}"}
        await until(
            lambda: wanted(read_snapshot(machine.folder))[0].status.get("phase") == "Running"
        )


@virtual
async def test_a_file_that_is_removed_stops_its_pod(tmp_path: Path) -> None:
    machine, place = machine_of(Model(tmp_path))
    (place / "web.yaml").write_bytes(written(manifest()))
    async with machine.agent():
        await until(lambda: machine.running() == {WEB})
        (place / "web.yaml").unlink()
        await until(lambda: not machine.containers.pods, within=60)
    assert not read_snapshot(machine.folder).wanted_pods


@virtual
async def test_a_changed_file_is_another_pod_that_begins_when_the_old_one_is_gone(
    tmp_path: Path,
) -> None:
    machine, place = machine_of(Model(tmp_path))
    machine.containers.behaviour = lambda *_: Behaviour(ignores_stop=True)
    (place / "web.yaml").write_bytes(written(manifest()))
    async with machine.agent():
        await until(lambda: machine.running() == {WEB})
        (old,) = uids(machine)
        (place / "web.yaml").write_bytes(written(with_container(args=["new"])))
        seen: set[frozenset[str]] = set()

        def replaced() -> bool:
            seen.add(frozenset(uids(machine)))
            return bool(uids(machine)) and old not in uids(machine)

        await until(replaced, within=60)
        assert max(map(len, seen)) == 1, "the old one takes its 30 seconds"


@virtual
async def test_the_lists_of_the_hub_say_nothing_about_it(tmp_path: Path) -> None:
    machine, place = machine_of(Model(tmp_path))
    (place / "web.yaml").write_bytes(written(manifest()))
    async with a_hub(machine.model.link()) as hub, machine.agent():
        await hub.want("db")
        await until(lambda: machine.running() == {WEB, "db"})
        await hub.want()
        await until(lambda: machine.running() == {WEB}, within=60)
        await asyncio.sleep(60)
        assert machine.running() == {WEB}


@virtual
async def test_a_broken_file_or_folder_stops_nothing_and_is_told_once(tmp_path: Path) -> None:
    machine, place = machine_of(Model(tmp_path))
    (place / "web.yaml").write_bytes(written(manifest()))
    async with machine.agent():
        await until(lambda: machine.running() == {WEB})
        with capture_logs() as logs:
            (place / "web.yaml").write_text("spec: [")
            await asyncio.sleep(60)
            place.rename(place.with_name("away"))
            await asyncio.sleep(60)
        assert machine.running() == {WEB}
        said = [one for one in logs if one["log_level"] == "error"]
        assert [one["file"] for one in said] == [str(place / "web.yaml"), str(place)]
        assert all(one["kept"] == "what ran before goes on" for one in said)
        assert "web.yaml: not YAML" in describe(read_snapshot(machine.folder), now=0)


@virtual
async def test_after_a_reboot_it_runs_again_though_its_file_is_broken_or_the_folder_away(
    tmp_path: Path,
) -> None:
    machine, place = machine_of(Model(tmp_path))
    (place / "web.yaml").write_bytes(written(manifest()))
    (place / "db.yaml").write_bytes(written(manifest("db")))
    async with machine.agent():
        await until(lambda: machine.running() == {WEB, f"db-{NODE}"})
    (place / "web.yaml").write_text("spec: [")
    machine.containers.pods.clear()
    async with machine.agent():
        await until(lambda: machine.running() == {WEB, f"db-{NODE}"})
    place.rename(place.with_name("away"))
    machine.containers.pods.clear()
    async with machine.agent():
        await until(lambda: machine.running() == {WEB, f"db-{NODE}"})


@virtual
async def test_an_agent_that_restarts_leaves_it_running(tmp_path: Path) -> None:
    machine, place = machine_of(Model(tmp_path))
    (place / "web.yaml").write_bytes(written(manifest()))
    async with machine.agent():
        await until(lambda: machine.running() == {WEB})
    before = dict(machine.containers.pods)
    async with machine.agent():
        await asyncio.sleep(60)
        assert machine.containers.pods.keys() == before.keys()


@virtual
async def test_a_file_that_went_while_the_agent_was_away_stops_its_pod(tmp_path: Path) -> None:
    machine, place = machine_of(Model(tmp_path))
    (place / "web.yaml").write_bytes(written(manifest()))
    async with machine.agent():
        await until(lambda: machine.running() == {WEB})
    (place / "web.yaml").unlink()
    async with machine.agent():
        await until(lambda: not machine.containers.pods, within=60)


async def after_a_reboot_without_its_file(machine: Machine, place: Path) -> None:
    (place / "web.yaml").write_bytes(written(manifest()))
    async with machine.agent():
        await until(lambda: machine.running() == {WEB})
    (place / "web.yaml").rename(place / "web.kept")
    machine.containers.pods.clear()
    machine.containers.history.clear()


@virtual
async def test_a_pod_whose_file_went_while_the_device_was_off_is_not_begun(tmp_path: Path) -> None:
    machine, place = machine_of(Model(tmp_path))
    await after_a_reboot_without_its_file(machine, place)
    (place / "db.yaml").write_text("spec: [")  # What cannot be read says nothing about the others.
    async with machine.agent() as agent:
        await asyncio.sleep(60)
        assert machine.containers.calls("start_sandbox", "start_container") == []
        assert not [one for one in agent.reports.rows() if one.kind == "StaticPod"]
    assert not read_snapshot(machine.folder).wanted_pods


@virtual
async def test_a_pod_whose_file_is_missing_just_as_the_device_begins_is_begun_then(
    tmp_path: Path,
) -> None:
    """It is being replaced, under another name too, or the folder goes away."""
    for comes_back in ("web.yaml", "site.yaml", ""):
        folder = tmp_path / f"back-{comes_back}"
        folder.mkdir()
        machine, place = machine_of(Model(folder))
        await after_a_reboot_without_its_file(machine, place)
        async with machine.agent():
            await asyncio.sleep(1)
            assert machine.running() == set()
            if comes_back:
                (place / "web.kept").rename(place / comes_back)
            else:
                place.rename(place.with_name("away"))
            await until(lambda machine=machine: machine.running() == {WEB})
            await asyncio.sleep(60)
            assert len(machine.containers.calls("start_container")) == 1


@virtual
async def test_an_agent_that_restarts_while_a_file_is_being_replaced_leaves_its_pod_running(
    tmp_path: Path,
) -> None:
    machine, place = machine_of(Model(tmp_path))
    (place / "web.yaml").write_bytes(written(manifest()))
    async with machine.agent():
        await until(lambda: machine.running() == {WEB})
    before = dict(machine.containers.pods)
    (place / "web.yaml").rename(place / "web.kept")
    async with machine.agent():
        await asyncio.sleep(1)
        (place / "web.kept").rename(place / "web.yaml")
        await asyncio.sleep(60)
        assert machine.containers.pods.keys() == before.keys()
        assert machine.running() == {WEB}


@virtual
async def test_without_the_setting_static_pods_are_not_wanted_any_more(tmp_path: Path) -> None:
    machine, place = machine_of(Model(tmp_path))
    (place / "web.yaml").write_bytes(written(manifest()))
    async with machine.agent():
        await until(lambda: machine.running() == {WEB})
    machine.static_pods = None
    async with machine.agent():
        await until(lambda: not machine.containers.pods, within=60)


@virtual
async def test_the_hub_is_told_the_bodies_once_and_an_empty_list_at_the_end(tmp_path: Path) -> None:
    machine, place = machine_of(Model(tmp_path))
    (place / "web.yaml").write_bytes(written(manifest()))
    async with a_hub(machine.model.link()) as hub, machine.agent():

        def told() -> list[list[str]]:
            lists = [report.status["pods"] for report in hub.reports.get(list_key(NODE), [])]
            return [[one["metadata"]["name"] for one in bodies] for bodies in lists]

        await until(lambda: phase_of(hub) == "Running")
        await asyncio.sleep(120)
        assert told() == [[WEB]]
        (place / "web.yaml").unlink()
        await until(lambda: told() == [[WEB], []], within=60)


@virtual
async def test_a_pod_stays_on_the_list_until_it_has_stopped(tmp_path: Path) -> None:
    machine, place = machine_of(Model(tmp_path))
    machine.containers.behaviour = lambda *_: Behaviour(ignores_stop=True)
    (place / "web.yaml").write_bytes(written(manifest()))
    async with a_hub(machine.model.link()) as hub, machine.agent():
        await until(lambda: phase_of(hub) == "Running")
        (place / "web.yaml").unlink()
        await asyncio.sleep(20)
        assert machine.running() == {WEB}
        assert [len(one.status["pods"]) for one in hub.reports[list_key(NODE)]] == [1]
        await until(lambda: not machine.running(), within=60)
        await until(lambda: len(hub.reports[list_key(NODE)]) == 2)


@virtual
async def test_a_lost_database_does_not_keep_a_pod_whose_file_is_gone(tmp_path: Path) -> None:
    """The list that it was made under is no evidence about it; the folder is."""
    machine, place = machine_of(Model(tmp_path))
    async with a_hub(machine.model.link()) as hub, machine.agent():
        await hub.want("db")
        await until(lambda: machine.running() == {"db"})
        (place / "web.yaml").write_bytes(written(manifest()))
        await until(lambda: machine.running() == {WEB, "db"})
    machine.model.broker.crash()
    for file in machine.folder.glob(f"{FILE}*"):
        file.unlink()
    (place / "web.yaml").unlink()
    async with machine.agent():
        await until(lambda: machine.running() == {"db"}, within=60)
