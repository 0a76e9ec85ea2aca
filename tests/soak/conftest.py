"""The parts of ``tests/offline``, for what takes minutes."""

from tests.offline.conftest import cloud, mortal, system

__all__ = ["cloud", "mortal", "system"]
