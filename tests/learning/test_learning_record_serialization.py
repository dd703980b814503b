"""A learning record outlives the program that wrote it, so its JSON form is a contract."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import time
import timeit
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.errors import RecordError
from safelight.learning import (
    ImageOutput,
    LearningRecord,
    LearningRecordWriter,
    Mismatch,
    VariantFailure,
    read_record,
    read_records,
)
from safelight.learning.learning_record import read_document
from safelight.learning.snapshot import plain_snapshot
from strategies import json_values, learning_records

YESTERDAY = Path(__file__).parent.parent / "data" / "records"

BASE_CONFIG = {
    "txt2img": {
        "prompt": "灯台 at dusk, {calm|stormy} sea, (detailed:1.2)",
        "negative_prompt": "blurry",
        "model": "sd_xl_base_1.0",
        "sampler": "DPM++ 2M",
        "scheduler": "Karras",
        "steps": 30,
        "cfg_scale": 7,
        "seed": 2**63 + 1,
        "extra": {"alwayson_scripts": {"ControlNet": {"args": [{"weight": 0.5}, None, True]}}},
    },
    "upscale": {"upscaler": "R-ESRGAN 4x+", "scale": 1.5},
}


def non_trivial_record() -> LearningRecord:
    calm = {**BASE_CONFIG, "txt2img": {**BASE_CONFIG["txt2img"], "prompt": "灯台, calm sea"}}
    stormy = {**BASE_CONFIG, "txt2img": {**BASE_CONFIG["txt2img"], "prompt": "灯台, stormy sea"}}
    return LearningRecord.from_pipeline_context(
        BASE_CONFIG,
        [calm, stormy],
        {"mode": "fanout", "plan_size": 2},
        {"model": "sd_xl_base_1.0", "sampler": "DPM++ 2M", "scheduler": "Karras"},
        run_id="0123456789abcdef",
        timestamp="2026-01-31T12:00:00.000001Z",
        status="partial",
        outputs=(
            ImageOutput(
                variant=0,
                stage="txt2img",
                path="images/2026-01-31/120000-0123456789abcdef/00000-txt2img-1.png",
                sha256="a" * 64,
                pixel_sha256="b" * 64,
                width=1024,
                height=1024,
                seed=2**63 + 1,
                seconds=1.25,
                mismatches=(
                    Mismatch(knob="txt2img.sampler", requested="Foo", effective="DPM++ 2M"),
                ),
            ),
        ),
        failures=(VariantFailure(variant=1, stage="txt2img", error="out of memory"),),
        environment={"torch": "2.13.0", "device": "cuda:0"},
        metadata={"project": "lighthouses"},
    )


def test_a_non_trivial_record_survives_the_trip_through_json() -> None:
    """Unicode, nesting, large seeds and mixed numbers come back as they were."""
    record = non_trivial_record()
    assert LearningRecord.from_json(record.to_json()) == record


@given(learning_records)
def test_every_record_survives_the_trip_through_json(record: LearningRecord) -> None:
    """Reading gives back what was written, for any config that JSON can hold."""
    text = record.to_json()
    assert LearningRecord.from_json(text) == record
    assert LearningRecord.from_json(text).to_json() == text


def test_the_writer_produces_a_file_that_reads_back_equal(tmp_path: Path) -> None:
    """The file on disk is the record, under a name made of its time and run id."""
    record = non_trivial_record()
    with LearningRecordWriter(tmp_path / "records") as writer:
        writer.write(record)
    files = list((tmp_path / "records").iterdir())
    assert [file.name for file in files] == ["20260131T120000.000001Z_0123456789abcdef.json"]
    assert read_record(files[0]) == record
    assert files[0].read_text("utf-8") == record.to_json()


def test_keys_are_sorted_and_numbers_keep_their_kind() -> None:
    """Equal records are equal bytes, and 7 never becomes 7.0."""
    text = non_trivial_record().to_json()
    data = json.loads(text)
    assert text == json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert data["primary_cfg_scale"] == 7
    assert isinstance(data["primary_cfg_scale"], int)
    assert isinstance(data["base_config"]["upscale"]["scale"], float)


def test_the_given_fields_alone_make_a_record() -> None:
    """Everything beyond the eleven given fields is optional, in Python and in JSON."""
    given = {
        "run_id": "r1",
        "timestamp": "2026-01-31T12:00:00Z",
        "base_config": {"txt2img": {"steps": 20}},
        "variant_configs": [{"txt2img": {"steps": 20}}],
        "randomizer_mode": "off",
        "randomizer_plan_size": 1,
        "primary_model": "m",
        "primary_sampler": "Euler a",
        "primary_scheduler": "Karras",
        "primary_steps": 20,
        "primary_cfg_scale": 7.5,
    }
    read = LearningRecord.from_json(json.dumps(given))
    assert read == LearningRecord(**given)  # type: ignore[arg-type]
    assert (read.schema, read.status, read.outputs, read.metadata) == (1, "completed", (), {})


def test_the_type_is_a_frozen_dataclass_with_the_given_fields_first() -> None:
    """Other programs construct it by these names."""
    names = [field.name for field in dataclasses.fields(LearningRecord)]
    assert names[:11] == [
        "run_id", "timestamp", "base_config", "variant_configs", "randomizer_mode",
        "randomizer_plan_size", "primary_model", "primary_sampler", "primary_scheduler",
        "primary_steps", "primary_cfg_scale",
    ]  # fmt: skip
    with pytest.raises(dataclasses.FrozenInstanceError):
        non_trivial_record().run_id = "other"  # type: ignore[misc]


def test_a_record_is_a_snapshot() -> None:
    """What the caller does to his dicts afterwards does not reach the record."""
    config: dict[str, Any] = {"txt2img": {"steps": 20, "extra": {"list": [1]}}}
    record = LearningRecord.from_pipeline_context(config, [config], None, None, metadata=config)
    config["txt2img"]["steps"] = 99
    config["txt2img"]["extra"]["list"].append(2)
    kept = {"txt2img": {"steps": 20, "extra": {"list": [1]}}}
    assert record.base_config == record.variant_configs[0] == record.metadata == kept


class _Colour(enum.Enum):
    RED = "red"


class _Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def test_values_that_json_cannot_hold_become_plain() -> None:
    """Paths, enums, numpy scalars and worse never keep a record from being written."""
    circle: list[Any] = []
    circle.append(circle)
    record = LearningRecord.from_pipeline_context(
        {},
        [],
        metadata={
            "path": Path("a/b"),
            "enum": _Colour.RED,
            "float32": np.float32(0.5),
            "int64": np.int64(3),
            "array": np.array([1, 2]),
            "set": {"x"},
            "nan": float("nan"),
            "broken": "\ud800",
            "moment": datetime(2026, 1, 31, tzinfo=UTC),
            "unprintable": _Unprintable(),
            "circle": circle,
            1: "int key",
        },
    )
    assert record.metadata == {
        "path": "a/b",
        "enum": "red",
        "float32": 0.5,
        "int64": 3,
        "array": [1, 2],
        "set": ["x"],
        "nan": None,
        "broken": "\\ud800",
        "moment": "2026-01-31T00:00:00Z",
        "unprintable": "<_Unprintable>",
        "circle": ["<circular>"],
        "1": "int key",
    }
    assert LearningRecord.from_json(record.to_json()) == record


def test_secrets_never_enter() -> None:
    """Records are shared; a password in one would be, too."""
    secret = "hunter2"
    record = LearningRecord.from_pipeline_context(
        {"txt2img": {"extra": {"api_key": secret, "url": f"https://me:{secret}@host/x"}}},
        [],
        backend={"name": "webui", "user": secret, "Password": secret, "options": [secret * 0]},
        environment={"HF_TOKEN": secret, "proxy": f"http://u:{secret}@proxy:3128"},
        metadata={"db-password": secret, "secret": {"nested": secret}, "user": "alice"},
    )
    assert secret not in record.to_json()
    assert record.metadata["user"] == "alice"
    assert record.base_config["txt2img"]["extra"]["url"] == "https://host/x"


@pytest.mark.parametrize("host", ["https://host", "host", ""])
def test_secrets_in_the_query_of_an_address_never_enter(host: str) -> None:
    """Whole or only its path, as proxies and callbacks are written; the rest of it stays."""
    record = LearningRecord.from_pipeline_context(
        {}, [], metadata={"hook": f"{host}/call?run=7&token=hunter2&size=3"}
    )
    assert record.metadata["hook"] == f"{host}/call?run=7&token=(removed)&size=3"


def test_secrets_in_an_address_within_a_text_of_json_never_enter() -> None:
    """Other tools write their whole request into one text, and escape what is in it."""
    inner = '{"a": "https://host/x?run=7\\u0026sig=hunter2\\u0026exp=8", "b": 1}'
    twice = '{\\"a\\": \\"https://host/x?sig=hunter2\\", \\"b\\": 1}'
    record = LearningRecord.from_pipeline_context({}, [], metadata={"raw": inner, "twice": twice})
    assert record.metadata["raw"] == inner.replace("hunter2", "(removed)")
    assert record.metadata["twice"] == twice.replace("hunter2", "(removed)")


@pytest.mark.parametrize("piece", ["a.", "?", "\\u0026", "&a", "://a", "x://a:b"])
def test_looking_for_secrets_takes_no_longer_than_the_text(piece: str) -> None:
    """Texts come from strangers; four times the text may not take sixteen times as long."""

    def seconds(times: int) -> float:
        values = {"raw": f"{piece * times} x://y"}
        read = partial(plain_snapshot, values)
        return min(timeit.repeat(read, timer=time.process_time, number=1, repeat=5))

    assert seconds(160_000) < 10 * max(seconds(40_000), 0.001)


_words = st.sampled_from((
    "pass", "password", "passwd", "passphrase", "pwd", "token", "secret", "api", "key", "apiKey",
    "sig", "signature", "auth", "authorization", "cookie", "Cookies", "Credentials", "user", "User",
    "name", "x", "_", "-", "=", "?", "&", ";", "://", "@", ":", '"', "\n", "\\u0026", " ",
))  # fmt: skip
_texts = st.lists(_words, max_size=6).map("".join)


@settings(max_examples=300)
@given(st.dictionaries(_words | _texts, _words | _texts, min_size=1, max_size=2))
def test_a_closer_look_is_left_out_only_where_it_would_find_nothing(values: dict[str, Any]) -> None:
    """Most records are not looked through for secrets; none may slip through by that."""
    wrapped = {"backend": values, "metadata": values}
    forced = plain_snapshot({**wrapped, "look": "://"})
    del forced["look"]
    assert plain_snapshot(wrapped) == forced


@given(st.dictionaries(st.text("xyz", min_size=1), json_values, min_size=1))
def test_fields_of_later_schemas_are_kept(later: dict[str, Any]) -> None:
    """An old program can carry a new record without harming it."""
    data = {**json.loads(non_trivial_record().to_json()), **later, "schema": 2}
    text = json.dumps(data, sort_keys=True, ensure_ascii=False)
    read = LearningRecord.from_json(text)
    assert read.schema == 2
    assert read.run_id == "0123456789abcdef"
    assert json.loads(read.to_json()) == data
    assert LearningRecord.from_json(read.to_json()) == read


def test_what_is_no_time_is_kept_and_never_a_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever calls may write dates as he likes; where his record lies is not his to say."""
    for timestamp in ("01/05/2026 10:00:00", "../../EVIL", "2020\0x", "", "2026-13-45"):
        record = dataclasses.replace(non_trivial_record(), timestamp=timestamp, run_id="../../x")
        folder = tmp_path / f"records{len(list(tmp_path.iterdir()))}"
        with LearningRecordWriter(folder) as writer:
            writer.write(record)
        assert (writer.failures, writer.pending) == (0, ())
        (file,) = folder.iterdir()
        assert re.fullmatch(r"20\d{6}T\d{6}\.\d{6}Z_\.\.-\.\.-x\.json", file.name)
        assert read_record(file) == record
    assert len(caplog.messages) == 5
    assert "kept as it is" in caplog.messages[0]


