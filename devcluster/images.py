"""Container images made from nothing but Debian's static busybox, as OCI archives.

No registry is needed: ``ctr images import`` loads the archives. Every image is named under
``kubetide.test``, which no registry answers for. Used by the private containerd of ``kubetide up``
and by the tests, which make more images of their own.
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

PAUSE = "kubetide.test/pause:1"
BUSYBOX = "kubetide.test/busybox:1"

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}[platform.machine()]

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


def build_busybox(folder: Path) -> Path:
    """An archive with ``BUSYBOX``, and as ``PAUSE`` the same busybox asleep: no compiler needed."""
    archive = folder / "images.tar"
    layer = busybox_layer()
    pause = ImageSpec(PAUSE, entrypoint=["/bin/busybox", "sleep", "2147483647"])
    write_archive(archive, [(ImageSpec(BUSYBOX, command=["/bin/sh"]), layer), (pause, layer)])
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
    return layer(busybox_files())


Files = Mapping[str, tuple[bytes | str, int]]
"""By path: the content and mode of a file, or the target of a link (a str)."""


def busybox_files() -> dict[str, tuple[bytes | str, int]]:
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, check=True, text=True)
    files: dict[str, tuple[bytes | str, int]] = {
        f"bin/{name}": ("busybox", 0o777) for name in applets.stdout.split() if name != "busybox"
    }
    files["bin/busybox"] = (Path("/bin/busybox").read_bytes(), 0o755)
    return {**files, **text_files((("etc/passwd", _PASSWD), ("etc/group", _GROUP)))}


def text_files(files: Sequence[tuple[str, str]]) -> dict[str, tuple[bytes | str, int]]:
    return {path: (content.encode(), 0o644) for path, content in files}


def layer(files: Files) -> bytes:
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
