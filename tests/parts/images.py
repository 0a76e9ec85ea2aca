"""The images that tests run, made from busybox and a C compiler; see ``devcluster/images.py``.

``tests/parts/registry.py`` can serve them as well.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from devcluster.images import (
    BUSYBOX,
    PAUSE,
    ImageSpec,
    busybox_files,
    image_blobs,
    layer,
    text_files,
    write_archive,
)
from tests.parts.missing import need

__all__ = [
    "BUSYBOX",
    "PAUSE",
    "ImageSpec",
    "image_blobs",
    "layer_of",
    "write_archive",
]

NUMERIC_USER = "kubetide.test/numeric-user:1"
NAMED_USER = "kubetide.test/named-user:1"
CONFIGURED = "kubetide.test/configured:1"
APP_V1 = "kubetide.test/app:1"
APP_V2 = "kubetide.test/app:2"

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
    images = [(spec, layer_of(spec)) for spec in SPECS]
    pause = ImageSpec(PAUSE, entrypoint=["/pause"])
    images.append((pause, layer({"pause": (_compile_pause(folder), 0o755)})))
    write_archive(archive, images)
    return archive


def layer_of(spec: ImageSpec) -> bytes:
    """Busybox and the spec's own files."""
    return layer({**busybox_files(), **text_files(spec.extra_files)})


def _compile_pause(folder: Path) -> bytes:
    source, binary = folder / "pause.c", folder / "pause"
    source.write_text(_PAUSE_SOURCE)
    subprocess.run(["gcc", "-Os", "-static", "-s", "-o", binary, source], check=True)
    return binary.read_bytes()