def test_a_file_that_is_not_what_was_written_is_refused(tmp_path: Path) -> None:
    """A flipped bit in a seed is a record of another picture."""
    with LearningRecordWriter(tmp_path) as writer:
        writer.write(non_trivial_record())
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    for place in range(0, len(good), 7):
        flipped = bytearray(good)
        flipped[place] ^= 1 << place % 8
        file.write_bytes(flipped)
        with pytest.raises(RecordError):
            read_record(file)
    file.write_bytes(good)
    assert read_record(file).to_json().encode() == good


@given(learning_records, st.dictionaries(st.sampled_from(["az", "digests", "z"]), json_values))
def test_the_digest_stands_in_its_place(record: LearningRecord, later: dict[str, Any]) -> None:
    """Keys are sorted, whatever fields there are; the rest of the text is what was hashed."""
    record = dataclasses.replace(record, unknown=later)
    document = record.to_document()
    data = json.loads(document)
    assert list(data) == sorted(data)
    assert read_document(document) == record
    assert read_document(document).to_json().encode() == document


def test_an_edited_record_is_written_with_a_digest_of_its_own(tmp_path: Path) -> None:
    """Texts may be edited; what goes into a file fits."""
    text = non_trivial_record().to_json().replace("lighthouses", "towers")
    with LearningRecordWriter(tmp_path) as writer:
        writer.write(LearningRecord.from_json(text))
        writer.write(dataclasses.replace(read_record(next(tmp_path.iterdir())), name="x"))
    assert [read_record(file).metadata for file in tmp_path.iterdir()] == [
        {"project": "towers"}
    ] * 2


