"""What templates tell of themselves: sentences, few for each place, however long the files are."""

from __future__ import annotations

from dataclasses import dataclass, field

from safelight.randomizer.template_signs import Note, NoteKind

__all__ = ["TemplateWarnings"]

_SHOWN = 3
"""Sentences of one kind about one place; the rest is counted."""

_SENTENCES: dict[NoteKind, str] = {
    "comment": (
        "what follows '#' is a comment and was left out, {text} at character {place}; write \\# for"
        " the character"
    ),
    "no choice": (
        "{text} at character {place} offers no choice, so its braces were left out; write \\{{ and"
        " \\}} to keep them"
    ),
    "editing": (
        "the | in {text} at character {place} is prompt editing and separates no options; for a"
        " choice use braces inside"
    ),
    "separator": (
        "{text} at character {place} stands between $$ and $$, where it is text that is put"
        " between the options; write a choice of whole texts instead"
    ),
    "name": (
        "{text} at character {place} is part of the name in <...>, although there is such a"
        " wildcard; write {{{wildcard}}} to use it"
    ),
}


@dataclass(slots=True)
class _Kind:
    seen: set[int] = field(default_factory=set)
    shown: list[str] = field(default_factory=list)


class TemplateWarnings:
    """Sentences by place and kind, none twice."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def add(self, group: str, kind: str, sentence: str) -> None:
        """Add *sentence*, which is counted rather than shown after the third of its kind.

        Args:
            group: Where: a prompt, or a wildcard in it.
            kind: Which sentences are alike.
            sentence: What to say.
        """
        told = self._kinds.setdefault((group, kind), _Kind())
        if hash(sentence) not in told.seen:
            told.seen.add(hash(sentence))
            if len(told.shown) < _SHOWN:
                told.shown.append(sentence)

    def tell(self, note: Note, where: str, group: str) -> None:
        """Add what *note* is about.

        Args:
            note: What was noticed.
            where: The text that it is about.
            group: Which texts it is counted with.
        """
        said = _SENTENCES[note.kind].format(
            text=note.shown, place=note.place + 1, wildcard=note.text
        )
        self.add(group, note.kind, f"{where}: {said}")

    def sentences(self) -> list[str]:
        """Return what to show, in the order in which it was met."""
        sentences: list[str] = []
        for (group, _), told in self._kinds.items():
            sentences += told.shown
            if more := len(told.seen) - len(told.shown):
                sentences.append(f"{group}: the same of {more:,} more")
        return sentences
