"""Label and field selectors: text in, predicate over objects out. Pure.

``parse_labels`` reads the whole grammar (``a=b, a==b, a!=b, a in (b,c), a notin (b), a, !a, a>1``),
``parse_fields`` the equality one. A selector that cannot be read, or names a field that a kind
does not offer, is a 400 and never matches everything by mistake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from devcluster.apiserver.status import Json, bad_request

Predicate = Callable[[Json], bool]
Labels = Mapping[str, str]

_TOKEN = re.compile(r"\s*(==|!=|=|,|\(|\)|!|>|<|[A-Za-z0-9_./-]+)")


def everything(_: Json) -> bool:
    return True


def parse_labels(text: str) -> Predicate:
    """A predicate over objects (not over label maps)."""
    if not text.strip():
        return everything
    tests = _Requirements(_tokens(text), text).read()

    def matches(obj: Json) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(test(labels) for test in tests)

    return matches


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None:
            raise bad_request(f"unable to parse requirement: found {text[at:].strip()!r:.80}")
        tokens.append(found[1])
        at = found.end()
    return tokens


class _Requirements:
    """A recursive-descent reader of the token list of one selector."""

    def __init__(self, tokens: list[str], text: str) -> None:
        self._tokens = tokens
        self._text = text

    def read(self) -> list[Callable[[Labels], bool]]:
        tests = [self._requirement()]
        while self._tokens:
            self._expect(",")
            tests.append(self._requirement())
        return tests

    def _requirement(self) -> Callable[[Labels], bool]:
        if self._peek() == "!":
            self._next()
            key = self._word()
            return lambda labels: key not in labels
        key = self._word()
        operator = self._peek()
        if operator in ("", ","):
            return lambda labels: key in labels
        self._next()
        return self._binary(key, operator)

    def _binary(self, key: str, operator: str) -> Callable[[Labels], bool]:
        if operator in ("=", "=="):
            value = self._value()
            return lambda labels: labels.get(key) == value
        if operator == "!=":
            value = self._value()
            return lambda labels: labels.get(key) != value
        if operator in (">", "<"):
            return _compares(key, operator, self._integer())
        if operator == "in":
            values = self._values()
            return lambda labels: labels.get(key) in values
        if operator == "notin":
            values = self._values()
            return lambda labels: labels.get(key) not in values
        raise self._unreadable(operator)

    def _values(self) -> set[str]:
        self._expect("(")
        values = {self._value()}
        while self._peek() == ",":
            self._next()
            values.add(self._value())
        self._expect(")")
        return values

    def _value(self) -> str:
        """A value may be empty, as in ``a=`` and ``a in (,b)``."""
        return "" if self._peek() in ("", ",", ")") else self._word()

    def _integer(self) -> int:
        word = self._word()
        if not re.fullmatch(r"-?\d+", word):
            raise self._unreadable(word)
        return int(word)

    def _word(self) -> str:
        token = self._next()
        if not re.fullmatch(r"[A-Za-z0-9_./-]+", token):
            raise self._unreadable(token)
        return token

    def _expect(self, token: str) -> None:
        found = self._next()
        if found != token:
            raise self._unreadable(found)

    def _peek(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _next(self) -> str:
        return self._tokens.pop(0) if self._tokens else ""

    def _unreadable(self, token: str) -> Exception:
        found = token or "end of text"
        return bad_request(f"unable to parse requirement: unexpected {found!r} in {self._text!r}")


def _compares(key: str, operator: str, bound: int) -> Callable[[Labels], bool]:
    def test(labels: Labels) -> bool:
        value = labels.get(key, "")
        if not re.fullmatch(r"-?\d+", value):
            return False
        return int(value) > bound if operator == ">" else int(value) < bound

    return test


def parse_fields(text: str, allowed: Sequence[str]) -> Predicate:
    """A predicate over objects; ``allowed`` names the fields that this kind offers."""
    if not text.strip():
        return everything
    tests = [_field_test(term.strip(), allowed) for term in text.split(",") if term.strip()]
    return lambda obj: all(test(obj) for test in tests)


def _field_test(term: str, allowed: Sequence[str]) -> Predicate:
    found = re.fullmatch(r"([^=!]+)(==|!=|=)(.*)", term)
    if found is None:
        raise bad_request(f"invalid selector: {term!r}; can't understand {term!r}")
    name, operator, value = found.groups()
    if name not in allowed:
        raise bad_request(f"field label not supported: {name}")
    path = _STORED_AT.get(name, name).split(".")
    wanted = operator != "!="
    return lambda obj: (_text_at(obj, path) == value) is wanted


def _text_at(obj: Any, path: Sequence[str]) -> str:
    for part in path:
        obj = obj.get(part) if isinstance(obj, dict) else None
    if obj is None:
        return ""
    return str(obj).lower() if isinstance(obj, bool) else str(obj)


METADATA_FIELDS = ("metadata.name", "metadata.namespace")
_EVENT_FIELDS = (
    *(f"involvedObject.{part}" for part in ("kind", "namespace", "name", "uid")),
    *("involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath"),
    *("reason", "reportingComponent", "source", "type"),
)
_STORED_AT = {"source": "source.component"}
"""Fields that a selector calls otherwise than the object does."""

FIELDS: Mapping[tuple[str, str], Sequence[str]] = {
    ("v1", "pods"): (
        *("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName"),
        *("spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"),
    ),
    ("v1", "nodes"): ("spec.unschedulable",),
    ("v1", "namespaces"): ("status.phase",),
    ("v1", "secrets"): ("type",),
    ("v1", "events"): _EVENT_FIELDS,
    ("events.k8s.io/v1", "events"): (
        *(name.replace("involvedObject", "regarding") for name in _EVENT_FIELDS[:7]),
        *("reason", "reportingController", "type"),
    ),
}
"""(version, resource) → what a field selector may name besides ``METADATA_FIELDS``."""
