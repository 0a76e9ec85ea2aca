"""The embedded Kubernetes API server: small, in memory, honest about what it refuses.

``ApiServer`` is all that others use. Inside: ``store`` (versions and history), ``objects`` (the
verbs), pure rules around them (``defaulting``, ``validation``, ``updates``, ``deleting``,
``patching``, ``selectors``, ``tables`` …) and ``http`` on top.
"""

from devcluster.apiserver.server import ApiServer

__all__ = ["ApiServer"]
