"""What every pool promises, whether its workers are threads here or processes elsewhere."""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safelight.application.archived_pictures import ArchivedPictures
from safelight.archive import Archive
from safelight.backends.fake import FakeBackend
from safelight.learning import LearningRecord
from safelight.pipeline import CancelToken, PipelineRunner, RunProgress
from safelight.pipeline.engine_pool import EnginePool
from safelight.pipeline.journal import read_journal
from safelight.pipeline.retry import RetryPolicy

WORKERS = 3
PATIENT = RetryPolicy(retries=4, first_wait=0.05, longest_wait=0.5)
CONFIG: dict[str, Any] = {
    "txt2img": {"prompt": "a {red|green} hill", "seed": 1, "steps": 2, "width": 32, "height": 32},
    "upscale": {"upscaler": "Nearest", "scale": 2},
    "randomizer": {"mode": "fanout", "sweep": {"txt2img.cfg_scale": [1, 2, 3, 4, 5]}},
}
_PASSING = ("seconds", "run_id", "plan_id", "timestamp", "digest")


def content(record: LearningRecord) -> dict[str, Any]:
    """Return what a record says, without its times, ids and host names."""
    data: dict[str, Any] = json.loads(record.to_json())
    for name in _PASSING:
        del data[name]
    for output in data["outputs"]:
        for name in ("seconds", "path", "sha256", "parent"):  # bytes hold the run's id
            del output[name]
    return data


