"""How much longer than here things may take where the tests run now.

``KUBETIDE_TEST_PATIENCE`` multiplies how long a test waits for what must come; 1 but in a virtual
machine whose processors are emulated. It makes no test weaker: what never comes is still missed.
"""

from __future__ import annotations

import os

NAME = "KUBETIDE_TEST_PATIENCE"
PATIENCE = float(os.environ.get(NAME, "1"))
