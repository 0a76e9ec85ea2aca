"""Which addresses a pod and its device are said to have: one of each family, the primary first.

Pure. A runtime may name any number of them in any order (each network interface has its own); the
API takes two, of different families. What is no address is left out. Called wherever addresses come
in: by ``absorbing.py``, ``podmaterials.py`` and ``node/facts.py``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

_FAMILIES = (4, 6)

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def of_pod(found: Iterable[str], node: Sequence[str]) -> tuple[str, ...]:
    """The first of each family; that of the first address that the settings name for the node is
    the primary one, else IPv4: what a pod is called must not change with the device's uplink."""
    return _first_of_each(_parsed(found), primary=_primary(_parsed(node)))


def of_node(found: Iterable[str]) -> tuple[str, ...]:
    """The first of each family, the very first before the other."""
    parsed = _parsed(found)
    return _first_of_each(parsed, primary=_primary(parsed))


def _first_of_each(parsed: Sequence[_Address], *, primary: int) -> tuple[str, ...]:
    families = sorted(_FAMILIES, key=lambda family: family != primary)
    firsts = (next((one for one in parsed if one.version == family), None) for family in families)
    return tuple(str(one) for one in firsts if one is not None)


def _primary(parsed: Sequence[_Address]) -> int:
    return parsed[0].version if parsed else _FAMILIES[0]


def _parsed(found: Iterable[str]) -> list[_Address]:
    return [one for one in map(_address, found) if one is not None]


@lru_cache(maxsize=256)
def _address(text: str) -> _Address | None:
    """The API knows no zones, and takes an IPv4 address in the clothes of IPv6 for what it is.

    Remembered: every plan asks for the same few.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return None if address.scope_id else address.ipv4_mapped or address
    return address
