"""Worlds without a design: archives that grew, in which time, prompts and habits went together."""

from __future__ import annotations

from typing import Any

import numpy as np

from learning.evidence.setting_worlds import TASTE, scattered
from learning.evidence.simulated_archive import Album, SimulatedArchive, stamp

__all__ = [
    "children", "everything", "grown_archive", "months_of_models", "prompt_groups",
    "sampler_of_one_model",
]  # fmt: skip

Chance = np.random.Generator

_MONTH = 30 * 24 * 3600.0


def grown_archive(
    chance: Chance, *, skill: float = 0.8, effect: float = 0.0, in_order: bool = False
) -> SimulatedArchive:
    """Return 400 pictures of eight months: prompts get better by *skill*, and habits shift.

    Of the habits only the model may matter.
    """
    rows: list[tuple[int, int, str, str, float, float, float]] = []
    prompts = 0
    while len(rows) < 400:
        part = chance.random()
        for _ in range(1 + chance.integers(6)):
            new = chance.random() < np.clip(2 * part - 0.5, 0.05, 0.95)
            multistep = chance.random() < np.clip((part - 0.3) / 0.5, 0.1, 0.9)
            cfg = chance.choice([5, 7, 9], p=[0.2 + 0.4 * part, 0.5 - 0.1 * part, 0.3 - 0.3 * part])
            shares = [0.7 - 0.5 * part, 0.2 + 0.2 * part, 0.1 + 0.3 * part]
            steps = chance.choice([20, 28, 40], p=shares)
            rows.append(
                (prompts, int(chance.integers(10**9)), "new" if new else "old",
                 "DPM++ 2M" if multistep else "Euler a", float(cfg), float(steps), part)
            )  # fmt: skip
        prompts += 1
    rows = rows[:400]
    part_of = np.array([row[6] for row in rows])
    columns: dict[str, list[Any]] = {
        "prompt": [f"prompt {row[0]}" for row in rows],
        "timestamp": [stamp(8 * _MONTH * part) for part in part_of],
        **{
            name: [row[place] for row in rows]
            for place, name in enumerate(("seed", "model", "sampler", "cfg_scale", "steps"), 1)
        },
    }
    album = Album(chance, columns)
    album.by_chance(columns["prompt"], spread=0.5)
    album.known(skill * (2 * part_of - 1))
    album.luck()
    album.knob("model", {"new": effect})
    album.settle()
    album.stars(np.argsort(part_of) if in_order else chance.permutation(400))
    return album.archive()


def months_of_models(chance: Chance) -> SimulatedArchive:
    """Return eight months, the first four with one model and the others with another.

    Prompts get better by and by; models do not matter.
    """
    part = np.sort(chance.random(240))
    columns: dict[str, list[Any]] = {
        "prompt": [f"prompt {number // 3}" for number in range(240)],
        "seed": list(range(240)),
        "timestamp": [stamp(8 * _MONTH * moment) for moment in part],
        "model": ["new" if moment >= 0.5 else "old" for moment in part],
        "sampler": [str(name) for name in chance.choice(["Euler a", "DDIM"], 240)],
    }
    album = Album(chance, columns)
    album.by_chance(columns["prompt"], spread=0.5)
    album.known(0.8 * (2 * part - 1))
    album.luck()
    album.settle()
    album.stars(chance.permutation(240))
    return album.archive(untold={"model": "month"})


def prompt_groups(chance: Chance) -> SimulatedArchive:
    """Return portraits by model A and views by model B, 12 prompts each, not one in common.

    Portraits are liked better; models do not matter.
    """
    portrait = chance.random(120) < 0.5
    number = chance.integers(12, size=120)
    columns: dict[str, list[Any]] = {
        "prompt": [
            f"portrait of person number {n}" if own else f"wide view over valley {n}"
            for own, n in zip(portrait, number, strict=True)
        ],
        "seed": list(range(120)),
        "model": ["A" if own else "B" for own in portrait],
        "sampler": [str(name) for name in chance.choice(["Euler", "DDIM"], 120)],
    }
    album = Album(chance, columns)
    album.known(portrait.astype(np.float64))
    album.luck(0.55)
    album.settle()
    album.stars(chance.permutation(120))
    return album.archive(untold={"model": "prompt"})


