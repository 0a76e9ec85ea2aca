"""The codec's promise: what we encode comes back, what we did not encode is a WireError."""

from __future__ import annotations

import zlib
from hashlib import blake2b

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import codec
from shared.dictionary import DICTIONARY
from shared.errors import WireError
from tests.wire.strategies import json_objects


def deflated(plain: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=DICTIONARY)
    return bytes((codec.VERSION,)) + deflate.compress(plain) + deflate.flush()


def test_the_dictionary_of_version_1_never_changes() -> None:
    """Once released, devices hold these very bytes: a change then needs a new version byte."""
    assert len(DICTIONARY) <= 32768
    assert blake2b(DICTIONARY, digest_size=8).hexdigest() == "1b1e50d002436678"


@given(json_objects)
def test_every_message_comes_back(message: dict[str, object]) -> None:
    assert codec.decode(codec.encode(message)) == message


@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused_or_are_a_map(payload: bytes) -> None:
    try:
        assert isinstance(codec.decode(payload), dict)
    except WireError as error:
        assert error.reason


@given(json_objects, st.data())
def test_a_flipped_byte_never_crashes(message: dict[str, object], data: st.DataObject) -> None:
    payload = bytearray(codec.encode(message))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert isinstance(codec.decode(bytes(payload)), dict)
    except WireError as error:
        assert error.reason


@given(json_objects, st.integers(0, 200))
def test_a_truncated_message_is_refused(message: dict[str, object], keep: int) -> None:
    payload = codec.encode(message)
    if keep < len(payload):
        with pytest.raises(WireError):
            codec.decode(payload[:keep])


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "bad-version"),
        (b"\x02" + codec.encode({})[1:], "bad-version"),
        (b'{"json": true}', "bad-version"),
        (codec.encode({}) + b"x", "trailing-bytes"),
        (codec.encode({"a": 1})[:-1], "truncated"),
        (b"\x01\xff\xff\xff", "bad-deflate"),
        (deflated(msgpack.packb([1, 2])), "bad-msgpack"),
        (deflated(msgpack.packb({1: 2})), "bad-msgpack"),
        (deflated(msgpack.packb({"a": msgpack.ExtType(5, b"x")})), "bad-msgpack"),
        (deflated(b"\x91" * 5000), "too-many-values"),
        (deflated(b"\xdf\xff\xff\xff\xff"), "too-many-values"),
        (deflated(b"\x81\xa1a" + b"\xdd\x00\x3f\x00\x00" + b"\x90" * 0x3F0000), "too-many-values"),
        (deflated(b"\x81\xa1a" + b"\xdd\x00\x03\xff\xff" * 90), "too-many-values"),
        (deflated(b"\x81\xa1a\xdb\xff\xff\xff\xff"), "bad-msgpack"),
        (deflated(b"\x82\xa1a"), "bad-msgpack"),
        (b"\x01" + b"\0" * codec.MAX_WIRE, "too-large"),
        (deflated(b"\0" * (codec.MAX_PLAIN + 1)), "too-large"),
    ],
)
def test_what_is_not_a_message_says_why(payload: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        codec.decode(payload)
    assert caught.value.reason == reason
