"""Settings of both programs: a name is a flag, a key of the TOML file, an environment variable.

Flag over environment over file over default (click's own order). Owns the options that both
programs have, the reading of the file, and the one line that a wrong value gets: it names the key,
the value and the way out, and the program ends with exit code 2. Refuses unknown keys and secrets
in URLs; secrets are in files that the settings only name. Called by the two ``__main__.py``.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import click

from shared.errors import SettingsError
from shared.link import Broker
from shared.logs import LEVELS
from shared.topics import DEFAULT_ROOT

Command = TypeVar("Command", bound=Callable[..., Any])

PORTS = {"mqtt": 1883, "mqtts": 8883}


def from_environment(prefix: str) -> dict[str, Any]:
    """Context settings of a command: ``--mqtt-ca`` is also ``{prefix}_MQTT_CA``."""
    return {
        "auto_envvar_prefix": prefix,
        "help_option_names": ["-h", "--help"],
        "show_default": True,
        "max_content_width": 100,
    }


def config_option(command: Command) -> Command:
    """``--config FILE``: a TOML file with the long options of this command as keys."""
    return _config_option(
        _use_file, help="TOML file; its keys are the long options without the dashes in front."
    )(command)


def shared_config_option(default: str) -> Callable[[Command], Command]:
    """``--config FILE`` of a command that takes what it knows from the file of another command.

    ``default`` is used where it can be read, and need not be there; one that is broken is told of,
    and keeps nobody from looking at what is wrong.
    """

    def use(context: click.Context, param: click.Parameter, path: str | None) -> None:
        if path:
            _take(context, read_file(path, context.command, others=True))
        elif os.access(default, os.R_OK):
            try:
                _take(context, read_file(default, context.command, others=True))
            except SettingsError as error:
                click.echo(f"{error} (not used)", err=True)

    return _config_option(use, show_default=default, help="The TOML file of the program.")


def _config_option(callback: Callable[..., None], **shown: Any) -> Callable[[Command], Command]:
    return click.option(
        "--config", metavar="FILE", is_eager=True, expose_value=False, callback=callback, **shown
    )


def common_options(command: Command) -> Command:
    """Where the broker is and how to log in, topic root, log level: see ``broker_from``."""
    for option in reversed(_COMMON):
        command = option(command)
    return command


_COMMON = (
    click.option("--mqtt", metavar="URL", help="The broker: mqtt://HOST[:PORT] or mqtts://…"),
    click.option("--root", default=DEFAULT_ROOT, help="What all topics begin with."),
    click.option("--mqtt-username", default="", help="User for the broker."),
    click.option("--mqtt-password-file", default="", metavar="FILE", help="Holds the password."),
    click.option("--mqtt-ca", default="", metavar="FILE", help="CA certificates (PEM) to trust."),
    click.option("--mqtt-cert", default="", metavar="FILE", help="Client certificate (PEM)."),
    click.option("--mqtt-key", default="", metavar="FILE", help="Its private key (PEM)."),
    click.option("--log-level", default="info", type=click.Choice(LEVELS), help="How much to log."),
)


def broker_from(options: Mapping[str, Any]) -> Broker:
    """The broker that the ``common_options`` name. Files are not opened: that is the link's."""
    host, port, tls = parse_mqtt_url(options["mqtt"])
    broker = Broker(
        *(host, port, tls, options["mqtt_username"], options["mqtt_password_file"]),
        ca_file=options["mqtt_ca"],
        cert_file=options["mqtt_cert"],
        key_file=options["mqtt_key"],
    )
    if not tls and (given := [key for key in ("ca", "cert", "key") if options[f"mqtt_{key}"]]):
        raise SettingsError(
            f"mqtt-{given[0]} is set but mqtt is {options['mqtt']}: write mqtts:// for TLS"
        )
    if broker.key_file and not broker.cert_file:
        raise SettingsError(f"mqtt-key is {broker.key_file} but mqtt-cert is not set: set both")
    if broker.password_file and not broker.username:
        raise SettingsError(
            f"mqtt-password-file is {broker.password_file} but mqtt-username is not set: set both"
        )
    return broker


def parse_mqtt_url(url: str | None) -> tuple[str, int, bool]:
    """``mqtts://host:8883`` → host, port, whether TLS."""
    if not url:
        raise SettingsError("mqtt is not set: name the broker, for instance mqtts://broker:8883")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad_url(url, str(error)) from error
    if "@" in parts.netloc:
        raise SettingsError("mqtt: no user or password in the URL: use mqtt-username and a file")
    if parts.scheme not in PORTS or not parts.hostname:
        raise _bad_url(url, "not a broker's address")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _bad_url(url, "something follows the port")
    return parts.hostname, port or PORTS[parts.scheme], parts.scheme == "mqtts"


def _bad_url(url: str, why: str) -> SettingsError:
    return SettingsError(f"mqtt: {url!r}: {why}; write mqtt://HOST[:PORT] or mqtts://HOST[:PORT]")


def _use_file(context: click.Context, param: click.Parameter, path: str | None) -> None:
    if path:
        _take(context, read_file(path, context.command))


def _take(context: click.Context, values: Mapping[str, Any]) -> None:
    context.default_map = {**(context.default_map or {}), **values}


def read_file(path: str, command: click.Command, *, others: bool = False) -> dict[str, Any]:
    """The file's values by parameter name. Raises SettingsError naming the file and the key.

    ``others``: keys that this command does not know are another's.
    """
    try:
        values = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise SettingsError(f"config: {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"config: {path} is not TOML: {error}") from error
    known = {
        option.name.replace("_", "-"): option
        for option in command.params
        if option.name and option.name != "config"
    }
    if others:
        values = {key: value for key, value in values.items() if key in known}
    for key, value in values.items():
        if key not in known:
            raise SettingsError(f"config: {path}: unknown key {key!r}{_nearest(key, known)}")
        if isinstance(value, dict):
            raise SettingsError(f"config: {path}: {key} is a table; write {key} = VALUE")
    return {str(known[key].name): _value(known[key], value) for key, value in values.items()}


def _value(option: click.Parameter, value: Any) -> Any:
    """One text for an option that may be repeated is a list of one."""
    repeatable = isinstance(option, click.Option) and option.multiple
    return [value] if repeatable and isinstance(value, str) else value


def _nearest(key: str, known: Collection[str]) -> str:
    import difflib

    near = difflib.get_close_matches(key.replace("_", "-").lower(), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"


def run_program(command: click.Command, name: str) -> NoReturn:
    """Run the command line and end the process; a user's mistake is one line and exit code 2."""
    try:
        result = command.main(prog_name=name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _end(f"{name}: {error.format_message()}", error.exit_code)
    except SettingsError as error:
        _end(f"{name}: {error}", 2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(result if isinstance(result, int) else 0)


def _end(line: str, code: int) -> NoReturn:
    click.echo(" ".join(line.split()), err=True)
    sys.exit(code)
