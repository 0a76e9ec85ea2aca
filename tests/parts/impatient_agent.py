"""``edgeagent`` as it is, but that it looks after seconds, not minutes, whether the other agent of
its name is still there. A program of its own: a test runs it in place of the module ``edgeagent``.
"""

from __future__ import annotations

from edgeagent.__main__ import main
from edgeagent.session import yielding

if __name__ == "__main__":
    yielding.LOOK_AGAIN = (2.0, 4.0)
    main()
