"""All simulated worlds by name; each archive is decided by its world's name and its number."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from learning.evidence import archive_worlds as archives
from learning.evidence import rating_worlds as ratings
from learning.evidence import setting_worlds as settings
from learning.evidence.simulated_archive import SimulatedArchive

__all__ = ["WORLDS", "archive_of"]

World = Callable[[np.random.Generator], SimulatedArchive]

_HARD_TO_PLEASE = (-2.6, -2.0, -1.3, 0.0)

WORLDS: Mapping[str, World] = {
    "rich_150_null": partial(settings.heavy_user, pictures=150),
    "rich_150_one": partial(settings.heavy_user, pictures=150, worth={"sampler": {"s1": 0.8}}),
    "rich_400_null": partial(settings.heavy_user, pictures=400),
    "rich_400_one": partial(settings.heavy_user, pictures=400, worth={"sampler": {"s1": 0.8}}),
    "knobs_5_null": partial(settings.many_knobs, knobs=5),
    "knobs_10_null": partial(settings.many_knobs, knobs=10),
    "knobs_20_null": partial(settings.many_knobs, knobs=20),
    "knobs_30_null": partial(settings.many_knobs, knobs=30),
    "knobs_30_uneven_null": settings.thirty_knobs,
    "knobs_30_uneven_two": partial(
        settings.thirty_knobs, worth={"sampler": {"sampler3": 1.2}, "steps": {5.0: 0.8}}
    ),
    "wide_20_prompts_null": partial(settings.many_knobs, knobs=30, pictures=300, prompts=20),
    "terms_null": settings.words,
    "terms_one": partial(settings.words, worth=0.8),
    "in_order": ratings.sweep_in_order,
    "in_order_null": partial(ratings.sweep_in_order, effect=0.0),
    "in_order_drift_null": partial(ratings.sweep_in_order, effect=0.0, drift=0.6),
    "order_by_chance": partial(ratings.sweep_in_order, in_order=False),
    "order_by_chance_drift": partial(ratings.sweep_in_order, drift=0.6, in_order=False),
    "moods_of_sittings_null": ratings.moods_of_sittings,
    "moods_of_sittings": partial(ratings.moods_of_sittings, effect=0.8),
    "tired_in_sittings_null": ratings.tired_in_sittings,
    "raters_by_model": ratings.raters_by_model,
    "raters_of_halves": ratings.raters_of_halves,
    "raters_of_halves_null": partial(ratings.raters_of_halves, worth={}),
    "folders_2_null": partial(ratings.folder_by_folder, folders=2),
    "folders_16_null": partial(ratings.folder_by_folder, folders=16),
    "folders_16_one": partial(ratings.folder_by_folder, folders=16, effect=0.8),
    "archive_skill_null": archives.grown_archive,
    "archive_skill_in_order_null": partial(archives.grown_archive, in_order=True),
    "archive_skill_model": partial(archives.grown_archive, effect=0.6),
    "archive_no_skill_null": partial(archives.grown_archive, skill=0.0),
    "archive_model": partial(archives.grown_archive, skill=0.0, effect=0.6),
    "archive_model_in_order": partial(archives.grown_archive, skill=0.0, effect=0.6, in_order=True),
    "months_of_models": archives.months_of_models,
    "prompt_groups": archives.prompt_groups,
    "sampler_of_one_model": archives.sampler_of_one_model,
    "selected": ratings.selected,
    "few_20": partial(settings.few, pictures=20, prompts=5),
    "few_50": partial(settings.few, pictures=50, prompts=10),
    "few_50_null": partial(settings.few, pictures=50, prompts=10, worth={}),
    "few_60": partial(settings.few, pictures=60, prompts=12),
    "few_100": partial(settings.few, pictures=100, prompts=20),
    "few_100_null": partial(settings.few, pictures=100, prompts=20, worth={}),
    "few_200": partial(settings.few, pictures=200, prompts=30),
    "ceiling": partial(settings.few, pictures=200, prompts=30, cuts=_HARD_TO_PLEASE),
    "ceiling_null": partial(settings.few, pictures=200, prompts=30, worth={}, cuts=_HARD_TO_PLEASE),
    "heavy_noise": partial(settings.few, pictures=200, prompts=30, heavy_noise=True),
    "heavy_luck": partial(settings.few, pictures=200, prompts=30, heavy_luck=True),
    "heavy_luck_null": partial(settings.few, pictures=200, prompts=30, worth={}, heavy_luck=True),
    "two_stars": partial(settings.few, pictures=200, prompts=30, cuts=(0.3,), lowest=3),
    "two_stars_null": partial(
        settings.few, pictures=200, prompts=30, worth={}, cuts=(0.3,), lowest=3
    ),
    "constant_stars": ratings.constant_stars,
    "duplicates": ratings.duplicates,
    "duplicates_null": partial(ratings.duplicates, worth={}),
    "unbalanced_null": settings.unbalanced,
    "unbalanced_one": partial(settings.unbalanced, worth={"sampler": {"s1": 1.0}}),
    "once_per_prompt_null": settings.once_per_prompt,
    "once_per_prompt": partial(settings.once_per_prompt, worth=0.6),
    "epochs_null": settings.epochs,
    "epochs_one": partial(settings.epochs, best=0.8),
    "epochs_8x4_stars_null": partial(settings.few_epochs, prompts=8, states=4, by="stars"),
    "epochs_12x3_stars_null": partial(settings.few_epochs, prompts=12, states=3, by="stars"),
    "epochs_12x3_stars_one": partial(
        settings.few_epochs, prompts=12, states=3, by="stars", best=1.2
    ),
    "epochs_6x24_stars_null": partial(
        settings.few_epochs, prompts=6, states=24, seeds=2, by="stars"
    ),
    "epochs_4x6_stars_null": partial(settings.few_epochs, prompts=4, states=6, seeds=2, by="stars"),
    "epochs_30x2_stars_null": partial(settings.few_epochs, prompts=30, states=2, by="stars"),
    "epochs_12x3_own_seeds_null": partial(
        settings.few_epochs, prompts=12, states=3, by="stars", own_seeds=True
    ),
    "epochs_12x3_picks_null": partial(settings.few_epochs, prompts=12, states=3, by="picks"),
    "epochs_12x3_picks_one": partial(
        settings.few_epochs, prompts=12, states=3, by="picks", best=1.2
    ),
    "epochs_8x4_picks_null": partial(settings.few_epochs, prompts=8, states=4, by="picks"),
    "epochs_8x12_picks_null": partial(
        settings.few_epochs, prompts=8, states=12, by="picks", against_first=True
    ),
    "epochs_15x2_picks_null": partial(settings.few_epochs, prompts=15, states=2, by="picks"),
    "epochs_12x3_own_seeds_picks_null": partial(
        settings.few_epochs, prompts=12, states=3, seeds=2, by="picks", own_seeds=True
    ),
    "epochs_12x4_both_null": partial(settings.few_epochs, prompts=12, states=4, by="both"),
    "children_null": archives.children,
    "learn_4": partial(settings.learn_plan, prompts=4),
    "learn_4_tastes": partial(settings.learn_plan, prompts=4, taste=0.3, draw_taste=0.3),
    "learn_4_tastes_of_these": partial(
        settings.learn_plan, prompts=4, taste=0.3, draw_taste=0.3, of_these=True
    ),
    "learn_4_draws": partial(settings.learn_plan, prompts=4, draw_taste=0.4),
    "learn_6_tastes": partial(settings.learn_plan, prompts=6, taste=0.3, draw_taste=0.3),
    "learn_12_tastes": partial(settings.learn_plan, prompts=12, taste=0.3, draw_taste=0.3),
    "draw_interaction_null": settings.draw_interaction,
    "interaction_5": partial(settings.planted_interaction, models=5),
    "interaction_6": partial(settings.planted_interaction, models=6),
    "strong_guidance": settings.strong_guidance,
    "favourites_only": ratings.favourites_only,
    "flags_only": ratings.flags_only,
    "best_first": ratings.best_first,
    "ten_looks_null": ratings.ten_looks,
    "everything": archives.everything,
    "everything_null": partial(archives.everything, matters=False),
}


def archive_of(world: str, run: int) -> SimulatedArchive:
    """Return the archive number *run* of *world*, the same one every time."""
    return WORLDS[world](np.random.default_rng((zlib.crc32(world.encode()), run)))
