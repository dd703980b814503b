"""Actors on several nodes keep the promises of every pool."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray", reason="the extra ray: make test-ray")

from ray.cluster_utils import Cluster  # noqa: E402

from pipeline.pool_contract import CONFIG, WORKERS, PoolContract, closing, content  # noqa: E402
from safelight.backends.fake import FakeBackend  # noqa: E402
from safelight.backends.ray_pool import ActorResources, RayPool  # noqa: E402
from safelight.errors import BackendError, BackendUnavailable  # noqa: E402
from safelight.learning import LearningRecord  # noqa: E402
from safelight.pipeline import PipelineRunner, RunProgress  # noqa: E402
from safelight.pipeline.engine_pool import EnginePool  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for number in range(WORKERS):
        made.add_node(num_cpus=1, resources={"disk": 1}, num_gpus=int(number == 0))
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


class TestRayPool(PoolContract):
    cluster: Any

    @pytest.fixture(autouse=True)
    def _keep(self, cluster: Any) -> None:
        self.cluster = cluster

    def pool(self, **options: Any) -> AbstractContextManager[EnginePool]:
        return closing(RayPool("fake", options, actors=WORKERS))

    def warm(self, pool: EnginePool) -> None:
        assert isinstance(pool, RayPool)
        while not all(pool.ready(name) for name in pool._actors):
            threading.Event().wait(0.05)

    first_worker = "actor 1"

    def lose_one(self, pool: EnginePool) -> None:
        assert isinstance(pool, RayPool)
        ray.kill(pool._actors["actor 1"], no_restart=False)

    def test_a_lost_node_costs_the_variants_in_hand(self, tmp_path: Path) -> None:
        """Its actors go on elsewhere, or not at all; the run goes on either way."""
        node = self.cluster.add_node(num_cpus=1, resources={"fragile": 1})
        nodes = [node]
        resources = ActorResources(cpus=0, custom={"fragile": 0.5})
        lost: list[int] = []

        def listen(progress: RunProgress) -> None:
            if progress.event == "variant" and not lost:
                lost.append(progress.variant)
                self.cluster.remove_node(nodes.pop(), allow_graceful=False)
                self.cluster.add_node(num_cpus=1, resources={"fragile": 1})

        many = {**CONFIG, "randomizer": {"seeds_per_variant": 30, "templates": False}}
        pool = RayPool("fake", {"seconds_per_step": 0.02}, actors=2, resources=resources)
        with closing(pool):
            result, (record,) = self.run(pool, tmp_path, many, on_progress=listen)
        assert (result.status, result.failures) == ("completed", ())
        assert sum(share.silences for share in result.workers.values()) >= 1
        assert [c["txt2img"]["seed"] for c in record.variant_configs] == list(range(1, 31))

    def test_a_part_of_a_gpu_is_enough_for_an_actor(self, tmp_path: Path) -> None:
        """Two on one, beside each other."""
        assert ActorResources(gpus=0.5).fitting(ray.cluster_resources()) == 2
        with closing(RayPool("fake", resources=ActorResources(gpus=0.5))) as pool:
            assert isinstance(pool, RayPool)
            self.warm(pool)
            assert len(pool._actors) == 2
            result, _ = self.run(pool, tmp_path)
        assert result.status == "completed"

    def test_resources_that_nobody_has_are_told(self) -> None:
        """With what the cluster has; not waited for in silence for ever."""
        needs = ActorResources(custom={"unobtainium": 1})
        with (
            closing(RayPool("fake", actors=1, resources=needs, patience=1)) as pool,
            pytest.raises(BackendUnavailable, match=r"no actor came up within 1 s.*disk"),
        ):
            pool.describe()

    def test_an_engine_that_cannot_begin_says_why(self) -> None:
        """Not a hundred lines of somebody's traceback."""
        with (
            closing(RayPool("fake", {"seconds_per_step": -1}, actors=1)) as pool,
            pytest.raises(BackendError, match="seconds_per_step must lie in 0 to 3600"),
        ):
            pool.describe()


def test_the_archive_is_the_same_on_one_machine_and_on_many(cluster: Any, tmp_path: Path) -> None:
    """Identities, too: what was drawn on one is not drawn again on the other."""
    from safelight.application.archived_pictures import ArchivedPictures
    from safelight.archive import Archive
    from safelight.learning import LearningRecordWriter

    def run(pool: EnginePool | None, library: Any) -> tuple[Any, LearningRecord]:
        records: list[LearningRecord] = []
        with LearningRecordWriter(tmp_path / "records") as writer:
            runner = PipelineRunner(
                FakeBackend(), pool=pool, archive_dir=tmp_path, learning_record_writer=writer,
                on_learning_record=records.append, library=library,
            )  # fmt: skip
            return runner.run(CONFIG, seed=5), records[0]

    _, here = run(None, None)
    with closing(RayPool("fake", actors=WORKERS)) as pool:
        _, there = run(pool, None)
        assert content(here) == content(there)
        result, _ = run(pool, ArchivedPictures(Archive(tmp_path)))
    assert result.reused == 10
