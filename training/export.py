"""Turn a run into the three files that ship: ``text.onnx``, ``unet.onnx`` and ``model.json``.

The averaged weights are written as ONNX and then stored as 8-bit integers with one scale per
output channel; the runtime multiplies them back (DequantizeLinear), so activations stay
float32. The graphs' inputs and outputs:

- text: ``tokens`` int64 (batch, places) to ``context`` (batch, places, channels), ``pooled``
  (batch, channels) and ``mask`` (batch, 1, 1, places).
- unet: ``x`` float32 (batch, 3, height, width), ``sigma`` (batch,), ``context``, ``pooled``,
  ``mask`` to ``denoised``, the estimate of the clean picture. Height and width are those of
  training or, to redraw an enlarged picture, larger multiples of 16.

Pictures are normalised: ``((rgb / 127.5 - 1) - mean) / std * sigma_data`` per channel.

Usage: ``python -m training.export --data DIR --run DIR --out DIR``
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn

from training.captions import BACKGROUNDS, BEGIN, COLOURS, MAX_TOKENS, PADDING, STOP_WORDS, STYLES
from training.dataset import SIGMA_DATA, Dataset
from training.network import Denoiser, NetworkSettings
from training.prepare import read_json
from training.sampling import SIGMA_MAX, SIGMA_MIN

OPSET = 17
SMALLEST_QUANTISED = 2048
"""Tensors of fewer values stay float32: they weigh little and biases need the precision."""

TEXT_OUTPUTS = ("context", "pooled", "mask")
_SIDES = {name: {2: "height", 3: "width"} for name in ("x", "denoised")}


class _UNetGraph(nn.Module):
    """The part of the denoiser that runs once a step."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(
        self, x: Tensor, sigma: Tensor, context: Tensor, pooled: Tensor, mask: Tensor
    ) -> Tensor:
        return self.denoiser.denoise(x, sigma, context, pooled, mask)


def write_graph(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    names: tuple[str, ...],
    path: Path,
    outputs: int,
) -> None:
    """Write *module* as ONNX; *names* are the inputs, then the last *outputs* of them."""
    torch.onnx.export(
        module.eval(),
        arguments,
        str(path),
        input_names=names[:-outputs],
        output_names=names[-outputs:],
        dynamic_axes={name: {0: "batch"} | _SIDES.get(name, {}) for name in names},
        opset_version=OPSET,
        dynamo=False,
    )


