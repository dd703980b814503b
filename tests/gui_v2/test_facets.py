"""A facet's value finds what it counted, and the page counts alike on the disk and in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.archive import Archive
from safelight.archive.answer import columns_of_view
from safelight.archive.pictures_in_memory import PicturesInMemory
from safelight.archive.views import Views, selection
from safelight.filters import compile_filter
from safelight.learning import LearningRecord
from safelight.learning.learning_record import ImageOutput
from safelight.learning.ratings import Identity, RatingEvent
from safelight.web.facets import (
    FACET_RATINGS,
    IN_MEMORY,
    ON_DISK,
    Facet,
    WholeCounts,
    count_facets,
)

Counted = tuple[int, tuple[Facet, ...]]


def record(
    number: int, extra: Mapping[str, Any], loras: Sequence[str] = (), **knobs: Any
) -> LearningRecord:
    named = [{"name": name, "weight": 0.5} for name in loras]
    config = {"txt2img": {"prompt": f"p{number}", **knobs, "extra": extra, "loras": named}}
    output = ImageOutput(
        variant=0, stage="txt2img", sha256=f"{number:064x}", pixel_sha256=f"a{number:063x}",
        width=64, height=64, path=f"images/{number}.png",
    )  # fmt: skip
    made = LearningRecord.from_pipeline_context(
        config, [config], run_id=f"{number:016x}", outputs=(output,),
        timestamp=f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}.000000Z",
    )  # fmt: skip
    return replace(made, variant_configs=[config])


class BothDoors:
    """An archive of some records, counted by its views and by the table in memory."""

    def __init__(self, folder: Path, records: Sequence[LearningRecord]) -> None:
        self.archive = Archive(folder)
        self.archive.add_pack([each.to_document() for each in records])
        self.memory = PicturesInMemory(self.archive._opened(threads=1), folder)
        self.memory.catch_up()
        self.whole = WholeCounts()

    def on_disk(self, condition: str) -> Counted:
        def count(connection: Any, views: Views) -> Counted:
            views.show()
            wanted = compile_filter(condition, columns_of_view("images"))
            asked = selection(wanted, reuse=views.reuse, once="images", every="run_images")
            return count_facets(connection, asked, 40, ON_DISK)

        return self.archive.asked(count, rated=True)

    def in_memory(self, condition: str) -> Counted:
        with self.memory.asked() as connection:
            asked = self.memory.selection(condition, FACET_RATINGS)
            counted = count_facets(connection, asked, 40, IN_MEMORY)
            if condition and asked.source.isidentifier():
                for _ in range(3):  # by itself, and by what is left of all without the others
                    less = count_facets(
                        connection, asked, 40, IN_MEMORY, self.whole, of_most=True
                    )  # fmt: skip
                    assert less == counted
            return counted

    def counted(self, condition: str = "") -> Counted:
        """Return what both count, which must be the same."""
        on_disk = self.on_disk(condition)
        assert self.in_memory(condition) == on_disk, condition
        return on_disk


def check_every_value(doors: BothDoors, condition: str = "") -> dict[str, Facet]:
    """See that each value's clause finds as many pictures as it counts; return the facets."""
    _, facets = doors.counted(condition)
    for facet in facets:
        for value in facet.values:
            clause = f"({condition}) and {value.clause}" if condition else value.clause
            found = doors.archive.query(clause, limit=None)
            assert len(found.rows) == value.count, (facet.name, value)
            with doors.memory.asked() as connection:
                asked = doors.memory.selection(clause, FACET_RATINGS)
                assert count_facets(connection, asked, 1, IN_MEMORY)[0] == value.count, value
            for part in value.parts:
                clause = f"({condition}) and {part.clause}" if condition else part.clause
                assert len(doors.archive.query(clause, limit=None).rows) == part.count, part
    return {facet.name: facet for facet in facets}


