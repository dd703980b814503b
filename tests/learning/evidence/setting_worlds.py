"""Worlds that differ in which settings pictures have, how many, and how they were drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from learning.evidence.simulated_archive import CUTS, Album, SimulatedArchive

__all__ = [
    "DESIGN", "TASTE", "Worth", "by_chance", "draw_interaction", "epochs", "few", "heavy_user",
    "learn_plan", "many_knobs", "once_per_prompt", "planted_interaction", "scattered",
    "strong_guidance", "thirty_knobs", "unbalanced", "words",
]  # fmt: skip

Chance = np.random.Generator
Worth = Mapping[str, Mapping[Any, float]]

DESIGN: Mapping[str, Sequence[Any]] = {
    "sampler": ["Euler a", "DPM++ 2M", "DDIM"],
    "steps": [8.0, 16.0, 30.0],
    "cfg_scale": [3.0, 6.0, 9.0],
    "vae": ["a", "b"],
}
TASTE: Worth = {
    "sampler": {"Euler a": 0, "DPM++ 2M": 0.5, "DDIM": -0.2},
    "steps": {8.0: -0.6, 16.0: 0, 30.0: 0.1},
    "cfg_scale": {3.0: -0.3, 6.0: 0, 9.0: -0.5},
}
NOTHING: Worth = {}


def by_chance(
    chance: Chance,
    pictures: int,
    prompts: int,
    design: Mapping[str, Sequence[Any]],
    shares: Mapping[str, NDArray[np.float64]] | None = None,
) -> Album:
    """Return pictures with settings by chance, each with a seed of its own."""
    columns: dict[str, list[Any]] = {
        "prompt": [f"subject {prompt}" for prompt in chance.integers(prompts, size=pictures)],
        "seed": list(range(pictures)),
    }
    for knob, values in design.items():
        drawn = chance.choice(len(values), size=pictures, p=(shares or {}).get(knob))
        columns[knob] = [values[place] for place in drawn]
    return Album(chance, columns)


def scattered(
    chance: Chance,
    pictures: int,
    prompts: int,
    worth: Worth = NOTHING,
    *,
    design: Mapping[str, Sequence[Any]] = DESIGN,
    luck: float = 0.6,
    shares: Mapping[str, NDArray[np.float64]] | None = None,
) -> Album:
    """Return :func:`by_chance` with tastes, not settled yet."""
    album = by_chance(chance, pictures, prompts, design, shares)
    album.by_chance(album.columns["prompt"], spread=0.6)
    if luck:
        album.luck(luck)
    for knob in design:
        album.knob(knob, worth.get(knob, {}))
    return album


def few(
    chance: Chance,
    pictures: int,
    prompts: int,
    worth: Worth = TASTE,
    *,
    cuts: Sequence[float] = CUTS,
    heavy_noise: bool = False,
    heavy_luck: bool = False,
    lowest: int = 1,
) -> SimulatedArchive:
    """Return four knobs by chance, rated once by one person in chance order."""
    album = scattered(chance, pictures, prompts, worth, luck=0.0 if heavy_luck else 0.6)
    if heavy_luck:
        album.luck(own=0.45 * chance.standard_t(2, pictures))
    album.settle()

    def noise(count: int) -> NDArray[np.float64]:
        return 0.45 * chance.standard_t(1.5, count)

    album.stars(
        chance.permutation(pictures), cuts=cuts, noise=noise if heavy_noise else None, lowest=lowest
    )
    return album.archive()


def many_knobs(
    chance: Chance, knobs: int, pictures: int = 200, prompts: int = 60
) -> SimulatedArchive:
    """Return knobs of five values by chance, of which none matters."""
    design = {f"k{knob}": [f"v{value}" for value in range(5)] for knob in range(knobs)}
    album = scattered(chance, pictures, prompts, design=design)
    album.settle()
    album.stars(chance.permutation(pictures))
    return album.archive()


def thirty_knobs(chance: Chance, worth: Worth = NOTHING) -> SimulatedArchive:
    """Return 30 knobs of four to ten values, 300 pictures of 40 prompts."""
    texts = ("sampler", "scheduler", "vae", "upscaler", "model", "negative_prompt",
             "hires_upscaler")  # fmt: skip
    numbers = ("steps", "cfg_scale", "eta", "clip_skip", "width", "height", "denoising_strength",
               "hires_scale", "hires_steps", "hires_denoising_strength", "scale")  # fmt: skip
    design: dict[str, Sequence[Any]] = {k: [f"{k}{v}" for v in range(10)] for k in texts}
    design |= {knob: [float(value + 1) for value in range(5)] for knob in numbers}
    design |= {f"x{knob}": [float(value) for value in range(4)] for knob in range(12)}
    album = scattered(chance, 300, 40, worth, design=design)
    album.settle()
    album.stars(chance.permutation(300))
    return album.archive()


def _zipf(chance: Chance, values: Sequence[Any], size: int) -> list[Any]:
    share = 1 / np.arange(1, len(values) + 1) ** 0.8
    return [values[place] for place in chance.choice(len(values), size=size, p=share / share.sum())]


def heavy_user(chance: Chance, pictures: int, worth: Worth = NOTHING) -> SimulatedArchive:
    """Return a heavy user's pictures: many models, negatives, LoRAs and words, used unevenly."""
    prompts = pictures // 3
    has = chance.random((prompts, 25)) < 0.2
    texts = [
        ", ".join([f"subject {prompt}", *(f"word{word}" for word in np.flatnonzero(own))])
        for prompt, own in enumerate(has)
    ]
    own_prompt = chance.integers(prompts, size=pictures)
    tagged = [
        texts[prompt]
        + "".join(
            f" <lora:L{lora}:{chance.choice([0.5, 0.7, 1.0])}>"
            for lora in range(15)
            if chance.random() < 0.1
        )
        for prompt in own_prompt
    ]
    design: dict[str, Sequence[Any]] = {
        "model": [f"m{place}" for place in range(12)],
        "sampler": [f"s{place}" for place in range(10)],
        "scheduler": [f"c{place}" for place in range(4)],
        "steps": [20.0 + 5 * place for place in range(6)],
        "cfg_scale": [7.0 + place for place in range(7)],
        "width": [512.0 + 128 * place for place in range(3)],
        "negative_prompt": [f"neg {place}" for place in range(12)],
        "clip_skip": [1.0, 2.0],
        "vae": [f"v{place}" for place in range(3)],
    }
    seeds = [int(seed) for seed in chance.integers(10**9, size=pictures)]
    columns = {knob: _zipf(chance, values, pictures) for knob, values in design.items()}
    album = Album(chance, {"prompt": tagged, "seed": seeds, **columns})
    album.by_chance([str(prompt) for prompt in own_prompt], spread=0.5)
    album.luck(0.8)
    for knob in design:
        album.knob(knob, worth.get(knob, {}))
    album.settle()
    album.stars(chance.permutation(pictures))
    return album.archive()


