"""A manifest of the static-pods folder → a pod of this device, as a kubelet makes it. Pure.

Owns the name (``NAME-NODE``), the uid (a hash of what the file says and of the node, so the same
file always is the same pod and another text is another pod), and what a static pod is given.
A file of which no pod can be made is ``BadManifest`` with one line for its author. PyYAML is
imported when the first YAML comes: a device without static pods never loads it.
"""

from __future__ import annotations

import functools
import json
from hashlib import blake2b
from typing import Any

from edgeagent.desired import DesiredPod
from edgeagent.pods.admission.supported import unsupported
from edgeagent.podshape import RejectedPod, admit
from shared.errors import PermanentError, WireError
from shared.objects import Json, ObjectKey, is_name
from shared.pod_defaults import fill_pod
from shared.static_pods import HASH, MIRROR, MOST_BYTES, SOURCE, api_objects

MOST_VALUES = 20_000
"""Of one manifest; YAML can say "this part again" for ever."""
MOST_DEEP = 80
"""The same for levels: a list of such pods has to fit into what a message may have."""
TOLERATION = {"operator": "Exists", "effect": "NoExecute"}
"""Nothing that ails a node drives its static pods away."""

PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
"""Of the classes that every cluster has; which value another has, only the API server knows."""


class BadManifest(PermanentError):
    """The message is for whoever wrote the file."""


def parse(data: bytes, *, node: str) -> DesiredPod:
    """What the file says, made a pod; when it was first seen is not in it yet."""
    said = _cleaned(_loaded(data), _Budget())
    if not isinstance(said, dict):
        raise BadManifest("the file holds no Pod")
    if (said.get("apiVersion"), said.get("kind")) != ("v1", "Pod"):
        kind = f"{said.get('apiVersion')} {said.get('kind')}"
        raise BadManifest(f"it is a {kind:.80}: a static pod has apiVersion v1 and kind Pod")
    kept = _kept(said)
    uid = _uid(kept, node)
    pod = _given(kept, uid, node)
    key = _key(pod, kept["metadata"].get("name"))
    _check(key, pod)
    fill_pod(pod)
    return DesiredPod(uid, key, pod, None)


def _loaded(data: bytes) -> Any:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadManifest("the file is not text in UTF-8") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith("{"):
            raise BadManifest(f"not JSON: {error}") from error
    import yaml

    try:
        return yaml.load(text, Loader=_loader())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadManifest(f"not YAML: {' '.join(str(error).split())[:300]}") from error


@functools.cache
def _loader() -> Any:
    """Safe, and a date is the text that it is written as, as in all of Kubernetes."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    return Loader


class _Budget:
    def __init__(self) -> None:
        self._left = MOST_VALUES

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise BadManifest(f"it holds more than {MOST_VALUES} values")


def _cleaned(value: Any, budget: _Budget, deep: int = 0) -> Any:
    """Plain JSON without nulls; raises BadManifest for anything else that YAML can say."""
    budget.spend()
    if deep > MOST_DEEP:
        raise BadManifest(f"it is nested more than {MOST_DEEP} levels deep")
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise BadManifest(f"the key {name!r:.80} is not text: put it in quotes")
        return {
            k: _cleaned(part, budget, deep + 1) for k, part in value.items() if part is not None
        }
    if isinstance(value, list):
        return [_cleaned(part, budget, deep + 1) for part in value]
    if isinstance(value, str) and not value.isascii():
        _check_text(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        raise BadManifest(f"{value} is too large")
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise BadManifest(f"{value!r:.80} is no value that JSON has")


def _check_text(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadManifest(f"{value!r:.80} has half a character: {error.reason}") from error


def _kept(said: Json) -> Json:
    """What a manifest may say; a dump of a living pod says more (uid, owners, status)."""
    metadata = said.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise BadManifest("metadata.name is missing")
    if not isinstance(said.get("spec"), dict):
        raise BadManifest("spec is missing")
    named = ("name", "namespace", "labels", "annotations")
    return {"metadata": {n: metadata[n] for n in named if n in metadata}, "spec": said["spec"]}


def _uid(kept: Json, node: str) -> str:
    try:
        text = json.dumps(kept, sort_keys=True, allow_nan=False)
    except ValueError as error:
        raise BadManifest(f"no JSON: {error}") from error
    if len(text) > MOST_BYTES:
        raise BadManifest(f"it is larger than {MOST_BYTES // 1024} KiB")
    said = f"{text}host:{node}".encode(errors="surrogatepass")
    return blake2b(said, digest_size=16).hexdigest()


def _given(kept: Json, uid: str, node: str) -> Json:
    metadata, spec = dict(kept["metadata"]), dict(kept["spec"])
    annotations = metadata.get("annotations", {})
    if not isinstance(annotations, dict):
        raise BadManifest("metadata.annotations is not a map of strings")
    annotations = {name: text for name, text in annotations.items() if name != MIRROR}
    metadata |= {
        "name": f"{metadata['name']}-{node}",
        "namespace": metadata.get("namespace") or "default",
        "uid": uid,
        "annotations": {**annotations, SOURCE: "file", HASH: uid},
    }
    tolerations = spec.get("tolerations", [])
    if isinstance(tolerations, list) and TOLERATION not in tolerations:
        spec["tolerations"] = [*tolerations, dict(TOLERATION)]
    named = spec.get("priorityClassName")
    if "priority" not in spec and isinstance(named, str) and named in PRIORITIES:
        spec["priority"] = PRIORITIES[named]
    return {"metadata": metadata, "spec": {**spec, "nodeName": node}}


def _key(pod: Json, given: object) -> ObjectKey:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    if not is_name(given) or not is_name(name):
        raise BadManifest(
            f"metadata.name: {given!r:.80}: with the node's name behind it, it must be at most 253"
            " lower-case letters, digits, '-' and '.'"
        )
    try:
        return ObjectKey("Pod", namespace, name)
    except (WireError, TypeError) as error:
        raise BadManifest(f"metadata.namespace: {namespace!r:.80} is not a name") from error


def _check(key: ObjectKey, pod: Json) -> None:
    found = admit(key, pod)
    if isinstance(found, RejectedPod):
        raise BadManifest(found.message)
    try:
        used = api_objects(pod["spec"])
    except (AttributeError, TypeError):
        used = ""  # Of a wrong shape, which is told next.
    if used:
        raise BadManifest(
            f"static pods may not reference {used}: the device must be able to run them without"
            " the API server"
        )
    for one in unsupported(pod):
        if one.fatal:
            raise BadManifest(f"{one.field}: {one.message}")
