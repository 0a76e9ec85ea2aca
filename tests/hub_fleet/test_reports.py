"""Which of two reports is the newer: by number, unless the device may have lost count."""

from __future__ import annotations

from cloudhub.fleet.reports import ReportBook
from shared.messages import Report
from shared.objects import ObjectKey

NODE = "edge-1"
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
