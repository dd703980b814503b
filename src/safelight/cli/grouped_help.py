"""The help of commands that have commands: what a person does, and no sentence cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import click

__all__ = ["NamedCommands", "write_groups"]

_LONGEST = 1000


class NamedCommands(click.Group):
    """A command with commands in it, whose first sentences stand whole in its help."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what there is, one below the other."""
        listed = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                listed.append((name, command.get_short_help_str(limit=_LONGEST)))
        with formatter.section("Commands"):
            formatter.write_dl(listed)


def write_groups(
    formatter: click.HelpFormatter,
    groups: Mapping[str, Sequence[str]],
    told: Mapping[str, str],
) -> None:
    """Write the commands of *told* under what one does with them; those in no group come last.

    Args:
        formatter: Where to.
        groups: What one does -> names of commands.
        told: Name -> what it does.
    """
    named = {name for names in groups.values() for name in names}
    rest = [name for name in told if name not in named]
    widest = max(map(len, told))
    for heading, names in {**groups, "More": rest}.items():
        _write_group(formatter, heading, [name for name in names if name in told], told, widest)


def _write_group(
    formatter: click.HelpFormatter,
    heading: str,
    names: Iterable[str],
    told: Mapping[str, str],
    widest: int,
) -> None:
    rows = [(name.ljust(widest), told[name]) for name in names]
    if rows:
        with formatter.section(heading):
            formatter.write_dl(rows)
