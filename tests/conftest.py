"""Registers the fixtures; each lives beside the part that it starts, in ``tests/parts``."""

import pytest

pytest.register_assert_rewrite("tests.parts")  # before one part imports another

pytest_plugins = [
    "tests.parts.missing",
    "tests.parts.bad_link",
    "tests.parts.certificates",
    "tests.parts.containerd",
    "tests.parts.mosquitto",
    "tests.parts.deployed_mosquitto",
    "tests.parts.kubernetes",
    "tests.parts.dbus",
    "tests.parts.logind",
    "tests.parts.registry",
    "tests.parts.small_disk",
]
