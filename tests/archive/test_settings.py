"""Every recorded setting counts: what engines and other tools have beside knobs is kept and found.

On the disk and in memory, in loose records, in packs of today and in those of before.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archive.test_archive import record
from archives import held_in_memory, wait_until_held
from safelight import knobs
from safelight.archive import Archive
from safelight.archive import packs as packs_module
from safelight.archive.columns import Batch, decoded
from safelight.archive.packs import read_packs
from safelight.archive_layout import packs_folder
from safelight.errors import FilterError
from safelight.knobs import KNOBS, reading_rules
from safelight.learning import LearningRecord
from safelight.web.held_archive import HeldArchive

BEFORE = Path(__file__).parents[1] / "data" / "archive_before_hashes"


def with_extra(number: int, extra: Mapping[str, Any], stage: str = "txt2img") -> LearningRecord:
    made = record(number, prompt="abcdefgh"[number])
    config = dict(made.variant_configs[0])
    config[stage] = {**config.get(stage, {}), "extra": extra}
    return replace(made, variant_configs=[config])


def imported(number: int, extra: Mapping[str, str]) -> LearningRecord:
    made = record(number, prompt="abcdefgh"[number])
    config = {"txt2img": made.variant_configs[0]["txt2img"]}
    return replace(
        made, status="imported", variant_configs=[config], outputs=made.outputs[:1],
        metadata={"import": {"reader": 3, "extra": extra}},
    )  # fmt: skip


RECORDS = (
    with_extra(0, {"tiling": True, "override": {"CLIP": {"deep": 2}}, "list": [1, "a"]}),
    with_extra(1, {"tiling": False, "thr": 0.25, "guidance": 3.5}),
    imported(2, {"Variation seed strength": "0.3", "RNG": "CPU", "Distilled CFG Scale": "3.5"}),
    imported(3, {"RNG": "GPU", "Time taken": "4 sec", "seed 2": "9007199254740993"}),
    record(4, prompt="e"),
)


@pytest.fixture(scope="module", params=["loose", "packed"])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    with Archive(folder).writer() as writer:
        for each in RECORDS:
            writer.write(each)
    if request.param == "packed":
        Archive(folder).pack()
    return folder


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("extra.tiling = 'true'", "a"), ("extra.TILING != 'true'", "b"), ("extra.tiling", "ab"),
        ("extra.tiling is missing", "cde"), ("extra.tiling is not missing", "ab"),
        ("extra.override.CLIP.deep = 2", "a"), ("extra.list has '\"a\"'", "a"),
        ("extra.thr > 0.2", "b"), ("extra.thr in (0.1, 0.25)", "b"), ("extra.thr > '1'", ""),
        ("extra('Variation seed strength') between 0.2 and 0.4", "c"),
        ("extra.rng in ('cpu', 'GPU')", "d"), ("extra.rng has 'cp'", "c"),
        ("extra('seed 2') = '9007199254740993'", "d"), ("extra.nobody", ""),
        # What a knob stands for is the knob, whoever wrote it under another name.
        ("guidance = 3.5", "bc"), ("extra.guidance = 3.5", "bc"), ("extra.guidance > 4", ""),
        ("extra('Distilled CFG Scale') = 3.5", "bc"), ("extra.guidance", "bc"),
    ],
)  # fmt: skip
def test_settings_are_asked_by_name_at_both_doors(archive: Path, text: str, prompts: str) -> None:
    answer = Archive(archive).query(text, columns=["prompt"], limit=None)
    assert {row[0][0] for row in answer.rows} == set(prompts)
    with held_in_memory(archive) as held:
        rows = held.query(text, columns=["prompt"], limit=None)
    assert sorted(rows.rows) == sorted(answer.rows)


def test_settings_are_columns_of_an_answer(archive: Path) -> None:
    columns = ["extra.tiling", "prompt", "extra.thr", "lora.ink"]
    answer = Archive(archive).query("stage = 'txt2img'", columns=columns, sort="prompt", limit=2)
    assert answer.columns == tuple(columns)
    assert answer.rows == (("true", "a", None, None), ("false", "b", 0.25, None))
    assert answer.after is not None
    following = Archive(archive).query(
        "stage = 'txt2img'", columns=columns, sort="prompt", limit=2, after=answer.after
    )
    assert [row[1] for row in following.rows] == ["c", "d"]
    knob = Archive(archive).query("prompt = 'b'", columns=["extra.guidance", "prompt"], limit=1)
    assert (knob.columns, knob.rows) == (("extra.guidance", "prompt"), ((3.5, "b"),))


def test_the_view_has_a_row_for_each_setting(archive: Path) -> None:
    answer = Archive(archive).query(
        "name = 'extra.RNG'", view="settings", columns=["stage", "number", "text"], sort="text"
    )
    assert answer.rows == (("txt2img", None, "CPU"), ("txt2img", None, "GPU"))


@pytest.mark.parametrize("text", ["extra.thr >", "extra.thr = (", "extra(", "extra.thr between 1"])
def test_half_a_condition_is_told(text: str) -> None:
    with pytest.raises(FilterError):
        Archive("nowhere").query(text)


def test_a_pack_of_before_has_them_too_and_its_tables_are_made_anew_once(tmp_path: Path) -> None:
    """Its documents say what its tables lack; the pack itself is never changed."""
    shutil.copytree(BEFORE / "packs", packs_folder(tmp_path))
    before = {p: p.read_bytes() for p in packs_folder(tmp_path).rglob("*") if p.is_file()}
    asked = Archive(tmp_path).query("", limit=None)
    assert asked.rows
    assert [pack.tables for pack in read_packs(packs_folder(tmp_path))[0]] == [None]
    Archive(tmp_path).pack()
    (pack,) = read_packs(packs_folder(tmp_path))[0]
    assert pack.tables is not None
    assert pack.tables.parent.name == ".tables"
    assert Archive(tmp_path).query("", limit=None) == asked
    assert {path: path.read_bytes() for path in before} == before
    # A flipped bit costs what was made, not what it was made of.
    file = pack.tables / "images.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2 :] = b"\0" * (len(data) - len(data) // 2)
    file.write_bytes(data)
    assert Archive(tmp_path).query("", limit=None) == asked
    assert not pack.tables.exists()


def test_the_page_sees_a_pack_of_before_and_what_follows_it(tmp_path: Path) -> None:
    shutil.copytree(BEFORE / "packs", packs_folder(tmp_path))
    held = HeldArchive(tmp_path)
    try:
        for _ in range(3):
            wanted = Archive(tmp_path).query("", limit=None)
            wait_until_held(held)
            assert sorted(held.query("", limit=None).rows) == sorted(wanted.rows)
            with Archive(tmp_path).writer() as writer:
                writer.write(record(5))
            Archive(tmp_path).pack()
    finally:
        held.close()


def test_settings_that_vary_are_facets(archive: Path) -> None:
    """On the disk and in memory; one that was chosen stays, and what changes no pixels is none."""
    held = HeldArchive(archive)
    try:
        on_disk = held.facets("")
        wait_until_held(held)
        for total, facets in (on_disk, held.facets("")):
            assert total == 8
            values_of = {facet.name: facet.values for facet in facets}
            assert {name for name in values_of if name.startswith("extra.")} == {
                "extra.RNG", "extra.tiling",
            }  # fmt: skip
            assert [(v.value, v.count, v.clause) for v in values_of["extra.RNG"]] == [
                ("CPU", 1, "extra('RNG') = 'CPU'"), ("GPU", 1, "extra('RNG') = 'GPU'"),
            ]  # fmt: skip
            assert "lora" not in values_of
        for value in values_of["extra.tiling"]:
            total, facets = held.facets(value.clause)
            assert total == value.count == 2
            (again,) = [facet for facet in facets if facet.name == "extra.tiling"]
            assert again.values == (value,)
    finally:
        held.close()


def test_a_new_name_for_a_knob_reaches_what_is_packed_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables that were made by other rules of reading are tables of before."""
    with Archive(tmp_path).writer() as writer:
        writer.write(with_extra(0, {"sugar": 4.5}))
    with monkeypatch.context() as before:
        before.setattr(packs_module, "_ROWS", "the rules before the name was known")
        Archive(tmp_path).pack()
    (pack,) = read_packs(packs_folder(tmp_path))[0]
    assert pack.tables is None
    before_it = Archive(tmp_path).query("extra.sugar > 4", limit=None)
    assert len(before_it.rows) == 2
    Archive(tmp_path).pack()
    (pack,) = read_packs(packs_folder(tmp_path))[0]
    assert pack.tables is not None
    assert Archive(tmp_path).query("extra.sugar > 4", limit=None) == before_it


