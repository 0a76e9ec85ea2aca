"""What the device tells about itself: words and tables from a database, lines from log files."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from edgeagent.local import logs
from edgeagent.local.describing import age, describe, state, table, wanted
from edgeagent.pods.rules.holding import CONDITION
from edgeagent.snapshot import Snapshot, StoredReport
from shared.errors import SettingsError

NOW = 1_780_000_000.0
SAID = {
    "node": "edge-1",
    "link": "connected",
    "since": NOW - 7200,
    "broker": "mqtts://b:8883",
    "hub": "hub-a",
    "ready": True,
    "version": "0.1.0",
    "runtime": "cri:unix:///run/containerd/containerd.sock",
}


HELD = {
    "on_hold": "deletion",
    "pod": {"metadata": {"namespace": "default", "name": "web"}},
    "conditions": {CONDITION: {"status": True, "since": NOW - 3600}},
}


def snapshot(*, runs: bool = True, standing: dict[str, Any] | None = None, **rest: Any) -> Snapshot:
    said = {**SAID, **(standing or {})}
    fields: dict[str, Any] = {"revision": 5, "wanted_pods": frozenset(), "missing": (), **rest}
    fields.setdefault("live", runs)
    return Snapshot(runs, said, **fields)


def test_a_device_that_is_well_says_so_in_plain_words() -> None:
    text = describe(snapshot(), now=NOW)
    assert "running, version 0.1.0" in text
    assert "connected, for 2h (broker mqtts://b:8883)" in text
    assert "there (hub-a)" in text
    assert "all delivered" in text
    assert "complete" in text
    assert "note:" not in text and "disk:" not in text


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"runs": False}, "not running; containers that were running go on"),
        ({"runs": False}, "link:     not known; it was: connected (broker mqtts://b:8883)\n"),
        ({"runs": False}, "hub:      not known\n"),
        ({"runs": False}, "revision 5, complete; what changed since is not known here"),
        ({"standing": {"fenced": "another agent"}}, "stopped acting: another agent"),
        ({"standing": {"link": "not connected: no route"}}, "not connected: no route"),
        ({"standing": {"link": "not connected: no route"}}, "not known while the link is away"),
        ({"standing": {"hub": ""}}, "not there, as far as the broker knows"),
        ({"standing": {"runtime_message": "containerd is away"}}, "containerd is away"),
        ({"runs": True, "live": False}, "does not answer: it is starting, or cannot write"),
        ({"waiting": 3}, "3 wait for the link, kept on disk"),
        ({"waiting": 1}, "1 waits for the link"),
        ({"waiting": 3, "trouble": "disk is full"}, "3 wait for the link, kept in memory only"),
        ({"trouble": "disk is full"}, "disk:     disk is full; what is new is forgotten if"),
        ({"missing": ("Pod/default/web",)}, "revision 5, Pod default/web has not come yet"),
        ({"missing": ("Pod/a/b", "Secret/a/c")}, "Pod a/b, Secret a/c have not come yet"),
        ({"missing": tuple("abcde")}, "a, b, c and 2 more have not come yet"),
        ({"revision": 0}, "none received yet"),
        (
            {"standing": {"link": "not connected: no route"}},
            "revision 5, complete; what changed in the last 2h is not known here",
        ),
        ({"standing": {"link": "not connected", "since": 90.0}}, "what changed since is not known"),
        ({"facts": (HELD,)}, "deletion of default/web for 1h; `edgeagent release web -n default`"),
    ],
)
def test_what_is_wrong_is_said(known: dict[str, Any], words: str) -> None:
    assert words in describe(snapshot(**known), now=NOW)


def report(name: str, **status: Any) -> StoredReport:
    return StoredReport("default", name, f"uid-{name}", status, sent=True)


RUNNING = report(
    "web",
    phase="Running",
    podIP="10.4.0.2",
    startTime="2026-05-28T20:16:40Z",
    containerStatuses=[
        {"ready": True, "restartCount": 2, "state": {"running": {}}},
        {"ready": False, "restartCount": 1, "state": {"running": {}}},
    ],
)


def test_the_table_reads_as_kubectls() -> None:
    lines = table([RUNNING], now=NOW).splitlines()
    assert lines[0].split() == ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP"]
    assert lines[1].split() == ["default", "web", "1/2", "Running", "3", "10m", "10.4.0.2"]


def test_a_wanted_pod_without_a_report_is_listed_and_an_unwanted_one_is_not() -> None:
    names = frozenset({"default/web", "default/new"})
    found = wanted(snapshot(wanted_pods=names, reports=(RUNNING, report("gone"))))
    assert [(one.name, state(one.status)) for one in found] == [
        ("new", "Waiting"),
        ("web", "Running"),
    ]


def test_a_pod_on_hold_is_listed_though_nobody_wants_it_any_more() -> None:
    assert [one.name for one in wanted(snapshot(facts=(HELD, {"on_hold": ""})))] == ["web"]
    held = {"type": CONDITION, "status": "True"}
    assert state({"phase": "Running", "conditions": [held]}) == "Running (held)"


def test_the_state_is_the_reason_where_there_is_one() -> None:
    waiting = [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    assert state({"phase": "Pending", "containerStatuses": waiting}) == "ImagePullBackOff"
    assert state({"phase": "Failed", "reason": "InvalidPod"}) == "InvalidPod"
    assert state({"phase": "Running", "containerStatuses": "nonsense"}) == "Running"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (59, "59s"), (61, "1m"), (7300, "2h"), (200_000, "2d")]
)
def test_ages(seconds: float, text: str) -> None:
    assert age(seconds) == text


def written(folder: Path, container: str, *attempts: str) -> Path:
    for number, text in enumerate(attempts):
        (folder / container).mkdir(parents=True, exist_ok=True)
        (folder / container / f"{number}.log").write_text(text)
    return folder


LINES = (
    "2026-01-01T00:00:00Z stdout F one\n"
    "2026-01-01T00:00:00Z stderr P tw\n"
    "2026-01-01T00:00:00Z stderr F o\n"
    "2026-01-01T00:00:00Z stdout F \n"
    "2026-01-01T00:00:00Z stdout F last\n"
)


def lines_of(folder: Path, **options: Any) -> bytes:
    path = logs.find_log(
        folder, options.pop("container", ""), previous=options.pop("previous", False)
    )
    return b"".join(logs.read(path, **{"tail": None, "follow": False, **options}))


def test_logs_are_the_text_without_times(tmp_path: Path) -> None:
    assert lines_of(written(tmp_path, "a", LINES)) == b"one\ntwo\n\nlast\n"


def test_the_tail_counts_whole_lines(tmp_path: Path) -> None:
    folder = written(tmp_path, "a", LINES)
    assert lines_of(folder, tail=3) == b"two\n\nlast\n"
    assert lines_of(folder, tail=0) == b""
    assert lines_of(folder, tail=99) == b"one\ntwo\n\nlast\n"


def test_the_newest_attempt_is_shown_or_the_one_before(tmp_path: Path) -> None:
    attempts = [f"2026-01-01T00:00:00Z stdout F try {number}\n" for number in range(12)]
    folder = written(tmp_path, "a", *attempts)
    assert lines_of(folder) == b"try 11\n"
    assert lines_of(folder, previous=True) == b"try 10\n"


def test_mistakes_are_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no logs yet"):
        logs.find_log(tmp_path / "gone", "", previous=False)
    written(tmp_path, "a", LINES)
    with pytest.raises(SettingsError, match="no previous attempt"):
        logs.find_log(tmp_path, "a", previous=True)
    written(tmp_path, "b", LINES)
    with pytest.raises(SettingsError, match="name one with -c: a, b"):
        logs.find_log(tmp_path, "", previous=False)
    with pytest.raises(SettingsError, match="there are a, b"):
        logs.find_log(tmp_path, "../../etc", previous=False)


def test_following_ends_when_the_next_attempt_begins(tmp_path: Path) -> None:
    folder = written(tmp_path, "a", LINES)

    def goes_on() -> None:
        with (folder / "a" / "0.log").open("a") as log:
            log.write("2026-01-01T00:00:01Z stdout F more\n")
        written(folder, "a", LINES + "2026-01-01T00:00:01Z stdout F more\n", "")

    timer = threading.Timer(0.3, goes_on)
    timer.start()
    assert lines_of(folder, follow=True, tail=1) == b"last\nmore\n"
    timer.join()


def test_following_survives_the_moment_of_a_rotation_without_a_file(tmp_path: Path) -> None:
    folder = written(tmp_path, "a", LINES)
    path = folder / "a" / "0.log"

    def rotates() -> None:
        path.rename(path.with_name("0.log.20260101-000000"))
        time.sleep(0.6)
        path.write_text("2026-01-01T00:00:02Z stdout F after\n")
        time.sleep(0.6)
        (folder / "a" / "1.log").touch()

    timer = threading.Timer(0.3, rotates)
    timer.start()
    assert lines_of(folder, follow=True, tail=1) == b"last\nafter\n"
    timer.join()


def test_following_ends_with_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path, "a", LINES)
    monkeypatch.setattr(logs, "OVER_SECONDS", 0.1)
    assert lines_of(folder, follow=True, tail=1, over=lambda: True) == b"last\n"
