"""API servers for tests: the embedded one, and a real kube-apiserver with an etcd of its own.

Both come as a ``Cluster``: where it is, how to get in, how to stop it. The real one is looked for
where envtest looks (``KUBEBUILDER_ASSETS``, else ``/usr/local/kubebuilder/bin``); everything of it
lives in one folder and on free loopback ports. Nobody else's controllers run in either: deleted
namespaces stay, and no service account is made.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import pytest
import yaml

from devcluster.apiserver import ApiServer
from tests.parts import certificates
from tests.parts.missing import refuse
from tests.parts.patience import PATIENCE
from tests.parts.ports import free_ports

DEFAULT_ASSETS = Path("/usr/local/kubebuilder/bin")
START_SECONDS = 60
_TOKEN = "admin-token"
_AUDIT = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts"]
- level: None
"""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A running API server; the token may do everything."""

    url: str
    token: str
    ca_file: Path
    kubeconfig_path: Path
    minor: int
    """The 32 of v1.32."""
    stop: Callable[[], None]
    back_up: Callable[[], None] | None = None
    """Of a real server: its store as it is now is kept."""
    restore: Callable[[], None] | None = None
    """The store is what it was then, after a moment in which the server is away."""
    audit_log: Path | None = None
    """JSON lines: what service accounts asked of a real server, and what it answered."""

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))


def assets_folder() -> Path:
    """Where the real server's programs are; skips the test when they are nowhere."""
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS") or DEFAULT_ASSETS)
    absent = [name for name in ("kube-apiserver", "etcd") if not (folder / name).exists()]
    if absent:
        how = "set KUBEBUILDER_ASSETS to a folder of envtest"
        refuse("real kube-apiserver", f"{', '.join(absent)} not in {folder}: {how}")
    return folder