def test_a_record_that_nests_too_deep_is_refused() -> None:
    """It costs itself only."""
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    text = non_trivial_record().to_json()[:-1] + f',"later":{deep}}}'
    with pytest.raises(RecordError, match="nest"):
        LearningRecord.from_json(text)


def test_later_fields_of_an_image_are_kept() -> None:
    """The same holds one level down, where later schemas will grow most."""
    data = json.loads(non_trivial_record().to_json())
    data["outputs"][0]["perceptual_hash"] = "ff00"
    read = LearningRecord.from_json(json.dumps(data))
    assert read.outputs == non_trivial_record().outputs
    assert json.loads(read.to_json()) == data


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "must be a JSON object, got list"),
        ("{}", "missing required field"),
        ('{"run_id": 3}', "run_id"),
        ("\ud800", "JSON"),
    ],
)
def test_what_is_no_record_is_refused_with_a_reason(text: str, complaint: str) -> None:
    """A reader hears which field is wrong."""
    with pytest.raises(RecordError, match=complaint):
        LearningRecord.from_json(text)


def test_broken_files_do_not_hide_the_whole_ones(tmp_path: Path) -> None:
    """One torn file must not cost a folder of records."""
    LearningRecordWriter(tmp_path).write(non_trivial_record())
    (tmp_path / "20200101T000000Z_empty.json").write_bytes(b"")
    (tmp_path / "20200101T000000Z_torn.json").write_bytes(b'{"run_id": "x')
    (tmp_path / ".half.json.tmp").write_bytes(b"{")
    (tmp_path / "notes.txt").write_text("mine")
    assert list(read_records(tmp_path)) == [non_trivial_record()]
    assert list(read_records(tmp_path / "missing")) == []


