"""What every ComfyUI promises on top of the contract of all engines."""

from __future__ import annotations

from typing import Any

from backends.backend_contract import BackendContract
from safelight.pipeline.backend import Backend, ListsChoices
from safelight.sampler_names import SAMPLERS

__all__ = ["ComfyuiContract"]


class ComfyuiContract(BackendContract):
    """The contract, with ComfyUI's one exception."""

    def test_every_listed_choice_can_be_used(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """And is reported by the same name; only Automatic by the schedule that it chose."""
        assert isinstance(backend, ListsChoices)
        for knob in ("sampler", "scheduler"):
            for name in backend.choices()[knob]:
                image = self.draw(backend, request_fields, **{knob: name})
                assert image.effective[knob] == (
                    SAMPLERS["Euler"].scheduler if name == "Automatic" else name
                )
