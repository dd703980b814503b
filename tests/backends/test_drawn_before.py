"""A picture was drawn before only if all that may change its pixels was the same."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends.comfyui.fake_server import FakeComfyUI
from backends.webui.replay_server import DialectName, ReplayServer
from safelight.application.archived_pictures import ArchivedPictures
from safelight.application.examples import EXAMPLES
from safelight.application.going_on import continuation_of
from safelight.archive import Archive
from safelight.archive_layout import records_folder
from safelight.backends.comfyui import ComfyuiBackend
from safelight.backends.fake import FakeBackend
from safelight.backends.file_contents import content_of
from safelight.backends.webui import WebuiBackend
from safelight.config import PipelineConfig
from safelight.errors import BackendUnavailable
from safelight.learning import LearningRecord, LearningRecordWriter, read_records
from safelight.pipeline import Backend, PipelineRunner, RunResult
from safelight.pipeline.backend import (
    BackendDescription,
    EngineSetup,
    Generation,
    ImageRequest,
    Named,
    StepCallback,
    Txt2ImgRequest,
)
from safelight.pipeline.engine_pool import LocalPool
from safelight.pipeline.identity import Identities
from safelight.pipeline.input_files import InputFiles
from safelight.pipeline.retry import RetryPolicy

SMALL = {"width": 64, "height": 64, "steps": 1, "seed": 5}
CONFIG: dict[str, Any] = {"txt2img": {"prompt": "a house", **SMALL}}


def run(
    backend: Backend,
    archive: Path,
    config: Mapping[str, Any] | None = None,
    *,
    folder: Path = Path(),
    pool: LocalPool | None = None,
    resume: bool = False,
) -> RunResult:
    made = PipelineConfig.from_mapping(CONFIG if config is None else config, folder=folder)
    opened = Archive(archive)
    with LearningRecordWriter(records_folder(archive)) as writer:
        runner = PipelineRunner(
            backend, archive_dir=archive, learning_record_writer=writer, pool=pool,
            library=ArchivedPictures(opened),
        )  # fmt: skip
        continues = continuation_of(opened, "last", only_failed=False) if resume else None
        return runner.run(made, continues=continues)


def newest(archive: Path) -> LearningRecord:
    return max(read_records(records_folder(archive)), key=lambda record: record.timestamp)


# -- a workflow of one's own -------------------------------------------------------------


GRAPH: dict[str, Any] = json.loads((EXAMPLES / "workflows" / "own_graph.json").read_text("utf-8"))
GRAPH["4"]["inputs"]["ckpt_name"] = "tiny.safetensors"
GRAPH["5"]["inputs"].update(width=64, height=48)
MAP = {
    "txt2img.prompt": "@Prompt.inputs.text",
    "txt2img.seed": "3.inputs.seed",
    "txt2img.steps": "KSampler.steps",
    "txt2img.cfg_scale": "KSampler.cfg",
}


@pytest.fixture
def comfyui() -> Iterator[FakeComfyUI]:
    with FakeComfyUI() as server:
        yield server


def test_an_edited_workflow_draws_anew(comfyui: FakeComfyUI, tmp_path: Path) -> None:
    """Unless only what the config itself states was edited."""
    path = tmp_path / "own.json"
    graph = json.loads(json.dumps(GRAPH))
    config = {"txt2img": {"prompt": "a house", "seed": 5, "steps": 2}}

    def reused() -> int:
        path.write_text(json.dumps(graph))
        with closing(ComfyuiBackend(url=comfyui.url, workflow=str(path), map=MAP)) as backend:
            result = run(backend, tmp_path / "a", config)
        assert result.status == "completed", result.error
        return result.reused

    assert reused() == 0
    assert reused() == 1
    graph["3"]["inputs"]["steps"] = 7  # the config says how many
    graph["6"]["_meta"]["title"] = "Prompt"
    assert reused() == 1
    graph["5"]["inputs"]["width"] = 128
    assert reused() == 0
    graph["3"]["inputs"]["cfg"] = 5.5  # mapped, but the config leaves it to the workflow
    assert reused() == 0
    assert reused() == 1
    graph["5"]["inputs"]["width"] = 64
    graph["3"]["inputs"]["cfg"] = GRAPH["3"]["inputs"]["cfg"]
    assert reused() == 1, "it is the first one again"


def test_a_workflow_is_read_again_for_every_run(comfyui: FakeComfyUI, tmp_path: Path) -> None:
    """An engine that stays ready, as the page's does, draws what the file says now."""
    path = tmp_path / "own.json"
    path.write_text(json.dumps(GRAPH))
    backend = ComfyuiBackend(url=comfyui.url, workflow=str(path), map=MAP)
    config = {"txt2img": {"prompt": "a house", "seed": 5}}
    first = run(backend, tmp_path / "a", config)
    wide = json.loads(json.dumps(GRAPH))
    wide["5"]["inputs"]["width"] = 128
    path.write_text(json.dumps(wide))
    second = run(backend, tmp_path / "a", config)
    backend.close()
    assert [result.images[0].output.width for result in (first, second)] == [64, 128]


