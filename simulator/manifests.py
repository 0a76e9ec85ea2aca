"""The static-pods folder of one device, and what people do to the files in it.

Knows of every pod that a file ever gave whether one gives it now: the evidence by which its starts
and stops are judged, as ``history.py`` has it for the API's pods. A file that is broken, or out of
sight with its folder, gives what it gave before. A pod's uid is what the real parser makes of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeagent.staticpods.manifests import parse
from shared.objects import Json, ObjectKey
from simulator.journal import Journal
from simulator.runtime import FAILING_JOB, IMAGES, Run

PODS_NAMED = ("gate", "panel", "vpn")
SUFFIXES = (".yaml", ".json", ".yml")
BROKEN = (
    b"",
    b"\xff\xfe\x00",
    b'{"apiVersion": "v1", "kind": "Pod", "metadata"',
    b"kind: Pod\nmetadata: [",
    b"apiVersion: apps/v1\nkind: Deployment",
    b'{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": ['
    b'{"name": "x", "image": "x", "envFrom": [{"configMapRef": {"name": "red"}}]}]}}',
)


@dataclass(slots=True)
class StaticStory:
    key: ObjectKey
    uid: str
    node: str
    policy: str
    priority: int
    given: bool = True
    """A file says so."""
    left: float | None = None
    """When it last was given no more."""
    returned: bool = False
    """It was gone and came again: what was counted of it may begin anew."""

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def over(self) -> bool:
        return not self.given

    def belongs_to(self, node: str) -> bool:
        return node == self.node

    def ends(self, run: Run) -> bool:
        return not self.given or (self.left is not None and self.left >= run.started)


@dataclass(slots=True)
class _File:
    name: str
    text: bytes
    """The last that was good, or nothing."""
    story: StaticStory | None
    broken: bool = False
    renamed: bool = False


class Manifests:
    def __init__(
        self,
        folder: Path,
        *,
        node: str,
        rng: random.Random,
        now: Callable[[], float],
        journal: Journal,
    ) -> None:
        self.folder = folder
        self.pods: dict[str, StaticStory] = {}
        """By uid, every one that there ever was."""
        self._node = node
        self._rng = rng
        self._now = now
        self._journal = journal
        self._files: dict[str, _File] = {}
        """By the first part of its name, which is the name of the pod in it."""
        self._writes = 0
        folder.mkdir(parents=True)

    def given(self) -> list[StaticStory]:
        return [story for story in self.pods.values() if story.given]

    def names(self) -> list[str]:
        """What its pods may be called in the API."""
        return [f"{name}-{self._node}" for name in PODS_NAMED]

    # -- what people do

    async def act(self) -> None:
        """One thing that somebody does to one file, or to the folder."""
        if not self.folder.exists():
            return
        pod = self._rng.choice(PODS_NAMED)
        if pod not in self._files:
            self._add(pod)
            return
        actions = {
            self._change: 4,
            self._retell: 2,
            self._remove: 3,
            self._break: 3,
            self._rename: 1,
            self._write_in_halves: 1,
            self._take_and_return: 1,
            self._hide: 1,
        }
        await self._rng.choices(list(actions), list(actions.values()))[0](self._files[pod])

    def mend(self) -> None:
        """Every file says what it should, and can be read."""
        if self._hidden.exists():
            self._hidden.rename(self.folder)
        for pod, file in sorted(self._files.items()):
            if file.broken and self._rng.random() < 0.5:
                self._write(file, self._text(pod))
            elif file.broken:
                self._drop(file)

    def _add(self, pod: str) -> None:
        file = _File(pod + self._rng.choice(SUFFIXES), b"", None)
        self._files[pod] = file
        if self._rng.random() < 0.2:
            self._spoil(file)
        else:
            self._write(file, self._text(pod))

    async def _change(self, file: _File) -> None:
        self._write(file, self._text(self._pod_of(file)))

    async def _retell(self, file: _File) -> None:
        """Touched, or with another comment: the same pod."""
        if file.story is not None and not file.broken:
            comment = f"# {self._writes}\n".encode() if self._rng.random() < 0.5 else b""
            self._write(file, comment + file.text[file.text.index(b"{") :])

    async def _remove(self, file: _File) -> None:
        self._drop(file)

    async def _break(self, file: _File) -> None:
        self._spoil(file)

    async def _rename(self, file: _File) -> None:
        if file.broken:
            return
        pod, before = self._pod_of(file), file.name
        file.name = f"{pod}-{self._writes}{self._rng.choice(SUFFIXES)}"
        (self.folder / before).rename(self.folder / file.name)
        file.renamed = True
        self._say(f"renames {before} to {file.name}")

    async def _write_in_halves(self, file: _File) -> None:
        text = self._text(self._pod_of(file))
        self._say(f"writes half of {file.name}")
        self._put_broken(file, text[: len(text) // 2])
        await asyncio.sleep(self._rng.uniform(0.1, 6.0))
        if self._is_here(file):
            self._write(file, text)

    async def _take_and_return(self, file: _File) -> None:
        text, was_broken = file.text, file.broken
        self._drop(file)
        await asyncio.sleep(self._rng.choice((1.0, 5.0, 60.0)) * self._rng.uniform(0.5, 1.5))
        pod = self._pod_of(file)
        if text and not was_broken and pod not in self._files and self.folder.exists():
            self._files[pod] = file
            self._write(file, text)

    async def _hide(self, file: _File) -> None:
        """Its file system is not mounted."""
        self._say("the folder is away")
        self.folder.rename(self._hidden)
        await asyncio.sleep(self._rng.choice((1.0, 10.0, 100.0)) * self._rng.uniform(0.5, 1.5))
        if self._hidden.exists():
            self._hidden.rename(self.folder)
            self._say("the folder is back")

    # -- files

    @property
    def _hidden(self) -> Path:
        return self.folder.with_name("manifests-away")

    def _is_here(self, file: _File) -> bool:
        return file in self._files.values() and self.folder.exists()

    def _pod_of(self, file: _File) -> str:
        return file.name.partition(".")[0].partition("-")[0]

    def _write(self, file: _File, text: bytes) -> None:
        self._put(file, text)
        file.broken, file.renamed, file.text = False, False, text
        found = parse(text, node=self._node)
        self._say(f"writes {file.name}", uid=found.uid[-4:])
        if file.story is not None and file.story.uid != found.uid:
            self._leaves(file.story)
        story = self.pods.get(found.uid)
        if story is None:
            spec = found.pod["spec"]
            policy, priority = spec["restartPolicy"], spec.get("priority", 0)
            story = StaticStory(found.key, found.uid, self._node, policy, priority)
            self.pods[found.uid] = story
        elif not story.given:
            story.given = story.returned = True
        file.story = story

    def _spoil(self, file: _File) -> None:
        self._say(f"breaks {file.name}")
        self._put_broken(file, self._rng.choice(BROKEN))

    def _put_broken(self, file: _File, text: bytes) -> None:
        """Under its new name the agent may never have read it: then it counts as gone."""
        file.broken = True
        self._put(file, text)
        if file.renamed and file.story is not None:
            file.story.left = self._now()

    def _put(self, file: _File, text: bytes) -> None:
        """Two writes of one moment must not look alike, as they might with the kernel's clock."""
        path = self.folder / file.name
        path.write_bytes(text)
        self._writes += 1
        stamp = int(self._now() * 1e9) + self._writes
        os.utime(path, ns=(stamp, stamp))

    def _drop(self, file: _File) -> None:
        self._say(f"removes {file.name}")
        (self.folder / file.name).unlink()
        del self._files[self._pod_of(file)]
        if file.story is not None:
            self._leaves(file.story)
            file.story = None

    def _leaves(self, story: StaticStory) -> None:
        story.given, story.left = False, self._now()

    def _text(self, name: str) -> bytes:
        """Never the same twice."""
        rng = self._rng
        image, policy = rng.choice(IMAGES), "Always"
        if "job" in image:
            image, policy = rng.choice((image, FAILING_JOB)), "Never"
        containers: list[Json] = [{"name": "main", "image": image}]
        if rng.random() < 0.3:
            containers.append({"name": "side", "image": rng.choice(IMAGES[:3])})
        spec: Json = {
            "restartPolicy": policy,
            "terminationGracePeriodSeconds": rng.choice((1, 10, 30)),
            "containers": containers,
        }
        if rng.random() < 0.3:
            spec["priorityClassName"] = "system-node-critical"
        if rng.random() < 0.3:
            spec["volumes"] = [{"name": "room", "emptyDir": {}}]
            containers[0]["volumeMounts"] = [{"name": "room", "mountPath": "/room"}]
        metadata = {"name": name, "annotations": {"turn": str(self._writes)}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        return json.dumps(pod).encode()

    def _say(self, what: str, **details: object) -> None:
        self._journal.say(self._node, f"somebody {what}", **details)
