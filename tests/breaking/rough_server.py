"""A web UI in a process of its own that misbehaves as it is told.

Usage: ``python rough_server.py PORT FAULT ODDS SEED``; prints its port when it listens.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from backends.webui.replay_server import (
    Handler,
    ReplayServer,
    drop,
    html,
    reply,
    silence,
    truncated,
)

__all__ = ["FAULTS"]


def half_an_image(handler: Handler) -> None:
    """Answer as always, with a picture that ends in the middle."""
    import base64
    import json

    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\x00" * 60).decode()
    body = {"images": [picture], "parameters": {}, "info": json.dumps({"seed": 1})}
    handler.send(200, body)


FAULTS: dict[str, Callable[[Handler], None]] = {
    "hangs": silence,
    "garbage": reply(200, b"\x00\xff{]", "application/json"),
    "half an image": half_an_image,
    "500": reply(500, {"error": "OutOfMemoryError", "detail": "", "errors": "CUDA out of memory"}),
    "503": reply(503, {"detail": "starting"}),
    "429": reply(429, {"detail": "slow down"}),
    "wrong content type": html(200),
    "closes mid-body": truncated,
    "closes": drop,
}
"""What may come instead of an answer."""


def main(port: int, fault: str, odds: float, seed: int) -> None:
    chance = random.Random(seed)

    class Script(list[Callable[[Handler], None]]):
        """Now and then there is something to do instead."""

        def __bool__(self) -> bool:
            return bool(fault) and chance.random() < odds

        def pop(self, _: object = -1) -> Callable[[Handler], None]:
            return FAULTS[fault]

    server = ReplayServer("forge", port=port)
    server.seconds = 0.03
    server.script["txt2img"] = Script()
    sys.stdout.write(server.url.rpartition(":")[2] + "\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
