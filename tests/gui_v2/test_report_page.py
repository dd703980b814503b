"""A report opens from the disk in a browser, fetches nothing and shows its pictures."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

import safelight
from safelight.application.reporting import made_report, report_page
from safelight.archive import Archive


def test_it_opens_without_a_server(browser: Browser, tmp_path: Path) -> None:
    config = {
        "backend": "fake",
        "txt2img": {"prompt": "a {fox|owl}", "seed": 7, "width": 64, "height": 64},
        "randomizer": {"mode": "fanout", "sweep": {"txt2img.steps": [4, 30]}},
    }
    safelight.run(config, tmp_path / "archive", seed=1)
    archive = safelight.open(tmp_path / "archive")
    for row in archive.find(columns=["sha256", "steps"]).dicts():
        archive.rate(row["sha256"], stars=5 if row["steps"] == 30 else 2)
    target = tmp_path / "report.html"
    target.write_bytes(report_page(made_report(Archive(tmp_path / "archive"))))
    page = browser.new_page(viewport={"width": 390, "height": 844})
    asked, said = list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(target.as_uri())
    page.wait_for_function("[...document.images].every((i) => i.complete && i.naturalWidth)")
    assert page.locator("img").count() >= 4
    assert [url for url in asked if not url.startswith("data:")] == [target.as_uri()]
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
