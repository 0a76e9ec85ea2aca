"""One virtual machine at a time. What stays after a test is on its disk only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.guest import Guest


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    """Running, on a new disk."""
    one = Guest()
    try:
        one.start()
        yield one
    finally:
        one.close()