def find_kubectl() -> str:
    """The path of ``kubectl``; skips the test when there is none."""
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS") or DEFAULT_ASSETS)
    found = shutil.which("kubectl", path=f"{folder}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        refuse("kubectl", "not found on the PATH nor in KUBEBUILDER_ASSETS")
    return str(found)


class _Program:
    """One child process with its log; killed with the tests, whatever happens to them."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *arguments], stdout=out, stderr=out
            )

    def check(self) -> None:
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.log.stem} ended: {self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start_kube_apiserver(assets: Path, folder: Path, *, accounts: bool = False) -> Cluster:
    """A real kube-apiserver over an empty etcd; returns when it is ready.

    ``accounts``: pods are given what belongs to their service accounts, which must exist.
    """
    made = certificates.make(folder / "pki")
    _service_account_keys(made.folder)
    (made.folder / "audit.yaml").write_text(_AUDIT)
    tokens = made.folder / "tokens.csv"
    tokens.write_text(f"{_TOKEN},admin,admin,system:masters\n")
    client_port, peer_port, port = free_ports(3)
    store = _etcd(assets, folder, client_port, peer_port=peer_port)
    minor = _minor(assets)
    arguments = _apiserver(assets, made, tokens, etcd_port=client_port, port=port, minor=minor)
    if not accounts:
        arguments.append("--disable-admission-plugins=ServiceAccount")
    programs: list[_Program] = []

    def start() -> None:
        programs.append(_Program(store, folder / "etcd.log"))
        programs.append(_Program(arguments, folder / "kube-apiserver.log"))

    def stop() -> None:
        while programs:
            programs.pop().stop()

    def replace_store(source: Path, target: Path) -> None:
        stop()
        shutil.copytree(folder / source, folder / target)
        start()
        _wait_ready(cluster, programs[-1])

    def restore() -> None:
        stop()
        (folder / "etcd").rename(folder / "etcd-before")
        replace_store(Path("backup"), Path("etcd"))

    url = f"https://127.0.0.1:{port}"
    kubeconfig = folder / "kubeconfig"
    _write_kubeconfig(kubeconfig, url, ca=made.ca.read_bytes())
    cluster = Cluster(
        url=url,
        token=_TOKEN,
        ca_file=made.ca,
        kubeconfig_path=kubeconfig,
        minor=minor,
        stop=stop,
        back_up=lambda: replace_store(Path("etcd"), Path("backup")),
        restore=restore,
        audit_log=made.folder / "audit.log",
    )
    try:
        start()
        _wait_ready(cluster, programs[-1])
    except BaseException:
        stop()
        raise
    return cluster


def _etcd(assets: Path, folder: Path, port: int, *, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    return [
        *(str(assets / "etcd"), "--name=test", f"--data-dir={folder / 'etcd'}"),
        *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
        *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
        *(f"--initial-cluster=test={peer}", "--unsafe-no-fsync"),
    ]


def _apiserver(
    assets: Path,
    made: certificates.Certificates,
    tokens: Path,
    *,
    etcd_port: int,
    port: int,
    minor: int,
) -> list[str]:
    return [
        *(str(assets / "kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{etcd_port}"),
        *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={port}"),
        *(["--insecure-port=0"] if minor < 24 else []),
        *(f"--cert-dir={made.folder}", f"--tls-cert-file={made.server.certificate}"),
        *(f"--tls-private-key-file={made.server.key}", f"--client-ca-file={made.ca}"),
        *(f"--token-auth-file={tokens}", "--authorization-mode=RBAC", "--allow-privileged=true"),
        *("--service-cluster-ip-range=10.0.0.0/24", "--endpoint-reconciler-type=none"),
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={made.folder / 'accounts.pub'}",
        f"--service-account-signing-key-file={made.folder / 'accounts.key'}",
        *(f"--audit-policy-file={made.folder / 'audit.yaml'}", "--audit-log-mode=blocking"),
        f"--audit-log-path={made.folder / 'audit.log'}",
    ]


def _service_account_keys(folder: Path) -> None:
    key, public = str(folder / "accounts.key"), str(folder / "accounts.pub")
    for arguments in (
        ["genrsa", "-out", key, "2048"],
        ["rsa", "-in", key, "-pubout", "-out", public],
    ):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def _minor(assets: Path) -> int:
    """``Kubernetes v1.32.4`` → 32."""
    program = [str(assets / "kube-apiserver"), "--version"]
    text = subprocess.run(program, check=True, capture_output=True, text=True).stdout
    return int(text.split(".")[1])


def _write_kubeconfig(path: Path, url: str, *, ca: bytes) -> None:
    authority = base64.b64encode(ca).decode()
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [
            {"name": "test", "cluster": {"server": url, "certificate-authority-data": authority}}
        ],
        "users": [{"name": "admin", "user": {"token": _TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content))


def _wait_ready(cluster: Cluster, server: _Program) -> None:
    deadline = time.monotonic() + START_SECONDS * PATIENCE
    request = urllib.request.Request(
        f"{cluster.url}/readyz", headers={"Authorization": f"Bearer {cluster.token}"}
    )
    while True:
        server.check()
        try:
            urllib.request.urlopen(request, context=cluster.tls, timeout=5).close()
            return
        except (URLError, OSError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            if time.monotonic() > deadline:
                raise RuntimeError(f"not ready: {server.log.read_text()[-3000:]}") from error
        time.sleep(0.1)


def start_embedded(folder: Path) -> Cluster:
    """The embedded server on a thread and an event loop of its own, so that tests may block."""
    server = ApiServer(scheduler=False)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="embedded API server", daemon=True)
    thread.start()

    def stop() -> None:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()

    asyncio.run_coroutine_threadsafe(server.start(), loop).result(20)
    ca_file, kubeconfig = folder / "ca.pem", folder / "kubeconfig"
    ca_file.write_bytes(server.ca_pem)
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(server.kubeconfig())
    return Cluster(
        url=server.url,
        token=server.token,
        ca_file=ca_file,
        kubeconfig_path=kubeconfig,
        minor=32,
        stop=stop,
    )


@pytest.fixture(scope="session")
def embedded_kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = start_embedded(tmp_path_factory.mktemp("embedded"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def real_kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = start_kube_apiserver(assets_folder(), tmp_path_factory.mktemp("kubernetes"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session", params=["embedded", "real"])
def kubernetes(request: pytest.FixtureRequest) -> Cluster:
    """Each test that takes it runs against the embedded server and against a real one."""
    cluster = request.getfixturevalue(f"{request.param}_kubernetes")
    assert isinstance(cluster, Cluster)
    return cluster
