"""How much `make test-crash` does: `make test-crash N=5` does five times as much."""

from __future__ import annotations

import os

TIMES = int(os.environ.get("N") or 1)
