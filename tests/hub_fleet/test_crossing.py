"""What is remembered of reports that were put back: for a minute, however many they are."""

from __future__ import annotations

from cloudhub.crossing import CROSSES, Crossing
from shared.objects import ObjectKey
from tests.edge_materials.making import SteppedClock


def key(number: int) -> ObjectKey:
    return ObjectKey("Pod", "default", f"p{number}")


def test_what_comes_a_minute_later_has_not_crossed_ours() -> None:
    clock = SteppedClock()
    crossing = Crossing(clock)
    crossing.note("n", key(1))
    assert crossing.may_be("n", key(1))
    assert not crossing.may_be("n", key(2))
    assert not crossing.may_be("m", key(1))
    clock.pass_by(CROSSES + 1)
    assert not crossing.may_be("n", key(1))


def test_a_device_that_has_much_put_back_takes_no_memory_for_ever() -> None:
    clock = SteppedClock()
    crossing = Crossing(clock)
    for number in range(10_000):
        crossing.note("n", key(number))
        clock.pass_by(0.05)
    assert len(crossing) <= CROSSES / 0.05 + 1
