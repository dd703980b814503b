"""The contract of every engine, with each server of the family behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from backends.backend_contract import BackendContract
from backends.webui.replay_server import ReplayServer
from safelight.backends.webui import WebuiBackend


class _Contract(BackendContract):
    dialect = ""

    @pytest.fixture
    def backend(
        self, serve: Callable[..., ReplayServer], connect: Callable[..., WebuiBackend]
    ) -> WebuiBackend:
        return connect(serve(self.dialect))

    @pytest.fixture
    def request_fields(self) -> dict[str, Any]:
        return {"prompt": "a red fox", "seed": 3, "steps": 3, "width": 128, "height": 64}


class TestForge(_Contract):
    dialect = "forge"


class TestSdNext(_Contract):
    dialect = "sdnext"


class TestSdServer(_Contract):
    dialect = "sdcpp"
