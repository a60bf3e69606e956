"""``import dagrad.compat.v1 as tf`` gives dagrad itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .. import *  # noqa: F403

sys.modules[__name__] = sys.modules["dagrad"]
