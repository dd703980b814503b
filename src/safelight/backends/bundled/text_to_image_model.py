"""TextToImageModel: the two networks in the box, run by onnxruntime on one thread.

The text network reads word numbers; the image network is an EDM-preconditioned denoiser
(Karras et al. 2022, arXiv:2206.00364) guided without a classifier (Ho and Salimans 2022,
arXiv:2207.12598): bos alone is the unconditional prompt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.backends.bundled.model_facts import damaged, model_facts
from safelight.backends.bundled.quiet_runtime import onnxruntime
from safelight.backends.bundled.samplers import Array
from safelight.errors import BackendError

__all__ = [
    "EncodedPrompt",
    "TextToImageModel",
    "open_session",
    "run_session",
    "split_words",
]

_PAD, _BOS = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPrompt:
    """A prompt as word numbers.

    Attributes:
        tokens: int64, shape (1, max_tokens), bos first, padded.
        unknown: Words that the model does not know, each once.
        left_out: Known words for which there was no room.
    """

    tokens: NDArray[np.int64]
    unknown: tuple[str, ...] = ()
    left_out: int = 0


class TextToImageModel:
    """The networks, their vocabulary, and the range of noise that they were trained on.

    Args:
        folder: Holds ``model.json``, ``text.onnx`` and ``unet.onnx``.

    Raises:
        BackendError: A file is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        facts = model_facts(folder)
        self.name: str = facts["name"]
        self.image_size: int = facts["image_size"]
        self.largest_side: int = facts["largest_side"]
        self.sigma_min: float = facts["sigma_min"]
        self.sigma_max: float = facts["sigma_max"]
        self.vocabulary: tuple[str, ...] = tuple(facts["vocabulary"])
        self.concepts: tuple[str, ...] = tuple(concept["name"] for concept in facts["concepts"])
        self._stop_words = frozenset(facts["stop_words"])
        self._sigma_data: float = facts["sigma_data"]
        self._max_tokens: int = facts["max_tokens"]
        self._mean = np.asarray(facts["mean"], np.float32).reshape(1, 3, 1, 1)
        self._std = np.asarray(facts["std"], np.float32).reshape(1, 3, 1, 1)
        self._numbers = {word: number for number, word in enumerate(self.vocabulary)}
        self._text = open_session(folder / "text.onnx")
        self._unet = open_session(folder / "unet.onnx")
        self._unet_inputs = [entry.name for entry in self._unet.get_inputs()]
        self._text_input = self._text.get_inputs()[0].name
        if (len(self._text.get_outputs()), len(self._unet_inputs)) != (3, 5):
            raise BackendError(damaged(folder / "unet.onnx", "text and unet do not fit together"))
        self.sha256 = _sha256(folder)

    def encode(self, prompt: str) -> EncodedPrompt:
        """Return *prompt* as word numbers; word order counts, punctuation and case do not."""
        words = [word for word in split_words(prompt) if word not in self._stop_words]
        known = [self._numbers[word] for word in words if word in self._numbers]
        foreign = [w for w in re.findall(r"[^\W\da-z_]+", prompt.lower()) if not w.isascii()]
        unknown = [word for word in words if word not in self._numbers] + foreign
        kept = known[: self._max_tokens - 1]
        tokens = np.full((1, self._max_tokens), _PAD, np.int64)
        tokens[0, 0] = _BOS
        tokens[0, 1 : 1 + len(kept)] = kept
        return EncodedPrompt(
            tokens=tokens,
            unknown=tuple(dict.fromkeys(unknown)),
            left_out=len(known) - len(kept),
        )

    def denoiser(
        self, prompt: EncodedPrompt, negative: EncodedPrompt, cfg_scale: float
    ) -> Callable[[Array, float], Array]:
        """Return the guided denoiser of one picture.

        Args:
            prompt: What to show.
            negative: What guidance moves away from; the empty prompt is the usual one.
            cfg_scale: Guidance weight; 1 means no guidance, and half the work.
        """
        guided = cfg_scale != 1
        tokens = [prompt.tokens, negative.tokens] if guided else [prompt.tokens]
        context = run_session(self._text, {self._text_input: np.concatenate(tokens)})
        weight = np.float32(cfg_scale)

        def denoise(x: Array, sigma: float) -> Array:
            batch = np.concatenate([x, x]) if guided else x
            level = np.full(len(batch), sigma, np.float32)
            inputs = dict(zip(self._unet_inputs, (batch, level, *context), strict=True))
            (denoised,) = run_session(self._unet, inputs)
            if not guided:
                return np.asarray(denoised, np.float32)
            conditional, unconditional = denoised[:1], denoised[1:]
            return np.asarray(unconditional + weight * (conditional - unconditional), np.float32)

        return denoise

    def to_pixels(self, x: Array) -> NDArray[np.uint8]:
        """Return uint8 pixels, shape (height, width, 3), of *x*, shape (1, 3, height, width)."""
        values = (x / self._sigma_data * self._std + self._mean + 1) * 127.5
        pixels: NDArray[np.uint8] = values[0].transpose(1, 2, 0).clip(0, 255).round().astype("u1")
        return pixels

    def from_pixels(self, pixels: NDArray[np.uint8]) -> Array:
        """Return what :meth:`to_pixels` turns into *pixels*."""
        values = pixels.astype(np.float32).transpose(2, 0, 1)[None]
        x: Array = (values / 127.5 - 1 - self._mean) / self._std * np.float32(self._sigma_data)
        return x


def split_words(text: str) -> list[str]:
    """Return the plain words of *text*: lower case, Latin, "gray" for "grey"."""
    plain = text.lower().replace("’", "").replace("'", "").replace("grey", "gray")
    return re.sub(r"[^a-z0-9]+", " ", plain).split()


def _sha256(folder: Path) -> str:
    """Return the SHA-256 over all model files, in the order of their names."""
    digest = hashlib.sha256()
    for name in ("model.json", "text.onnx", "unet.onnx"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Return the network in *path*, to run on one thread.

    Raises:
        BackendError: The file is missing or damaged.
    """
    options = onnxruntime.SessionOptions()
    # One thread that does not spin: two small networks gain nothing from more, and a busy
    # machine loses seconds to spinning.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BackendError(damaged(path, error)) from error


def run_session(
    session: onnxruntime.InferenceSession, inputs: Mapping[str, Any]
) -> list[NDArray[np.float32]]:
    """Return every output of the network for *inputs*, by name.

    Raises:
        BackendError: The runtime refuses.
    """
    try:
        return list(session.run(None, dict(inputs)))
    except Exception as error:
        raise BackendError(f"the bundled model's network failed: {error}") from error
