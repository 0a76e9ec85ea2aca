"""Births, deaths, and what is not known for a while."""

from __future__ import annotations

from cloudhub.nodes.presence import DOUBT_SECONDS, Heard, Presence, Standing
from shared.messages import Session


def birth(counter: int, instance: str = "i") -> Session:
    return Session(True, instance, counter, version="0.1.0")


def death(counter: int, instance: str = "i") -> Session:
    return Session(False, instance, counter)


def everybody(node: str) -> bool:
    return True


def nobody(node: str) -> bool:
    return False


def test_a_birth_connects_and_its_death_ends_it() -> None:
    presence = Presence()
    assert presence.hear("n1", birth(1)) is Heard.BORN
    assert presence.standing("n1") is Standing.ONLINE
    assert presence.hear("n1", death(1)) is Heard.DIED
    assert presence.standing("n1") is Standing.OFFLINE
    assert presence.online() == 0


def test_the_late_death_of_an_older_connection_is_stale() -> None:
    presence = Presence()
    presence.hear("n1", birth(1))
    presence.hear("n1", birth(2))
    assert presence.hear("n1", death(1)) is Heard.STALE
    assert presence.standing("n1") is Standing.ONLINE
    session = presence.session("n1")
    assert session is not None and session.counter == 2, "what has to be put back"


def test_the_death_of_another_device_with_this_name_is_stale() -> None:
    presence = Presence()
    presence.hear("n1", birth(7))
    assert presence.hear("n1", death(7, "other")) is Heard.STALE


def test_a_restored_device_with_a_lower_counter_is_alive() -> None:
    presence = Presence()
    presence.hear("n1", birth(9))
    assert presence.hear("n1", birth(3)) is Heard.BORN
    assert presence.hear("n1", death(9)) is Heard.STALE
    assert presence.standing("n1") is Standing.ONLINE


def test_a_repeated_birth_is_no_news() -> None:
    presence = Presence()
    presence.hear("n1", birth(1))
    assert presence.hear("n1", birth(1)) is Heard.REPEATED


def test_a_death_alone_is_believed() -> None:
    presence = Presence()
    assert presence.hear("n1", death(4)) is Heard.DIED
    assert presence.standing("n1") is Standing.OFFLINE


def test_after_a_gap_of_our_own_a_newer_death_is_believed() -> None:
    """Birth 2 came and died while we were away: only its death is left."""
    presence = Presence()
    presence.hear("n1", birth(1))
    presence.doubt_all(10.0)
    assert presence.hear("n1", death(2)) is Heard.DIED
    assert presence.standing("n1") is Standing.OFFLINE


def test_doubt_ends_with_the_same_birth_heard_again() -> None:
    presence = Presence()
    presence.hear("n1", birth(1))
    presence.doubt_all(10.0)
    assert presence.standing("n1") is Standing.IN_DOUBT
    assert presence.hear("n1", birth(1)) is Heard.REPEATED
    assert presence.standing("n1") is Standing.ONLINE
    assert presence.settle(everybody, 10.0 + DOUBT_SECONDS) == []


def test_lasting_doubt_becomes_silence_once() -> None:
    presence = Presence()
    presence.expect("n1", 0.0)
    assert presence.settle(everybody, DOUBT_SECONDS - 1) == []
    assert presence.settle(everybody, DOUBT_SECONDS) == ["n1"]
    assert presence.settle(everybody, DOUBT_SECONDS + 9) == []
    assert presence.standing("n1") is Standing.SILENT


def test_who_is_not_heard_yet_is_not_called_silent() -> None:
    presence = Presence()
    presence.expect("n1", 0.0)
    assert presence.settle(nobody, 500.0) == []
    presence.listen(everybody, 500.0)
    assert presence.settle(everybody, 499.0 + DOUBT_SECONDS) == []
    assert presence.settle(everybody, 500.0 + DOUBT_SECONDS) == ["n1"]


def test_each_new_doubt_begins_anew() -> None:
    presence = Presence()
    presence.hear("n1", birth(1))
    presence.doubt_all(0.0)
    presence.doubt_all(30.0)
    assert presence.settle(everybody, DOUBT_SECONDS + 1) == []
    assert presence.settle(everybody, 30.0 + DOUBT_SECONDS) == ["n1"]


def test_the_offline_stay_offline_over_a_gap() -> None:
    presence = Presence()
    presence.hear("n1", birth(1))
    presence.hear("n1", death(1))
    presence.doubt_all(0.0)
    assert presence.standing("n1") is Standing.OFFLINE