class PoolContract(ABC):
    """Subclass it, and build the pool of an engine."""

    @abstractmethod
    def pool(self, **options: Any) -> Any:
        """Return a context manager that gives a pool of :data:`WORKERS` fake engines."""

    first_worker: str
    """What the one is called that :meth:`lose_one` loses."""

    @abstractmethod
    def lose_one(self, pool: EnginePool) -> None:
        """Lose a worker that draws right now; it comes back after a while."""

    def run(
        self, pool: EnginePool, archive: Path, config: Any = None, **more: Any
    ) -> tuple[Any, list[LearningRecord]]:
        records: list[LearningRecord] = []
        runner = PipelineRunner(
            FakeBackend(),
            pool=pool,
            archive_dir=archive,
            on_learning_record=records.append,
            retry=PATIENT,
        )
        return runner.run(config or CONFIG, seed=1, **more), records

    def test_the_account_is_the_same_as_on_one_engine(self, tmp_path: Path) -> None:
        """Same config, same plan, same settings, same pixels, in the same order."""
        alone: list[LearningRecord] = []
        one = PipelineRunner(
            FakeBackend(), archive_dir=tmp_path / "one", on_learning_record=alone.append
        )
        one.run(CONFIG, seed=1)
        with self.pool() as pool:
            result, records = self.run(pool, tmp_path / "pool")
        assert result.status == "completed"
        assert [content(record) for record in records] == [content(alone[0])]
        names = [
            sorted(path.name for path in folder.rglob("*.png"))
            for folder in (tmp_path / "one", tmp_path / "pool")
        ]
        assert names[0] == names[1]

    def test_what_a_pool_drew_is_known_again(self, tmp_path: Path) -> None:
        """Whoever of it drew what; another engine option draws anew."""

        def reused(**options: Any) -> int:
            with self.pool(**options) as pool, Archive(tmp_path).writer() as writer:
                self.warm(pool)
                runner = PipelineRunner(
                    FakeBackend(), pool=pool, archive_dir=tmp_path, retry=PATIENT,
                    learning_record_writer=writer, library=ArchivedPictures(Archive(tmp_path)),
                )  # fmt: skip
                return runner.run(CONFIG, seed=1).reused

        assert reused() == 0
        assert reused() == 10
        assert reused(substitute={"sampler": "Heun"}) == 0

    def test_several_draw_at_once_and_tell_in_the_callers_thread(self, tmp_path: Path) -> None:
        """Three engines of a second each are done in about a second."""
        reports: list[tuple[str, int, str]] = []

        def listen(progress: RunProgress) -> None:
            reports.append((progress.event, threading.get_ident(), progress.worker))

        config = {**CONFIG, "randomizer": {"seeds_per_variant": WORKERS, "templates": False}}
        with self.pool(seconds_per_step=0.5) as pool:
            self.warm(pool)
            began = time.monotonic()
            result, _ = self.run(pool, tmp_path, config, on_progress=listen)
            spent = time.monotonic() - began
        assert result.status == "completed"
        assert spent < 1.5 * WORKERS * 0.8, "they took turns"
        assert {thread for _, thread, _ in reports} == {threading.get_ident()}
        assert [event for event, _, _ in reports].count("variant") == WORKERS
        assert len({worker for event, _, worker in reports if event == "step"}) == WORKERS
        assert sum(share.variants for share in result.workers.values()) == WORKERS

    def warm(self, pool: EnginePool) -> None:
        """Wait until every worker is there, for what counts seconds."""
        pool.describe()

    def test_what_an_engine_refuses_fails_alone(self, tmp_path: Path) -> None:
        """With the engine's own words."""
        with self.pool(fail_on=["red"]) as pool:
            result, records = self.run(pool, tmp_path)
        assert (result.status, len(result.failures)) == ("partial", 5)
        (error,) = {failure.error for failure in records[0].failures}
        assert error == "the fake engine refuses prompts with 'red', as asked"

    def test_a_cancel_stops_all_within_a_step(self, tmp_path: Path) -> None:
        """And keeps what is finished."""
        cancel = CancelToken()

        def listen(progress: RunProgress) -> None:
            if progress.event == "variant":
                cancel.cancel()

        many = {**CONFIG, "randomizer": {"seeds_per_variant": 500, "templates": False}}
        with self.pool(seconds_per_step=0.1) as pool:
            pool.describe()
            began = time.monotonic()
            result, (record,) = self.run(pool, tmp_path, many, cancel=cancel, on_progress=listen)
        assert time.monotonic() - began < 20
        assert result.status == record.status == "cancelled"
        assert 1 <= len(record.variant_configs) < 20

    def test_a_lost_worker_costs_the_variant_in_hand(self, tmp_path: Path) -> None:
        """Which is drawn by another one; none is missing, none is there twice."""
        lost: list[int] = []
        with self.pool(seconds_per_step=0.2) as pool:

            def listen(progress: RunProgress) -> None:
                # While it draws: one that has nothing in hand yet is not missed.
                if progress.event == "step" and progress.worker == self.first_worker and not lost:
                    lost.append(progress.variant)
                    self.lose_one(pool)

            many = {**CONFIG, "randomizer": {"seeds_per_variant": 12, "templates": False}}
            result, (record,) = self.run(pool, tmp_path, many, on_progress=listen)
        assert lost
        assert (result.status, result.failures) == ("completed", ())
        assert sum(share.silences for share in result.workers.values()) >= 1
        seeds = [config["txt2img"]["seed"] for config in record.variant_configs]
        assert seeds == list(range(1, 13))
        assert len(list(tmp_path.rglob("*.png"))) == 24
        assert [output.variant for output in record.outputs] == [n // 2 for n in range(24)]

    def test_pictures_that_the_config_names_reach_every_worker(self, tmp_path: Path) -> None:
        """They are beside the config, and perhaps on no other machine."""
        from PIL import Image

        Image.new("RGB", (32, 32), "red").save(tmp_path / "in.png")
        (tmp_path / "c.toml").write_text(
            'img2img = {init_image = "in.png", prompt = "x", steps = 1, seed = 3}\n'
            "[randomizer]\nseeds_per_variant = 6"
        )
        from safelight.config import PipelineConfig

        with self.pool() as pool:
            config = PipelineConfig.from_file(tmp_path / "c.toml")
            result, _ = self.run(pool, tmp_path / "a", config)
        assert (result.status, len(result.images)) == ("completed", 6)

    def test_a_worker_keeps_its_model_as_long_as_it_can(self, tmp_path: Path) -> None:
        """Loading weights costs seconds: as few loads as there are models and workers."""
        models = [f"m{n}" for n in range(WORKERS)]
        sweep = {"txt2img.model": models}
        config = {
            **CONFIG,
            "randomizer": {
                "mode": "fanout", "sweep": sweep, "seeds_per_variant": 8, "templates": False,
            },
        }  # fmt: skip
        with self.pool(seconds_per_step=0.02) as pool:
            self.warm(pool)
            result, _ = self.run(pool, tmp_path, config)
        assert result.status == "completed"
        _, entries, _ = read_journal(next(tmp_path.rglob("journal.jsonl")))
        loads, held = 0, dict[str, str]()
        for entry in entries:
            model = entry.config["txt2img"]["model"]
            loads += held.get(entry.worker) != model
            held[entry.worker] = model
        assert loads <= 2 * WORKERS

    def test_a_plan_of_a_million_is_never_held(self, tmp_path: Path) -> None:
        """It is begun at once, and ends at once when somebody stops."""
        cancel = CancelToken()

        def listen(progress: RunProgress) -> None:
            if progress.event == "variant":
                cancel.cancel()

        many = {**CONFIG, "randomizer": {"seeds_per_variant": 10**6, "templates": False}}
        with self.pool(seconds_per_step=0.02) as pool:
            pool.describe()
            began = time.monotonic()
            result, _ = self.run(pool, tmp_path, many, cancel=cancel, on_progress=listen)
        assert (result.status, result.plan_size) == ("cancelled", 10**6)
        assert time.monotonic() - began < 15


@contextmanager
def closing(pool: EnginePool) -> Iterator[EnginePool]:
    """Close *pool* at the end."""
    try:
        yield pool
    finally:
        pool.close()
