"""DecidedKnobs: the knobs of every stage, once everything that varies has a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from safelight.config import inherited_by_img2img, plain
from safelight.knobs import PROMPT_KNOBS, Stage
from safelight.lora_tags import lora_of, with_lora
from safelight.varied_names import drawing_stages, first_drawing

__all__ = ["DecidedKnobs"]


class DecidedKnobs:
    """Puts what varies into what is stated.

    Args:
        stages: As stated.
    """

    def __init__(self, stages: Mapping[Stage, Mapping[str, Any]]) -> None:
        self._first, self._drawing = first_drawing(stages), drawing_stages(stages)
        # A text goes over every prompt that is stated; a list of thousands is copied for none.
        self._stated = {
            stage: {name: "" if name in PROMPT_KNOBS else plain(v) for name, v in knobs.items()}
            for stage, knobs in stages.items()
        }

    def of(
        self, texts: Mapping[str, str], swept: Mapping[str, Any], seeds: Mapping[str, int]
    ) -> dict[Stage, dict[str, Any]]:
        """Return the knobs of one variant; img2img's inherited ones are written out.

        Args:
            texts: ``stage.knob`` -> text, for every prompt that is stated.
            swept: ``stage.knob`` -> value, weights of LoRAs among them.
            seeds: ``stage.seed`` -> seed.
        """
        stages: dict[Stage, dict[str, Any]] = {
            stage: {n: plain(v) if isinstance(v, (dict, list)) else v for n, v in knobs.items()}
            for stage, knobs in self._stated.items()
        }
        loras: dict[tuple[str, str], Any] = {}
        for key, value in (*texts.items(), *swept.items(), *seeds.items()):
            if lora := lora_of(key, self._first):
                loras[lora] = value
                continue
            stage, *path, name = key.split(".")
            table = stages[cast("Stage", stage)]
            for step in path:
                table = table.setdefault(step, {})
            table[name] = value
        # Once prompts are decided, and the stage that draws before the one that inherits from it.
        for drawing in self._drawing:
            for (stage, name), weight in loras.items():
                if stage == drawing:
                    _set_lora(stages, drawing, name, weight)
        if "img2img" in stages:
            stages["img2img"].update(inherited_by_img2img(stages))
        return stages


def _set_lora(
    stages: Mapping[Stage, dict[str, Any]], stage: Stage, name: str, weight: float
) -> None:
    """Put the LoRA *name* at *weight* into the prompt of *stage*, stated or inherited."""
    inherited = inherited_by_img2img(stages) if stage == "img2img" else {}
    prompt = stages[stage].get("prompt", inherited.get("prompt", ""))
    changed = with_lora(prompt, name, weight)
    if changed != prompt:
        stages[stage]["prompt"] = changed
