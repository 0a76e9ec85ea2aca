"""The last source of chance outside the seed: back-offs that nobody gave a generator."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from shared.backoff import Backoff


@contextmanager
def seeded(source: random.Random) -> Iterator[None]:
    make = Backoff.__init__

    def make_seeded(
        self: Backoff,
        first: float,
        most: float,
        rng: random.Random | None = None,
        failures: int = 0,
    ) -> None:
        make(self, first, most, rng or random.Random(source.getrandbits(32)), failures)

    with mock.patch.object(Backoff, "__init__", make_seeded):
        yield
