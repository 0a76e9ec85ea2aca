"""A pod with a claim, as the tests of claims write it."""

from __future__ import annotations

from dataclasses import replace

from shared.objects import Json
from tests.edge_materials.making import (
    NODE,
    claim,
    container,
)

DATA = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}


MOUNTED = container(volumeMounts=[{"name": "v", "mountPath": "/v"}])


NODE_1 = replace(NODE, labels={"kubernetes.io/hostname": "edge-1"})


def dying() -> Json:
    found = claim()
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return found
