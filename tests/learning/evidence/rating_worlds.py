"""Worlds that differ in who rates, in which order, and how."""

from __future__ import annotations

from typing import Any

import numpy as np

from learning.evidence.setting_worlds import DESIGN, TASTE, Worth, by_chance, scattered
from learning.evidence.simulated_archive import Album, SimulatedArchive

__all__ = [
    "best_first", "constant_stars", "duplicates", "favourites_only", "flags_only",
    "folder_by_folder", "moods_of_sittings", "raters_by_model", "raters_of_halves", "selected",
    "sweep_in_order", "ten_looks", "tired_in_sittings",
]  # fmt: skip

Chance = np.random.Generator


def _two_models(chance: Chance, effect: float) -> Album:
    """Return a sweep: two models, two samplers, 12 prompts, 2 seeds; model X comes first."""
    rows = [
        (model, sampler, f"subject {prompt}", seed)
        for model in "XY"
        for sampler in ("Euler", "DDIM")
        for prompt in range(12)
        for seed in range(2)
    ]
    names = ("model", "sampler", "prompt", "seed")
    album = Album(chance, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    album.by_chance(album.columns["prompt"], spread=0.6)
    album.by_chance(album.columns["prompt"], album.columns["seed"], spread=0.3)
    album.luck(0.5)
    album.knob("model", {"Y": effect})
    album.knob("sampler", {})
    album.settle()
    return album


def sweep_in_order(
    chance: Chance, *, effect: float = 0.8, drift: float = 0.0, in_order: bool = True
) -> SimulatedArchive:
    """Return a sweep over two models, rated model by model or in chance order."""
    album = _two_models(chance, effect)
    order = np.arange(len(album)) if in_order else chance.permutation(len(album))
    album.stars(order, drift=drift)
    return album.archive(untold={"model": "order"} if in_order else {})


def moods_of_sittings(chance: Chance, effect: float = 0.0) -> SimulatedArchive:
    """Return the same sweep, rated in six sittings of mostly one model; each has its mood."""
    album = _two_models(chance, effect)
    model = np.array(album.columns["model"])
    mostly = np.where(chance.random(len(album)) < 0.8, model == "X", model == "Y")
    sitting = 2 * chance.integers(3, size=len(album)) + mostly
    for number, mood in enumerate(chance.normal(0, 0.6, 6)):
        album.stars(chance.permutation(np.flatnonzero(sitting == number)), shift=mood)
        album.pause()
    return album.archive()


def tired_in_sittings(chance: Chance) -> SimulatedArchive:
    """Return 300 pictures rated in six sittings: model X first in each, and ever more strictly."""
    album = scattered(chance, 300, 40)
    album.columns["model"] = [str(name) for name in chance.choice(["X", "Y"], 300)]
    album.settle()
    late = np.array(album.columns["model"]) == "Y"
    for rows in np.array_split(chance.permutation(300), 6):
        album.stars(rows[np.argsort(late[rows] + chance.normal(0, 0.5, 50))], drift=0.7)
        album.pause()
    return album.archive()


def raters_by_model(chance: Chance) -> SimulatedArchive:
    """Return the same sweep; Ann rates model X, and Bob, who is as strict, model Y."""
    album = _two_models(chance, 0.8)
    half = len(album) // 2
    album.stars(chance.permutation(half), rater="ann")
    album.stars(half + chance.permutation(half), rater="bob")
    return album.archive(untold={"model": "rater"})


def raters_of_halves(chance: Chance, worth: Worth = TASTE) -> SimulatedArchive:
    """Return 240 pictures; two raters, one strict and one kind, rate a half each, by chance."""
    album = scattered(chance, 240, 30, worth)
    album.settle()
    order = chance.permutation(240)
    album.stars(order[:120], rater="ann", shift=0.7, scale=1)
    album.stars(order[120:], rater="bob", shift=-0.7, scale=2)
    return album.archive()


def folder_by_folder(chance: Chance, folders: int, effect: float = 0.0) -> SimulatedArchive:
    """Return folders of one model each, rated one after the other; each went well or not.

    With two of them nobody can tell the model from its folder; with more, chance has been at work
    as often as there are folders.
    """
    each = 320 // folders
    number = np.repeat(np.arange(folders), each)
    model = np.where(number % 2 == 0, "X", "Y")
    columns: dict[str, list[Any]] = {
        "folder": [f"day {folder}" for folder in number],
        "prompt": [f"subject {prompt}" for prompt in chance.integers(40, size=len(number))],
        "seed": list(range(len(number))),
        "model": [str(name) for name in model],
        "sampler": [str(name) for name in chance.choice(["Euler a", "DDIM"], len(number))],
    }
    album = Album(chance, columns)
    album.by_chance(columns["prompt"], spread=0.5)
    album.by_chance(columns["folder"], spread=0.5)
    album.luck()
    album.knob("model", {"Y": effect})
    album.knob("sampler", {})
    album.settle()
    album.stars(np.arange(len(number)))
    return album.archive(untold={"model": "folder"} if folders == 2 else {})


def selected(chance: Chance) -> SimulatedArchive:
    """Return 1,200 pictures of which only the fifth that is liked at first sight is rated."""
    album = scattered(chance, 1_200, 60, TASTE)
    feel = album.raw / album.raw.std() + chance.normal(0, 0.3, 1_200)
    rated = np.flatnonzero(feel >= np.quantile(feel, 0.8))
    album.settle(rated)
    album.stars(chance.permutation(rated), cuts=(-2.2, -1.5, -0.3, 0.9))
    return album.archive()


def favourites_only(chance: Chance) -> SimulatedArchive:
    """Return 600 pictures of which the best are called favourites, and nothing else is said."""
    album = scattered(chance, 600, 60, TASTE)
    album.settle()
    felt = album.scores + chance.normal(0, 0.4, 600)
    album.flags(np.flatnonzero(felt > 1.2), "favourite")
    return album.archive()


def flags_only(chance: Chance) -> SimulatedArchive:
    """Return 400 pictures: the best fifth favourites, a third rejects, nothing of the rest.

    The truth is in units of the spread of all 400.
    """
    album = scattered(chance, 400, 60, TASTE)
    album.settle()
    felt = album.scores + chance.logistic(0, 1 / 2.4, 400)
    album.flags(np.flatnonzero(felt > np.quantile(felt, 0.8)), "favourite")
    album.flags(np.flatnonzero(felt < np.quantile(felt, 0.35)), "reject")
    return album.archive()


def best_first(chance: Chance) -> SimulatedArchive:
    """Return 200 pictures: all that earn five stars are given them, then those of four, and on."""
    album = scattered(chance, 200, 30, TASTE)
    album.settle()
    error = chance.logistic(0, 1 / 2.4, 200)
    order = np.argsort(-album.scores - error)
    album.stars(order, noise=lambda _: error[order])
    return album.archive()


def constant_stars(chance: Chance) -> SimulatedArchive:
    """Return 150 pictures that all have three stars."""
    album = scattered(chance, 150, 20, TASTE)
    album.settle()
    album.stars(chance.permutation(150), cuts=(), lowest=3)
    return album.archive()


def duplicates(chance: Chance, worth: Worth = TASTE) -> SimulatedArchive:
    """Return 120 pictures, each twice under two hashes, and rated twice."""
    once = by_chance(chance, 120, 20, DESIGN).columns
    of = {name: values * 2 for name, values in once.items() if name != "sha256"}
    album = Album(chance, of)
    album.by_chance(of["prompt"], spread=0.6)
    album.by_chance(of["seed"], spread=0.6)
    for knob in DESIGN:
        album.knob(knob, worth.get(knob, {}))
    album.settle()
    album.stars(chance.permutation(240))
    return album.archive()


def ten_looks(chance: Chance) -> SimulatedArchive:
    """Return 400 pictures of which nothing matters; somebody looks after every 40 ratings."""
    album = scattered(chance, 400, 30)
    album.settle()
    album.stars(chance.permutation(400))
    return album.archive(looks=range(40, 401, 40))
