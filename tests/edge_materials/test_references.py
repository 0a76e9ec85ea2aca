"""Image references and the logins that fit them."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.images.credentials import logins
from edgeagent.pods.images.references import parse, pull_policy, tagged
from edgeagent.pods.model.durations import go_duration
from edgeagent.runtime.port import ImageAuth, InvalidImageName
from tests.edge_materials.making import secret

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("team/app", "docker.io/team/app:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/team/app:1", "docker.io/team/app:1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("registry.example:5000/a/b/c:v1", "registry.example:5000/a/b/c:v1"),
        ("[::1]:5000/app:1", "[::1]:5000/app:1"),
        (f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}"),
        (f"app:1@{DIGEST}", f"docker.io/library/app:1@{DIGEST}"),
        ("a__b/c-d.e", "docker.io/a__b/c-d.e:latest"),
        ("UPPER.example/app", "UPPER.example/app:latest"),
    ],
)
def test_short_names_mean_docker_hub_and_latest(text: str, full: str) -> None:
    assert str(parse(text)) == full
    assert parse(full) == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":1", "App", "a/B", "a:", "a@", "a@sha256:xyz", "a b", "a//b", "/a", "a/", "-a"),
        *("a:-1", "a..b", "http://a/b", "a:1:2", "a\n", "a@sha256:" + "a" * 10),
        *("x" * 300, "a/" * 200 + "a"),
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidImageName, match="couldn't parse image name"):
        parse(text)


def test_capital_letters_are_named_as_what_is_wrong() -> None:
    with pytest.raises(InvalidImageName, match=r"repository name \(Case\) must be lowercase"):
        parse("UPPER/Case:1")


@given(st.text(alphabet="abA0.:/@-_ []\n", max_size=40))
def test_what_is_parsed_means_the_same_when_written_out(text: str) -> None:
    with contextlib.suppress(InvalidImageName):
        assert parse(str(parse(text))) == parse(text)


def test_only_a_missing_tag_is_added() -> None:
    assert [tagged(one) for one in ("a", "a:1", f"a@{DIGEST}", "r:5000/a")] == [
        "a:latest", "a:1", f"a@{DIGEST}", "r:5000/a:latest"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("a", "Always"),
        ("a:latest", "Always"),
        ("a:1", "IfNotPresent"),
        (f"a@{DIGEST}", "IfNotPresent"),
    ],
)
def test_the_default_policy_goes_by_the_tag(image: str, policy: str) -> None:
    assert pull_policy("", image) == policy
    assert pull_policy("Never", image) == "Never"


def auths(server: str, image: str) -> int:
    config = {"auths": {server: {"username": "me", "password": "pw"}}}
    found = secret("pull", **{".dockerconfigjson": json.dumps(config)})
    return len(logins([found], parse(image)))


@pytest.mark.parametrize(
    ("server", "image", "fits"),
    [
        ("registry.example", "registry.example/app", True),
        ("https://registry.example", "registry.example/app", True),
        ("https://registry.example/v2/", "registry.example/app", True),
        ("registry.example:5000", "registry.example:5000/app", True),
        ("registry.example", "registry.example:5000/app", False),
        ("registry.example:5000", "registry.example/app", False),
        ("registry.example/team", "registry.example/team/app", True),
        ("registry.example/team", "registry.example/teams/app", True),
        ("registry.example/team", "registry.example/team-private/app", True),
        ("registry.example/team/", "registry.example/team/app", True),
        ("registry.example/team/", "registry.example/teams/app", False),
        ("registry.example/team/app", "registry.example/team", False),
        ("https://registry.example/v2/team", "registry.example/team/app", True),
        ("https://registry.example/v1/team", "registry.example/other", False),
        ("https://registry.example/v2", "registry.example/app", False),
        ("https://registry.example/", "registry.example/app", True),
        ("registry.example/team", "registry.example/other", False),
        ("*.example", "registry.example/app", True),
        ("*.example", "a.b.example/app", False),
        ("example", "registry.example/app", False),
        ("https://index.docker.io/v1/", "busybox", True),
        ("docker.io", "team/app", True),
        ("index.docker.io/team", "team/app", True),
        ("index.docker.io/v1/", "registry.example/app", False),
    ],
)
def test_a_login_fits_its_registry_and_path(server: str, image: str, fits: bool) -> None:
    assert auths(server, image) == (1 if fits else 0)


def test_the_most_specific_login_comes_first() -> None:
    config = {
        "auths": {
            "r.example": {"username": "broad", "password": "x"},
            "r.example/team": {"username": "narrow", "password": "x"},
        }
    }
    found = logins(
        [secret("pull", **{".dockerconfigjson": json.dumps(config)})], parse("r.example/team/app")
    )
    assert [one.username for one in found] == ["narrow", "broad"]


def test_the_old_secret_type_and_identity_tokens() -> None:
    old = secret("old", **{".dockercfg": json.dumps({"r.example": {"auth": "bWU6cHc6eA=="}})})
    assert logins([old], parse("r.example/app")) == [ImageAuth("me", "pw:x")]
    token = {"auths": {"r.example": {"identitytoken": "t"}}}
    new = secret("new", **{".dockerconfigjson": json.dumps(token)})
    assert logins([new], parse("r.example/app")) == [ImageAuth(identity_token="t")]


@pytest.mark.parametrize(
    "auth", ["bWU6cHc6eA==", "bWU6cHc6eA", "bWU6cHc6eA==\n", "bWU6cHc6eA\n", "bWU6\r\ncHc6eA=="]
)
def test_a_login_may_lack_its_padding_and_be_broken_into_lines(auth: str) -> None:
    entry = {"auth": auth, "username": "passed", "password": "over"}
    config = {"auths": {"r.example": entry}}
    found = secret("pull", **{".dockerconfigjson": json.dumps(config)})
    assert logins([found], parse("r.example/app")) == [ImageAuth("me", "pw:x")]


@pytest.mark.parametrize(
    "config",
    [
        *("", "{", "[]", "null", '"x"', "[" * 100000),
        *('{"auths": 5}', '{"auths": {"r.example": 5}}'),
        *('{"auths": {"r.example": {"auth": "%%%"}}}', '{"auths": {"r.example": {"username": 5}}}'),
    ],
)
def test_a_broken_secret_holds_no_login(config: str) -> None:
    broken: Any = secret("x", **{".dockerconfigjson": config})
    assert logins([broken, {}, {"data": {".dockercfg": "%"}}], parse("r.example/app")) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0s"), (0.0004, "0s"), (0.345, "345ms"), (1, "1s"), (1.2345, "1.234s")),
        *((2.5, "2.5s"), (62.5, "1m2.5s"), (60, "1m0s")),
        *((3600, "1h0m0s"), (3723.004, "1h2m3.004s")),
    ],
)
def test_durations_read_as_in_kubernetes(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
