"""The kubeconfig is read again now and then; what it is meanwhile ends no hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudhub.kube import access
from cloudhub.kube.access import open_access


def a_kubeconfig(token: str) -> str:
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "it", "user": {"token": token}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }
    return yaml.safe_dump(content)


@pytest.mark.parametrize("meanwhile", ["", "apiVersion: v1\n", "{", "- 1\n", None])
async def test_a_kubeconfig_that_is_being_written_leaves_the_token_that_there_was(
    meanwhile: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "TOKEN_AGE", 0.0)
    file = tmp_path / "config"
    file.write_text(a_kubeconfig("first"))
    door = await open_access(str(file))
    configuration = door._configuration
    if meanwhile is None:
        file.unlink()
    else:
        file.write_text(meanwhile)
    await configuration.refresh_api_key_hook(configuration)
    assert configuration.api_key["BearerToken"] == "Bearer first"
    file.write_text(a_kubeconfig("second"))
    await configuration.refresh_api_key_hook(configuration)
    assert configuration.api_key["BearerToken"] == "Bearer second"
    await door.close()
