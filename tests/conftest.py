"""Registers the fixtures; each lives beside the part that it starts, in ``tests/parts``."""

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.parts")  # before one part imports another

# What an example takes says something of the machine, not of what is tested.
settings.register_profile(
    "patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

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
    "tests.parts.systemd1",
    "tests.parts.registry",
    "tests.parts.small_disk",
]
