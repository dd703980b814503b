"""The pack: prompts as written, each with the negative prompts and the knobs that go with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from safelight.config import PipelineConfig
from safelight.errors import PlanError
from safelight.knobs import PROMPT_KNOBS, Stage
from safelight.randomizer.plan import Axis, PromptFileRead
from safelight.randomizer.sweeps import short_name
from safelight.varied_names import drawing_stages, unpaired

__all__ = ["PackPrompt", "all_prompts", "pack_axis", "varying_names"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackPrompt:
    """One prompt of the pack and what goes with it.

    Attributes:
        texts: ``stage.knob`` -> text as written, for every prompt and negative prompt that is
            stated, in the order of the stages.
        knobs: ``stage.knob`` -> value, of other knobs that come with this prompt.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    knobs: Mapping[str, Any] = field(default_factory=dict)

    def of(self, name: str) -> Any:
        """Return its text or knob of that name, None where it has none."""
        return self.texts.get(name, self.knobs.get(name))


def all_prompts(
    config: PipelineConfig, swept: Mapping[str, Sequence[str]], seed: int, warnings: list[str]
) -> tuple[Sequence[PackPrompt], PromptFileRead | None]:
    """Return the prompts of *config* as written, and what is to be said of the file of some.

    Prompts that would only repeat an earlier one's variants are left out.

    Args:
        config: Each row of its file of prompts goes over each prompt that it states.
        swept: ``stage.knob`` -> texts that stand in a prompt's place.
        seed: The plan's, for seeds of -1.
        warnings: Where to tell what is left out, not used, or may be meant otherwise.

    Raises:
        ConfigError: The file cannot be read, or it breaks rules; all of them are told.
        PlanError: Lists of prompts are not all as long.
    """
    options, read = config.randomizer, None
    drawing = {stage: config.stages[stage] for stage in drawing_stages(config.stages)}
    pack = _read_pack(drawing, swept)
    if options.prompts is not None and options.mode != "off":
        # Few plans have such a file, and all would wait for what reads tables.
        from safelight.randomizer.prompt_files import prompts_from_file

        pack, read = prompts_from_file(config, options.prompts, pack, seed, warnings)
    modes = (options.prompt_sr.mode, options.wildcards.mode, options.matrix.mode)
    if not options.multiplies or set(modes) != {"fanout"}:
        return pack, read
    kept = _without_equal_prompts(pack)
    if len(kept) < len(pack):
        warnings.append(f"{len(pack) - len(kept)} repeated prompts were left out")
    return kept, read


def _read_pack(
    stages: Mapping[Stage, Mapping[str, Any]], swept: Mapping[str, Sequence[str]]
) -> list[PackPrompt]:
    """Return the prompts as written.

    Prompt i goes with negative prompt i; a single text goes with each.

    Args:
        stages: Those that draw -> their knobs; a prompt may be a tuple of prompts.
        swept: ``stage.knob`` -> texts that stand in a prompt's place.

    Raises:
        PlanError: The lists are not all as long.
    """
    lists: dict[str, Sequence[str]] = {}
    for stage, knobs in stages.items():
        for knob in PROMPT_KNOBS:
            where = f"{stage}.{knob}"
            texts = swept.get(where, knobs.get(knob))
            if texts is not None:
                lists[where] = (texts,) if isinstance(texts, str) else texts
    count = max(map(len, lists.values()), default=1)
    if found := unpaired({where: len(texts) for where, texts in lists.items()}):
        raise PlanError(f"{found[0]} {found[1]}")
    return [
        PackPrompt(texts={where: texts[n % len(texts)] for where, texts in lists.items()})
        for n in range(count)
    ]


def varying_names(pack: Sequence[PackPrompt], usual: str) -> tuple[str, ...]:
    """Return the ``stage.knob`` that tell the prompts of *pack* apart, or *usual* where none does.

    They are *usual*, or else the first text that differs, and every other knob that does.
    """
    texts = dict.fromkeys(name for prompt in pack for name in prompt.texts)
    knobs = dict.fromkeys(name for prompt in pack for name in prompt.knobs)
    differs = [
        name
        for name in dict.fromkeys((usual, *texts, *knobs))
        if len({repr(prompt.of(name)) for prompt in pack}) > 1
    ]
    first = [name for name in differs if name in texts][:1]
    return (*first, *(name for name in differs if name in knobs)) or (usual,)


def pack_axis(pack: Sequence[PackPrompt], varying: Sequence[str]) -> Axis:
    """Return the axis of the prompts of *pack*, which differ in *varying*.

    It has the name of the one thing in which they differ, or ``prompts``.
    """
    if len(varying) == 1:
        values = tuple(prompt.of(varying[0]) for prompt in pack)
        return Axis(name=varying[0], size=len(pack), values=values)
    texts = (
        ", ".join(f"{short_name(name)}={prompt.of(name)}" for name in varying
                  if prompt.of(name) is not None)
        for prompt in pack
    )  # fmt: skip
    return Axis(name="prompts", size=len(pack), values=tuple(texts))


def _without_equal_prompts(pack: Sequence[PackPrompt]) -> list[PackPrompt]:
    """Return *pack* without prompts that repeat an earlier one in everything."""
    kept: list[PackPrompt] = []
    seen: set[object] = set()
    for prompt in pack:
        key = (*prompt.texts.items(), *((name, repr(v)) for name, v in prompt.knobs.items()))
        if key not in seen:
            seen.add(key)
            kept.append(prompt)
    return kept
