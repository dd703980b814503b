"""Whether what is said of one half of real people's stars holds in the other half.

Reads the image ratings of GenAI-Bench (Li et al. 2024, arXiv:2406.13743; 527 prompts, each drawn
by six models, with the stars of three raters) as JSON: ``pictures``, a list with ``prompt`` and
``ratings``, model -> stars of each rater. Prompts are halved at random. One half is rated

* by chance: each rater in an order of his own;
* by model: all pictures of one model, then all of the next, as folders invite to;
* divided: each rater has two of the models, in chance order;

and what is said of its models is held against the other half, rated by the same people in chance
order. A claim (likely or clear) *holds* when the other half has the same sign and both 95 %
intervals overlap (bar: 95 % of claims), and is *reversed* when the other half's interval lies on
the other side of zero (bar: none). ``no difference that matters`` is *contradicted* when the other
half's interval lies wholly beyond 0.2 (bar: none). Figures *agree* when the two differ by no more
than the 95 % interval of such a difference (bar: 95 %), claimed or not. *Silent* are halves in
which nothing is claimed.

Usage: ``PYTHONPATH=tests python bench/effects_on_human_stars.py FILE [SPLITS] [PROMPTS]``; 20
splits of all prompts when not given, else halves of so many prompts each
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from effects_on_human_ratings import interval
from learning.evidence.judgement import claim
from learning.evidence.simulated_archive import stamp
from safelight.learning.evidence.effects import MATTERS, find_effects
from safelight.learning.evidence.findings import Comparison
from safelight.learning.evidence.scores import fit_scores
from safelight.learning.evidence.trials import join_trials
from safelight.learning.ratings.rating_event import Identity, RatingEvent

ORDERS = ("by chance", "by model", "divided")
PEOPLE = ((0,), (1,), (2,), (0, 1, 2))

Figures = Mapping[tuple[str, str], Comparison]


@dataclass(frozen=True, slots=True)
class Picture:
    """What one model drew for one prompt, and what three people gave it."""

    number: int
    prompt: str
    model: str
    stars: tuple[int, ...]


@cache
def pictures_of(path: Path) -> tuple[tuple[Picture, ...], ...]:
    """Return the pictures by prompt; prompts with stars that are none (33, 41) are left out."""
    prompts: list[tuple[Picture, ...]] = []
    for row in json.loads(path.read_text(encoding="utf-8"))["pictures"]:
        every = row["ratings"]
        if all(1 <= star <= 5 for stars in every.values() for star in stars):
            first = len(prompts) * len(every)
            prompts.append(
                tuple(
                    Picture(first + place, row["prompt"], model, tuple(every[model]))
                    for place, model in enumerate(sorted(every))
                )
            )
    return tuple(prompts)


def digest(picture: Picture) -> str:
    """Return what tells a picture from the others."""
    return f"{picture.number:064x}"


def events(
    half: Sequence[Picture], people: Sequence[int], order: str, chance: np.random.Generator
) -> Iterator[RatingEvent]:
    """Yield the stars of *half*, one rater after the other."""
    models = sorted({picture.model for picture in half})
    moment = 0
    for rater in people:
        shuffled = [half[place] for place in chance.permutation(len(half))]
        if order == "by model":
            shuffled.sort(key=lambda picture: picture.model)
        if order == "divided":
            own = models[2 * rater : 2 * rater + 2]
            shuffled = [picture for picture in shuffled if picture.model in own]
        for picture in shuffled:
            moment += 1
            yield RatingEvent(
                event_id=f"{moment}", timestamp=stamp(moment), kind="stars",
                value=picture.stars[rater], image=Identity(sha256=digest(picture)),
                rater=f"rater {rater + 1}",
            )  # fmt: skip


def figures(
    half: Sequence[Picture], people: Sequence[int], order: str, chance: np.random.Generator
) -> Figures:
    """Return every comparison of two models that has a figure."""
    columns = {
        "sha256": [digest(picture) for picture in half],
        "prompt": [picture.prompt for picture in half],
        "model": [picture.model for picture in half],
    }
    effects = find_effects(join_trials(columns, fit_scores(events(half, people, order, chance))))
    return {
        (comparison.level, comparison.against): comparison
        for knob in effects.knobs
        for comparison in knob.comparisons
        if knob.knob == "model" and comparison.difference is not None
    }


def held_against(said: Figures, others: Figures) -> Counter[str]:
    """Count what becomes of one half's statements in the other half."""
    counts: Counter[str] = Counter()
    for models, mine in said.items():
        how, theirs = claim(mine), others.get(models)
        counts["claimed"] += how in ("likely", "clear")
        if theirs is None:
            counts["no counterpart"] += 1
            continue
        (ours, our_low, our_high), (other, low, high) = interval(mine), interval(theirs)
        counts["figures"] += 1
        counts["agree"] += abs(ours - other) <= math.hypot(our_high - our_low, high - low) / 2
        if how == "small":
            counts["small"] += 1
            counts["contradicted"] += low > MATTERS or high < -MATTERS
        if how not in ("likely", "clear"):
            continue
        counts["claims"] += 1
        counts["holds"] += ours * other > 0 and our_low <= high and low <= our_high
        counts["reversed"] += ours * low < 0 and ours * high < 0
    return counts


def compared(
    path: Path, people: Sequence[int], order: str, splits: int, size: int | None
) -> Counter[str]:
    """Return the counts of all splits."""
    prompts = pictures_of(path)
    counts: Counter[str] = Counter()
    for split in range(splits):
        chance = np.random.default_rng(split)
        mixed = chance.permutation(len(prompts))
        cut = len(prompts) // 2
        first, second = (
            [picture for place in part[:size] for picture in prompts[place]]
            for part in (mixed[:cut], mixed[cut:])
        )
        of_split = held_against(
            figures(first, people, order, chance), figures(second, people, "by chance", chance)
        )
        counts += of_split
        counts["silent"] += not of_split["claimed"]
    return counts


def main() -> None:
    """Print a table: whose stars, in which order, and what became of what was said."""
    path, splits = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20
    size = int(sys.argv[3]) if len(sys.argv) > 3 else None
    prompts = pictures_of(path)
    print(f"{len(prompts)} prompts, {splits} splits, {size or len(prompts) // 2} prompts a half\n")
    print("| stars of | rated | claims | hold | reversed | no difference that matters |"
          " contradicted | agree, of figures | silent halves | no counterpart |")  # fmt: skip
    print("|" + "---|" * 10)
    for people in PEOPLE:
        for order in ORDERS[: 3 if len(people) > 1 else 2]:
            counts = compared(path, people, order, splits, size)
            agree = f"{share(counts, 'agree', 'figures')} of {counts['figures']}"
            who = "all three" if len(people) > 1 else f"rater {people[0] + 1}"
            cells = (who, order, counts["claims"], share(counts, "holds", "claims"),
                     counts["reversed"], counts["small"], counts["contradicted"], agree,
                     counts["silent"], counts["no counterpart"])  # fmt: skip
            print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def share(counts: Mapping[str, int], name: str, of: str) -> str:
    """Return one count as a share of another; empty where there are none."""
    return f"{counts[name] / counts[of]:.1%}" if counts[of] else ""


if __name__ == "__main__":
    main()
