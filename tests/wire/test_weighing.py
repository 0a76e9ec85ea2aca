"""What a message costs is known before anything of it is built, and is bounded for each kind."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import codec
from shared.asking import TokenAnswer, TokenRequest
from shared.errors import WireError
from shared.messages import DesiredObject, Entry, HubPresence, Inventory, Report, Session
from shared.objects import ObjectKey
from shared.weighing import MAX_DEPTH, weigh
from tests.wire.strategies import json_objects
from tests.wire.test_codec import deflated

POD = ObjectKey("Pod", "default", "web")


def values_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(values_of(key) + values_of(one) for key, one in value.items())
    return 1 + sum(map(values_of, value)) if isinstance(value, list) else 1


@example([b"x" * 70_000, "x" * 70_000, [None] * 70_000, {str(key): key for key in range(70_000)}])
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False)
        | st.text(max_size=300)
        | st.binary(max_size=300),
        lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    )
)
def test_every_value_is_counted_once(value: Any) -> None:
    packed = codec.pack(value)
    count = values_of(value)
    assert weigh(packed, most=count) == count
    if count > 1:
        with pytest.raises(WireError):
            weigh(packed, most=count - 1)


@given(st.one_of(st.binary(max_size=200), json_objects.map(codec.pack)), st.integers(0, 200))
def test_what_passes_has_no_more_values_than_were_counted(plain: bytes, keep: int) -> None:
    """Whatever the bytes: the weight is never less than what would be built."""
    plain = plain[:keep]
    try:
        count = weigh(plain, most=50)
    except WireError as error:
        assert error.reason in ("bad-msgpack", "too-many-values")
        return
    assert count <= 50
    try:
        value = msgpack.unpackb(plain, raw=True, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException):
        return
    assert values_of(value) <= count


@pytest.mark.parametrize("head", [b"\x90", b"\x80", b"\xa2ab", b"\xcd\x10\x10"])
def test_a_few_kilobytes_on_the_wire_are_never_millions_of_values(head: bytes) -> None:
    """Of 18 KB of deflate a hub made 282 MB of empty lists."""
    many = 4_000_000 // len(head)
    fields = codec.pack({"k": str(POD), "u": "u", "n": 1, "a": 1, "f": False, "e": [], "s": 0})
    bomb = deflated(fields[:-1] + b"\x81\xa1x\xdd" + many.to_bytes(4, "big") + head * many)
    assert len(bomb) < 40_000
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            codec.decode(bomb)
        for kind in (Report, Session, Inventory, DesiredObject, HubPresence):
            with pytest.raises(WireError):
                kind.decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 3 * codec.MAX_PLAIN
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [TokenRequest, TokenAnswer, HubPresence])
def test_what_is_short_by_nature_may_not_be_long(kind: Any) -> None:
    with pytest.raises(WireError) as caught:
        kind.decode(codec.encode({"x": "x" * codec.MAX_SHORT}))
    assert caught.value.reason == "too-large"


def test_what_a_device_says_of_one_object_may_not_be_as_large_as_a_list_of_bodies() -> None:
    report = Report(POD, "u", 1, 1, {"message": "x" * codec.MAX_SAID})
    with pytest.raises(WireError) as caught:
        Report.decode(report.encode())
    assert caught.value.reason == "too-large"
    assert Report.decode(report.encode(), most=codec.MAX_PLAIN) == report


def test_a_body_is_not_nested_deeper_than_its_readers_stand() -> None:
    def nested(levels: int) -> bytes:
        return codec.pack({"spec": 0})[:-1] + b"\x91" * levels + b"\xc0"

    sent = DesiredObject(POD, nested(MAX_DEPTH - 1))
    assert DesiredObject.decode(sent.encode()) == sent
    with pytest.raises(WireError) as caught:
        DesiredObject.decode(DesiredObject(POD, nested(MAX_DEPTH)).encode())
    assert caught.value.reason == "too-many-values"


def test_what_is_large_by_nature_passes() -> None:
    keys = [ObjectKey("ConfigMap", "default", f"c{number}") for number in range(10_000)]
    inventory = Inventory(1, {key: Entry(codec.digest(str(key).encode())) for key in keys})
    assert Inventory.decode(inventory.encode()) == inventory
    for data in ({"a": "x" * 2**20}, {f"{number:x}": "" for number in range(100_000)}):
        sent = DesiredObject(POD, codec.pack({"metadata": {"name": "c"}, "data": data}))
        assert DesiredObject.decode(sent.encode()) == sent
    birth = Session(True, "i", 1, missing=tuple(keys[:1000]))
    assert Session.decode(birth.encode()) == birth
