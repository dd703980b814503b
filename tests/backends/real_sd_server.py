"""The real ``sd-server`` of stable-diffusion.cpp, where SAFELIGHT_SDCPP_URL says that one runs.

``tests/backends/webui/real_sdcpp.sh`` builds one and starts it with a model of random weights,
which draws noise: what is asked for is done, not what it looks like. Whoever imports this is
skipped where none runs.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

__all__ = ["FOX", "URL"]

URL = os.environ.get("SAFELIGHT_SDCPP_URL", "")
if not URL:
    pytest.skip("SAFELIGHT_SDCPP_URL names no server", allow_module_level=True)

FOX: dict[str, Any] = {
    "prompt": "a red fox",
    "seed": 42,
    "steps": 3,
    "width": 64,
    "height": 64,
    "cfg_scale": 5.3,
    "sampler": "Euler a",
    "scheduler": "Karras",
}
