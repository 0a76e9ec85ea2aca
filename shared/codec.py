"""Bytes on the wire: version byte, then a raw deflate stream of one msgpack map.

Owns every limit on what a peer may make us allocate. ``decode`` accepts hostile bytes and answers
with a map or ``WireError``; it never crashes, never inflates past what its kind of message may
have, and builds nothing before ``weighing.py`` has counted the values. The deflate stream starts
with a preset dictionary (``shared/dictionary.py``), so that an ordinary pod is about 400 bytes. A
new dictionary or a new meaning of a field needs a new version byte.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgpack

from shared.dictionary import DICTIONARY
from shared.errors import WireError
from shared.weighing import weigh

VERSION = 1
MAX_WIRE = 2 * 1024 * 1024
"""Most bytes of one payload: a ConfigMap may have 1 MiB, uncompressible."""
MAX_PLAIN = 4 * 1024 * 1024
"""Most bytes after decompression: of what carries bodies, or the list of all of them."""
MAX_SAID = 512 * 1024
"""The same of what a device says of one object or of itself."""
MAX_SHORT = 64 * 1024
"""The same of asks, answers and the like."""
BYTES_PER_VALUE = 16
"""A message that may have so many times as many bytes may have so many values: an inventory
of 10,000 objects has a quarter of them, a ConfigMap of 1 MiB of the shortest entries nearly all."""
MAX_VALUES = MAX_PLAIN // BYTES_PER_VALUE

DIGEST_SIZE = 16


def digest(body: bytes) -> bytes:
    """BLAKE2b, 16 bytes: names a body; equal digests mean equal bodies."""
    return blake2b(body, digest_size=DIGEST_SIZE).digest()


def pack(value: Any) -> bytes:
    """msgpack, canonical enough to digest: the caller fixes the order of map keys."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def unpack(plain: bytes, *, most: int = MAX_VALUES) -> Any:
    """msgpack → value of at most ``most`` values; string keys only, no extension types."""
    weigh(plain, most=most)
    try:
        return msgpack.unpackb(plain, raw=False, strict_map_key=True, ext_hook=_refuse_extension)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise WireError("bad-msgpack", str(error)[:200]) from error


def _refuse_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code}")


def encode(message: Mapping[str, Any]) -> bytes:
    return _deflated(pack(message))


def encode_words(message: Mapping[str, Any]) -> bytes:
    """For what people read: a byte that was no text (half of a character, kept by
    ``surrogateescape``) becomes a question mark instead of an error."""
    return _deflated(msgpack.packb(message, use_bin_type=True, unicode_errors="replace"))


def _deflated(plain: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=DICTIONARY)
    return bytes((VERSION,)) + deflate.compress(plain) + deflate.flush()


def decode(payload: bytes, *, most: int = MAX_PLAIN) -> dict[str, Any]:
    """``most``: bytes after decompression that this kind of message may have."""
    if len(payload) > MAX_WIRE:
        raise WireError("too-large", f"{len(payload)} bytes")
    if not payload or payload[0] != VERSION:
        raise WireError("bad-version", f"first byte {payload[:1].hex() or 'missing'}")
    inflate = zlib.decompressobj(-15, zdict=DICTIONARY)
    try:
        plain = inflate.decompress(payload[1:], most + 1)
    except zlib.error as error:
        raise WireError("bad-deflate", str(error)) from error
    if len(plain) > most:
        raise WireError("too-large", "inflates past the limit")
    if not inflate.eof:
        raise WireError("truncated")
    if inflate.unused_data:
        raise WireError("trailing-bytes", f"{len(inflate.unused_data)} bytes")
    message = unpack(plain, most=most // BYTES_PER_VALUE)
    if not isinstance(message, dict):
        raise WireError("bad-msgpack", f"a {type(message).__name__}, not a map")
    return message
