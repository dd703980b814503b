"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, Self

from safelight.cli.terminal import is_terminal, tell
from safelight.escaped_output import escaped_line
from safelight.pipeline import RunProgress

if TYPE_CHECKING:
    from rich.progress import TaskID

    from safelight.cli.rich_console import Progress

__all__ = ["ProgressView", "progress_view"]

_MOST_FAILURES = 20
"""Failures that are told while the run goes on; the record has them all."""


class ProgressView(Protocol):
    """Shows the progress of one run; a context manager around it."""

    def __call__(self, progress: RunProgress) -> None:
        """Show *progress*."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *details: object) -> None: ...


def progress_view(variants: int) -> ProgressView:
    """Return the view that suits standard error."""
    return _Bar(variants) if is_terminal(err=True) else _Lines()


class _Failures:
    """Turns failures into lines, and stops when there are too many to read."""

    def __init__(self) -> None:
        self._count = 0

    def line(self, progress: RunProgress) -> str | None:
        self._count += 1
        if self._count > _MOST_FAILURES:
            return None
        more = "; further ones are in the record" if self._count == _MOST_FAILURES else ""
        return f"failed: #{progress.variant - 1} in {progress.stage}: {progress.message}{more}"


def _waiting(progress: RunProgress) -> str:
    return f"waiting: #{progress.variant - 1} in {progress.stage}: {progress.message}"


class _Bar:
    """One bar that counts variants and, within one, steps."""

    def __init__(self, variants: int) -> None:
        self._variants = variants
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._done = 0
        self._failures = _Failures()

    def __call__(self, progress: RunProgress) -> None:
        if self._bar is None or self._task is None:
            return
        if progress.event == "step":
            within = (progress.step - 1) / max(progress.steps, 1)
            what = f"{progress.stage} {progress.step}/{progress.steps}  {progress.label or ''}"
            done = max(float(self._done), progress.variant - 1 + within)
            self._show(what, min(done, self._variants))
            return
        if progress.event == "retry":
            self._show(_waiting(progress))
            return
        self._done = max(self._done, progress.variant)
        self._bar.update(self._task, completed=self._done)
        line = self._failures.line(progress) if progress.event == "failure" else None
        if line:
            self._bar.console.print(line)

    def _show(self, what: str, completed: float | None = None) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=completed, what=escaped_line(what))

    def __enter__(self) -> Self:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.table import Column

        from safelight.cli.rich_console import Console, Progress

        flexible = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        self._bar = Progress(
            BarColumn(bar_width=20, table_column=Column(no_wrap=True, min_width=10)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[what]}", markup=False, table_column=flexible),
            console=Console(stderr=True),
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("", total=self._variants, what="")
        self._bar.start()
        return self

    def __exit__(self, *details: object) -> None:
        if self._bar is not None:
            self._bar.stop()


class _Lines:
    """A line for each failure, and at most one a second for finished variants."""

    def __init__(self) -> None:
        self._last = 0.0
        self._failures = _Failures()

    def __call__(self, progress: RunProgress) -> None:
        line = None
        if progress.event == "retry":
            line = _waiting(progress)
        elif progress.event == "failure":
            line = self._failures.line(progress)
        elif progress.event == "variant":
            now = time.monotonic()
            if now - self._last >= 1.0 or progress.variant == progress.variants:
                self._last = now
                label = f"  {progress.label}" if progress.label else ""
                line = f"{progress.variant} of {progress.variants} done{label}"
        if line:
            tell(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        return None