def list_files(server: FakeComfyUI, folder: str, **states: tuple[int, float]) -> None:
    """Let *server* list model files as ComfyUI does since the end of 2024."""
    entries = [
        {"name": f"{name}.safetensors", "pathIndex": 0, "size": size, "modified": changed,
         "created": changed}
        for name, (size, changed) in states.items()
    ]  # fmt: skip
    answer = (200, "application/json", json.dumps(entries).encode())
    server.canned[f"/experiment/models/{folder}"] = answer


@pytest.mark.parametrize("what", ["checkpoint", "default", "lora", "own workflow"])
def test_a_file_that_was_replaced_under_its_name_draws_anew_on_comfyui(
    comfyui: FakeComfyUI, tmp_path: Path, what: str
) -> None:
    """It tells no hash; a new epoch is of the old one's size, and was written later."""
    stage: dict[str, Any] = {"prompt": "a house", "seed": 5, "steps": 2}
    own: dict[str, Any] = {}
    if what == "own workflow":
        (tmp_path / "own.json").write_text(json.dumps(GRAPH))
        own = {"workflow": str(tmp_path / "own.json"), "map": MAP}
    else:
        stage |= {"width": 64, "height": 64}
        stage |= {"model": "tiny.safetensors"} if what == "checkpoint" else {}
        stage["prompt"] += " <lora:anna:1>" if what == "lora" else ""

    def reused() -> int:
        with closing(ComfyuiBackend(url=comfyui.url, **own)) as backend:
            return run(backend, tmp_path / "a", {"txt2img": stage}).reused

    assert reused() == 0
    assert newest(tmp_path / "a").environment["files"] == "by name"
    list_files(comfyui, "checkpoints", tiny=(340, 1.5), other=(9, 9.5))
    list_files(comfyui, "loras", **{"people/anna": (12, 2.5)})
    assert (reused(), reused()) == (0, 1)
    assert "files" not in newest(tmp_path / "a").environment
    list_files(comfyui, "checkpoints", tiny=(340, 1.5), other=(9, 10.5))
    assert reused() == 1, "another file is no matter"
    if what == "lora":
        list_files(comfyui, "loras", **{"people/anna": (12, 3.5)})
    else:
        list_files(comfyui, "checkpoints", tiny=(340, 2.5))
    assert (reused(), reused()) == (0, 1)


def test_a_server_that_cannot_list_its_files_now_is_none_that_never_does(
    comfyui: FakeComfyUI, tmp_path: Path
) -> None:
    """What is drawn then is known by no name: another file may be behind that by the next time."""

    def run_once() -> tuple[int, bool]:
        with closing(ComfyuiBackend(url=comfyui.url)) as backend:
            result = run(backend, tmp_path / "a")
        return result.reused, any("is reused" in warning for warning in result.warnings)

    comfyui.canned["/experiment/models/checkpoints"] = (500, "text/plain", b"disk")
    assert [run_once(), run_once()] == [(0, True)] * 2
    list_files(comfyui, "checkpoints", tiny=(340, 1.5))
    assert [run_once(), run_once()] == [(0, False), (1, False)]


