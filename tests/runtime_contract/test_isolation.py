"""Images, isolation and limits: only a container runtime has them, the others say they do not."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from edgeagent.runtime.limits import Resources
from edgeagent.runtime.port import (
    ContainerSecurity,
    ContainerState,
    DnsConfig,
    Mount,
    PortMapping,
    SandboxSecurity,
    SeccompProfile,
)
from shared.errors import PermanentError, TemporaryError
from tests.parts import images
from tests.parts.ports import free_port
from tests.runtime_contract.worlds import (
    RUNS,
    Program,
    World,
    ended,
    eventually,
    script,
    seen,
    text_of,
)

CGROUP_V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
CAP_NET_RAW, CAP_CHOWN, CAP_NET_ADMIN = 13, 0, 12


async def test_the_image_says_what_the_pod_does_not(isolating_world: World) -> None:
    pod = await isolating_world.pod()
    container_id = await pod.run(Program(""), image=images.CONFIGURED)
    await _says(isolating_world, container_id, "greeting=from-image dir=/srv")


async def test_arguments_replace_the_images_command(isolating_world: World) -> None:
    pod = await isolating_world.pod()
    changes = {"image": images.CONFIGURED, "env": (("GREETING", "from-pod"),)}
    told = await pod.output(Program(""), args=("echo other $GREETING",), **changes)
    assert told == "other from-pod"


async def test_mounts_read_only_and_writable(isolating_world: World, tmp_path: Path) -> None:
    readable, writable = tmp_path / "readable", tmp_path / "writable"
    readable.mkdir()
    writable.mkdir()
    (readable / "given").write_text("hello\n")
    pod = await isolating_world.pod()
    told = await pod.output(
        script("cat /ro/given; echo x >/ro/new || echo refused; echo back >/rw/new; cat /one"),
        mounts=(
            Mount(str(readable), "/ro", readonly=True),
            Mount(str(writable), "/rw"),
            Mount(str(readable / "given"), "/one", readonly=True),
        ),
    )
    assert told.splitlines() == ["hello", "refused", "hello"]
    assert (writable / "new").read_text() == "back\n"


async def test_a_pod_has_an_address_of_its_own_and_a_host_port(isolating_world: World) -> None:
    port = free_port()
    pod = await isolating_world.pod(ports=(PortMapping(8080, port, host_ip="127.0.0.1"),))
    await pod.run(script("while :; do echo answer | nc -l -p 8080; done"))
    sandbox = await isolating_world.runtime.inspect_sandbox(pod.id)
    assert sandbox is not None and sandbox.ips[0].startswith("10.")
    await eventually(lambda: _answers(sandbox.ips[0], 8080))
    await eventually(lambda: _answers("127.0.0.1", port))
    await isolating_world.runtime.stop_sandbox(pod.id)
    assert not await _answers("127.0.0.1", port)


async def test_the_host_network_is_the_hosts(isolating_world: World) -> None:
    pod = await isolating_world.pod(security=SandboxSecurity(host_network=True))
    sandbox = await isolating_world.runtime.inspect_sandbox(pod.id)
    assert sandbox is not None and sandbox.ips == ()
    told = await pod.output(script("readlink /proc/self/ns/net"))
    assert told == os.readlink("/proc/self/ns/net")


async def test_hostname_and_dns(isolating_world: World) -> None:
    dns = DnsConfig(servers=("192.0.2.53",), searches=("edge.test",), options=("ndots:5",))
    pod = await isolating_world.pod(hostname="my-pod", dns=dns)
    told = await pod.output(script("hostname; cat /etc/resolv.conf"))
    lines = ["my-pod", "search edge.test", "nameserver 192.0.2.53", "options ndots:5"]
    assert sorted(told.splitlines()) == sorted(lines)


async def test_containers_share_processes_only_when_asked(isolating_world: World) -> None:
    alone = await isolating_world.pod()
    assert await alone.output(script("echo $$")) == "1"
    security = SandboxSecurity(share_process_namespace=True)
    together = await isolating_world.pod(security=security)
    await together.run(RUNS, name="first")
    assert "sleep 3600" in await together.output(script("ps"), name="second")


@pytest.mark.parametrize(
    ("image", "user"), [(images.NUMERIC_USER, "1234"), (images.NAMED_USER, "1234")]
)
async def test_the_images_user_is_kept(isolating_world: World, image: str, user: str) -> None:
    pod = await isolating_world.pod()
    assert await pod.output(script("id -u"), image=image) == user
    status = await isolating_world.runtime.image_status(image)
    assert status is not None
    assert status.user == ("app" if image == images.NAMED_USER else "1234")


async def test_a_user_by_name(isolating_world: World) -> None:
    pod = await isolating_world.pod()
    security = ContainerSecurity(run_as_username="app")
    assert await pod.output(script("id -un"), security=security) == "app"


async def test_a_runtime_that_knows_it_says_whom_a_container_began_as(
    isolating_world: World,
) -> None:
    """With the groups that the image makes its user a member of."""
    pod = await isolating_world.pod()
    security = ContainerSecurity(run_as_user=1234, run_as_group=2000, supplemental_groups=(4000,))
    container_id = await pod.run(RUNS, image=images.NAMED_USER, security=security)
    found = (await seen(isolating_world, container_id)).user
    if (await isolating_world.runtime.info()).strict_groups is None:
        assert found is None
    else:
        assert found is not None
        assert (found.uid, found.gid) == (1234, 2000)
        assert sorted(found.groups) == [2000, 4000, 5678]


async def test_capabilities_are_added_and_dropped(isolating_world: World) -> None:
    pod = await isolating_world.pod()
    security = ContainerSecurity(
        add_capabilities=("NET_ADMIN",), drop_capabilities=("ALL", "CAP_NET_RAW")
    )
    told = await pod.output(script("grep CapEff /proc/self/status"), security=security)
    assert int(told.split()[1], 16) == 1 << CAP_NET_ADMIN
    told = await pod.output(script("grep CapEff /proc/self/status"), name="default")
    assert int(told.split()[1], 16) >> CAP_CHOWN & 1
    assert not int(told.split()[1], 16) >> CAP_NET_ADMIN & 1


async def test_a_capability_that_is_added_with_its_prefix_is_none(isolating_world: World) -> None:
    pod = await isolating_world.pod()
    security = ContainerSecurity(add_capabilities=("CAP_NET_ADMIN",))
    told = await pod.output(script("grep CapEff /proc/self/status"), security=security)
    assert not int(told.split()[1], 16) >> CAP_NET_ADMIN & 1


async def test_a_read_only_root(isolating_world: World) -> None:
    pod = await isolating_world.pod()
    security = ContainerSecurity(readonly_rootfs=True)
    assert await pod.output(script("echo x >/new || echo refused"), security=security) == "refused"


async def test_no_new_privileges_and_seccomp(isolating_world: World) -> None:
    pod = await isolating_world.pod()
    security = ContainerSecurity(no_new_privs=True, seccomp=SeccompProfile("RuntimeDefault"))
    told = await pod.output(script("grep -e NoNewPrivs: /proc/self/status"), security=security)
    assert told.split() == ["NoNewPrivs:", "1"]


async def test_kernel_paths_are_masked_unless_asked_otherwise(isolating_world: World) -> None:
    look = script("wc -c </proc/keys; echo 1 >/proc/sys/vm/swappiness || echo refused")
    pod = await isolating_world.pod()
    assert await pod.output(look) == "0\nrefused"
    privileged = await isolating_world.pod(security=SandboxSecurity(privileged=True))
    told = await privileged.output(
        script("wc -c </proc/keys"), security=ContainerSecurity(privileged=True)
    )
    assert int(told) > 0


async def test_limits_reach_the_cgroup(isolating_world: World) -> None:
    pod = await isolating_world.pod()
    limits = Resources(
        cpu_period=100_000, cpu_quota=50_000, cpu_shares=512, memory_limit_bytes=32 << 20
    )
    container_id = await pod.run(RUNS, resources=limits)
    assert await _limits(isolating_world, container_id) == (32 << 20, 50_000)
    smaller = Resources(cpu_period=100_000, cpu_quota=20_000, memory_limit_bytes=16 << 20)
    await isolating_world.runtime.update_resources(container_id, smaller)
    assert await _limits(isolating_world, container_id) == (16 << 20, 20_000)


async def test_too_much_memory_is_told_as_oom_killed(isolating_world: World) -> None:
    pod = await isolating_world.pod()
    greedy = script("exec tail /dev/zero")
    container_id = await pod.run(greedy, resources=Resources(memory_limit_bytes=16 << 20))
    container = await ended(isolating_world, container_id, within=30)
    assert container.exit_code == 137

    async def reason() -> str | None:
        """Told by an event of its own, which may come after the end."""
        found = await seen(isolating_world, container_id)
        return found.reason if found.reason == "OOMKilled" else None

    assert await eventually(reason) == "OOMKilled"


async def test_a_pods_containers_live_under_its_cgroup(isolating_world: World) -> None:
    parent = f"/kubetide-test-{free_port()}"
    pod = await isolating_world.pod(cgroup_parent=parent)
    container_id = await pod.run(RUNS)
    done = await isolating_world.runtime.exec_sync(container_id, ["cat", "/proc/1/cgroup"], 5)
    assert b"/" in done.stdout
    memory = Path("/sys/fs/cgroup") if CGROUP_V2 else Path("/sys/fs/cgroup/memory")
    assert (memory / parent.lstrip("/") / container_id).is_dir()
    await isolating_world.runtime.remove_sandbox(pod.id)
    _remove_cgroup(parent.lstrip("/"))


async def test_an_absent_image_cannot_be_run(isolating_world: World) -> None:
    pod = await isolating_world.pod()
    with pytest.raises(TemporaryError):
        await pod.create(RUNS, image="kubetide.test/absent:1")


async def test_what_the_cri_cannot_express_is_refused_for_good(isolating_world: World) -> None:
    with pytest.raises(PermanentError, match="DCCP"):
        await isolating_world.pod(ports=(PortMapping(1, 1, "DCCP"),))
    pod = await isolating_world.pod()
    for changes in (
        {"mounts": (Mount("/tmp", "/in", propagation="Sideways"),)},
        {"resources": Resources(memory_limit_bytes=1 << 70)},
        {"stop_signal": "SIGNOTHING"},
    ):
        with pytest.raises(PermanentError):
            await pod.create(RUNS, **changes)


async def _says(world: World, container_id: str, text: str) -> None:
    path = (await seen(world, container_id)).log_path

    async def said() -> bool:
        return text in text_of(path)

    await eventually(said)
    assert (await seen(world, container_id)).state is ContainerState.RUNNING


async def _answers(host: str, port: int) -> bool:
    def ask() -> bool:
        try:
            with socket.create_connection((host, port), timeout=1) as connection:
                return connection.recv(100) == b"answer\n"
        except OSError:
            return False

    return await asyncio.to_thread(ask)


async def _limits(world: World, container_id: str) -> tuple[int, int]:
    """Memory limit and CPU quota as the container's own cgroup mount shows them."""
    files = (
        "/sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max"
        if CGROUP_V2
        else "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us"
    )
    done = await world.runtime.exec_sync(container_id, ["/bin/sh", "-c", f"cat {files}"], 5)
    memory, quota = done.stdout.split()[:2]
    return int(memory), int(quota)


def _remove_cgroup(name: str) -> None:
    for path in Path("/sys/fs/cgroup").glob(f"*/{name}"):
        path.rmdir()
