"""Of all addresses that a runtime or a device names, one of each family is said."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.model.addresses import of_node, of_pod

MANY = ("10.0.0.5", "192.168.7.5", "fd00::5", "fd00::6")


@pytest.mark.parametrize(
    ("node", "found", "said"),
    [
        (("192.0.2.7",), MANY, ("10.0.0.5", "fd00::5")),
        (("2001:db8::7", "192.0.2.7"), MANY, ("fd00::5", "10.0.0.5")),
        ((), MANY, ("10.0.0.5", "fd00::5")),
        ((), ("fd00::5", "10.0.0.5"), ("10.0.0.5", "fd00::5")),
        (("2001:db8::7",), ("10.0.0.5",), ("10.0.0.5",)),
        (("192.0.2.7",), (), ()),
    ],
)
def test_a_pod_has_the_first_address_of_each_family_that_of_its_node_first(
    node: tuple[str, ...], found: tuple[str, ...], said: tuple[str, ...]
) -> None:
    assert of_pod(found, node) == said


def test_a_device_has_the_first_address_of_each_family_in_the_order_they_are_named() -> None:
    assert of_node(("2001:db8::7", "192.0.2.7", "192.0.2.8")) == ("2001:db8::7", "192.0.2.7")
    assert of_node(MANY) == ("10.0.0.5", "fd00::5")
    assert of_node(()) == ()


def test_what_the_api_takes_for_no_address_is_left_out_and_the_rest_written_its_way() -> None:
    odd = ("", "localhost", "fe80::1%eth0", "FD00:0::5", "::ffff:10.0.0.5", "10.0.0.6")
    assert of_pod(odd, ()) == ("10.0.0.5", "fd00::5")


texts = st.lists(st.ip_addresses().map(str) | st.text(max_size=5), max_size=6)


@given(texts, texts)
def test_the_api_takes_whatever_is_said(found: list[str], node: list[str]) -> None:
    """It refuses the whole status for two addresses of one family."""
    for said in (of_pod(found, node), of_node(found)):
        families = [ipaddress.ip_address(one).version for one in said]
        assert len(families) == len(set(families))
    assert set(of_pod(found, node)) == set(of_node(found))