def test_equal_files_of_two_servers_are_of_other_days(tmp_path: Path) -> None:
    """When each was copied is no difference of a pool; another size is."""
    with FakeComfyUI() as one, FakeComfyUI() as two:
        backends = [ComfyuiBackend(url=server.url) for server in (one, two)]
        for server, size in ((one, 340), (two, 340)):
            list_files(server, "checkpoints", tiny=(size, float(server.port)))
        alike = run(backends[0], tmp_path / "a", pool=LocalPool(backends, ["one", "two"]))
        list_files(two, "checkpoints", tiny=(341, 1.0))
        unlike = run(backends[0], tmp_path / "b", pool=LocalPool(backends, ["one", "two"]))
        for backend in backends:
            backend.close()
    told = [
        [warning for warning in result.warnings if "the engines of the pool differ" in warning]
        for result in (alike, unlike)
    ]
    assert told[0] == []
    assert "the model tiny.safetensors is '341 bytes' on two, and '340 bytes' on one" in told[1][0]


@pytest.mark.parametrize("what", ["checkpoint", "argument", "address"])
def test_what_a_comfyui_server_takes_by_itself_counts(
    comfyui: FakeComfyUI, tmp_path: Path, what: str
) -> None:
    """Its first checkpoint, how it was started, and which server it is."""

    def reused(url: str) -> int:
        with closing(ComfyuiBackend(url=url)) as backend:
            return run(backend, tmp_path / "a").reused

    assert reused(comfyui.url) == 0
    assert reused(comfyui.url) == 1
    with closing(ComfyuiBackend(url=comfyui.url)) as asking:
        stats = asking._stats()[0]
    if what == "checkpoint":
        loader = comfyui.object_info["CheckpointLoaderSimple"]["input"]["required"]
        loader["ckpt_name"][0].insert(0, "aaa-new.safetensors")
    elif what == "argument":
        changed = json.loads(json.dumps(stats))
        changed["system"]["argv"] = ["main.py", "--fp8_e4m3fn-unet"]
        comfyui.canned["/system_stats"] = (200, "application/json", json.dumps(changed).encode())
    if what == "address":
        with FakeComfyUI() as other:
            assert reused(other.url) == 0
    else:
        assert reused(comfyui.url) == 0


def test_where_a_server_shows_its_pages_does_not_count(
    comfyui: FakeComfyUI, tmp_path: Path
) -> None:
    """A preview, another folder for its output."""
    backend = ComfyuiBackend(url=comfyui.url)
    assert run(backend, tmp_path / "a").reused == 0
    stats = json.loads(json.dumps(backend._stats()[0]))
    stats["system"]["argv"] = [
        "main.py", "--preview-method", "taesd", "--output-directory", "/elsewhere", "--listen",
    ]  # fmt: skip
    comfyui.canned["/system_stats"] = (200, "application/json", json.dumps(stats).encode())
    assert run(backend, tmp_path / "a").reused == 1
    backend.close()


class OfItsOwn(FakeBackend):
    """Draws the pictures of a request apart, some of them in vain, and tells its precision."""

    def __init__(self, precision: str, lasts: int = 9) -> None:
        super().__init__()
        self._precision, self._left = precision, lasts

    def setup(self, named: Named) -> EngineSetup:
        return EngineSetup(facts={"precision": self._precision})

    def generate_rest(
        self, request: ImageRequest, on_step: StepCallback, done: int
    ) -> Iterator[Generation]:
        assert isinstance(request, Txt2ImgRequest)
        for place in range(done, request.batch_size or 1):
            if not self._left:
                raise BackendUnavailable("the server is away")
            self._left -= 1
            one = dataclasses.replace(request, batch_size=None, seed=request.seed + place)
            yield self.generate(one, on_step)


@pytest.mark.parametrize("alike", [False, True])
def test_pictures_of_engines_that_differ_are_not_taken_for_one_of_them(
    tmp_path: Path, alike: bool
) -> None:
    """One drew the first of a batch and fell silent, the other the rest."""
    batch = {"txt2img": {"prompt": "a house", **SMALL, "batch_size": 3}}
    precisions = ("fp16", "fp16" if alike else "fp8")
    pool = LocalPool([OfItsOwn(precisions[0], 1), OfItsOwn(precisions[1])])
    with LearningRecordWriter(records_folder(tmp_path)) as writer:
        PipelineRunner(
            FakeBackend(), pool=pool, archive_dir=tmp_path, learning_record_writer=writer,
            retry=RetryPolicy(retries=3, first_wait=0.3),
        ).run(batch)  # fmt: skip
    record = newest(tmp_path)
    assert [output.seed for output in record.outputs] == [5, 6, 7]
    for precision in precisions:
        assert run(OfItsOwn(precision), tmp_path, batch).reused == alike


