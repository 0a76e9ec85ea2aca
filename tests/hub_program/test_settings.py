"""Wrong values are one clear line; right ones are what Kubernetes expects."""

from __future__ import annotations

import pytest

from cloudhub.probing import parse_listen
from cloudhub.settings import parse_taint, parse_taints, replica_name
from shared.errors import SettingsError


def test_taints_are_read_as_kubectl_writes_them() -> None:
    assert parse_taints(["edge:NoSchedule", "kubetide.io/edge=yes:NoExecute", "a=:NoSchedule"]) == (
        {"key": "edge", "effect": "NoSchedule"},
        {"key": "kubetide.io/edge", "value": "yes", "effect": "NoExecute"},
        {"key": "a", "effect": "NoSchedule"},
    )


@pytest.mark.parametrize("text", ["", "edge", "edge:Never", ":NoSchedule", "a b:NoSchedule"])
def test_a_wrong_taint_names_the_key_and_the_form(text: str) -> None:
    with pytest.raises(SettingsError, match=r"node-taint: .* KEY\[=VALUE\]:EFFECT"):
        parse_taint(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [(":9090", ("", 9090)), ("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:80", ("::1", 80))],
)
def test_where_to_listen(text: str, place: tuple[str, int]) -> None:
    assert parse_listen(text) == place


@pytest.mark.parametrize("text", ["", "9090", "host:", "host:x", ":70000", ":-1", ":²"])
def test_a_wrong_place_to_listen_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="metrics-listen"):
        parse_listen(text)


def test_the_help_says_which_cluster_it_is_when_none_is_named() -> None:
    from cloudhub.__main__ import run

    shown = " ".join(run.get_help(run.make_context("run", [], resilient_parsing=True)).split())
    assert "$KUBECONFIG, else the pod's service account, else ~/.kube/config" in shown


def test_a_replica_has_a_name_that_a_lease_can_have() -> None:
    assert replica_name("hub-0") == "hub-0"
    assert replica_name("")
    with pytest.raises(SettingsError, match="replica: 'Hub_0'"):
        replica_name("Hub_0")
