"""Container images made from nothing but busybox and a C compiler, as OCI archives.

No registry is needed: ``ctr images import`` loads the archives, and ``tests/parts/registry.py``
can serve them. Every image is named under ``kubetide.test``, which no registry answers for.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.parts.missing import need

PAUSE = "kubetide.test/pause:1"
BUSYBOX = "kubetide.test/busybox:1"
NUMERIC_USER = "kubetide.test/numeric-user:1"
NAMED_USER = "kubetide.test/named-user:1"
CONFIGURED = "kubetide.test/configured:1"
APP_V1 = "kubetide.test/app:1"
APP_V2 = "kubetide.test/app:2"

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}[platform.machine()]

_PAUSE_SOURCE = """
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void leave(int signal) { (void)signal; exit(0); }
static void reap(int signal) { (void)signal; while (waitpid(-1, NULL, WNOHANG) > 0) {} }
int main(void) {
    signal(SIGINT, leave);
    signal(SIGTERM, leave);
    signal(SIGCHLD, reap);
    for (;;) pause();
}
"""

_PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1234:1234:app:/:/bin/sh\n"
_GROUP = "root:x:0:\napp:x:1234:\nextra:x:5678:app\n"


@dataclass(frozen=True)
class ImageSpec:
    """What goes into an image's config; the root file system comes beside it."""

    name: str
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    env: Sequence[str] = ("PATH=/bin",)
    working_dir: str = ""
    user: str = ""
    extra_files: tuple[tuple[str, str], ...] = ()


SPECS = (
    ImageSpec(BUSYBOX, command=["/bin/sh"]),
    ImageSpec(NUMERIC_USER, command=["/bin/sh"], user="1234"),
    ImageSpec(NAMED_USER, command=["/bin/sh"], user="app"),
    ImageSpec(
        CONFIGURED,
        entrypoint=["/bin/sh", "-c"],
        command=['echo "greeting=$GREETING dir=$(pwd)"; sleep 3600'],
        env=("PATH=/bin", "GREETING=from-image"),
        working_dir="/srv",
        extra_files=(("srv/file", "in the working directory\n"),),
    ),
    ImageSpec(APP_V1, command=["/bin/sh", "-c", "cat /version; exec sleep 3600"],
              extra_files=(("version", "1\n"),)),
    ImageSpec(APP_V2, command=["/bin/sh", "-c", "cat /version; exec sleep 3600"],
              extra_files=(("version", "2\n"),)),
)  # fmt: skip


def build_all(folder: Path) -> Path:
    """One archive with every test image and the pause image."""
    need("test images", "gcc", "busybox", packages="gcc libc6-dev busybox-static")
    archive = folder / "images.tar"
    busybox = _busybox_files()
    images = [(spec, _layer({**busybox, **_text(spec.extra_files)})) for spec in SPECS]
    pause = ImageSpec(PAUSE, entrypoint=["/pause"])
    images.append((pause, _layer({"pause": (_compile_pause(folder), 0o755)})))
    write_archive(archive, images)
    return archive


def write_archive(archive: Path, images: Sequence[tuple[ImageSpec, bytes]]) -> None:
    """An OCI image layout: blobs by digest, and an index that names each manifest."""
    blobs: dict[str, bytes] = {}
    manifests = []
    for spec, layer in images:
        manifest = image_blobs(spec, layer, into=blobs)
        manifests.append({**manifest, "annotations": {"io.containerd.image.name": spec.name}})
    index = {"schemaVersion": 2, "manifests": manifests}
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(tar, "index.json", json.dumps(index).encode())
        for digest, blob in blobs.items():
            _add(tar, f"blobs/sha256/{digest}", blob)


def image_blobs(spec: ImageSpec, layer: bytes, *, into: dict[str, bytes]) -> dict[str, object]:
    """Adds layer, config and manifest to ``into`` by digest; returns the manifest's descriptor."""
    config = {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {
            "Entrypoint": list(spec.entrypoint),
            "Cmd": list(spec.command),
            "Env": list(spec.env),
            "WorkingDir": spec.working_dir,
            "User": spec.user,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _blob(json.dumps(config).encode(), "config.v1+json", into),
        "layers": [_blob(layer, "layer.v1.tar", into)],
    }
    return _blob(json.dumps(manifest).encode(), "manifest.v1+json", into)


def busybox_layer() -> bytes:
    return _layer(_busybox_files())


Files = Mapping[str, tuple[bytes | str, int]]
"""By path: the content and mode of a file, or the target of a link (a str)."""


def _busybox_files() -> dict[str, tuple[bytes | str, int]]:
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, check=True, text=True)
    files: dict[str, tuple[bytes | str, int]] = {
        f"bin/{name}": ("busybox", 0o777) for name in applets.stdout.split() if name != "busybox"
    }
    files["bin/busybox"] = (Path("/bin/busybox").read_bytes(), 0o755)
    return {**files, **_text((("etc/passwd", _PASSWD), ("etc/group", _GROUP)))}


def _text(files: Sequence[tuple[str, str]]) -> dict[str, tuple[bytes | str, int]]:
    return {path: (content.encode(), 0o644) for path, content in files}


def _compile_pause(folder: Path) -> bytes:
    source, binary = folder / "pause.c", folder / "pause"
    source.write_text(_PAUSE_SOURCE)
    subprocess.run(["gcc", "-Os", "-static", "-s", "-o", binary, source], check=True)
    return binary.read_bytes()


def _layer(files: Files) -> bytes:
    folders = {str(parent) for path in files for parent in Path(path).parents} - {"."}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in sorted(folders | {"tmp", "proc", "sys", "dev"}):
            _add(tar, folder, b"", kind=tarfile.DIRTYPE, mode=0o1777 if folder == "tmp" else 0o755)
        for path, (content, mode) in sorted(files.items()):
            if isinstance(content, str):
                _add(tar, path, b"", kind=tarfile.SYMTYPE, mode=mode, link=content)
            else:
                _add(tar, path, content, mode=mode)
    return buffer.getvalue()


def _add(
    tar: tarfile.TarFile,
    path: str,
    content: bytes,
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    link: str = "",
) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.type, entry.mode, entry.linkname = len(content), kind, mode, link
    tar.addfile(entry, io.BytesIO(content))


def _blob(content: bytes, kind: str, into: dict[str, bytes]) -> dict[str, object]:
    digest = _digest(content)
    into[digest] = content
    media_type = f"application/vnd.oci.image.{kind}"
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
