"""Flag, environment and file give what a user wants; a mistake gets one line that helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from shared.errors import SettingsError
from shared.link import Broker
from shared.settings import (
    broker_from,
    common_options,
    config_option,
    from_environment,
    parse_mqtt_url,
    run_program,
    shared_config_option,
)

seen: dict[str, Any] = {}


@click.command(context_settings=from_environment("SAMPLE"))
@config_option
@common_options
@click.option("--size", type=int, default=1)
@click.option("--place", multiple=True)
def sample(**options: Any) -> None:
    seen.clear()
    seen.update(options, broker=broker_from(options))


def run(*arguments: str, command: click.Command = sample) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("sys.argv", ["sample", *arguments])
        run_program(command, "sample")
    code = ended.value.code
    assert isinstance(code, int)
    return code


def file(folder: Path, text: str) -> str:
    path = folder / "sample.toml"
    path.write_text(text)
    return str(path)


def test_a_flag_beats_the_environment_which_beats_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = file(tmp_path, 'mqtt = "mqtt://file"\nroot = "file/r"\nsize = 3\nlog-level = "error"')
    monkeypatch.setenv("SAMPLE_MQTT", "mqtt://environment")
    monkeypatch.setenv("SAMPLE_ROOT", "environment/r")
    assert run("--config", config, "--mqtt", "mqtt://flag") == 0
    assert seen["broker"] == Broker("flag", 1883)
    assert (seen["root"], seen["size"], seen["log_level"]) == ("environment/r", 3, "error")


@pytest.mark.parametrize(
    ("text", "places"),
    [('"here"', ("here",)), ('["here", "there"]', ("here", "there")), ("[]", ())],
)
def test_one_value_of_a_repeatable_key_needs_no_list(
    text: str, places: tuple[str, ...], tmp_path: Path
) -> None:
    assert run("--config", file(tmp_path, f'mqtt = "mqtt://b"\nplace = {text}')) == 0
    assert seen["place"] == places


def test_everything_about_the_broker_arrives() -> None:
    options = ("--mqtt-username=u", "--mqtt-password-file=p", "--mqtt-ca=a", "--mqtt-cert=c")
    assert run("--mqtt=mqtts://[::1]:9", *options, "--mqtt-key=k") == 0
    assert seen["broker"] == Broker("::1", 9, True, "u", "p", "a", "c", "k")


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("mqtt://broker", ("broker", 1883, False)),
        ("mqtts://broker", ("broker", 8883, True)),
        ("mqtts://10.0.0.1:443/", ("10.0.0.1", 443, True)),
    ],
)
def test_urls(url: str, parsed: tuple[str, int, bool]) -> None:
    assert parse_mqtt_url(url) == parsed


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        "broker:1883",
        "http://b",
        "mqtt://",
        "mqtt://b:x",
        "mqtt://b:70000",
        "mqtt://[",
        "mqtt://b/t",
    ],
)
def test_a_wrong_url_is_named_with_a_way_out(url: str | None) -> None:
    with pytest.raises(SettingsError, match=r"mqtt.*mqtts?://") as refused:
        parse_mqtt_url(url)
    assert str(url or "not set") in str(refused.value)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="mqtt-username") as refused:
        parse_mqtt_url("mqtt://me:hunter2@broker")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "sample: mqtt is not set: name the broker, for instance mqtts://broker:8883"),
        (("--mqtt=mqtt://b", "--mqtt-ca=x"), "mqtt-ca is set but mqtt is mqtt://b"),
        (("--mqtt=mqtts://b", "--mqtt-key=x"), "mqtt-key is x but mqtt-cert is not set"),
        (("--mqtt=mqtt://b", "--mqtt-password-file=x"), "mqtt-username is not set"),
        (("--mqtt=mqtt://b", "--size=big"), "'big' is not a valid int"),
        (("--mqtt=mqtt://b", "--log-level=loud"), "'loud' is not one of 'debug'"),
        (("--nonsense",), "--nonsense"),
        (("--config=/nowhere/x.toml",), "config: /nowhere/x.toml: No such file"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("mqtt_ca = 'x'", "unknown key 'mqtt_ca'; did you mean 'mqtt-ca'?"),
        ("zzz = 1", "unknown key 'zzz'; known are log-level, mqtt,"),
        ("mqtt = ", "is not TOML"),
        ("[mqtt]\nurl = 'x'", "mqtt is a table"),
        ("mqtt = 'mqtt://b'\nsize = 'big'", "'big' is not a valid int"),
    ],
)
def test_a_mistake_in_the_file_names_file_or_key(
    text: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--config", file(tmp_path, text)) == 2
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("named", [True, False])
def test_a_command_finds_its_own_keys_in_the_file_of_another(named: bool, tmp_path: Path) -> None:
    config = file(tmp_path, "size = 3\nzzz = 1\n[other]\nkey = 'x'")

    @click.command()
    @shared_config_option(default=str(tmp_path / "gone") if named else config)
    @click.option("--size", type=int, default=1)
    def other(**options: Any) -> None:
        seen.update(options)

    assert run(*(["--config", config] if named else []), command=other) == 0
    assert seen["size"] == 3


def test_a_broken_file_of_another_command_is_told_and_keeps_nobody_from_looking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is what one looks for on a device whose program does not start."""
    config = file(tmp_path, "size = ")

    @click.command()
    @shared_config_option(default=config)
    @click.option("--size", type=int, default=1)
    def other(**options: Any) -> None:
        seen.update(options)

    assert run("--size", "7", command=other) == 0
    assert seen["size"] == 7
    assert "is not TOML" in capsys.readouterr().err
    assert run("--config", config, command=other) == 2


def test_the_file_of_another_command_need_not_be_there_unless_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = str(tmp_path / "gone")

    @click.command()
    @shared_config_option(default=gone)
    def other() -> None:
        pass

    assert run(command=other) == 0
    assert run("--config", gone, command=other) == 2
    assert f"config: {gone}: No such file" in capsys.readouterr().err