# -- a web UI's own settings -------------------------------------------------------------


@pytest.fixture
def forge() -> Iterator[ReplayServer]:
    with ReplayServer("forge") as server:
        yield server


def options_of(server: ReplayServer) -> dict[str, Any]:
    options: dict[str, Any] = server.recorded["get_options"]["json"]
    return options


@pytest.mark.parametrize(
    ("option", "value", "again"),
    [
        ("CLIP_stop_at_last_layers", 2, True),
        ("eta_noise_seed_delta", 31337, True),
        ("randn_source", "CPU", True),
        ("forge_additional_modules", ["other.safetensors"], True),
        ("forge_unet_storage_dtype", "float8-e4m3fn", True),
        ("sd_model_checkpoint", "another.safetensors", True),
        ("an_extensions_own_setting", 1, True),
        ("jpeg_quality", 12, False),
        ("outdir_samples", "/elsewhere", False),
        ("show_progress_every_n_steps", 3, False),
    ],
)
def test_a_setting_of_the_server_counts_if_it_may_change_pixels(
    forge: ReplayServer, tmp_path: Path, option: str, value: Any, again: bool
) -> None:
    """How its page looks does not."""
    backend = WebuiBackend(url=forge.url)
    assert run(backend, tmp_path / "a").reused == 0
    assert run(backend, tmp_path / "a").reused == 1
    options_of(forge)[option] = value
    assert run(backend, tmp_path / "a").reused == (0 if again else 1)
    backend.close()


@pytest.mark.parametrize(
    ("option", "value", "knobs"),
    [
        ("CLIP_stop_at_last_layers", 2, {"clip_skip": 1}),
        ("sd_model_checkpoint", "random-mini.safetensors", {"model": "random-sd15"}),
    ],
)
def test_what_the_config_states_is_not_the_servers(
    forge: ReplayServer, tmp_path: Path, option: str, value: Any, knobs: dict[str, Any]
) -> None:
    """Then the server's own value decides nothing."""
    config = {"txt2img": {"prompt": "a house", **SMALL, **knobs}}
    backend = WebuiBackend(url=forge.url)
    assert run(backend, tmp_path / "a", config).reused == 0
    options_of(forge)[option] = value
    assert run(backend, tmp_path / "a", config).reused == 1
    backend.close()


def test_another_file_of_the_same_name_is_another_model(
    forge: ReplayServer, tmp_path: Path
) -> None:
    """Where the server tells its hash."""
    config = {"txt2img": {"prompt": "a house", **SMALL, "model": "random-sd15"}}
    models = forge.recorded["get_sd-models"]["json"]
    (sd15,) = (model for model in models if model["model_name"] == "random-sd15")
    sd15["hash"] = "6ce0161689"
    backend = WebuiBackend(url=forge.url)
    assert run(backend, tmp_path / "a", config).reused == 0
    assert run(backend, tmp_path / "a", config).reused == 1
    sd15["hash"] = "0123456789"
    assert run(backend, tmp_path / "a", config).reused == 0
    backend.close()


def test_a_lora_that_was_trained_again_draws_anew(forge: ReplayServer, tmp_path: Path) -> None:
    """Its trainer's hash is what the server tells of it."""
    config = {"txt2img": {"prompt": "a house <lora:ink:1>", **SMALL}}
    lora = {"name": "ink", "alias": "ink", "path": "/x", "metadata": {"sshs_model_hash": "a1"}}
    forge.recorded["get_loras"]["json"] = [lora]
    backend = WebuiBackend(url=forge.url)
    assert run(backend, tmp_path / "a", config).reused == 0
    assert run(backend, tmp_path / "a", config).reused == 1
    lora["metadata"] = {"sshs_model_hash": "b2"}
    assert run(backend, tmp_path / "a", config).reused == 0
    backend.close()


