"""Control nets, adapters, style models and references: what steers a picture beside its prompt.

No knob stands for them, so that a picture which was drawn with one cannot be drawn again by knobs:
its ``controls`` are unresolved. What its tool says of them is in ``extra``, and so among the
recorded settings: pictures that differ in it are not alike. The picture that they were given is
seldom told.
"""

from __future__ import annotations

import re

from safelight.imports.reading import Draft

__all__ = ["tell_controls"]

_CONTROLS = re.compile(
    r"(?:use_)?control[ _-]?(?:nets?|loras?|layers|\d).*"
    r"|controls?|control (?:type|model|mode|conditioning|process\w*|start|end)"  # SD.Next
    r"|(?:ip|t2i)[ _-]?adapters?.*|style[ _-]?models?.*"
    r"|instant[ _-]?id.*|photo[ _-]?maker.*|pulid.*|face[ _-]?id.*"
    r"|(?:ref|reference)_images?.*|(?:director_)?reference_\w+",
    re.IGNORECASE,
)
_NONE = re.compile(r'\s*(?:none|null|false|off|0(?:\.0*)?|\[\]|\{\}|"")?\s*', re.IGNORECASE)


def tell_controls(draft: Draft) -> None:
    """Say in *draft* that more than knobs steered the picture, where its extras say so."""
    found = [k for k, v in draft.extra.items() if _CONTROLS.fullmatch(k) and not _NONE.fullmatch(v)]
    if not found or not draft.knobs:
        return
    if "controls" not in draft.statuses:
        draft.unresolved("controls")
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    draft.warnings.append(
        f"more than knobs steered it, as {', '.join(found[:5])}{more} say; knobs alone would not"
        " draw it again"
    )