def words(chance: Chance, worth: float = 0.0) -> SimulatedArchive:
    """Return 60 prompts, each with a third of 20 words; the subject matters, and word0 may."""
    pictures, prompts = 300, 60
    has = chance.random((prompts, 20)) < 0.3
    texts = [
        ", ".join([f"subject {prompt}", *(f"word{word}" for word in np.flatnonzero(own))])
        for prompt, own in enumerate(has)
    ]
    own_prompt = chance.integers(prompts, size=pictures)
    weights = chance.choice([0, 0, 0.6, 0.8, 1.0], pictures)
    tags = [f" <lora:ink:{weight:g}>" if weight else "" for weight in weights]
    columns = {
        "prompt": [texts[prompt] + tag for prompt, tag in zip(own_prompt, tags, strict=True)],
        "seed": list(range(pictures)),
        "sampler": [str(name) for name in chance.choice(["a", "b", "c"], pictures)],
    }
    album = Album(chance, columns)
    album.by_chance([str(prompt) for prompt in own_prompt], spread=0.9)
    album.luck(0.4)
    with_it = ["with" if has[prompt, 0] else "without" for prompt in own_prompt]
    album.knob("term:word0", {"with": worth}, with_it)
    album.settle()
    album.stars(chance.permutation(pictures))
    return album.archive()


def unbalanced(chance: Chance, worth: Worth = NOTHING) -> SimulatedArchive:
    """Return 400 pictures of which most have the usual value of each knob; 30 models."""
    design: dict[str, Sequence[Any]] = {
        "sampler": ["Euler a", *(f"s{place}" for place in range(9))],
        "model": [f"m{place}" for place in range(30)],
        "cfg_scale": [7.0, 5.0, 9.0],
    }
    shares = {
        "sampler": np.array([0.7, *[0.3 / 9] * 9]),
        "model": np.array([0.5, *[0.5 / 29] * 29]),
        "cfg_scale": np.array([0.9, 0.05, 0.05]),
    }
    album = scattered(chance, 400, 50, worth, design=design, shares=shares)
    album.settle()
    album.stars(chance.permutation(400))
    return album.archive()


