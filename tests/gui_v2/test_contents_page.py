"""The page about what is in an archive leads to the pictures that it counts."""

from __future__ import annotations

import html
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.testclient import TestClient

from gui_v2.test_learn_page import varied
from safelight.application.picture_settings import label_of
from safelight.archive import Archive
from safelight.archive.contents import contents_of
from safelight.imports.folder_import import import_folders
from safelight.web import contents, create_app

_PICTURES = Path(__file__).parents[1] / "data" / "imports"


def filled(folder: Path) -> Archive:
    archive = Archive(folder / "archive")
    archive.add_pack([varied(number).to_document() for number in range(30)])
    import_folders([_PICTURES], archive)
    return archive


def test_every_count_leads_to_as_many_pictures(tmp_path: Path) -> None:
    archive = filled(tmp_path)
    page = contents._page(contents_of(archive, "width > 0"), "width > 0")
    counted = [pair for part in page["parts"] for pair in part["values"]]
    counted += [(month, href) for month, href, _ in page["months"]]
    counted += [pair for _, values in page["varied"] for pair in values]
    assert len(counted) > 100
    for one, href in counted:
        (q,) = parse_qs(urlsplit(href).query)["q"]
        found = archive.query(q, columns=("sha256",), limit=None).rows
        assert len({row[0] for row in found}) == one.pictures, (one, q)


def test_the_page_shows_what_the_command_does(tmp_path: Path) -> None:
    archive = filled(tmp_path)
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        headers = {"accept": "text/html", "prefer": "wait=300"}
        told = html.unescape(client.get("/contents", headers=headers).text)
    expected = contents_of(archive)
    assert f"{expected.pictures:,} pictures" in told
    rows = re.findall(r'<tr><th scope="row">(.*?)</th><td>([\d,]+)</td><td>([\d,]+)</td>', told)
    assert rows == [
        (label_of(one.knob), f"{one.values.different:,}", f"{one.groups:,}")
        for one in expected.varied
    ]
