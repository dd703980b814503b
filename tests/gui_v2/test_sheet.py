"""A sheet of pictures that differ in more than two settings."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.testclient import TestClient

from gui_v2.test_facets import record
from safelight.archive import Archive
from safelight.web import create_app


def test_a_sheet_begins_with_pictures(tmp_path: Path) -> None:
    """However they differ: what is held is what most of them have together."""
    archive = Archive(tmp_path)
    sets = [(steps, seed, cfg) for steps in (4, 8) for seed, cfg in ((1, 9.0), (2, 3.0), (2, 3.0))]
    made = [
        record(n, {}, model="b" if n % 2 else "a", sampler="Euler", steps=s, seed=seed, cfg_scale=c)
        for n, (s, seed, c) in enumerate(sets)
    ]
    archive.add_pack([each.to_document() for each in made])

    def shown(client: TestClient, **query: str) -> int:
        told = re.search(r"(\d+) pictures", client.get("/sheet", params=query).text)
        assert told
        return int(told[1])

    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        chosen = {"x": "model", "y": "steps"}
        assert shown(client, **chosen) > 0
        assert shown(client, **chosen, **{"only.prompt": "p0"}) == 1
        assert shown(client, **chosen, **{"only.prompt": "", "only.cfg_scale": "9"}) > 0
