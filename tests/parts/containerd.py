"""The private containerd of ``devcluster`` as fixtures, with the test images in it.

``KUBETIDE_TEST_CONTAINERD`` names the binary of another version, with its shim and ``ctr`` beside
it: for what only newer ones can. Tests that need such a one are skipped without it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster.containerd import PACKAGES, PROGRAMS, Containerd
from edgeagent.runtime.abilities import RuntimeInfo
from tests.parts import images
from tests.parts.missing import need, need_root

OTHER = "KUBETIDE_TEST_CONTAINERD"


@pytest.fixture(scope="session")
def image_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI archive with every test image."""
    return images.build_all(tmp_path_factory.mktemp("images"))


def need_user_namespaces(info: RuntimeInfo) -> None:
    """Skip unless this runtime gives a pod users of its own."""
    if not info.handlers[0].user_namespaces:
        pytest.skip(
            f"{info.name} {info.version} has no user namespaces here; containerd 2.0 with runc 1.2"
            f" on Linux 6.3 has: {OTHER} can name one"
        )


def new_containerd(archive: Path, *, disk: Path | None = None) -> Containerd:
    """Started, with the test images; the caller closes it. ``disk`` is where it has its files."""
    need_root("containerd")
    need("containerd", *PROGRAMS, packages=PACKAGES)
    private = Containerd(os.environ.get(OTHER, "containerd"), disk=disk)
    try:
        private.start()
        private.import_images(archive)
    except BaseException:
        private.kill()
        shutil.rmtree(private.root)
        raise
    return private


@pytest.fixture(scope="session")
def containerd(image_archive: Path) -> Iterator[Containerd]:
    """The run's containerd, shared by all tests; each test removes the pods it made."""
    private = new_containerd(image_archive)
    yield private
    private.close()
