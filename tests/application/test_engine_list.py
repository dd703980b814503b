"""The engines that the owner has named, and what configs make of them."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from command_line import Safelight
from safelight.application.engine_list import EngineList
from safelight.application.jobs import ready_config
from safelight.backends.engine_server import EngineServer
from safelight.config import BackendChoice, PipelineConfig
from safelight.errors import BackendError, ConfigError, RequestError
from safelight.machine_folders import configuration_folder

LIST = """# mine
[engines.gpu]
backend = "webui"  # in the cellar
url = "https://me:hidden@GPU-box:7860/"
user = "ann"
password = "env:GPU_PASSWORD"
headers = { X-Team = "env:TEAM", X-Plain = "7" }
timeout = 60

[engines.flow]
backend = "comfyui"
url = "http://10.0.0.2:8188"
workflow = "flow.json"
map = { "txt2img.prompt" = "6.inputs.text" }
"""


@pytest.fixture
def engines(tmp_path: Path) -> EngineList:
    folder = tmp_path / "settings"
    folder.mkdir()
    write(folder, LIST)
    return EngineList(folder)


def write(folder: Path, text: str, mode: int = 0o600) -> None:
    (folder / "engines.toml").write_text(text, "utf-8")
    (folder / "engines.toml").chmod(mode)


def choice(name: str, **options: Any) -> BackendChoice:
    return BackendChoice(name=name, options=options)


def test_the_list_is_where_the_system_has_such_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x")
    if sys.platform == "linux":
        assert configuration_folder() == Path("/x/safelight")
    assert configuration_folder().name == "safelight"


def test_a_config_names_an_engine_of_the_list(engines: EngineList) -> None:
    for meant in (engines.of_command, engines.of_page, engines.as_listed):
        assert meant(choice("fake")) == choice("fake")
    for meant in (engines.of_command, engines.of_page):
        gpu = meant(choice("gpu", timeout=5))
        assert (gpu.name, gpu.listed) == ("webui", "gpu")
        assert gpu.options["url"] == "https://me:hidden@GPU-box:7860/"
        assert gpu.options["timeout"] == 5
    assert engines.path is not None
    flow = engines.of_page(choice("flow"))
    workflow = engines.path.parent / "flow.json"
    assert (flow.options["workflow"], flow.named) == (str(workflow), (workflow,))
    assert engines.read()["gpu"].variables == ("GPU_PASSWORD", "TEAM")


@pytest.mark.parametrize("name", ["gpu", "webui"])
@pytest.mark.parametrize(
    "option",
    [
        {"url": "http://evil"}, {"urls": ["http://evil"]}, {"user": "u"}, {"password": "p"},
        {"headers": {"A": "b"}}, {"verify": False}, {"verify": "/etc/passwd"},
        {"timeout": "env:HOME"}, {"timeout": ["env:HOME"]},
    ],
)  # fmt: skip
def test_a_page_says_neither_where_requests_go_nor_with_what(
    engines: EngineList, name: str, option: dict[str, Any]
) -> None:
    """And nothing gives an engine of the list another address: its password would go there."""
    with pytest.raises(ConfigError) as caught:
        engines.of_page(choice(name, **option))
    (fault,) = caught.value.faults
    assert fault.path == f"backend.{next(iter(option))}"
    assert "safelight engines add NAME URL" in fault.message
    if name == "gpu":
        with pytest.raises(ConfigError, match="comes from the list"):
            engines.of_command(choice(name, **option))


def test_a_list_at_fault_is_in_the_way_of_those_it_names_only(engines: EngineList) -> None:
    assert engines.path is not None
    engines.path.write_text("[engines", "utf-8")
    for meant in (engines.of_command, engines.of_page, engines.as_listed):
        assert meant(choice("fake")) == choice("fake")
    with pytest.raises(ConfigError, match="is not TOML"):
        engines.of_page(choice("gpu"))


def test_headers_come_from_the_list_only(engines: EngineList) -> None:
    """A config is recorded, and a header may be a secret by any name."""
    with pytest.raises(ConfigError, match=r"backend\.headers: never comes from a config"):
        engines.of_command(choice("webui", headers={"X-Team": "red"}))


def test_a_page_names_no_other_engine(engines: EngineList) -> None:
    for name in ("red", "/etc/passwd", "gp"):
        with pytest.raises(ConfigError, match="is no engine that a page may name.*gpu"):
            engines.of_page(choice(name))
    with pytest.raises(ConfigError) as caught:
        engines.of_page(choice("comfyui", url="http://x", passwrod="x", files="/", timeout=3))
    assert [fault.path for fault in caught.value.faults] == [
        "backend.url", "backend.passwrod", "backend.files",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("recorded", "listed"),
    [
        (choice("webui", url="https://gpu-box:7860", timeout=9), choice("gpu", timeout=9)),
        (choice("webui", url="https://u:p@gpu-box:7860/", password="env:HOME"), choice("gpu")),
        (choice("webui", urls=["https://gpu-box:7860"]), choice("gpu")),
        (choice("webui", url="http://127.0.0.1:7860/"), choice("webui")),
        (choice("comfyui", url="http://127.0.0.1:8188"), choice("comfyui")),
        (choice("comfyui", url="http://10.0.0.2:8188"), choice("flow")),
        (choice("gpu"), choice("gpu")),
        (choice("webui", timeout=3), choice("webui", timeout=3)),
    ],
)
def test_a_record_means_the_engine_of_the_list_at_its_address(
    engines: EngineList, recorded: BackendChoice, listed: BackendChoice
) -> None:
    """What it says of logins does not count."""
    assert engines.as_listed(recorded) == listed


@pytest.mark.parametrize(
    "recorded",
    [
        choice("webui", url="http://evil:7860"), choice("webui", url="http://gpu-box:7860"),
        choice("webui", urls=["https://gpu-box:7860", "http://evil"]),
        choice("comfyui", url="https://gpu-box:7860"), choice("webui", url="env:HOME"),
        choice("webui", url="http://127.0.0.1:7860", password="env:HOME"),
        choice("webui", headers={"A": "env:HOME"}), choice("fake", fail_on="env:HOME"),
        choice("webui", url="https://gpu-box:7860@evil"), choice("webui", verify=False),
    ],
)  # fmt: skip
def test_a_record_of_a_foreign_address_is_no_way_to_it(
    engines: EngineList, recorded: BackendChoice
) -> None:
    with pytest.raises(ConfigError, match="your list has none there"):
        engines.as_listed(recorded)


def test_every_fault_of_the_list_is_told_and_no_secret(tmp_path: Path) -> None:
    write(tmp_path, """
