"""Several engines that this process reaches keep the promises of every pool."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import pytest

from pipeline.pool_contract import WORKERS, PoolContract, closing
from safelight.backends.fake import FakeBackend
from safelight.errors import BackendError, BackendUnavailable
from safelight.pipeline.backend import (
    BackendDescription,
    Generation,
    ImageRequest,
    StepCallback,
)
from safelight.pipeline.engine_pool import EnginePool, LocalPool


class Server(FakeBackend):
    """An engine that can be switched off for its next request."""

    off = 0
    version = "1"

    def describe(self) -> BackendDescription:
        return BackendDescription(name="fake", version=self.version)

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        if self.off:
            self.off -= 1
            raise BackendUnavailable("the server is off")
        return super().generate(request, on_step)


class TestLocalPool(PoolContract):
    def pool(self, **options: Any) -> AbstractContextManager[EnginePool]:
        servers = [FakeBackend(**options) for _ in range(WORKERS)]
        return closing(LocalPool(servers))

    first_worker = "fake 1"

    def lose_one(self, pool: EnginePool) -> None:
        assert isinstance(pool, LocalPool)
        broken = Server(seconds_per_step=0.02)
        broken.off = 2
        pool._backends[0].generate = broken.generate  # type: ignore[method-assign]


def test_engines_of_two_versions_are_no_pool() -> None:
    """Equal settings must give equal pictures, whoever draws them."""
    one, two = Server(), Server()
    two.version = "2"
    with pytest.raises(BackendError, match=r"of one version.*a is 1, b is 2"):
        LocalPool([one, two], ["a", "b"]).describe()


def test_a_pool_has_an_engine() -> None:
    """None at all would wait for ever."""
    with pytest.raises(BackendError, match="at least one"):
        LocalPool([])
