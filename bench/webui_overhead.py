"""What WebuiBackend adds to each picture: the same pictures over bare HTTP calls, same server.

The server runs in a process of its own and answers like Forge, with a 512 x 512 picture, after
a fixed time in which it "draws". The floor is a loop of single POSTs over one kept connection
that decodes the answer's base64. The engine also looks at the progress before and after each
job, watches it from a thread, reads the infotext and checks the picture. Both take turns within
one run, and the medians are compared as a ratio. Then the same requests go to one server and to
two, from as many threads as the engine has lanes.

Bars: 1.05 times the floor with a server that takes 250 ms (few are faster), and two servers in
at most 0.6 of one's time.

Usage: ``python bench/webui_overhead.py``
"""

from __future__ import annotations

import base64
import io
import json
import multiprocessing
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any

import httpx

from safelight.backends.webui import WebuiBackend
from safelight.pipeline import Txt2ImgRequest

RATIO_BAR, LANES_BAR = 1.05, 0.6
SECONDS, SIDE, PICTURES, ROUNDS = 0.25, 512, 6, 3

INFOTEXT = (
    "a fox\nSteps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.0, Seed: {seed},"
    f" Size: {SIDE}x{SIDE}, Model: m, Version: f2.0.1"
)
LISTS: dict[str, Any] = {
    "samplers": [{"name": "Euler a"}],
    "schedulers": [{"name": "automatic", "label": "Automatic"}],
    "options": {"forge_additional_modules": [], "CLIP_stop_at_last_layers": 1},
    "sd-models": [{"title": "m.safetensors", "model_name": "m"}],
    "upscalers": [{"name": "Lanczos"}],
    "progress": {"progress": 0, "state": {"job": "", "sampling_step": 0, "sampling_steps": 20}},
}


def picture() -> str:
    """Return a PNG about as large as a drawn one compresses to, in base64."""
    from PIL import Image

    gradient, noise = (
        Image.linear_gradient("L").resize((SIDE, SIDE)),
        Image.effect_noise((SIDE, SIDE), 12),
    )
    buffer = io.BytesIO()
    Image.merge("RGB", (gradient, noise, gradient.rotate(90))).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def serve(port_to: Connection) -> None:
    """Be a server until the process ends."""
    image, drawing = picture(), Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

        def _send(self, body: Any, status: int = 200) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            """Answer with a list, or 404."""
            name = self.path.partition("?")[0].rpartition("/")[2]
            self._send(LISTS.get(name, {}), 200 if name in LISTS else 404)

        def do_POST(self) -> None:
            """Draw for a fixed time, one at a time."""
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if not self.path.endswith("txt2img"):
                self._send({}, 404)
                return
            with drawing:
                time.sleep(SECONDS)
            seed = asked["seed"]
            info = {"all_seeds": [seed], "infotexts": [INFOTEXT.format(seed=seed)]}
            self._send({"images": [image], "parameters": asked, "info": json.dumps(info)})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port_to.send(server.server_address[1])
    server.serve_forever()


def start() -> tuple[Any, str]:
    """Start a server; return its process and its address."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    process.start()
    return process, f"http://127.0.0.1:{here.recv()}"


def ignore(step: int, steps: int, preview: bytes | None = None) -> None:
    """Take a step's report."""


def bare(url: str) -> float:
    """Return the seconds that the pictures take over bare calls."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        began = time.perf_counter()
        for seed in range(PICTURES):
            body = {"prompt": "a fox", "seed": seed, "steps": 20, "width": SIDE, "height": SIDE}
            answer = client.post("/sdapi/v1/txt2img", json=body).json()
            assert base64.b64decode(answer["images"][0]).startswith(b"\x89PNG")
        return time.perf_counter() - began


def ours(backend: WebuiBackend) -> float:
    """Return the seconds that the same pictures take through the engine."""
    requests = [
        Txt2ImgRequest(prompt="a fox", seed=seed, steps=20, width=SIDE, height=SIDE)
        for seed in range(PICTURES)
    ]
    began = time.perf_counter()
    with ThreadPoolExecutor(backend.lanes) as pool:
        drawn = list(pool.map(lambda request: backend.generate(request, ignore), requests))
    seconds = time.perf_counter() - began
    assert [one.images[0].effective["seed"] for one in drawn] == list(range(PICTURES))
    return seconds


def main() -> None:
    """Print both comparisons beside their bars."""
    servers = [start(), start()]
    urls = [url for _, url in servers]
    one, two = WebuiBackend(url=urls[0]), WebuiBackend(urls=urls)
    for backend in (one, two):
        backend.describe()  # the lists are asked for once, whatever is drawn
    floor, single, double = [], [], []
    for _ in range(ROUNDS):
        floor.append(bare(urls[0]))
        single.append(ours(one))
        double.append(ours(two))
    low, mid, fast = (statistics.median(times) for times in (floor, single, double))
    added = (mid - low) / PICTURES * 1000
    print(f"{PICTURES} pictures of {SECONDS * 1000:.0f} ms each, median of {ROUNDS} rounds")
    print(f"bare calls        {low:6.2f} s")
    print(f"webui             {mid:6.2f} s   {mid / low:.3f} of bare   (bar {RATIO_BAR})")
    print(f"                  {added:6.1f} ms added to each picture")
    print(f"webui, 2 servers  {fast:6.2f} s   {fast / mid:.3f} of one   (bar {LANES_BAR})")
    for backend in (one, two):
        backend.close()
    for process, _ in servers:
        process.terminate()


if __name__ == "__main__":
    main()
