"""A private image registry (Debian's docker-registry) on loopback, with or without a password."""

from __future__ import annotations

import base64
import http.client
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.parts import images
from tests.parts.missing import need, search_path
from tests.parts.patience import PATIENCE
from tests.parts.ports import free_port

_SETTINGS = """
version: 0.1
storage:
  filesystem: {{rootdirectory: {root}/data}}
http:
  addr: 127.0.0.1:{port}
"""
_AUTH = """
auth:
  htpasswd: {{realm: test, path: {root}/htpasswd}}
"""


class Registry:
    """One registry process; ``push`` puts an image there without any container tool."""

    def __init__(self, user: str = "", password: str = "") -> None:
        need("registry", "docker-registry", packages="docker-registry")
        self.root = Path(tempfile.mkdtemp(prefix="ktr-"))
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self._login = f"{user}:{password}" if user else ""
        self._process: subprocess.Popen[bytes] | None = None
        settings = _SETTINGS + (_AUTH if user else "")
        (self.root / "config.yml").write_text(settings.format(root=self.root, port=self.port))
        if user:
            (self.root / "htpasswd").write_text(_htpasswd(user, password))

    def start(self) -> None:
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "docker-registry", "serve", self._settings],
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": search_path()},
            )
        deadline = time.monotonic() + 15 * PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.root / "log").read_text()[-3000:])
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.root)

    def push(self, repository: str, tag: str, spec: images.ImageSpec) -> str:
        """Upload busybox with this config and its files; returns the reference to pull."""
        blobs: dict[str, bytes] = {}
        manifest = images.image_blobs(spec, images.layer_of(spec), into=blobs)
        body = blobs.pop(str(manifest["digest"]).removeprefix("sha256:"))
        for digest, blob in blobs.items():
            self._upload(repository, digest, blob)
        kind = {"Content-Type": str(manifest["mediaType"])}
        self._call("PUT", f"/v2/{repository}/manifests/{tag}", body=body, headers=kind)
        return f"{self.host}/{repository}:{tag}"

    @property
    def _settings(self) -> str:
        return str(self.root / "config.yml")

    def _upload(self, repository: str, digest: str, blob: bytes) -> None:
        location = self._call("POST", f"/v2/{repository}/blobs/uploads/")
        path = location.split(self.host, 1)[-1]
        kind = {"Content-Type": "application/octet-stream"}
        self._call("PUT", f"{path}&digest=sha256:{digest}", body=blob, headers=kind)

    def _call(
        self, method: str, path: str, *, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> str:
        """Returns the Location header."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {**self._authorization(), **(headers or {})})
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status < 300, (method, path, answer.status, text)
            return answer.getheader("Location", "")
        finally:
            connection.close()

    def _authorization(self) -> dict[str, str]:
        if not self._login:
            return {}
        return {"Authorization": "Basic " + base64.b64encode(self._login.encode()).decode()}

    def _answers(self) -> bool:
        try:
            self._call("GET", "/v2/")
        except OSError:
            return False
        return True


def _htpasswd(user: str, password: str) -> str:
    """The registry wants bcrypt, which libcrypt can, and perl (part of every Debian) can call."""
    script = "chomp(my $word = <STDIN>); print crypt($word, q($2a$05$abcdefghijklmnopqrstuu))"
    made = subprocess.run(
        ["perl", "-e", script], input=password, check=True, capture_output=True, text=True
    )
    return f"{user}:{made.stdout}\n"


@pytest.fixture
def new_registry() -> Iterator[Callable[..., Registry]]:
    """Makes started registries: ``new_registry("user", "password")`` for one with a login."""
    made: list[Registry] = []

    def make(user: str = "", password: str = "") -> Registry:
        made.append(Registry(user, password))
        made[-1].start()
        return made[-1]

    yield make
    for registry in made:
        registry.close()
