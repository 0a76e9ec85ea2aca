"""Names of the things that travel: ``ObjectKey``, validated at birth.

A key is safe to put into a topic and a file name: its parts are DNS-1123 names (so never ``+``,
``#`` or ``/``), its kind a word. Whatever builds one from foreign bytes gets ``WireError``. Kinds
that only a newer hub or agent knows are keys too: who reads one says what it does with it.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any

from shared.errors import WireError

Json = dict[str, Any]
"""An API object or a part of one, as ``json.loads`` gives it."""

NO_NAMESPACE = "-"
"""Namespace of cluster-scoped objects (Node, PersistentVolume) in keys and topics."""

VOLUME_GROUP = "pv.beta.kubernetes.io/gid"
"""Annotation of a PersistentVolume: the group that may use it, which its pods' processes get."""

_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def is_name(text: object) -> bool:
    """Whether ``text`` is a DNS-1123 subdomain of at most 253 characters."""
    return isinstance(text, str) and len(text) <= 253 and bool(_SUBDOMAIN.fullmatch(text))


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    kind: str
    namespace: str
    name: str

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind):
            raise WireError("bad-key", f"kind {self.kind!r:.40}")
        if self.namespace != NO_NAMESPACE and not is_name(self.namespace):
            raise WireError("bad-key", f"namespace {self.namespace!r:.80}")
        if not is_name(self.name):
            raise WireError("bad-key", f"name {self.name!r:.80}")

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"

    @property
    def mark(self) -> int:
        """Two bytes by which it is told from most others where its name would be too long."""
        return zlib.crc32(str(self).encode()) & 0xFFFF

    @classmethod
    def parse(cls, text: str) -> ObjectKey:
        parts = text.split("/")
        if len(parts) != 3:
            raise WireError("bad-key", f"{text!r:.120}")
        return cls(*parts)

    @classmethod
    def of(cls, kind: str, obj: Json) -> ObjectKey:
        """The key of an API object (list items carry no kind, so the caller says it)."""
        metadata = obj["metadata"]
        return cls(kind, metadata.get("namespace") or NO_NAMESPACE, metadata["name"])
