"""Nobody here runs these files, so they must at least agree with what is run here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PUBLIC = [*WORKFLOWS, *FORMS, ROOT / "Dockerfile", ROOT / "SECURITY.md", ROOT / "CITATION.cff"]
HOSTS = r"https?://([\w.-]+)"


def jobs(name: str) -> Any:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text("utf-8"))["jobs"]


def test_the_pythons_that_are_tested_are_those_that_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {
        word for line in project["classifiers"] if (word := line.rpartition(" ")[2])[:2] == "3."
    }
    matrix = jobs("ci.yml")["tests"]["strategy"]["matrix"]
    assert set(matrix["python"]) == declared
    assert project["requires-python"] == f">={min(declared, key=lambda v: int(v[2:]))}"
    assert {system.split("-")[0] for system in matrix["system"]} == {"ubuntu", "windows", "macos"}


def test_every_part_that_a_workflow_makes_can_be_made() -> None:
    made = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for workflow in WORKFLOWS:
        for job in jobs(workflow.name).values():
            wanted = set(job.get("strategy", {}).get("matrix", {}).get("part", ()))
            for step in job["steps"]:
                words = step.get("run", "").split()
                wanted |= set(words[1:]) - {'"$PART"'} if words[:1] == ["make"] else set()
            assert wanted <= set(made)


def test_only_the_step_that_publishes_may_say_who_it_is() -> None:
    """No token lies anywhere, and nothing that is built can reach what publishes."""
    release = jobs("release.yml")
    assert release["publish"]["permissions"] == {"id-token": "write"}
    assert release["publish"]["needs"] == "build"
    assert not any("run" in step for step in release["publish"]["steps"])
    for workflow in WORKFLOWS:
        assert "secrets." not in workflow.read_text("utf-8")


def test_forms_ask_for_the_report_of_the_doctor() -> None:
    for form in FORMS:
        if form.name != "config.yml":
            assert "`safelight doctor --report" in form.read_text("utf-8")


def test_no_file_names_a_machine_or_another_host() -> None:
    """An address is an example of one's own machine."""
    for file in PUBLIC:
        text = file.read_text("utf-8")
        assert set(re.findall(HOSTS, text)) <= {"127.0.0.1"}, file
        assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users)/", text), file


def test_the_container_serves_for_an_account_without_rights() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    words = [line.split(maxsplit=1) for line in lines if line and line[0].isupper()]
    assert [rest for word, rest in words if word == "USER"] == ["1000"]
    assert words[-2:] == [["ENTRYPOINT", '["safelight"]'], ["CMD", '["serve"]']]
    assert not any("--host" in rest for word, rest in words if word in ("CMD", "ENTRYPOINT"))
    copied = {part for word, rest in words if word == "COPY" for part in rest.split()[:-1]}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    assert {name.removeprefix("./") for name in copied if "/" not in name[2:]} - {
        "--from=built"
    } <= let_in
