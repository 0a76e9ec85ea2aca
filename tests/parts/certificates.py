"""A certificate authority for tests, made with the ``openssl`` program."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.parts.missing import need


@dataclass(frozen=True)
class KeyPair:
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Certificates:
    """An authority, and a server certificate from it for ``localhost`` and 127.0.0.1."""

    folder: Path
    ca: Path
    server: KeyPair

    def client(self, name: str) -> KeyPair:
        """A client certificate whose common name is ``name``."""
        return _issue(self.folder, name, extensions="extendedKeyUsage=clientAuth")

    def expired(self) -> Certificates:
        """The same authority with a server certificate whose month was in 2021."""
        need("a clock in 2021", "faketime", packages="faketime")
        pair = _issue(
            *(self.folder, "expired"),
            extensions=_SERVER_NAMES,
            clock=("faketime", "2021-01-01 00:00:00"),
        )
        return replace(self, server=pair)


_SERVER_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth"


def make(folder: Path) -> Certificates:
    need("certificates", "openssl", packages="openssl")
    folder.mkdir(parents=True, exist_ok=True)
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-keyout", folder / "ca.key", "-out", folder / "ca.crt", "-days", "30"),
        *("-subj", "/CN=test authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )
    server = _issue(folder, "localhost", extensions=_SERVER_NAMES)
    return Certificates(folder, folder / "ca.crt", server)


def _issue(folder: Path, name: str, *, extensions: str, clock: tuple[str, ...] = ()) -> KeyPair:
    """``clock``: a command that runs another with another time."""
    pair = KeyPair(folder / f"{name}.crt", folder / f"{name}.key")
    request, wanted = folder / f"{name}.csr", folder / f"{name}.ext"
    wanted.write_text(extensions + "\n")
    _openssl(
        *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-keyout", pair.key, "-out", request, "-subj", f"/CN={name}"),
    )
    _openssl(
        *("x509", "-req", "-in", request, "-out", pair.certificate, "-days", "30"),
        *("-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial"),
        *("-extfile", wanted),
        clock=clock,
    )
    return pair


def _openssl(*arguments: str | Path, clock: tuple[str, ...] = ()) -> None:
    subprocess.run([*clock, "openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))