@pytest.mark.parametrize("dialect", ["forge", "sdnext"])
def test_the_settings_of_a_server_are_in_the_record(dialect: DialectName, tmp_path: Path) -> None:
    """By name where people know the name; no secret among them."""
    with ReplayServer(dialect) as server:
        options_of(server).update(eta_noise_seed_delta=31337, hub_token="hunter2")
        backend = WebuiBackend(url=server.url)
        run(backend, tmp_path / "a")
        backend.close()
    record = newest(tmp_path / "a")
    assert record.environment["ENSD"] == 31337
    assert record.environment["address"] == server.url
    assert "hunter2" not in record.to_json()


def test_a_server_that_does_not_tell_is_drawn_on_again(tmp_path: Path) -> None:
    """With one line why; whoever goes on with a run has its pictures all the same."""
    config = {**CONFIG, "randomizer": {"mode": "fanout", "seeds_per_variant": 2}}
    with ReplayServer("sdcpp") as server:
        backend = WebuiBackend(url=server.url)
        first = run(backend, tmp_path / "a", config)
        again = run(backend, tmp_path / "a", config)
        assert (first.reused, again.reused) == (0, 0)
        (why,) = (line for line in again.warnings if "drawn before" in line)
        assert "its VAE, its random numbers, its clip skip" in why
        left_one_out(tmp_path / "a")
        resumed = run(backend, tmp_path / "a", config, resume=True)
        assert resumed.reused == 1
        backend.close()


def left_one_out(archive: Path) -> None:
    """Make the newest run one that was stopped after its first variant."""
    record = newest(archive)
    (journal,) = archive.rglob(f"*{record.run_id}*/journal.jsonl")
    header, first, *_ = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(header + first)
    path = next(p for p in records_folder(archive).iterdir() if record.run_id in p.name)
    about = {**record.template, "variants": record.template["variants"][:1]}
    stopped = dataclasses.replace(
        record, status="interrupted", variant_configs=record.variant_configs[:1],
        outputs=tuple(o for o in record.outputs if o.variant == 0), template=about,
    )  # fmt: skip
    path.write_bytes(stopped.to_document())


# -- engines in this process -------------------------------------------------------------


class Silent:
    """Somebody's engine that tells nothing of its setup."""

    name = "silent"

    def __init__(self) -> None:
        self._fake = FakeBackend()

    def describe(self) -> BackendDescription:
        return BackendDescription(name=self.name, version="1")

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        return self._fake.generate(request, on_step)


class SetUpBackend(FakeBackend):
    """An engine with a setup of the test's."""

    def __init__(self, setup: EngineSetup) -> None:
        super().__init__()
        self.given_setup = setup

    def setup(self, named: Named) -> EngineSetup:
        self.named = named
        return self.given_setup


def test_an_engine_that_tells_nothing_is_never_known_to_have_drawn_it(tmp_path: Path) -> None:
    """It may have any option that changes pixels."""
    config = {**CONFIG, "randomizer": {"mode": "fanout", "seeds_per_variant": 2}}
    assert run(Silent(), tmp_path, config).reused == 0
    again = run(Silent(), tmp_path, config)
    assert again.reused == 0
    assert any("silent does not tell" in line for line in again.warnings)
    left_one_out(tmp_path)
    assert run(Silent(), tmp_path, config, resume=True).reused == 1


@pytest.mark.parametrize(
    "change",
    [
        EngineSetup(facts={"precision": "half"}),
        EngineSetup(facts={"precision": "full"}, defaults={"model": "b"}),
        EngineSetup(facts={"precision": "full"}, contents={"lora": {"ink": "2"}}),
        EngineSetup(facts={"precision": "full", "address": "http://b"}),
        EngineSetup(facts={"precision": "full"}, untold=("all",)),
    ],
)
def test_each_part_of_a_setup_counts(tmp_path: Path, change: EngineSetup) -> None:
    """Facts, what stands in for knobs, contents, the address, and what is not known."""
    config = {"txt2img": {"prompt": "a <lora:ink:1>", **SMALL}}
    before = EngineSetup(facts={"precision": "full"}, contents={"lora": {"ink": "1"}})
    engine = SetUpBackend(before)
    assert run(engine, tmp_path, config).reused == 0
    assert run(engine, tmp_path, config).reused == 1
    assert engine.named == {"lora": ("ink",)}
    assert run(SetUpBackend(change), tmp_path, config).reused == 0