def sampler_of_one_model(chance: Chance) -> SimulatedArchive:
    """Return 200 pictures in which one sampler was only ever used with one model."""
    album = scattered(chance, 200, 60, TASTE)
    model = ["X" if name == "DPM++ 2M" else "Y" for name in album.columns["sampler"]]
    album.columns["model"] = model
    album.settle()
    album.stars(chance.permutation(200))
    return album.archive(untold={"model": "sampler"})


def children(chance: Chance) -> SimulatedArchive:
    """Return 100 pictures of which each was drawn over twice: nearly as good, one seed by habit."""
    rows: list[tuple[int, int, int, str, str, float, float | None]] = []
    for parent in range(100):
        prompt = parent if parent < 20 else int(chance.integers(20))
        sampler, cfg = str(chance.choice(["Euler a", "DPM++ 2M"])), float(chance.choice([5, 7, 9]))
        seed = int(chance.integers(10**6))
        rows.append((parent, prompt, seed, "txt2img", sampler, cfg, None))
        for _ in range(2):
            strength = float(chance.choice([0.3, 0.5, 0.7]))
            rows.append((parent, prompt, 1, "img2img", sampler, cfg, strength))
    names = ("parent", "prompt", "seed", "stage", "sampler", "cfg_scale", "denoising_strength")
    of = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    parents = of.pop("parent")
    of["prompt"] = [f"subject {prompt}" for prompt in of["prompt"]]
    album = Album(chance, of)
    album.by_chance(of["prompt"], spread=0.5)
    album.by_chance(parents, spread=0.7)
    own = np.where([stage == "img2img" for stage in of["stage"]], chance.normal(0, 0.25, 300), 0.0)
    album.luck(own=own)
    album.settle()
    album.stars(chance.permutation(300))
    return album.archive()


_SUBJECTS = {
    "portrait": ("old sailor", "young queen", "smiling baker", "woman in rain", "knight",
                 "jazz singer", "fisherman", "astronaut"),
    "landscape": ("lighthouse at dusk", "mountain lake", "desert road", "pine forest",
                  "harbour town", "rice fields", "glacier", "canyon"),
}  # fmt: skip
_STYLES = ("film grain", "oil painting", "golden hour", "sharp focus", "muted colors", "8k",
           "volumetric light")  # fmt: skip
_PORTRAITS = 0.55
_MODELS = {"dreamA": (0.7, -0.3), "realB": (0.0, 0.6), "animeC": (-0.5, -0.5)}
"""Worth of a model for portraits and for landscapes."""


def everything(chance: Chance, *, matters: bool = True) -> SimulatedArchive:
    """Return a real person's 300 pictures: kinds of prompts, habits, skill, two raters, drift.

    Portraits want another model, guidance and LoRA than landscapes. What is true of a knob is its
    mean over both kinds, which nothing went with; what is true of a subject is no number.
    """
    rows: list[dict[str, Any]] = []
    while len(rows) < 300:
        rows += _series(chance)
    rows = sorted(rows[:300], key=lambda row: float(row["part"]))
    of = {name: [row[name] for row in rows] for name in rows[0]}
    hidden = {name: of.pop(name) for name in ("base", "part", "kind", "soft", "subject")}
    part = np.array(hidden["part"], np.float64)
    of["timestamp"] = [stamp(4 * _MONTH * moment) for moment in part]
    of["folder"] = [f"week {int(moment * 17)}" for moment in part]
    album = Album(chance, of)
    album.by_chance(hidden["base"], spread=0.4)
    album.known(0.4 * (2 * part - 1))
    album.luck()
    if matters:
        _person_of_two_tastes(album, hidden)
    album.settle()
    order = chance.permutation(300)
    album.stars(order[:200], rater="ann", cuts=(-1.2, -0.4, 0.5, 1.3), drift=0.2, scale=1)
    album.stars(order[150:], rater="bob", cuts=(-1.2, -0.4, 0.5, 1.3), shift=0.5, scale=2)
    subjects = {f"term:{subject}": None for subject in hidden["subject"]} if matters else {}
    return album.archive(truth=subjects, interacting=tuple(subjects))


