"""Which of two reports is the newer: by number, unless the device may have lost count."""

from __future__ import annotations

import random

import pytest

from cloudhub.fleet.reports import MOST_BYTES, MOST_PER_NODE, ReportBook
from shared.errors import WireError
from shared.messages import Report
from shared.objects import ObjectKey
from shared.static_pods import list_key

NODE = "edge-1"
RNG = random.Random(5)
KEY = ObjectKey("Node", "-", NODE)


def said(book: ReportBook, sequence: int, *, retained: bool = False) -> bool:
    report = Report(KEY, "", sequence, 0, {"number": sequence})
    return book.accept(NODE, report, report.encode(), retained=retained)


def test_a_lower_number_is_old() -> None:
    book = ReportBook()
    assert said(book, 20)
    assert not said(book, 10)
    assert not said(book, 10, retained=True)
    assert said(book, 21)


def test_a_device_that_was_born_again_may_have_lost_count() -> None:
    """Its numbers were given on a full disk, and then its clock went back."""
    book = ReportBook()
    said(book, 20)
    book.born(NODE)
    assert not said(book, 10, retained=True), "a broker's older store is still an older one"
    assert said(book, 10)
    assert not said(book, 9), "from then on it counts again"
    assert not said(book, 9, retained=True)


def test_after_another_life_what_the_broker_retained_is_the_newest_too() -> None:
    book = ReportBook()
    said(book, 20)
    book.restarted(NODE)
    assert said(book, 10, retained=True)
    assert said(book, 5)


def about(number: int, size: int, *, sequence: int = 1) -> Report:
    status = {"message": RNG.randbytes(size // 2).hex()}
    return Report(ObjectKey("Pod", "default", f"p{number}"), "u", sequence, 0, status)


def kept(book: ReportBook, report: Report) -> bool:
    return book.accept(NODE, report, report.encode(), retained=True)


def test_a_node_has_so_many_reports_and_so_many_bytes_of_them_and_no_more() -> None:
    """Two thousand of the largest were 3.8 GB, of one device."""
    book = ReportBook()
    with pytest.raises(WireError, match="too-many-reports"):
        for number in range(2000):
            assert kept(book, about(number, 500_000))
    held = sum(len(book.payload(NODE, key) or b"") for key in book.keys(NODE))
    assert MOST_BYTES * 3 // 4 < held <= MOST_BYTES
    assert kept(book, about(5, 100, sequence=2)), "what gets smaller is taken"
    assert kept(book, about(6, 400_000, sequence=2)), "and there is room again"
    listed = RNG.randbytes(MOST_BYTES // 4).hex()
    static = Report(list_key(NODE), "", 3, 0, {"pods": listed})
    assert kept(book, static), "of its own list of static pods there is one, too"
    assert kept(book, about(7, 100, sequence=2)), "what gets smaller is taken all the same"
    book.drop_node(NODE)
    with pytest.raises(WireError, match="too-many-reports"):
        for number in range(MOST_PER_NODE + 1):
            assert kept(book, about(number, 10))
    assert len(book.keys(NODE)) == MOST_PER_NODE
    assert said(book, 20), "of the device itself there is one, and it is taken always"
    assert kept(book, about(5, 10, sequence=2))