names = (
    st.sampled_from([
        "RNG", "rng", "Rng", "guidance", "Distilled CFG Scale", "Sampler", "a 'b'", "", "extra",
        "extra.guidance", "ΑΣ", "İ", "x.y", "ending.pt",
    ])
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
)  # fmt: skip
values = (
    st.sampled_from([
        1234567, 1234567.5, 0.12345678, -0.0, 0, "0.30", 0.3, "007", 7, 2**53 + 1, 1e16, "1e16",
        5e-324, True, "true", 3.5, "auto", [1, 2], {"deep": 1}, 10**400, "1e999", "it's", "",
    ])
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
)  # fmt: skip
lora_names = st.sampled_from([
    "ink", "Ink.safetensors", "INK.PT", "a.pt.pt", "pt", "", ".ckpt", "it's", "ink.v2", "İ.pt",
])  # fmt: skip
drawn = st.lists(
    st.tuples(
        st.dictionaries(names, values, max_size=4),
        st.lists(lora_names, max_size=2),
        st.dictionaries(st.just("guidance"), st.sampled_from([3.5, 4.0]), max_size=1),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=30)
@given(drawn)
def test_every_value_finds_exactly_what_it_counts(pictures: Sequence[Any]) -> None:
    """Whatever was recorded: people click on it."""
    with tempfile.TemporaryDirectory() as folder:
        doors = BothDoors(
            Path(folder),
            [record(n, extra, loras, **knobs) for n, (extra, loras, knobs) in enumerate(pictures)],
        )
        check_every_value(doors)


def test_numbers_names_and_files_are_told_apart_as_filters_tell_them(tmp_path: Path) -> None:
    extras: Sequence[Mapping[str, Any]] = (
        {"subseed": 1234567, "RNG": "CPU", "big": 2**53 + 1, "guidance": "auto"},
        {"subseed": 1234568, "rng": "CPU", "big": 2**53 + 3, "guidance": "off"},
        {"subseed": 0.12345678, "RNG": "GPU"},
        {"subseed": "0.30", "Rng": "CPU"},
        {"subseed": 0.3, "Distilled CFG Scale": 3.5},
    )
    loras: Sequence[Sequence[str]] = (["ink"], ["Ink.safetensors"], ["INK.pt"], [], ["oil"])
    stated: Sequence[dict[str, Any]] = ({}, {}, {}, {"guidance": 3.5}, {"guidance": 3.5})
    doors = BothDoors(
        tmp_path, [record(n, extras[n], loras[n], **stated[n]) for n in range(len(extras))]
    )
    facets = check_every_value(doors)

    def shown(name: str) -> list[tuple[str, int, str]]:
        return [(v.value, v.count, v.clause) for v in facets[name].values]

    assert shown("extra.subseed") == [
        ("0.3", 2, "extra('subseed') = 0.3"),
        ("0.12345678", 1, "extra('subseed') = 0.12345678"),
        ("1234567", 1, "extra('subseed') = 1234567"),
        ("1234568", 1, "extra('subseed') = 1234568"),
    ]
    assert shown("extra.RNG") == [
        ("CPU", 3, "extra('RNG') = 'CPU'"), ("GPU", 1, "extra('RNG') = 'GPU'"),
    ]  # fmt: skip
    assert shown("extra.big") == [
        (f"{2**53 + 1}", 1, f"extra('big') = '{2**53 + 1}'"),
        (f"{2**53 + 3}", 1, f"extra('big') = '{2**53 + 3}'"),
    ]
    assert shown("extra.guidance") == [
        ("auto", 1, "recorded('extra.guidance') = 'auto'"),
        ("off", 1, "recorded('extra.guidance') = 'off'"),
    ]
    assert shown("lora") == [("INK", 3, "lora('INK')"), ("oil", 1, "lora('oil')")]
    (row,) = doors.archive.query("recorded('extra.Distilled CFG Scale') = 3.5", limit=None).rows
    assert row[0] == f"{4:016x}", "and not the picture whose knob it is"


def test_a_facet_is_what_varies_in_what_was_found(tmp_path: Path) -> None:
    """However many values it has in all, and however new it is."""
    records = [record(n, {"many": f"v{n}", "few": f"w{n % 3}"}) for n in range(120)]
    doors = BothDoors(tmp_path, records)
    assert "extra.many" not in check_every_value(doors)
    facets = check_every_value(doors, "prompt has 'p11'")
    assert len(facets["extra.many"].values) == 11
    doors.archive.add_pack([record(n, {"turbo": n % 2}).to_document() for n in (200, 201)])
    doors.memory.catch_up()
    assert len(check_every_value(doors)["extra.turbo"].values) == 2


def test_what_is_rejected_is_not_counted_by_its_stars(tmp_path: Path) -> None:
    records = [record(n, {}) for n in range(4)]
    said = [(0, "stars", 4), (1, "stars", 4), (1, "reject", True), (2, "reject", True)]
    with Archive(tmp_path).ratings() as store:
        for number, kind, value in said:
            output = records[number].outputs[0]
            event = RatingEvent.now(kind, Identity(sha256=output.sha256), value=value, rater="a")
            store.add(event)
    doors = BothDoors(tmp_path, records)
    rating = check_every_value(doors)["rating"]
    assert [(v.value, v.count) for v in rating.values] == [
        ("4+", 1), ("4", 1), ("rejected", 2), ("not rated", 1),
    ]  # fmt: skip


def test_tags_folders_and_weights_of_loras_are_facets(tmp_path: Path) -> None:
    """Each by its own name, not by a text that holds it; how much was read of imports, too."""
    records = [
        replace(each, outputs=tuple(
            msgspec.structs.replace(output, path=f"/home/ann/{n % 2 * 'new/'}{n}.png")
            for output in each.outputs
        ))
        for n, each in enumerate(
            record(n, {}, loras, steps=20 + n % 2)
            for n, loras in enumerate((["ink"], ["ink", "ink_v2"], [], ["ink"]))
        )
    ]  # fmt: skip
    for number, weight in ((0, 0.7), (3, 0.7)):
        stages = dict(records[number].variant_configs[0])
        named = [{"name": "Ink.safetensors", "weight": weight}]
        stages["txt2img"] = {**stages["txt2img"], "loras": named}
        records[number] = replace(records[number], variant_configs=[stages])
    with Archive(tmp_path).ratings() as store:
        for number, tags in enumerate((("hand",), ("hand", "hands"))):
            of = Identity(sha256=f"{number:064x}")
            store.add(RatingEvent.now("tags", of, added=tags, rater="ann"))
    facets = check_every_value(BothDoors(tmp_path, records))
    shown = {name: [(v.value, v.count) for v in facet.values] for name, facet in facets.items()}
    assert shown["tag"] == [("hand", 2), ("hands", 1)]
    assert shown["folder"] == [("/home/ann", 2), ("/home/ann/new", 2)]
    assert shown["steps"] == [("21", 2), ("20", 2)]
    weights = {v.value: [(part.value, part.count) for part in v.parts]
               for v in facets["lora"].values}  # fmt: skip
    assert sorted(weights.values()) == [[("0.5", 1)], [("0.5", 1), ("0.7", 2)]]


@pytest.mark.parametrize("words", ["recorded", "recorded (music)", "a recorded talk"])
def test_a_word_of_the_language_is_still_a_word(words: str) -> None:
    wanted = compile_filter(words, columns_of_view("images"))
    assert wanted.columns == {"prompt", "tags", "notes"}
