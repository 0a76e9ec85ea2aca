"""What is known of a node's list when messages cross, come twice or come from another hub."""

from __future__ import annotations

from cloudhub.fleet.delivery import Delivery
from cloudhub.fleet.publishing import Head, Known, Plan
from shared.messages import Change, Entry, Inventory, Session
from shared.objects import ObjectKey

WEB = ObjectKey("Pod", "default", "web")
OLD = Inventory(5, {})
NEW = Inventory(9, {WEB: Entry(b"d" * 16)})
CHANGE = Change(5, 9, NEW.digest)
STEP = Plan(inventory=NEW, change=CHANGE)


def read() -> Delivery:
    delivery = Delivery()
    delivery.see_inventory(OLD, retained=True)
    delivery.see_change(Change(4, 5, OLD.digest), retained=True)
    return delivery


def published() -> Delivery:
    delivery = read()
    delivery.begin(STEP)
    delivery.end(STEP, acknowledged=True)
    return delivery


def test_it_is_settled_when_list_and_head_were_read() -> None:
    delivery = Delivery()
    delivery.see_inventory(OLD, retained=True)
    assert not delivery.settled
    delivery.see_change(None, retained=True)
    assert delivery.settled
    assert delivery.known == Known(OLD, None)


def test_a_device_that_never_had_a_list_has_nothing_to_wait_for() -> None:
    delivery = Delivery()
    delivery.see_birth(Session(True, "i", 1, revision=0))
    assert delivery.settled


def test_what_was_acknowledged_is_what_the_broker_holds() -> None:
    delivery = published()
    assert delivery.known == Known(NEW, Head(9, NEW.digest))
    assert not delivery.doubtful


def test_what_was_not_acknowledged_is_doubtful() -> None:
    delivery = read()
    delivery.begin(STEP)
    delivery.end(STEP, acknowledged=False)
    assert delivery.doubtful
    assert delivery.floor == 9


def test_a_broker_that_sends_our_own_back_tells_nothing_new() -> None:
    delivery = published()
    assert not delivery.see_inventory(NEW, retained=False)
    assert not delivery.see_change(CHANGE, retained=False)
    assert not delivery.doubtful


def test_a_newer_list_of_another_hub_is_what_the_broker_holds() -> None:
    delivery = published()
    theirs = Inventory(12, {})
    assert delivery.see_inventory(theirs, retained=False)
    assert delivery.known.inventory == theirs
    assert not delivery.doubtful


def test_two_lists_that_crossed_are_doubtful() -> None:
    delivery = read()
    delivery.begin(STEP)
    assert delivery.see_inventory(Inventory(12, {}), retained=False)
    delivery.end(STEP, acknowledged=True)
    assert delivery.doubtful
    assert delivery.floor == 12


def test_an_older_list_that_came_after_ours_is_doubtful() -> None:
    delivery = published()
    assert delivery.see_inventory(Inventory(7, {}), retained=False)
    assert delivery.doubtful


def test_a_list_that_was_read_before_our_publish_is_not_what_the_broker_holds() -> None:
    delivery = published()
    delivery.see_inventory(OLD, retained=True)
    assert delivery.known.inventory == NEW
    assert not delivery.doubtful
    delivery.see_inventory(Inventory(20, {}), retained=True)
    assert delivery.doubtful, "ours is older than what was there"


def test_the_next_connection_knows_only_which_revisions_were_used() -> None:
    delivery = published().next_life()
    assert delivery.floor == 9
    assert delivery.known == Known()
    assert not delivery.settled


def test_in_step_is_what_the_device_said() -> None:
    delivery = published()
    assert not delivery.in_step
    delivery.see_applied(9)
    assert delivery.in_step
    assert delivery.applied.digest == NEW.digest


def test_a_list_that_only_the_device_has_may_know_more_than_we_do() -> None:
    """Of it we know the number alone, and would count on from that."""
    delivery = published()
    delivery.see_birth(Session(True, "i", 1, revision=12, digest=b"x" * 16))
    assert delivery.contradicts(NEW.entries, 12)
    assert not delivery.contradicts(NEW.entries, 13), "what we know is newer"
    assert delivery.next_life().contradicts(NEW.entries, 12), "also after the connection"
    delivery.caught_up(12)
    assert not delivery.contradicts(NEW.entries, 12), "the API server was asked"


def test_our_own_lists_are_no_others() -> None:
    delivery = published()
    delivery.see_applied(9)
    delivery.see_inventory(Inventory(7, {}), retained=True)
    assert delivery.others == 5, "of what was read before we published"


def test_what_came_while_the_api_server_was_asked_is_not_known_by_that() -> None:
    delivery = published()
    delivery.see_applied(12)
    delivery.see_applied(14)
    delivery.caught_up(12)
    assert delivery.contradicts(NEW.entries, 13)


def test_a_pod_that_another_list_has_not_may_be_gone() -> None:
    delivery = published()
    delivery.see_inventory(Inventory(12, {}), retained=False)
    assert delivery.contradicts(NEW.entries, 12)
    assert not delivery.contradicts(NEW.entries, 13), "it is newer than that list"
    assert not delivery.contradicts({}, 12)
