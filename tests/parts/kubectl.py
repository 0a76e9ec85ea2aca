"""The real ``kubectl``, as a person uses it against one cluster."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from shared.objects import Json
from tests.parts.kubernetes import find_kubectl
from tests.parts.patience import PATIENCE

SECONDS = 90 * PATIENCE


class Kubectl:
    """Commands with one kubeconfig; ``folder`` holds its cache."""

    def __init__(self, kubeconfig: Path, folder: Path, *, namespace: str = "") -> None:
        """``namespace``: given with every command; empty leaves it to the object or kubectl."""
        self.namespace = namespace
        self._program = find_kubectl()
        self._kubeconfig = kubeconfig
        self._folder = folder

    def __call__(self, *arguments: str, stdin: str | None = None, fails: bool = False) -> str:
        """Standard output of the command; standard error when it is expected to fail."""
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert (done.returncode != 0) is fails, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stderr if fails else done.stdout

    def command(self, *arguments: str) -> list[str]:
        place = [f"--namespace={self.namespace}"] if self.namespace else []
        return [
            *(self._program, f"--kubeconfig={self._kubeconfig}", f"--cache-dir={self._folder}"),
            *(*place, *arguments),
        ]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"KUBE_EDITOR": "sed -i s/before/after/"}

    def apply(self, obj: Json, *arguments: str) -> str:
        return self("apply", "-f", "-", *arguments, stdin=yaml.safe_dump(obj))

    def get(self, *arguments: str) -> Any:
        return json.loads(self("get", *arguments, "-o", "json"))

    def lines(self, *arguments: str) -> list[list[str]]:
        """What it prints, as words of lines."""
        return [line.split() for line in self(*arguments).splitlines()]
