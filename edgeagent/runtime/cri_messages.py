"""The CRI's generated message classes, without the rest of the package that they come in.

``cri_api`` imports grpcio as soon as it is touched: a C core that costs 13 MB and seven threads,
a fifth of what the whole agent may use. Its message module needs only protobuf, so it is loaded
alone; ``cri_channel.py`` speaks gRPC with grpclib, which is plain asyncio.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

_NAME = "edgeagent.runtime._cri_v1"


def _load() -> Any:
    package = importlib.util.find_spec("cri_api")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("the CRI needs: pip install container-runtime-interface-api")
    path = Path(package.submodule_search_locations[0], "v1", "api_pb2.py")
    spec = importlib.util.spec_from_file_location(_NAME, path)
    assert isinstance(spec, ModuleSpec) and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module
    spec.loader.exec_module(module)
    return module


cri: Any = _load()
