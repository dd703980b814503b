"""onnxruntime, kept from reporting to its maker.

Wheels of it write an id of the machine into the user's cache, and send it with the system's and the
program's name to a server of Microsoft's whenever a process makes its first session. The model in
the box is offline, and so is who draws with it. A variable is the only way that is not too late:
``disable_telemetry_events()`` is there once the first event is. Whoever sets it to 0 has said so.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
