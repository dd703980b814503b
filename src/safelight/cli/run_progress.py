"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol, Self

from safelight.pipeline import RunProgress

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["ProgressView", "progress_view"]


class ProgressView(Protocol):
    """Shows the progress of one run; a context manager around it."""

    def __call__(self, progress: RunProgress) -> None:
        """Show *progress*."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *details: object) -> None: ...


def progress_view(variants: int) -> ProgressView:
    """Return the view that suits standard error."""
    return _Bar(variants) if sys.stderr.isatty() else _Lines()


class _Bar:
    """One bar that counts variants and, within one, steps."""

    def __init__(self, variants: int) -> None:
        self._variants = variants
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._done = 0

    def __call__(self, progress: RunProgress) -> None:
        if self._bar is None or self._task is None:
            return
        if progress.event == "step":
            within = progress.step / max(progress.steps, 1)
            what = f"{progress.stage} {progress.step}/{progress.steps}  {progress.label or ''}"
            done = max(float(self._done), progress.variant - 1 + within)
            self._bar.update(self._task, completed=min(done, self._variants), what=what[:60])
            return
        self._done = max(self._done, progress.variant)
        if progress.event == "failure":
            self._bar.console.print(
                f"failed: #{progress.variant - 1} in {progress.stage}: {progress.message}",
                markup=False,
            )

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[what]}", markup=False),
            console=Console(stderr=True),
            transient=True,
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

    def __call__(self, progress: RunProgress) -> None:
        if progress.event == "failure":
            self._print(f"failed: #{progress.variant - 1} in {progress.stage}: {progress.message}")
        elif progress.event == "variant":
            now = time.monotonic()
            if now - self._last >= 1.0 or progress.variant == progress.variants:
                self._last = now
                label = f"  {progress.label}" if progress.label else ""
                self._print(f"variant {progress.variant} of {progress.variants} done{label}")

    def _print(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        return None