def test_contents_of_files_that_are_not_used_do_not_count(tmp_path: Path) -> None:
    """A folder with another LoRA in it is the same folder to this picture."""
    contents = {"lora": {"ink": "1", "oil": "1"}, "model": {"m": "1"}}
    config = {"txt2img": {"prompt": "a <lora:ink:1>", **SMALL}}
    assert run(SetUpBackend(EngineSetup(contents=contents)), tmp_path, config).reused == 0
    contents = {"lora": {"ink": "1", "oil": "2"}, "model": {"m": "2"}}
    assert run(SetUpBackend(EngineSetup(contents=contents)), tmp_path, config).reused == 1


def test_engines_of_a_pool_that_differ_are_told_and_kept_apart(tmp_path: Path) -> None:
    """Two servers with other settings do not draw the same pictures."""
    config = {**CONFIG, "randomizer": {"mode": "fanout", "seeds_per_variant": 6}}
    one, two = (EngineSetup(facts={"RNG": rng, "address": rng}) for rng in ("GPU", "CPU"))
    engines = [SetUpBackend(one), SetUpBackend(two)]
    first = run(engines[0], tmp_path, config, pool=LocalPool(engines, ["a", "b"]))
    assert "the engines of the pool differ: RNG is 'CPU' on b, and 'GPU' on a" in first.warnings
    assert newest(tmp_path).environment["RNG"] == ["GPU", "CPU"]
    by = [w for w, share in first.workers.items() for _ in range(share.variants)]
    alone = run(engines[1], tmp_path, config)
    assert alone.reused == by.count("b")
    both = run(engines[0], tmp_path, config, pool=LocalPool(engines, ["a", "b"]))
    assert both.reused == 6


def test_equal_engines_at_other_addresses_are_a_pool(tmp_path: Path) -> None:
    """What one of them drew is reused by both, and nothing is told."""
    engines = [SetUpBackend(EngineSetup(facts={"address": name})) for name in ("a", "b")]
    first = run(engines[0], tmp_path)
    assert first.reused == 0
    both = run(engines[1], tmp_path, pool=LocalPool([engines[1], engines[0]], ["b", "a"]))
    assert both.reused == 1
    assert not both.warnings
    assert run(engines[1], tmp_path).reused == 0


def test_a_run_that_goes_on_is_told_what_changed_at_its_engine(tmp_path: Path) -> None:
    """It takes what it drew all the same."""
    config = {**CONFIG, "randomizer": {"mode": "fanout", "seeds_per_variant": 2}}
    run(SetUpBackend(EngineSetup(facts={"RNG": "GPU"})), tmp_path, config)
    run_id = newest(tmp_path).run_id
    left_one_out(tmp_path)
    resumed = run(SetUpBackend(EngineSetup(facts={"RNG": "CPU"})), tmp_path, config, resume=True)
    assert resumed.reused == 1
    sentence = f"the engine is not as it was for run {run_id}: RNG is 'CPU', and was 'GPU'"
    assert sentence in resumed.warnings


# -- pictures that a config names --------------------------------------------------------