def quantise(source: Path, target: Path) -> None:
    """Store the large weights of *source* as int8 with one scale per output channel."""
    model = onnx.load(str(source))
    graph = model.graph
    users = {name: node for node in graph.node for name in node.input}
    kept, restored = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        axis = _channel_axis(users.get(tensor.name), values)
        if axis is None:
            kept.append(tensor)
            continue
        integers, scale = to_int8(values, axis)
        parts: dict[str, NDArray[Any]] = {
            "_int8": integers,
            "_scale": scale,
            "_zero": np.zeros(scale.shape, np.int8),
        }
        kept += [numpy_helper.from_array(part, tensor.name + end) for end, part in parts.items()]
        restored.append(
            helper.make_node(
                "DequantizeLinear", [tensor.name + end for end in parts], [tensor.name], axis=axis
            )
        )
    nodes = [*restored, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def to_int8(values: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return *values* in 255 even steps per index of *axis*, and the steps' widths."""
    others = tuple(number for number in range(values.ndim) if number != axis)
    scale = np.maximum(np.abs(values).max(others), 1e-8).astype(np.float32) / np.float32(127)
    shape = [1] * values.ndim
    shape[axis] = -1
    integers = np.clip(np.round(values / scale.reshape(shape)), -127, 127)
    return integers.astype(np.int8), scale


def _channel_axis(node: Any, values: NDArray[Any]) -> int | None:
    """Return the axis of output channels, None where the tensor should stay as it is."""
    if node is None or values.dtype != np.float32 or values.size < SMALLEST_QUANTISED:
        return None
    if node.op_type == "MatMul":
        return values.ndim - 1
    if node.op_type == "Gemm":
        transposed = any(item.name == "transB" and item.i for item in node.attribute)
        return 0 if transposed else 1
    return 0 if node.op_type in ("Conv", "Gather") else None


def open_graph(path: Path) -> onnxruntime.InferenceSession:
    """Load a graph to run on one CPU thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def load_average(run: Path) -> tuple[Denoiser, Mapping[str, Any]]:
    """Return the run's averaged model, and the checkpoint's facts."""
    state: dict[str, Any] = torch.load(run / "checkpoint.pt", weights_only=True)
    settings = {**state["network"], "channels": tuple(state["network"]["channels"])}
    model = Denoiser(NetworkSettings(**settings))
    model.load_state_dict(state["average"])
    return model.eval(), {name: state[name] for name in ("steps", "seen", "cpu_seconds")}


def write_graphs(model: Denoiser, out: Path) -> dict[str, float]:
    """Write both graphs, float32 and int8, and compare them with torch.

    Returns:
        Largest difference of the float32 graph (``float32_max``), root mean square difference
        of the int8 graph (``int8_rms``) and the output's own deviation (``output_std``).
    """
    out.mkdir(parents=True, exist_ok=True)
    settings = model.settings
    chance = torch.Generator().manual_seed(0)
    tokens = torch.randint(2, settings.vocabulary, (2, MAX_TOKENS), generator=chance)
    tokens[:, 0], tokens[1, 1:] = BEGIN, PADDING
    side = settings.image_size
    noisy = torch.randn(2, 3, side, side, generator=chance) * 2
    sigma = torch.tensor([1.5, 1.5])
    with torch.no_grad():
        encoded = model.text(tokens)
        expected = model.denoise(noisy, sigma, *encoded).numpy()

    full = {name: out / f"{name}.float32.onnx" for name in ("text", "unet")}
    small = {name: out / f"{name}.onnx" for name in ("text", "unet")}
    write_graph(model.text, (tokens,), ("tokens", *TEXT_OUTPUTS), full["text"], outputs=3)
    names = ("x", "sigma", *TEXT_OUTPUTS, "denoised")
    write_graph(_UNetGraph(model), (noisy, sigma, *encoded), names, full["unet"], outputs=1)

    def run(paths: Mapping[str, Path]) -> NDArray[np.float32]:
        captions = open_graph(paths["text"]).run(TEXT_OUTPUTS, {"tokens": tokens.numpy()})
        feed = {"x": noisy.numpy(), "sigma": sigma.numpy()}
        feed.update(zip(TEXT_OUTPUTS, captions, strict=True))
        result: NDArray[np.float32] = open_graph(paths["unet"]).run(["denoised"], feed)[0]
        return result

    for name, path in full.items():
        quantise(path, small[name])
    parity = {
        "float32_max": float(np.abs(run(full) - expected).max()),
        "int8_rms": float(np.sqrt(np.mean((run(small) - expected) ** 2))),
        "output_std": float(expected.std()),
    }
    for path in full.values():
        path.unlink()
    return parity


def final_loss(run: Path, lines: int = 20) -> float:
    """Return the mean of the last *lines* logged losses."""
    log = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()[-lines:]
    return math.fsum(json.loads(line)["loss"] for line in log) / len(log)


def model_facts(dataset: Dataset, run: Path, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``model.json`` says: all that a program needs to use the graphs."""
    settings = read_json(run / "settings.json")["training"]
    styles: dict[str, list[str]] = {concept.name: [] for concept in dataset.concepts}
    for entry in dataset.entries:
        styles[str(entry["concept"])].append(str(entry["style"]))
    return {
        "name": f"emoji-{dataset.image_size}",
        "image_size": dataset.image_size,
        "largest_side": 2 * dataset.image_size,
        "mean": dataset.normalisation.mean,
        "std": dataset.normalisation.std,
        "sigma_data": SIGMA_DATA,
        "sigma_min": SIGMA_MIN,
        "sigma_max": SIGMA_MAX,
        "max_tokens": MAX_TOKENS,
        "padding": PADDING,
        "begin": BEGIN,
        "stop_words": sorted(STOP_WORDS),
        "vocabulary": dataset.vocabulary.words,
        "colours": COLOURS,
        "styles": STYLES,
        "backgrounds": tuple(BACKGROUNDS),
        "concepts": [
            {**asdict(concept), "styles": styles[concept.name]} for concept in dataset.concepts
        ],
        "training": {
            "seed": settings["seed"],
            "samples": checkpoint["seen"],
            "samples_per_cycle": settings["samples"],
            "cpu_seconds": round(checkpoint["cpu_seconds"]),
            "final_loss": round(final_loss(run), 4),
        },
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Prepared folder.")
    parser.add_argument("--run", type=Path, required=True, help="Folder of the run.")
    parser.add_argument("--out", type=Path, required=True, help="Where to write.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, checkpoint = load_average(arguments.run)
    parity = write_graphs(model, arguments.out)
    facts = model_facts(Dataset(arguments.data), arguments.run, checkpoint)
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    (arguments.out / "model.json").write_text(text + "\n", encoding="utf-8")
    print(json.dumps({"parity": parity, "training": facts["training"]}, indent=1))
    for path in sorted(arguments.out.iterdir()):
        print(f"{path.stat().st_size:>10} {path.name}")


if __name__ == "__main__":
    main()
