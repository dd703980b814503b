"""Templates that mean something else here than in dynamicprompts, with the reason for each."""

from __future__ import annotations

DIFFERENT = {
    "${x=!{cat|dog}}${x} and ${x}": "${x=!{a|b}}${x}${x}",
    "${season?=!{winter|summer}} ${temp?=!{hot|cold}} ${location?=!{north|south}} a"
    " __drink/container/${temp}__ of __drink/temp/${temp}__ __drink/${season}/${location}__":
    "${x=!{a|b}}${x}${x}",
}  # fmt: skip
"""Template of a case -> template of the row that has the reason."""
