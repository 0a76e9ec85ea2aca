"""A pulled image is on the disk, not in the kernel's memory alone.

A runtime flushes what it knows of an image, but not the image's files (containerd has had a setting
for that since 2.0, which is off). After a power cut within some half minute of a pull the files
would be there and empty, the image would count as present, and its containers could not start any
more. Called by ``cri.py`` after each pull. Blocking.
"""

from __future__ import annotations

import ctypes
import os


def flush_filesystem(path: str) -> None:
    """Everything of the file system that ``path`` is on; OSError when it could not be."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(descriptor)
