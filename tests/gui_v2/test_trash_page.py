"""Pictures into the trash from the page, back again, and handed over."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from safelight.archive import Archive
from safelight.archive_layout import pictures_folder
from safelight.learning.ratings import Identity, RatingEvent
from safelight.web import create_app
from safelight.web.admission import Admission
from safelight.web.sessions import Role

if TYPE_CHECKING:
    from playwright.sync_api import Page

OWNERS, GUESTS = "o" * 24, "g" * 24
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def rejects(archive: Path) -> list[str]:
    """The hashes of two pictures that were rejected."""
    opened = Archive(archive)
    rows = opened.query("prompt has 'lighthouse'", columns=["sha256"], limit=2).rows
    with opened.ratings() as store:
        for (sha256,) in rows:
            store.add(RatingEvent.now("reject", Identity(sha256=sha256), value=True, rater="ann"))
    return [sha256 for (sha256,) in rows]


@pytest.fixture
def asked(archive: Path, rejects: list[str]) -> Iterator[dict[str, TestClient]]:
    admission = Admission(tokens={Role.GUEST: GUESTS, Role.OWNER: OWNERS})
    app = create_app(archive, admission=admission)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        clients = {"owner": client}
        for role, token in (("owner", OWNERS), ("guest", GUESTS)):
            clients[role] = TestClient(
                app, base_url="http://127.0.0.1", headers={"authorization": f"Bearer {token}"}
            )
        yield clients


def sheet_has(client: TestClient, digest: str) -> int:
    """Return how many pictures a sheet of just that one says it shows."""
    shown = client.get("/sheet", params={"q": f"sha256 = '{digest}'"}).text
    told = re.search(r"([\d,]+) pictures", shown)
    assert told
    return int(told[1])


def test_a_set_is_discarded_as_it_was_told_or_not_at_all(
    asked: dict[str, TestClient], archive: Path, rejects: list[str]
) -> None:
    owner = asked["owner"]
    plan = owner.post("/api/trash/plan", json={"q": "rejected = true"}).json()
    assert (plan["files"], plan["left"]) == (2, [])
    assert plan["folders"] == {str(archive): 2}
    with Archive(archive).ratings() as store:
        row = Archive(archive).query("rejected is missing", columns=["sha256"], limit=1).rows[0]
        event = RatingEvent.now("reject", Identity(sha256=row[0]), value=True, rater="bob")
        store.add(event)
        asked_for = {"q": "rejected = true", "snapshot": "0" * 32}
        refused = owner.post("/api/trash", json=asked_for)
        assert refused.status_code == 409
        assert "look again" in refused.json()["error"]
        store.add(
            RatingEvent.now("albums", Identity(sha256=rejects[0]), added=("kept",), rater="bob")
        )
    assert owner.get("/api/albums").json()["albums"] == [{"name": "kept", "pictures": 1}]
    assert sheet_has(owner, rejects[0]) == 1
    by_hashes = {"sha256s": rejects}
    plan = owner.post("/api/trash/plan", json=by_hashes).json()
    moved = owner.post("/api/trash", json={**by_hashes, "snapshot": plan["snapshot"]}).json()
    assert (moved["files"], moved["left_count"]) == (2, 0)
    shown = {row["sha256"] for row in owner.get("/api/pictures").json()["rows"]}
    assert shown.isdisjoint(rejects)
    about = {"q": "discarded = true"}
    also = owner.get("/api/pictures", params=about).json()["rows"]
    assert {row["sha256"] for row in also} == {*rejects}
    every = owner.get("/api/facets").json()["total"]
    assert every == len(Archive(archive).query(limit=None).rows) - 2
    assert owner.get("/api/chosen").json()["count"] == every
    assert owner.get("/api/chosen", params=about).json()["count"] == 2
    assert owner.get("/api/albums").json()["albums"] == [{"name": "kept", "pictures": 0}]
    assert sheet_has(owner, rejects[0]) == 0
    (day,) = owner.get("/api/trash").json()["days"]
    assert (day["files"], {*day["shown"]}) == (2, {*rejects})
    assert "Trash" in owner.get("/trash").text
    assert owner.get(f"/pictures/{rejects[0]}").status_code == 200  # from where it is now
    back = owner.post("/api/trash/restore", json={"which": moved["discard"]}).json()
    assert back["files"] == 2
    assert owner.get(f"/pictures/{rejects[0]}").status_code == 200
    assert owner.get("/api/pictures", params=about).json()["rows"] == []


def test_emptying_needs_the_number_that_was_told(
    asked: dict[str, TestClient], archive: Path, rejects: list[str]
) -> None:
    owner, given = asked["owner"], {"sha256s": rejects}
    plan = owner.post("/api/trash/plan", json=given).json()
    owner.post("/api/trash", json={**given, "snapshot": plan["snapshot"]})
    assert owner.post("/api/trash/empty", json={}).status_code == 400
    assert owner.post("/api/trash/empty", json={"files": 1}).status_code == 409
    assert owner.post("/api/trash/empty", json={"files": 2}).json()["files"] == 2
    assert owner.get("/api/trash").json() == {"days": []}


def test_guests_move_nothing(asked: dict[str, TestClient], rejects: list[str]) -> None:
    for path in ("/api/trash", "/api/trash/plan", "/api/trash/restore", "/api/trash/empty"):
        assert asked["guest"].post(path, json={"sha256s": rejects}).status_code == 403
    for path in ("/api/trash", "/trash"):
        assert asked["guest"].get(path).status_code == 403


@pytest.mark.parametrize("role", ["owner", "guest"])
def test_a_set_is_handed_over_as_a_zip(
    asked: dict[str, TestClient], archive: Path, role: str, rejects: list[str]
) -> None:
    client, hashes = asked[role], ",".join(rejects)
    plan = client.post("/api/hand-over", json={"sha256s": rejects}).json()
    assert plan["files"] == 2
    answer = client.post("/hand-over", content=f"sha256s={hashes}&page=1", headers=FORM)
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
        assert file.testzip() is None
        assert len(file.namelist()) == 3
        assert sum(info.file_size for info in file.infolist()[:2]) == plan["size"]
    assert str(archive).encode() not in answer.content
    again = client.post("/hand-over", content="q=rejected%3Dtrue&strip=1", headers=FORM)
    with zipfile.ZipFile(io.BytesIO(again.content)) as file:
        assert file.namelist()[0].startswith("00000")
    assert client.post("/hand-over", content="", headers=FORM).status_code == 400
    assert client.post("/hand-over", content="sha256s=", headers=FORM).status_code == 400
    nothing = client.post("/hand-over", content="q=stars%3D5", headers=FORM)
    assert nothing.status_code == 404


def test_guests_cannot_guess_places_by_what_they_take(asked: dict[str, TestClient]) -> None:
    for answer in (
        asked["guest"].post("/api/hand-over", json={"q": "path has 'images'"}),
        asked["guest"].post("/hand-over", content="q=path+has+'images'", headers=FORM),
    ):
        assert answer.status_code == 400


def test_rejects_go_into_the_trash_and_come_back_in_a_browser(
    page: Page, address: str, archive: Path, rejects: list[str]
) -> None:
    page.goto(f"{address}/?q=rejected+%3D+true")
    page.get_by_role("button", name="Rejects: 2 files").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("2 files,").wait_for()
    dialog.get_by_role("button", name="Move to trash").click()
    page.get_by_text("2 files moved to the trash.").wait_for()
    page.get_by_text("No picture meets this filter.").wait_for()
    assert len(Archive(archive).query("discarded = true").rows) == 2
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("2 files restored.").wait_for()
    page.locator(".tile").nth(1).wait_for()
    page.locator(".tile").first.click()
    page.locator("#viewer").get_by_role("button", name="Move to trash…").click()
    page.get_by_role("dialog").get_by_role("button", name="Move to trash").click()
    page.get_by_text("1 file moved to the trash.").wait_for()
    page.goto(f"{address}/trash")
    page.get_by_role("button", name="Delete for good…").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete 1 file").click()
    page.get_by_text("The trash is empty.").wait_for()
    left = [path for path in pictures_folder(archive).rglob("*.png") if path.name[0] == "0"]
    assert len(left) == len(Archive(archive).query("discarded is missing", limit=None).rows)


def test_pictures_are_saved_and_dragged_out_in_a_browser(page: Page, address: str) -> None:
    page.goto(f"{address}/?q=lighthouse")
    page.locator(".tile").first.wait_for()
    page.get_by_role("button", name="Download…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("as one .zip").wait_for()
    with page.expect_download() as saved:
        dialog.get_by_role("button", name="Download").click()
    with zipfile.ZipFile(saved.value.path()) as file:
        assert len(file.namelist()) == 7
    told = page.evaluate(
        """() => {
          const data = new DataTransfer();
          document.querySelector(".tile").dispatchEvent(
            new DragEvent("dragstart", { bubbles: true, dataTransfer: data }));
          return data.getData("DownloadURL");
        }"""
    )
    kind, name, *_ = told.split(":")
    assert kind == "image/png"
    assert name.endswith(".png")
    assert f":{address}/pictures/" in told
