"""dispatch: which worker draws which variant, and what becomes of those that fall silent.

The same for every pool. A worker that does not answer rests, longer each time, and its variant
goes back to the head of the queue, for whoever is free; one that stays silent is left out. A
variant that was begun often enough fails, so that one that kills engines cannot kill them all.
The last worker of a run is waited for while nobody listens at its address: it may start again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

from safelight.errors import BackendError, BackendUnavailable, sentence_of
from safelight.pipeline.engine_pool import Ended, Lanes
from safelight.pipeline.picture_saver import DrawnVariant
from safelight.pipeline.progress import CancelToken
from safelight.pipeline.retry import RetryPolicy

__all__ = ["VariantQueue", "WorkerShare", "dispatch"]

_LOOK_AGAIN = 0.2
"""Seconds between two looks at workers that rest or are not there yet."""

_MORE_PATIENCE = 2
"""A worker may fall silent this much oftener in a row than one variant may: it could be the
variant that kills it, and the next one shows."""


class VariantQueue:
    """The places of a run that are still to be drawn; those of one model together.

    Loading other weights costs an engine seconds: a worker stays with the weights that it has
    for as long as there is work for them, then takes those that nobody has, then helps where
    most is left.

    Args:
        places: Where in the run, in the order of the plan.
        weights: Returns what an engine must load for a place; None where all need the same.
        make: Returns the variant at a place.
    """

    def __init__(
        self,
        places: Iterable[int],
        weights: Callable[[int], Hashable] | None,
        make: Callable[[int], DrawnVariant],
    ) -> None:
        self._make = make
        self._groups: dict[Hashable, deque[int]] = {}
        for place in places:
            key = weights(place) if weights else None
            self._groups.setdefault(key, deque()).append(place)
        self._held: dict[str, Hashable] = {}
        self._returned: deque[DrawnVariant] = deque()

    def __bool__(self) -> bool:
        return bool(self._returned) or any(self._groups.values())

    def __len__(self) -> int:
        return len(self._returned) + sum(map(len, self._groups.values()))

    def take(self, worker: str, *, returned: bool = True) -> DrawnVariant | None:
        """Return what *worker* should draw next; None when there is nothing for it.

        Args:
            worker: Who asks.
            returned: Whether it may have what others could not finish.
        """
        if self._returned and returned:
            return self._returned.popleft()
        left = {key: places for key, places in self._groups.items() if places}
        if not left:
            return None
        key = self._held.get(worker)
        if worker not in self._held or key not in left:
            others = {group for name, group in self._held.items() if name != worker}
            free = [group for group in left if group not in others]
            key = free[0] if free else max(left, key=lambda group: len(left[group]))
            self._held[worker] = key
        return self._make(left[key].popleft())

    def put_back(self, drawn: DrawnVariant) -> None:
        """Put *drawn* before everything else."""
        self._returned.append(drawn)

    def begun(self) -> list[DrawnVariant]:
        """Take out those that were put back and have pictures already."""
        begun = [drawn for drawn in self._returned if drawn.pictures]
        self._returned = deque(drawn for drawn in self._returned if not drawn.pictures)
        return begun

    def release(self, worker: str) -> None:
        """Forget what *worker* has loaded: it is gone."""
        self._held.pop(worker, None)


@dataclass(slots=True)
class WorkerShare:
    """What one worker did in a run.

    Attributes:
        variants: That it drew.
        pictures: That came of them.
        seconds: That it spent drawing.
        lost_seconds: That came to nothing: tries that failed, and rests after them.
        silences: How often it did not answer.
        left_out: Why it got no more work, or empty.
    """

    variants: int = 0
    pictures: int = 0
    seconds: float = 0.0
    lost_seconds: float = 0.0
    silences: int = 0
    left_out: str = ""
    _in_a_row: int = field(default=0, repr=False)
    _waited_for: int = field(default=0, repr=False)
    _silent_since: float = field(default=0.0, repr=False)
    _rests_until: float = field(default=0.0, repr=False)


def dispatch(
    lanes: Lanes,
    queue: VariantQueue,
    *,
    retry: RetryPolicy,
    cancel: CancelToken,
    shares: dict[str, WorkerShare],
    on_ended: Callable[[DrawnVariant], None],
    on_retry: Callable[[DrawnVariant, str], None],
) -> None:
    """Draw everything in *queue*.

    Args:
        lanes: Who draws.
        queue: What is to be drawn.
        retry: What to do when an engine does not answer.
        cancel: Obeyed between variants.
        shares: Worker -> what it did; filled.
        on_ended: Called with every variant that is over, well or badly.
        on_retry: Called with a variant that is tried again, and why, in a sentence.

    Raises:
        BackendUnavailable: Nobody is left to draw; what is in *queue* was not tried in vain.
        GenerationCancelled: Somebody asked to stop.
        BaseException: What stopped a worker and no run survives.
    """
    busy: set[str] = set()
    stopped: BaseException | None = None
    reason = ""
    unfinished = False
    while True:
        waiting = False
        if stopped is None and not cancel.cancelled:
            now = time.monotonic()
            free, well = [], False
            for worker in lanes.workers:
                share = shares.setdefault(worker, WorkerShare())
                if worker in busy:
                    well = well or not share._in_a_row
                elif not share.left_out:
                    try:
                        ready = share._rests_until <= now and lanes.ready(worker)
                    except BackendError as problem:
                        share.left_out = reason = sentence_of(problem)
                        continue
                    if ready:
                        free.append((worker, share))
                        well = well or not share._in_a_row
                    else:
                        waiting = True
            for worker, share in free:
                drawn = queue.take(worker, returned=not (share._in_a_row and well))
                if drawn is None:
                    waiting = waiting or bool(queue)
                    continue
                drawn.worker = worker
                busy.add(worker)
                lanes.start(worker, drawn)
        if not busy:
            cut_short = stopped is not None or cancel.cancelled
            idle = not (cut_short or waiting)
            over = idle and all(shares[worker].left_out for worker in lanes.workers)
            for drawn in queue.begun() if cut_short or over else ():
                unfinished = unfinished or cut_short
                drawn.finished = not cut_short  # what of it is there is told all the same
                if drawn.unavailable is not None and not cut_short:
                    drawn.fail(*drawn.unavailable)
                on_ended(drawn)
            if stopped is not None:
                raise stopped
            if unfinished:
                cancel.check()
            if not queue:
                return
            cancel.check()
            if over:
                raise BackendUnavailable(f"{reason}; {len(queue):,} variants are not drawn")
        try:
            ended = lanes.next_ended(_LOOK_AGAIN if waiting or not busy else None)
        except BaseException as problem:  # noqa: BLE001 - raised again above
            stopped = stopped or problem
            lanes.stop()
            continue
        if ended is None:
            continue
        busy.discard(ended.worker)
        stopped = stopped or ended.stopped
        others = (shares.get(worker) for worker in lanes.workers if worker != ended.worker)
        last = all(share is not None and share.left_out for share in others)
        again = _judge(ended, shares[ended.worker], retry, on_retry, last=last)
        reason = ended.drawn.unavailable[1] if ended.drawn.unavailable else reason
        if again and stopped is None and not cancel.cancelled:
            queue.put_back(ended.drawn)
            queue.release(ended.worker)
            continue
        if again:
            ended.drawn.finished, unfinished = False, True
        try:
            on_ended(ended.drawn)
        except BaseException as problem:  # noqa: BLE001 - raised again above
            stopped = stopped or problem
            lanes.stop()


def _judge(
    ended: Ended,
    share: WorkerShare,
    retry: RetryPolicy,
    on_retry: Callable[[DrawnVariant, str], None],
    *,
    last: bool,
) -> bool:
    """Note what *ended* says of its worker; return whether the variant is tried again.

    Args:
        ended: What came of a variant.
        share: Of who drew it.
        retry: What to do when it did not answer.
        on_retry: Called when it is tried again, and why.
        last: Whether nobody else is left to draw.
    """
    drawn = ended.drawn
    if drawn.unavailable is None:
        share._in_a_row = 0
        share.variants += 1
        share.pictures += len(drawn.pictures)
        share.seconds += sum(drawn.seconds.values())
        return False
    stage, message = drawn.unavailable
    share.silences += 1
    share._in_a_row += 1
    now = time.monotonic()
    if share._in_a_row == 1:
        share._waited_for = 0
    if share._in_a_row == 1 or drawn.begun:  # a moment ago somebody listened
        share._silent_since = now
    left = share._silent_since + retry.patience - now
    waited_for = retry.retries > 0 and last and not drawn.begun and left > 0
    if retry.retries and not drawn.begun:
        drawn.tries -= 1  # it is not what the engine is gone for
    share._waited_for += waited_for
    # Waits for it to start again are not held against it when it falls silent while it draws.
    silences = share._in_a_row - share._waited_for * drawn.begun
    if retry.retries and silences > retry.retries + _MORE_PATIENCE and not waited_for:
        share.left_out = message
    if drawn.tries > retry.retries:
        tries = f"; tried {drawn.tries} times" if drawn.tries > 1 else ""
        drawn.fail(stage, f"{message}{tries}")
        return False
    wait = retry.wait(share._in_a_row)
    if drawn.outcome_unknown and not retry.unknown:
        share._rests_until = now + wait
        drawn.fail(stage, f"{message}; it was not sent again (--retry-unknown sends it again)")
        return False
    if share.left_out:
        on_retry(drawn, f"{message}; {ended.worker} is left out from now on")
        return True
    until = ""
    if waited_for:
        wait = min(wait, max(left, 0.0))
        until = f", for {left:.0f} s at most (retry.patience)"
    share._rests_until = now + wait
    share.lost_seconds += wait + drawn.lost_seconds
    on_retry(drawn, f"{message}; trying again in {wait:.3g} s{until}")
    return True
