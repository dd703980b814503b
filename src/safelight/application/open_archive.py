"""open_archive: an archive as one works with it in Python: find, rate, learn, run, carry."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.archive import Answer, Archive
from safelight.errors import RequestError

if TYPE_CHECKING:
    from safelight.application.engine_list import EngineList
    from safelight.application.failed_settings import FailedSettings
    from safelight.application.scorers import Scorer
    from safelight.application.scoring import Scored
    from safelight.application.suggested_kinds import OfKind
    from safelight.application.suggestions import Evidence
    from safelight.archive.transfer import Carried
    from safelight.archive.verification import Verification
    from safelight.config import PipelineConfig
    from safelight.imports.folder_import import ImportSummary
    from safelight.learning import LearningRecord
    from safelight.learning.evidence.effects import Effects
    from safelight.learning.evidence.findings import ChosenParents
    from safelight.learning.plans.suggest import Suggestions
    from safelight.learning.ratings import Identity, RatingEvent
    from safelight.pipeline import CancelToken, ProgressCallback, RunResult

__all__ = ["OpenArchive", "Suggested", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggested:
    """Settings worth trying, and the config that draws them.

    Attributes:
        suggestions: Each with its evidence, and what is known to be best.
        config: As ``PipelineConfig.from_mapping`` reads it.
        model: They are for this model; empty where several were rated: each names its own.
        rated_by: Whose ratings they rest on, in words.
        depends: What depends on the kind of pictures, sentences.
        kinds: What to try for each kind, where that was asked for; *config* then draws these.
    """

    suggestions: Suggestions
    config: Mapping[str, Any]
    model: str
    rated_by: str
    depends: tuple[str, ...] = ()
    kinds: tuple[OfKind, ...] = ()

    def toml(self) -> str:
        """Return the config as text."""
        from safelight.application.config_text import toml_text

        return toml_text(self.config)


class OpenArchive:
    """One archive folder; what the commands do with it, as methods.

    Attributes:
        archive: The archive itself, for what is not here.

    Args:
        path: Its folder; it is made when something is written.
    """

    def __init__(self, path: Path | str) -> None:
        self.archive = Archive(Path(path))

    @property
    def path(self) -> Path:
        """The folder."""
        return self.archive.path

    def __repr__(self) -> str:
        return f"OpenArchive({str(self.path)!r})"

    # -- pictures --------------------------------------------------------------------------

    def find(
        self,
        condition: str = "",
        *,
        view: str = "images",
        columns: Sequence[str] = (),
        sort: str = "-timestamp",
        limit: int | None = None,
    ) -> Answer:
        """Return the pictures that meet *condition*, the newest first.

        The answer gives its rows as tuples, as ``dicts()``, and as ``pandas()``, ``polars()`` and
        ``arrow()`` where these are installed.

        Args:
            condition: Words that prompts have, conditions, or both (docs/archive.md).
            view: ``images``, ``runs``, ``loras`` or ``settings``.
            columns: Which to return; all when none is named.
            sort: A column, with ``-`` before it from the largest down.
            limit: Most rows; all when None.

        Raises:
            FilterError: The condition or a column cannot be read.
            ArchiveError: The archive cannot answer.
        """
        return self.archive.query(condition, view=view, columns=columns, sort=sort, limit=limit)

    def score(
        self, scorer: str | Scorer, condition: str = "", *, batch: int = 16, again: bool = False
    ) -> Scored:
        """Have *scorer* give a number to the pictures that meet *condition* and have none of it.

        Args:
            scorer: The name of an installed one, or any object that is one (docs/scorers.md).
            condition: In the filter language.
            batch: Pictures that it is handed at once.
            again: Score also those that have a number of its version.

        Raises:
            ScorerError: There is no such scorer, or it answers what is no answer.
            FilterError: The condition cannot be read.
            ArchiveError: The archive cannot answer.
            StorageError: Numbers could not be written; those before are there.
        """
        from safelight.application.scorers import create_scorer
        from safelight.application.scoring import score_pictures

        chosen = create_scorer(scorer) if isinstance(scorer, str) else scorer
        return score_pictures(self.archive, chosen, condition, batch=batch, again=again)

    def sql(self, statement: str) -> Answer:
        """Return what one SELECT over the views gives.

        Raises:
            ArchiveError: It is no single SELECT, or fails.
        """
        return self.archive.sql(statement)

    def record(self, run_id: str = "last") -> LearningRecord:
        """Return the record of the run whose id begins with *run_id*, of the newest by default.

        Raises:
            ArchiveError: There is none, or more than one, or it is damaged.
        """
        return self.archive.record(run_id)

    def import_folders(self, *folders: Path | str, jobs: int = 1, rater: str = "") -> ImportSummary:
        """Take in the pictures below *folders*, with what they say about themselves.

        Nothing of theirs is written, moved or deleted.

        Args:
            *folders: Folders, or picture files.
            jobs: Processes that read.
            rater: Whose the ratings found in pictures are.

        Raises:
            StorageError: The archive cannot be written.
        """
        from safelight.imports.folder_import import import_folders

        return import_folders(folders, self.archive, jobs=jobs, rater=rater)

    # -- ratings ---------------------------------------------------------------------------

    def rate(
        self,
        pictures: Path | str | Identity | Sequence[Path | str | Identity],
        *,
        stars: int | None = None,
        favourite: bool | None = None,
        reject: bool | None = None,
        note: str | None = None,
        tags: Sequence[str] | str = (),
        rater: str = "",
    ) -> tuple[RatingEvent, ...]:
        """Say what pictures are worth; it is on the disk when this returns.

        Args:
            pictures: One or several: a file, or the SHA-256 that ``find`` tells.
            stars: 0 to 5.
            favourite: Whether it is one.
            reject: Whether it is rejected.
            note: What to remember about it.
            tags: To add.
            rater: Who says so.

        Raises:
            RequestError: Nothing is said.
            StorageError: It could not be written.
        """
        from safelight.application.rating import rate
        from safelight.learning.ratings import Identity

        single = isinstance(pictures, (str, Path, Identity))
        given: Sequence[Any] = [pictures] if single else pictures  # type: ignore[assignment]
        return rate(
            self.archive, [_identity(each) for each in given], stars=stars, favourite=favourite,
            reject=reject, note=note, tags=(tags,) if isinstance(tags, str) else tags, rater=rater,
        )  # fmt: skip

    def undo(self, rating: RatingEvent | str, *, rater: str = "") -> RatingEvent:
        """Take a rating back.

        Raises:
            ArchiveError: There is no such rating.
        """
        from safelight.application.rating import rate

        event_id = rating if isinstance(rating, str) else rating.event_id
        (event,) = rate(self.archive, (), undo=event_id, rater=rater)
        return event

    def next_to_rate(
        self, *, together: int = 1, count: int = 10, condition: str = "", rater: str = "",
        seed: int | None = None,
    ) -> list[tuple[Mapping[str, Any], ...]]:  # fmt: skip
        """Return sets of pictures whose rating would teach most.

        Args:
            together: Pictures of a set: 1 for stars, 2 for a pick, 4 for the best of four.
            count: Sets at most.
            condition: Only pictures that meet this.
            rater: Who will rate; what they judged does not come.
            seed: Of what is drawn by chance; a new one when None.

        Raises:
            ArchiveError: There is nothing left to rate.
        """
        from safelight.application.to_rate import next_to_rate

        return next_to_rate(
            self.archive, self.archive.ratings().events(), together=together, count=count,
            condition=condition, rater=rater, seed=secrets.randbits(32) if seed is None else seed,
        )  # fmt: skip

    # -- learning --------------------------------------------------------------------------

    def effects(
        self,
        condition: str = "",
        *,
        knobs: Sequence[str] = (),
        raters: Sequence[str] = (),
        ignored: Sequence[str] = (),
    ) -> Effects:
        """Return what each knob does to ratings, how sure that is, and what it rests on.

        Args:
            condition: Only pictures that meet this.
            knobs: Only these.
            raters: Only ratings by these.
            ignored: Settings ``extra.NAME`` that cannot change pixels, so that pictures that
                differ in them are alike.

        Raises:
            RequestError: There is no such knob, rater or setting.
        """
        from safelight.application.rated_pictures import only_knobs, rated_trials
        from safelight.learning.evidence.effects import find_effects

        _, trials, _ = rated_trials(self.archive, condition, raters, ignored)
        effects = find_effects(trials)
        return only_knobs(effects, knobs) if knobs else effects

    def failures(self) -> FailedSettings:
        """Return which settings fail: the share of variants, by knob and value, with n.

        Raises:
            ArchiveError: The archive cannot answer.
        """
        from safelight.application.failed_settings import failed_settings

        return failed_settings(self.archive)

    def parents(self, condition: str = "") -> ChosenParents:
        """Return which settings' pictures later ones were made from: shares, with n.

        A weak sign, which is never mixed into ratings.

        Args:
            condition: Only pictures that meet this.

        Raises:
            FilterError: The condition cannot be read.
            ArchiveError: The archive cannot answer.
        """
        from safelight.application.chosen_parents import chosen_parents

        return chosen_parents(self.archive, condition)

    def suggest(
        self,
        model: str | None = None,
        *,
        count: int = 8,
        lora: str | None = None,
        condition: str = "",
        prompts: Sequence[str] = (),
        seeds: int = 2,
        knobs: Sequence[str] = (),
        raters: Sequence[str] = (),
        kinds: bool = False,
    ) -> Suggested:
        """Return settings worth drawing, each with its evidence; nothing is drawn.

        Args:
            model: For which; any of those that were rated when None, each suggestion its own.
            count: How many.
            lora: Learn only from pictures with this one; its weight is a knob.
            condition: Learn only from pictures that meet this.
            prompts: To draw; the two that were rated most when there are none.
            seeds: Pictures of every setting and prompt.
            knobs: ``name=values`` texts: vary these between these values.
            raters: Only ratings by these.
            kinds: Suggest also for each kind of pictures for which something else is good.

        Raises:
            PlanError: There is no model of that name.
        """
        from safelight.application.suggested_kinds import suggested
        from safelight.application.suggestions import find_evidence, knob_to_vary

        def evidence_for(those: str) -> Evidence:
            return find_evidence(
                self.archive, model=model, lora=lora, condition=those, raters=raters
            )

        evidence = evidence_for(condition)
        vary = [knob_to_vary(text) for text in knobs]
        found = suggested(evidence, evidence_for, count, vary, kinds=kinds)
        return Suggested(
            suggestions=found.suggestions, config=found.config(evidence, prompts, seeds),
            model=evidence.model, rated_by=evidence.rated_by, depends=found.depends,
            kinds=found.kinds,
        )  # fmt: skip

    # -- keeping ---------------------------------------------------------------------------

    def merge(self, other: OpenArchive | Path | str, *, follow_links: bool = False) -> Carried:
        """Carry over what another archive has and this one lacks; nothing is lost on either side.

        Args:
            other: The other one, which is only read.
            follow_links: Whether to copy also what links of *other* lead to that is not in it.

        Raises:
            StorageError: A side cannot be listed or written to; merging again goes on.
        """
        from safelight.archive.folder_copy import merge_archives

        source = other.path if isinstance(other, OpenArchive) else Path(other)
        if not source.is_dir():
            raise RequestError(f"there is no archive at {source}")
        return merge_archives(self.path, source, follow_links=follow_links)

    def verify(self, *, pictures: bool = False) -> Verification:
        """Read everything, and say what is not as it was written; nothing is changed.

        Args:
            pictures: Whether to read the picture files, too.
        """
        from safelight.archive.verification import verify_archive

        return verify_archive(self.archive, pictures=pictures)


def run(
    config: PipelineConfig | Mapping[str, Any] | Path | str,
    archive: OpenArchive | Path | str,
    environ: Mapping[str, str],
    *,
    seed: int | None = None,
    again: bool = False,
    strict: bool = False,
    cancel: CancelToken | None = None,
    on_progress: ProgressCallback | None = None,
    engines: EngineList | None = None,
) -> RunResult:
    """Draw what *config* asks for into *archive*, as ``safelight run`` does.

    Args:
        config: A file, a mapping such as ``{"txt2img": {"prompt": "a cat"}}``, or a checked config.
        archive: Where pictures and records go.
        environ: The environment, for what the config takes from there.
        seed: Seed of everything that the plan draws; a new one when None.
        again: Draw anew also what the archive holds already.
        strict: Count a picture that was made otherwise than asked as failed.
        cancel: Set it from another thread to stop.
        on_progress: Told of progress.
        engines: The user's list, of which configs may name one.

    Raises:
        ConfigError: The config is at fault; all of it is told.
        SafelightError: The run could not begin.
    """
    from safelight.application.carrying_out import RunSettings, carry_out
    from safelight.application.engine_list import NO_ENGINES
    from safelight.application.jobs import ready_config, ready_job
    from safelight.config import PipelineConfig
    from safelight.pipeline.run_result import joined

    opened = archive if isinstance(archive, OpenArchive) else OpenArchive(archive)
    listed = NO_ENGINES if engines is None else engines
    if isinstance(config, (str, Path)):
        job = ready_job(Path(config), (), seed, environ, engines=listed)
    else:
        if not isinstance(config, (PipelineConfig, Mapping)):
            raise RequestError(f"a config must be a file, a mapping or a config, got {config!r}")
        if not isinstance(config, PipelineConfig):
            config = PipelineConfig.as_stated(config)
        job = ready_config(config, config.name or "the config", seed, environ, engines=listed)
    try:
        results = [
            result
            for result, _ in carry_out(
                job, opened.archive, RunSettings(again=again, strict=strict), cancel=cancel,
                listeners=() if on_progress is None else (on_progress,),
            )
        ]  # fmt: skip
    finally:
        job.close()
    return joined(results)


def _identity(picture: Path | str | Identity) -> Identity:
    from safelight.application.rating import identity_of_file
    from safelight.learning.ratings import Identity

    if isinstance(picture, Identity):
        return picture
    text = str(picture)
    if len(text) == 64 and not set(text) - set("0123456789abcdef"):
        return Identity(sha256=text)
    path = Path(picture)
    if not path.is_file():
        raise RequestError(f"{text!r} is no file, and no SHA-256 of a picture")
    return identity_of_file(path)