def _series(chance: Chance) -> list[dict[str, Any]]:
    """Return one to six pictures of one prompt, of one day."""
    part = float(chance.random())
    kind = "portrait" if chance.random() < _PORTRAITS else "landscape"
    subject = f"{kind} of the {chance.choice(_SUBJECTS[kind])}"
    text = ", ".join([subject, *(style for style in _STYLES if chance.random() < 0.3)])
    base = str(chance.random())
    models = [0.3 + 0.4 * part, 0.5 - 0.3 * part, 0.2 - 0.1 * part]
    samplers = [0.1, 0.5 - 0.3 * part, 0.3 + 0.3 * part, 0.1]
    rows = []
    for _ in range(1 + chance.integers(6)):
        soft = float(chance.choice([0, 0.4, 0.6, 0.8, 1.0], p=[0.6, 0.1, 0.1, 0.15, 0.05]))
        detail = float(chance.choice([0, 0.5, 1], p=[0.8, 0.1, 0.1]))
        tags = f" <lora:soft:{soft:g}>" if soft else ""
        tags += f" <lora:detail:{detail:g}>" if detail else ""
        guidance = chance.choice([4, 5, 6, 7, 8, 10], p=[0.05, 0.15, 0.1, 0.5, 0.1, 0.1])
        sampler = chance.choice(["Euler", "Euler a", "DPM++ 2M", "DPM++ SDE"], p=samplers)
        rows.append(
            {
                "prompt": text + tags,
                "negative_prompt": "blurry, lowres" if chance.random() < 0.8 else "",
                "model": str(chance.choice(list(_MODELS), p=models)),
                "sampler": str(sampler),
                "cfg_scale": float(guidance),
                "steps": float(chance.choice([20, 25, 30, 40], p=[0.4, 0.2, 0.3, 0.1])),
                "height": float(chance.choice([512, 768])),
                "seed": int(chance.integers(10**9)),
                "base": base, "part": part, "kind": kind, "soft": soft, "subject": subject,
            }
        )  # fmt: skip
    return rows


def _person_of_two_tastes(album: Album, hidden: dict[str, list[Any]]) -> None:
    """Add what settings are worth: their mean over both kinds as knobs, the rest as known."""
    portrait = np.array([kind == "portrait" for kind in hidden["kind"]])
    tastes: dict[str, tuple[list[Any], dict[Any, tuple[float, float]]]] = {
        "model": (album.columns["model"], dict(_MODELS)),
        "cfg_scale": (
            album.columns["cfg_scale"],
            {
                cfg: (-0.025 * (cfg - 5) ** 2, -0.025 * (cfg - 7.5) ** 2)
                for cfg in set(album.columns["cfg_scale"])
            },
        ),
        "lora.soft": (
            hidden["soft"],
            {
                weight: (0.6 - 1.5 * abs(weight - 0.6) if weight else 0.0, -0.4 * weight)
                for weight in set(hidden["soft"])
            },
        ),
    }
    for knob, (values, worth) in tastes.items():
        mean = {
            value: _PORTRAITS * ours + (1 - _PORTRAITS) * theirs
            for value, (ours, theirs) in worth.items()
        }
        album.knob(knob, mean, values)
        own = [worth[v][0 if p else 1] - mean[v] for v, p in zip(values, portrait, strict=True)]
        album.known(np.array(own))
    album.knob("sampler", {"Euler": -0.3})
