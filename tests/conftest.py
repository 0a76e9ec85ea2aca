"""Registers the fixtures; each lives beside the part that it starts, in ``tests/parts``."""

pytest_plugins = [
    "tests.parts.missing",
    "tests.parts.certificates",
    "tests.parts.containerd",
    "tests.parts.mosquitto",
    "tests.parts.registry",
]
