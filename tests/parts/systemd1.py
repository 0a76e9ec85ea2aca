"""What this project asks of systemd's manager, as its manual describes it, on a private D-Bus.

``Systemd1`` owns the name org.freedesktop.systemd1 and knows units by name, and those that it is
asked to make by their properties; one that is stopped is forgotten, as a slice without a file of
its own is. It starts and stops nothing. The real one is in ``tests/machine``.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from tests.parts.dbus import PlayedService, PrivateBus

NAME, OBJECT = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"


class Systemd1(PlayedService):
    """The stand-in for systemd."""

    def __init__(self, address: str) -> None:
        self.units: set[str] = set()
        self.properties: dict[str, dict[str, Any]] = {}
        """Of the units that it was asked to make or to change."""
        self.refuses = False
        self.asked: list[tuple[str, ...]] = []
        """What each stop was asked for with: name, mode."""
        self.cgroups = Path("/nonexistent")
        self.in_use: list[Path] = []
        """Cgroups of that name that were there when the stop came."""
        super().__init__(address, NAME)

    def answer(self, message: Any) -> None:
        from jeepney import HeaderFields, new_error, new_method_return

        fields = message.header.fields
        assert fields[HeaderFields.path] == OBJECT
        assert fields[HeaderFields.interface] == MANAGER
        if fields[HeaderFields.member] == "ListUnitsByPatterns":
            self._list(message)
            return
        if fields[HeaderFields.member] == "StartTransientUnit":
            self._make(message)
            return
        if fields[HeaderFields.member] == "SetUnitProperties":
            self._change(message)
            return
        assert fields[HeaderFields.member] == "StopUnit"
        name, mode = message.body
        self.asked.append((name, mode))
        self.in_use += self.cgroups.rglob(name)
        if self.refuses:
            error = "org.freedesktop.DBus.Error.AccessDenied"
            self.connection.send(new_error(message, error, "s", ("Permission denied",)))
        elif name not in self.units:
            error = f"{NAME}.NoSuchUnit"
            self.connection.send(new_error(message, error, "s", (f"Unit {name} not loaded.",)))
        else:
            self.units.remove(name)
            self.connection.send(new_method_return(message, "o", (f"{OBJECT}/job/1",)))

    def _make(self, message: Any) -> None:
        from jeepney import new_error, new_method_return

        name, mode, properties, others = message.body
        assert (mode, others) == ("replace", [])
        if self.refuses:
            error = "org.freedesktop.DBus.Error.AccessDenied"
            self.connection.send(new_error(message, error, "s", ("Permission denied",)))
        elif name in self.units:
            error = f"{NAME}.UnitExists"
            self.connection.send(new_error(message, error, "s", (f"Unit {name} exists.",)))
        else:
            self.units.add(name)
            self._set(name, properties)
            self.connection.send(new_method_return(message, "o", (f"{OBJECT}/job/1",)))

    def _change(self, message: Any) -> None:
        from jeepney import new_method_return

        name, runtime, properties = message.body
        assert runtime, "nothing is to be left for the next boot"
        assert name in self.units
        self._set(name, properties)
        self.connection.send(new_method_return(message))

    def _set(self, name: str, properties: list[tuple[str, tuple[str, Any]]]) -> None:
        known = self.properties.setdefault(name, {})
        known |= {one: value for one, (_, value) in properties}

    def _list(self, message: Any) -> None:
        from jeepney import new_method_return

        states, patterns = message.body
        assert states == []
        rows = [
            (name, name, "loaded", "active", "active", "", f"{OBJECT}/unit/1", 0, "", "/")
            for name in sorted(self.units)
            if any(fnmatch(name, pattern) for pattern in patterns)
        ]
        self.connection.send(new_method_return(message, "a(ssssssouso)", (rows,)))


@pytest.fixture
def systemd1(private_bus: PrivateBus) -> Iterator[Systemd1]:
    service = Systemd1(private_bus.address)
    yield service
    service.close()