def test_the_rules_of_reading_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = reading_rules()
    monkeypatch.setitem(knobs._ALIASES, "sugar", KNOBS["shift"])
    assert reading_rules() != rules


def kept(folder: Path, *records: LearningRecord) -> Archive:
    archive = Archive(folder)
    with archive.writer() as writer:
        for each in records:
            writer.write(each)
    return archive


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        # A value that is none of the knob's is still a setting of that name.
        ("extra.sigmas", "ab"), ("extra.sigmas has '0.5'", "ab"), ("extra.sigmas is missing", "c"),
        ("extra.guidance = 'auto'", "a"), ("extra.guidance > 3", "b"),
        ("extra.n = '31337'", "b"), ("extra.n != '31337'", "c"), ("extra.n = 31337", "b"),
        ("extra.n = '007'", "c"), ("extra.n = 7", "c"), ("extra.N = 7", "c"),
        ("extra('straße σς') = 'x'", "a"), ("extra('STRASSE Σς') = 'x'", ""),
        ("extra.init_image = 'a.png'", "c"), ("extra.mystery = 3", "c"),
    ],
)  # fmt: skip
def test_every_value_is_found_whatever_it_is(tmp_path: Path, text: str, prompts: str) -> None:
    strange = with_extra(2, {"n": "007"})
    config = dict(strange.variant_configs[0])
    config["txt2img"] = {**config["txt2img"], "mystery": 3}
    config["img2img"] = {"init_image": "a.png", "prompt": "c"}
    archive = kept(
        tmp_path,
        with_extra(0, {"sigmas": [1, 0.5], "guidance": "auto", "straße σς": "x"}),
        with_extra(1, {"sigmas": "1, 0.5", "guidance": 3.5, "n": "31337"}),
        replace(strange, variant_configs=[config], outputs=strange.outputs[1:]),
    )
    answer = archive.query(text, columns=["prompt"], limit=None)
    assert {row[0][0] for row in answer.rows} == set(prompts)