@pytest.mark.parametrize("file", sorted(YESTERDAY.glob("*.json")), ids=lambda file: file.name)
def test_yesterdays_records_read_for_ever(file: Path) -> None:
    """One real file per schema number stays here for good."""
    record = read_record(file)
    assert json.loads(record.to_json()) == json.loads(file.read_text("utf-8"))


def test_there_is_a_record_of_every_schema() -> None:
    """A new schema number needs a file beside the old ones."""
    assert {read_record(file).schema for file in YESTERDAY.glob("*.json")} == {1}


def test_the_context_tells_the_primary_knobs_from_what_really_ran() -> None:
    """Stated knobs come first, then the first variant, then the base config."""
    record = LearningRecord.from_pipeline_context(
        {"txt2img": {"model": "asked", "sampler": "Euler", "steps": 10}},
        [{"txt2img": {"model": "used", "steps": "thirty"}}],
        {"randomizer_mode": "random", "randomizer_plan_size": 9},
        {"primary_scheduler": "Karras"},
    )
    assert (record.primary_model, record.primary_sampler) == ("used", "Euler")
    assert (record.primary_scheduler, record.primary_steps) == ("Karras", 10)
    assert record.primary_cfg_scale == 0.0
    assert (record.randomizer_mode, record.randomizer_plan_size) == ("random", 9)