more = 1
[engines.webui]
backend = "webui"
[engines."a b"]
backend = "webuii"
[engines.c]
backend = "comfyui"
url = "s3cret"
pasword = "s3cret"
password = 5
headers = "s3cret"
workflow = "~/x.json"
user = "env:1 s3cret"
""")  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        EngineList(tmp_path).read()
    assert [fault.path for fault in caught.value.faults] == [
        "more", "engines.webui", "engines.a b", "engines.a b.backend", "engines.c.url",
        "engines.c.pasword", "engines.c.password", "engines.c.headers", "engines.c.workflow",
        "engines.c.user",
    ]  # fmt: skip
    assert "s3cret" not in str(caught.value)
    write(tmp_path, "[engines")
    with pytest.raises(ConfigError, match="is not TOML"):
        EngineList(tmp_path).read()


WRONG_LOGINS = (
    "http://me:s3cret/x@gpu-box:7860", "http://me:1234/s3cret@gpu-box", "http://me:1#s3cret@gpu-box",
    "http://me:s3cret?x@gpu-box", "http://me:s3cret[@gpu-box", "http://me:s3cret@[::1",
    "me:s3cret@gpu-box", "http://me:s3cret@", "http://me:s3cret@gpu-box:99999", "http://me:s3cret@gpu-box:x",
)  # fmt: skip


@pytest.mark.parametrize("url", WRONG_LOGINS)
def test_of_a_login_that_is_written_wrong_nothing_is_told(tmp_path: Path, url: str) -> None:
    """A slash in a password ends the host before it, and what is left looks like a port."""
    with pytest.raises(BackendError, match="url must look like") as caught:
        EngineServer("the engine", url)
    assert "s3cret" not in str(caught.value)
    assert "1234" not in str(caught.value)
    write(tmp_path, f'[engines.gpu]\nbackend = "webui"\nurl = "{url}"')
    with pytest.raises(ConfigError, match="must look like") as refused:
        EngineList(tmp_path).read()
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://me:s3@cret@gpu-box:7860", "http://me:s3cret%2F@gpu-box/a"])
def test_a_login_that_is_written_right_is_none_of_the_address(url: str) -> None:
    server = EngineServer("the engine", url)
    assert "gpu-box" in str(server)
    assert "cret" not in str(server)
    server.close()


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_list_that_others_may_write_is_refused(engines: EngineList, mode: int) -> None:
    """It says where secrets go."""
    assert engines.path is not None
    engines.path.chmod(mode)
    with pytest.raises(ConfigError, match="others may write to it.*chmod 600"):
        engines.of_page(choice("gpu"))
    assert engines.of_command(choice("fake")) == choice("fake")  # it is not even read


def test_adding_and_removing_leaves_the_rest_as_it_is_written(engines: EngineList) -> None:
    assert engines.path is not None
    before = engines.path.read_text("utf-8")
    added = engines.add("new.one", "http://127.0.0.1:9000", "comfyui")
    assert added.addresses == {"http://127.0.0.1:9000"}
    assert set(engines.read()) == {"gpu", "flow", "new.one"}
    assert engines.path.read_text("utf-8").startswith(before.rstrip())
    assert stat.S_IMODE(engines.path.stat().st_mode) == 0o600
    engines.remove("new.one")
    assert engines.path.read_text("utf-8").strip() == before.strip()
    engines.remove("gpu")
    assert list(engines.read()) == ["flow"]
    assert engines.path.read_text("utf-8").startswith("# mine")
    with pytest.raises(RequestError, match="is in the list already"):
        engines.add("flow", "http://127.0.0.1:9000", "webui")
    with pytest.raises(RequestError, match="no engine of the list is called 'flo'.*'flow'"):
        engines.remove("flo")
    for name, url in (("webui", "http://x"), ("a b", "http://x"), ("x", "file:///etc/passwd")):
        with pytest.raises(ConfigError):
            engines.add(name, url, "webui")


def test_a_list_written_otherwise_is_changed_all_the_same(tmp_path: Path) -> None:
    write(tmp_path, 'engines = { a = { backend = "fake" }, b = { backend = "fake" } }\n')
    engines = EngineList(tmp_path)
    engines.add("c", "http://127.0.0.1:1", "webui")
    engines.remove("a")
    assert list(engines.read()) == ["b", "c"]


def test_secrets_of_the_list_reach_the_engine(engines: EngineList) -> None:
    config = PipelineConfig.as_stated({"backend": "gpu", "txt2img": {"prompt": "x"}})
    environ = {"GPU_PASSWORD": "pass", "TEAM": "red"}
    job = ready_config(config, "it", 1, environ, ask=False, engines=engines)
    try:
        server: Any = job.backend._group.servers[0].server  # type: ignore[attr-defined]
        headers = server._client.headers
        assert (headers["X-Team"], headers["X-Plain"]) == ("red", "7")
        assert server.url == "https://GPU-box:7860"
    finally:
        job.close()
    with pytest.raises(ConfigError, match="TEAM is not set in the environment"):
        ready_config(config, "it", 1, {"GPU_PASSWORD": "x"}, ask=False, engines=engines)


def test_the_command_lists_adds_and_removes(
    command: Safelight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    empty = command("engines")
    assert (empty.exit_code, "no engine is named yet" in empty.output) == (0, True)
    untested = command("engines", "add", "gpu", "http://u:hidden@127.0.0.1:9/", "--no-test")
    assert (untested.exit_code, "--no-test needs --backend" in untested.output) == (2, True)
    absent = command("engines", "add", "gpu", "http://u:hidden@127.0.0.1:9/")
    assert (absent.exit_code, "does not answer" in absent.output) == (1, True)
    added = command(
        "engines", "add", "gpu", "http://u:hidden@127.0.0.1:9/", "--no-test", "--backend", "webui"
    )
    assert added.exit_code == 0, added.output
    path = tmp_path / "home" / "safelight" / "engines.toml"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with path.open("a", encoding="utf-8") as file:
        file.write('password = "hidden2"\nheaders = { A = "env:TOKEN" }\n')
    shown = command("engines", "--json")
    assert json.loads(shown.stdout) == [
        {"name": "gpu", "backend": "webui", "addresses": ["http://127.0.0.1:9"],
         "variables": ["TOKEN"]}
    ]  # fmt: skip
    assert all("hidden" not in done.output for done in (absent, added, shown, command("engines")))
    Path("c.toml").write_text('backend = "gpu"\n[txt2img]\nprompt = "x"\n', "utf-8")
    missing = command("run", "c.toml")
    assert "TOKEN is not set in the environment" in missing.output
    monkeypatch.setenv("TOKEN", "t")
    assert "127.0.0.1:9 does not answer" in command("run", "c.toml", "--retries", "0").output
    assert command("engines", "remove", "gpu").exit_code == 0
    assert "there is no engine 'gpu'" in command("run", "c.toml").output
    assert os.listdir(path.parent) == ["engines.toml"]