def planted_interaction(chance: Chance, models: int) -> SimulatedArchive:
    """Return 600 pictures in which one of the *models* wants another guidance than the rest."""
    names = [f"m{place}" for place in range(models)]
    design: dict[str, Sequence[Any]] = {"model": names, "cfg_scale": [4.0, 8.0], "vae": ["a", "b"]}
    album = scattered(chance, 600, 40, {"cfg_scale": {8.0: 2.0 / models}}, design=design)
    one = np.array([name == "m1" for name in album.columns["model"]]) - 1 / models
    strong = np.array(album.columns["cfg_scale"]) / 8 - 0.75
    album.known(4 * one * strong)
    album.settle()
    album.stars(chance.permutation(600))
    return album.archive(planted=[("model", "cfg_scale")])


def strong_guidance(chance: Chance) -> SimulatedArchive:
    """Return 300 pictures in which the strongest of five guidances is one sampler's only.

    The other four are alike, with either.
    """
    design: dict[str, Sequence[Any]] = {
        "sampler": ["a", "b"], "cfg_scale": [4.0, 5.0, 6.0, 7.0, 12.0], "model": ["x", "y", "z"],
    }  # fmt: skip
    album = scattered(chance, 300, 40, design=design)
    strong = np.array(album.columns["cfg_scale"]) == 12
    album.known(np.where(np.array(album.columns["sampler"]) == "a", 2.0, -1.0) * strong)
    album.settle()
    album.stars(chance.permutation(300))
    return album.archive(
        truth={"sampler": None, "cfg_scale": None}, planted=[("sampler", "cfg_scale")]
    )


def learn_plan(
    chance: Chance,
    prompts: int,
    taste: float = 0.0,
    draw_taste: float = 0.0,
    *,
    of_these: bool = False,
) -> SimulatedArchive:
    """Return what ``learn`` draws: prompts and two seeds with the full grid of three knobs.

    Args:
        chance: Where chance comes from.
        prompts: How many.
        taste: Spread of what a sampler is worth from prompt to prompt; half of it for guidance.
        draw_taste: Spread of what a sampler is worth from seed to seed.
        of_these: The truth is of these prompts and seeds; of new ones otherwise.
    """
    rows = [
        (f"subject {prompt}", seed, sampler, cfg, steps)
        for prompt in range(prompts)
        for seed in (1, 2)
        for sampler in ("Euler a", "DPM++ 2M", "DDIM")
        for cfg in (3.0, 5.0, 7.0, 9.0)
        for steps in (20.0, 30.0)
    ]
    names = ("prompt", "seed", "sampler", "cfg_scale", "steps")
    of = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    album = Album(chance, of)
    album.by_chance(of["prompt"], spread=0.6)
    album.by_chance(of["prompt"], of["seed"], spread=0.4)
    for knob, groups, spread in (
        ("sampler", ["prompt"], taste),
        ("cfg_scale", ["prompt"], taste / 2),
        ("sampler", ["prompt", "seed"], draw_taste),
    ):
        album.by_chance(*(of[name] for name in (*groups, knob)), spread=spread, fixed=of_these)
    album.luck(0.35)
    for knob in ("sampler", "cfg_scale") if of_these else ():
        album.knob_of_fixed(knob)
    album.settle()
    album.stars(chance.permutation(len(rows)))
    return album.archive()


def draw_interaction(chance: Chance) -> SimulatedArchive:
    """Return 240 pictures by chance of 3 prompts and 4 seeds, used again and again.

    What a setting is worth differs from draw to draw, and is nothing on average.
    """
    album = by_chance(chance, 240, 3, DESIGN)
    of = album.columns
    of["seed"] = [int(seed) for seed in chance.integers(4, size=240)]
    album.by_chance(of["prompt"], spread=0.5)
    album.by_chance(of["prompt"], of["seed"], spread=0.4)
    for knob in DESIGN:
        album.by_chance(of["prompt"], of["seed"], of[knob], spread=0.4)
    album.luck(0.35)
    album.settle()
    album.stars(chance.permutation(240))
    return album.archive()