def picture(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("knob", ["init_image", "mask"])
def test_a_picture_counts_by_its_content(tmp_path: Path, knob: str) -> None:
    """Another picture of the same name is another start; the same one elsewhere is the same."""
    files = {"init_image": "in.png", "mask": "mask.png"}
    for name in (*files.values(), "other.png"):
        (tmp_path / name).write_bytes(picture("white"))

    def reused(**names: str) -> int:
        stage = {"prompt": "a", "seed": 1, "steps": 1, **files, **names}
        return run(FakeBackend(), tmp_path / "a", {"img2img": stage}, folder=tmp_path).reused

    assert reused() == 0
    assert reused() == 1
    assert reused(**{knob: "other.png"}) == 1
    (tmp_path / files[knob]).write_bytes(picture("black"))
    assert reused() == 0


def test_the_content_of_a_file_or_folder(tmp_path: Path) -> None:
    """Names and contents; hidden files and times do not count; a change is seen."""
    model = tmp_path / "model"
    (model / "unet").mkdir(parents=True)
    (model / "unet" / "weights.bin").write_bytes(b"1")
    (model / "index.json").write_bytes(b"{}")
    before = content_of(model)
    assert before == content_of(model)
    assert content_of(model / "index.json") == hashlib.sha256(b"{}").hexdigest()
    (model / ".cache").mkdir()
    (model / ".cache" / "x").write_bytes(b"x")
    assert content_of(model) == before
    (model / "unet" / "weights.bin").write_bytes(b"22")
    assert content_of(model) != before
    (model / "unet" / "weights.bin").write_bytes(b"1")
    assert content_of(model) == before
    (model / "unet" / "weights.bin").rename(model / "unet" / "other.bin")
    assert content_of(model) != before
    assert content_of(tmp_path / "none") is None


# -- records of earlier rules ------------------------------------------------------------


def with_the_first_rules_identity(archive: Path, engine: BackendDescription) -> None:
    """Make the newest record one that was written when identities had no rule's number."""
    record = newest(archive)
    identities = Identities(engine, {}, dict, InputFiles(Path()))
    (config,) = record.variant_configs
    stated = {stage: {k: v for k, v in knobs.items() if k in SMALL or k == "prompt"}
              for stage, knobs in config.items()}  # fmt: skip
    (about,) = record.template["variants"]
    about = {**about, "identity": identities.earlier(stated)}
    template = {**record.template, "variants": [about]}
    environment = {k: v for k, v in record.environment.items() if k in engine.environment}
    (path,) = records_folder(archive).iterdir()
    old = dataclasses.replace(record, template=template, environment=environment)
    path.write_bytes(old.to_document())
    for journal in archive.rglob("journal.jsonl"):
        journal.unlink()


class Modelled(SetUpBackend):
    """An engine that says in its description which model it has."""

    def describe(self) -> BackendDescription:
        facts = dict(self.given_setup.facts)
        return BackendDescription(name="fake", version="1", environment=facts)


def test_a_picture_of_an_earlier_rule_counts_if_its_record_holds_enough(tmp_path: Path) -> None:
    """And is known by the new rule from then on."""
    engine = Modelled(EngineSetup(facts={"model_sha256": "aa"}))
    run(engine, tmp_path)
    with_the_first_rules_identity(tmp_path, engine.describe())
    assert newest(tmp_path).template["variants"][0]["identity"][:2] != "2-"
    assert run(engine, tmp_path).reused == 1
    assert newest(tmp_path).template["variants"][0]["identity"].startswith("2-")


@pytest.mark.parametrize(
    "setup",
    [
        EngineSetup(facts={"model_sha256": "aa", "workflow": "1"}),
        EngineSetup(facts={"model_sha256": "aa"}, defaults={"clip_skip": 2}),
    ],
)
def test_what_an_earlier_record_does_not_hold_does_not_match(
    tmp_path: Path, setup: EngineSetup
) -> None:
    """Old pictures are not handed out as new ones."""
    engine = Modelled(EngineSetup(facts={"model_sha256": "aa"}))
    run(engine, tmp_path)
    with_the_first_rules_identity(tmp_path, engine.describe())
    now: Callable[[EngineSetup], Modelled] = Modelled
    newer = now(setup)
    described = BackendDescription(name="fake", version="1", environment={"model_sha256": "aa"})
    newer.describe = lambda: described  # type: ignore[method-assign]
    assert run(newer, tmp_path).reused == 0


def test_a_picture_has_the_pixels_that_its_variant_asks_for(tmp_path: Path) -> None:
    """What is handed out is the file of the run that drew it."""
    first = run(FakeBackend(), tmp_path)
    second = run(FakeBackend(), tmp_path)
    assert first.images[0].path == second.images[0].path
    assert first.images[0].path is not None
    with Image.open(first.images[0].path) as image:
        assert np.asarray(image).shape == (64, 64, 3)


def test_an_engine_that_fails_over_the_question_draws_all_the_same(tmp_path: Path) -> None:
    """It is asked once, and costs a picture that is drawn twice."""

    class Broken(FakeBackend):
        asked = 0

        def setup(self, named: Named) -> EngineSetup:
            self.asked += 1
            raise KeyError("lora")

    engine = Broken()
    config = {**CONFIG, "randomizer": {"mode": "fanout", "seeds_per_variant": 5}}
    for _ in range(2):
        engine.asked = 0
        result = run(engine, tmp_path, config)
        assert (result.status, result.reused, len(result.images)) == ("completed", 0, 5)
        assert engine.asked <= 2
