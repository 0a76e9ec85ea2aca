"""What a container tells of the spec that it was made from. Pure.

Owns the annotations for it. The pod may ask for something else by the time that its container is
seen, and an agent whose facts are lost knows nothing but what the container says itself.
"""

from __future__ import annotations

import json

from edgeagent.runtime.port import Container
from shared.objects import Json

HASH = "io.kubernetes.container.hash"
RESOURCES = "kubetide.io/resources"


def made_with(container: Container, otherwise: Json) -> Json:
    """The resources in the spec then; ``otherwise`` of a container that does not say."""
    written = container.annotations.get(RESOURCES)
    try:
        resources = json.loads(written) if written else otherwise
    except ValueError:
        return otherwise
    return resources if isinstance(resources, dict) else otherwise