def test_what_an_earlier_stage_had_otherwise_is_kept(tmp_path: Path) -> None:
    made = record(0, steps=10)
    config = dict(made.variant_configs[0])
    config["img2img"] = {"steps": 20, "prompt": config["txt2img"]["prompt"], "extra": {"a": 1}}
    archive = kept(tmp_path, replace(made, variant_configs=[config]))
    columns = ["name", "stage", "number"]
    answer = archive.query("name != 'lora.ink'", view="settings", columns=columns, sort="name")
    assert answer.rows == (("earlier.steps", "txt2img", 10.0), ("extra.a", "img2img", 1.0))


def test_an_import_keeps_its_own_extras_and_what_it_read_beside_them(tmp_path: Path) -> None:
    made = imported(0, {"RNG": "CPU", "x": "read"})
    config = {"txt2img": {**made.variant_configs[0]["txt2img"], "extra": {"x": "own", "y": 2}}}
    metadata = {"import": {
        "reader": 3, "extra": {"RNG": "CPU", "x": "read"}, "hashes": [["autov2", "aaaa"]],
        "loras": [{"name": "ink", "weight": 1, "hash": "bbbb"}],
    }}  # fmt: skip
    archive = kept(tmp_path, replace(made, variant_configs=[config], metadata=metadata))
    found = archive.query(
        "name has 'extra'", view="settings", columns=["name", "number", "text"], sort="name"
    )
    assert found.rows == (
        ("extra.Lora hashes", None, "ink: bbbb"), ("extra.Model hash", None, "autov2 aaaa"),
        ("extra.RNG", None, "CPU"), ("extra.x", None, "own"), ("extra.y", 2.0, None),
    )  # fmt: skip


def test_hostile_settings_cost_themselves_only(tmp_path: Path) -> None:
    deep: Any = {"end": 1}
    for _ in range(900):
        deep = {"a": deep}
    wide = {f"name {n} {'x' * 500}": n for n in range(300)}
    archive = kept(tmp_path, with_extra(0, {"deep": deep}), with_extra(1, wide), record(2))
    for _ in range(2):
        assert len(archive.query("", limit=None).rows) == 6
        names = archive.query("", view="settings", columns=["name"], sort="name", limit=None).rows
        assert max(len(name) for (name,) in names) < 400
        archive.pack()


def test_settings_are_told_once_for_all_pictures_of_a_variant() -> None:
    """As knobs are: what is drawn together shares them, and batches stay small."""
    made = with_extra(0, {f"n{n}": n for n in range(50)})
    batch = Batch()
    many = replace(made, outputs=made.outputs[:1] * 40)
    batch.add(decoded(many.to_json().encode()))
    assert batch.sizes()["settings"] == 40 * 50
    assert len(batch._settings) == 50
