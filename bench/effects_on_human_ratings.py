"""Whether effects that are found in one half of real ratings hold in the other half.

Reads AGIQA-3K (Li et al. 2023, arXiv:2306.04717; 2,982 pictures by six models, mean opinions of
at least 21 people each) as a CSV file with the columns model, config, prompt, adj1, adj2, style,
mos_quality, std_quality. Prompts are halved at random; what is clear in one half is a claim. A
claim holds when the other half has the same sign and its 95 % interval overlaps the claim's (bar:
95 % of claims). Also told: how often the other half's interval alone excludes zero on that side,
and how often both estimates differ by no more than the 95 % interval of such a difference.

Usage: ``python bench/effects_on_human_ratings.py FILE [SPLITS] [PLOT]``; 100 splits when not given
"""

from __future__ import annotations

import csv
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from safelight.learning.evidence.effect_plot import draw_effects
from safelight.learning.evidence.effects import Comparison, Effects, find_effects
from safelight.learning.evidence.scores import ImageScores
from safelight.learning.evidence.trials import Trials, join_trials

PEOPLE = 21
"""Raters of each picture, at least."""


def trials_of(rows: Sequence[dict[str, str]], opinion: str) -> Trials:
    """Return pictures with their mean opinions as scores of spread 1."""
    mean = np.array([float(row[f"mos_{opinion}"]) for row in rows])
    noise = np.array([float(row[f"std_{opinion}"]) for row in rows]) / PEOPLE**0.5
    scores = (mean - mean.mean()) / mean.std()
    digests = tuple(row["name"] for row in rows)
    fitted = ImageScores(
        identities=digests,
        scores=scores,
        deviations=np.minimum(noise / mean.std(), 0.9),
        readings=scores,
        ratings=np.full(len(rows), PEOPLE),
        places={digest: place for place, digest in enumerate(digests)},
    )
    columns = {
        "sha256": digests,
        "prompt": [row["prompt"] for row in rows],
        "model": [row["model"] for row in rows],
        "config": [row["config"] for row in rows],
    }
    return join_trials(columns, fitted)


def figures(effects: Effects) -> dict[tuple[str, str, str], Comparison]:
    """Return every comparison that has a figure."""
    return {
        (knob.knob, comparison.level, comparison.against): comparison
        for knob in effects.knobs
        for comparison in knob.comparisons
        if comparison.difference is not None
    }


def interval(comparison: Comparison) -> tuple[float, float, float]:
    """Return difference, low and high of a comparison that has them."""
    assert comparison.difference is not None
    assert comparison.low is not None
    assert comparison.high is not None
    return comparison.difference, comparison.low, comparison.high


def main() -> None:
    """Print how many claims hold, by opinion, knob and basis."""
    with Path(sys.argv[1]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    splits = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    for opinion in ("quality", "align"):
        whole = find_effects(trials_of(rows, opinion))
        print(f"{opinion}: {len(rows):,} pictures, {len(whole.clear)} knobs clear in all of them")
        for knob in whole.clear:
            print(f"  {knob.summary}")
        for interaction in whole.interactions:
            print(f"  depends: {interaction.summary}")
        compare_halves(rows, opinion, splits)
        if len(sys.argv) > 3 and opinion == "quality":
            title = "AGIQA-3K: what people called good quality"
            drawing = draw_effects(whole, title=title, rated_by="21 people or more each")
            Path(sys.argv[3]).write_bytes(drawing.png())


def compare_halves(rows: Sequence[dict[str, str]], opinion: str, splits: int) -> None:
    """Print what becomes of one half's claims in the other."""
    by_prompt = defaultdict(list)
    for row in rows:
        by_prompt[row["prompt"]].append(row)
    prompts = sorted(by_prompt)
    outcomes: Counter[str] = Counter()
    by_basis: Counter[tuple[str, bool]] = Counter()
    for split in range(splits):
        order = np.random.default_rng(split).permutation(len(prompts))
        halves = [
            find_effects(trials_of([r for p in part for r in by_prompt[prompts[p]]], opinion))
            for part in (order[: len(order) // 2], order[len(order) // 2 :])
        ]
        there = figures(halves[1])
        for key, level in figures(halves[0]).items():
            if level.status != "clear" or key not in there:
                outcomes["not in the other half"] += level.status == "clear"
                continue
            other = there[key]
            mine, yours = interval(level), interval(other)
            sign = mine[0] * yours[0] > 0
            overlaps = mine[1] <= yours[2] and yours[1] <= mine[2]
            apart = abs(mine[0] - yours[0])
            both = math.hypot(mine[2] - mine[1], yours[2] - yours[1]) / 2
            outcomes["claims"] += 1
            outcomes["sign"] += sign
            outcomes["holds"] += sign and overlaps
            outcomes["excludes zero"] += sign and yours[1] * yours[2] > 0
            outcomes["differ less"] += apart <= both
            by_basis[level.basis, sign and overlaps] += 1
    claims = max(outcomes["claims"], 1)
    parts = {name: f"{outcomes[name] / claims:.1%}" for name in outcomes}
    print(
        f"  {claims:,} claims in {splits} halves of {len(prompts)} prompts:"
        f" {parts['holds']} have the same sign and intervals that overlap; same sign"
        f" {parts['sign']}; the other interval alone excludes zero {parts['excludes zero']};"
        f" the difference of both is within its interval {parts['differ less']};"
        f" without counterpart {outcomes['not in the other half']}"
    )
    for basis in ("pairs", "adjusted"):
        held, lost = by_basis[basis, True], by_basis[basis, False]
        if held + lost:
            print(f"    {basis}: {held / (held + lost):.1%} of {held + lost:,} hold")


if __name__ == "__main__":
    main()