def once_per_prompt(chance: Chance, worth: float = 0.0) -> SimulatedArchive:
    """Return 30 prompts of which each has one picture with ``final`` and five with other samplers.

    What a sampler is worth differs a little from prompt to prompt.
    """
    rows = [
        (f"subject {prompt}", sampler)
        for prompt in range(30)
        for sampler in ("final", *chance.choice(["Euler a", "DDIM"], 5))
    ]
    columns: dict[str, list[Any]] = {
        "prompt": [prompt for prompt, _ in rows],
        "seed": list(range(len(rows))),
        "sampler": [str(sampler) for _, sampler in rows],
        "cfg_scale": [float(cfg) for cfg in chance.choice([5, 7, 9], len(rows))],
    }
    album = Album(chance, columns)
    album.by_chance(columns["prompt"], spread=0.6)
    album.by_chance(columns["prompt"], columns["sampler"], spread=0.3)
    album.luck(0.5)
    album.knob("sampler", {"final": worth})
    album.settle()
    album.stars(chance.permutation(len(rows)))
    return album.archive()


def epochs(chance: Chance, best: float = 0.0) -> SimulatedArchive:
    """Return a training's eight epochs, of 8 prompts and 2 seeds, the sixth maybe better."""
    names = [f"style-{epoch:06d}" for epoch in range(2, 18, 2)]
    rows = [(prompt, seed, name) for prompt in range(8) for seed in (1, 2) for name in names]
    columns: dict[str, list[Any]] = {
        "prompt": [f"subject {prompt} <lora:{name}:0.8>" for prompt, _, name in rows],
        "seed": [seed for _, seed, _ in rows],
        "sampler": [str(name) for name in chance.choice(["Euler a", "DDIM"], len(rows))],
    }
    album = Album(chance, columns)
    album.by_chance([prompt for prompt, _, _ in rows], spread=0.6)
    album.by_chance([(prompt, seed) for prompt, seed, _ in rows], spread=0.4)
    album.luck(0.5)
    used = [name for _, _, name in rows]
    album.knob("lora.style", {names[5]: best}, used)
    album.settle()
    album.stars(chance.permutation(len(rows)))
    return album.archive()


def few_epochs(
    chance: Chance,
    *,
    prompts: int,
    states: int,
    by: Literal["stars", "picks", "both"],
    seeds: int = 1,
    best: float = 0.0,
    own_seeds: bool = False,
    against_first: bool = False,
) -> SimulatedArchive:
    """Return samples of a training as trainers draw them, judged in a blind order.

    Args:
        chance: Where all chance comes from.
        prompts: How many.
        states: Epochs.
        by: Stars of all pictures; picks of pairs of one prompt and seed (of one prompt, where no
            two share a seed), at most three for each picture; or stars and a pick for each picture.
        seeds: Of each prompt, the same for all epochs.
        best: What the epoch in the middle is worth more than the others.
        own_seeds: No two pictures share a seed.
        against_first: Picks are between the first epoch and each other.
    """
    rows = [(p, s, e) for p in range(prompts) for s in range(seeds) for e in range(states)]
    alike = 1 if own_seeds else 2
    names = [f"epoch {epoch:02d}" for epoch in range(states)]
    drawn = range(len(rows)) if own_seeds else [prompts * seed + prompt for prompt, seed, _ in rows]
    columns: dict[str, list[Any]] = {
        "prompt": [f"subject {prompt}" for prompt, *_ in rows],
        "seed": list(drawn),
        "epoch": [names[epoch] for *_, epoch in rows],
    }
    album = Album(chance, columns)
    album.by_chance(columns["prompt"], spread=0.6)
    if seeds > 1:
        album.by_chance(columns["prompt"], columns["seed"], spread=0.4)
    album.luck(0.5)
    album.knob("epoch", {names[states // 2]: best})
    album.settle()
    if by != "picks":
        album.stars(chance.permutation(len(rows)))
    if by != "stars":
        pairs = [
            (first, other)
            for first, other in combinations(range(len(rows)), 2)
            if rows[first][:alike] == rows[other][:alike] and not (against_first and rows[first][2])
        ]
        most = len(rows) * (1 if by == "both" else 3)
        shown = [pairs[place] for place in chance.permutation(len(pairs))[:most]]
        album.picks(pair[::-1] if chance.random() < 0.5 else pair for pair in shown)
    return album.archive()
