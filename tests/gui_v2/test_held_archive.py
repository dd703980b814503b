"""What the page is told from memory is what the archive says, whatever happens on the disk."""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from safelight.application.rating import rate_chosen
from safelight.archive import Archive, loose_records, pictures_in_memory
from safelight.archive.packs import write_pack
from safelight.archive_layout import imports_folder, packs_folder, records_folder
from safelight.durable_file import read_regular_file
from safelight.errors import FilterError
from safelight.learning import LearningRecord
from safelight.learning.learning_record import ImageOutput
from safelight.learning.ratings import Identity, RatingEvent, rating_event
from safelight.web import held_archive
from safelight.web.held_archive import HeldArchive

SAID = (
    ("stars is missing", "-stars"), ("stars >= 3 and not rejected = true", "-timestamp"),
    ("rejected = true", "run_id"), ("tags has 'sharp' or notes has 'soft'", "-timestamp"),
    ("album = 'best'", "seed"), ("path has 'moved' and stars > 0", "stars"),
)  # fmt: skip
OLD = Path(__file__).parents[1] / "data" / "archive_first_layout"
QUESTIONS = (
    ("", "-timestamp"), ("", "timestamp"), ("", "prompt"), ("", "-stars"), ("", "stars"),
    ("", "-seconds"), ("", "path"), ("steps > 12", "-timestamp"), ("steps > 12", "seed"),
    ("model = 'model-1'", "-timestamp"), ("model in ('model-0', 'nowhere')", "-cfg_scale"),
    ("prompt has 'FOX'", "-timestamp"), ("not prompt has 'fox'", "timestamp"),
    ("prompt has 'zebra' or prompt has '<lora:ink'", "model"), ("prompt is missing", "-timestamp"),
    ("cfg_scale between 3 and 6 and sampler = 'Euler a'", "-timestamp"),
    ("stars is missing", "-timestamp"), ("stars >= 3 and not rejected = true", "-timestamp"),
    ("rejected = true or favourite = true", "run_id"), ("tags has 'sharp'", "-picks_won"),
    ("notes is not missing", "-timestamp"), ("picks_lost > 0", "-timestamp"),
    (f"sha256 = '{5:064x}'", "-timestamp"), (f"pixel_sha256 = 'f{5:062x}0'", "-timestamp"),
    (f"sha256 != '{5:064x}' and not pixel_sha256 = 'f{6:062x}1'", "-timestamp"),
    ("seed = 18446744073709551615", "-timestamp"), ("status = 'partial'", "-width"),
    ("timestamp has '2026-01-01'", "-timestamp"), ("path has 'moved'", "-timestamp"),
    ("identity is missing and upscaler = 'Lanczos'", "place"), ("SHARP", "-timestamp"),
    ("not 'a word'", "seed"), ("7-txt2img", "path"), ("moved steps > 11", "-timestamp"),
)  # fmt: skip


def record(number: int) -> LearningRecord:
    config: dict[str, Any] = {
        "txt2img": {
            "prompt": ["a Fox", "ein Füchslein", "fog <lora:ink:0.5>", "Lighthouse"][number % 4],
            "model": f"model-{number % 3}", "sampler": ["Euler a", "DPM++ 2M"][number % 2],
            "steps": 10 + number % 5, "cfg_scale": number % 10 + 0.5, "seed": 2**64 - 1 - number,
        },
        "upscale": {"upscaler": "Lanczos", "scale": 2},
    }  # fmt: skip
    if number % 7 == 3:
        del config["txt2img"]["prompt"]
    outputs = tuple(
        ImageOutput(
            variant=0, stage=stage, sha256=f"{2 * number + place:064x}", seconds=number % 3,
            pixel_sha256=f"f{number:062x}{place}", width=64 + number % 2, height=64,
            path=f"images/{number}-{stage}.png", seed=2**64 - 1 - number,
        )
        for place, stage in enumerate(("txt2img", "upscale"))
    )  # fmt: skip
    clock = f"00:{number // 60 % 60:02d}:{number % 60:02d}.000000Z"
    made = LearningRecord.from_pipeline_context(
        config, [config], run_id=f"a{number:015x}", outputs=outputs,
        timestamp=f"2026-01-{number % 3 + 1:02d}T{clock}",
        backend={"name": "fake", "version": "1"},
    )  # fmt: skip
    return replace(made, status="partial") if number % 5 == 0 else made


def write_loose(archive: Path, made: LearningRecord, name: str = "") -> Path:
    records_folder(archive).mkdir(parents=True, exist_ok=True)
    file = records_folder(archive) / f"{name or made.timestamp.replace(':', '')}_{made.run_id}.json"
    temporary = file.with_name(f".{file.name}")
    temporary.write_text(made.to_json(), "utf-8")
    temporary.replace(file)
    return file


def loaded(archive: Path) -> HeldArchive:
    held = HeldArchive(archive)
    held.query()
    deadline = time.monotonic() + 60
    while held._memory is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert held._memory is not None
    return held


def differences(
    held: HeldArchive, questions: Sequence[tuple[str, str]], *, paged: bool = False
) -> list[str]:
    """Return those of *questions* that are answered otherwise than from the disk."""
    disk, untaken = Archive(held.path), HeldArchive(held.path)
    untaken._load_from = float("inf")  # it counts by the archive's own views
    differing = []
    for condition, sort in questions:
        whole = disk.query(condition, sort=sort, limit=None)
        if held.query(condition, sort=sort, limit=None) != whole:
            differing.append(f"{condition} by {sort}")
        if held.query(condition, sort=sort, limit=3).rows != whole.rows[:3]:
            differing.append(f"{condition} by {sort}, first page")
        if [asdict(f) for f in held.facets(condition)[1]] != [
            asdict(f) for f in untaken.facets(condition)[1]
        ] or held.facets(condition)[0] != len(whole.rows):
            differing.append(f"facets of {condition}")
        if paged:
            rows, after = list[Any](), None
            while (page := held.query(condition, sort=sort, limit=4, after=after)).rows:
                rows += page.rows
                if (after := page.after) is None:
                    break
            first = disk.query(condition, sort=sort, limit=4)
            if tuple(rows) != whole.rows or held.query(condition, sort=sort, limit=4) != first:
                differing.append(f"pages of {condition} by {sort}")
    return differing


def alike(
    held: HeldArchive,
    questions: Sequence[tuple[str, str]] = QUESTIONS[::6],
    *,
    paged: bool = False,
) -> None:
    """Check some questions; of ratings the page may know a moment later."""
    deadline = time.monotonic() + 60
    while (differing := differences(held, questions, paged=paged)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert held._memory is not None
    assert differing == []


def rate(archive: Path, chance: random.Random, numbers: int) -> None:
    def image() -> Identity:
        number, place = chance.randrange(numbers), chance.randrange(2)
        both = {"sha256": f"{2 * number + place:064x}", "pixel_sha256": f"f{number:062x}{place}"}
        return Identity(**chance.choice([both, *({name: both[name]} for name in both)]))

    with Archive(archive).ratings() as store:
        for _ in range(6):
            kind = chance.choice(["stars", "stars", "reject", "favourite", "tags", "note", "pick"])
            fields: dict[str, Any] = {"rater": chance.choice(["ada", "bob"])}
            if kind == "pick":
                event = RatingEvent.now(kind, shown=(image(), image()), won=(0,), **fields)
            elif kind == "tags":
                event = RatingEvent.now(kind, image(), added=("sharp",), **fields)
            else:
                value = {"stars": chance.randrange(6), "note": "soft"}.get(kind, True)
                event = RatingEvent.now(kind, image(), value=value, **fields)
            store.add(event)
            if chance.random() < 0.3:
                store.add(RatingEvent.now("undo", undoes=event.event_id))


def test_every_answer_is_the_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records come, are packed, copied and taken away; ratings and moves come in between."""
    monkeypatch.setattr(pictures_in_memory, "_NEWEST", 5)  # few pictures do as many
    chance = random.Random(3)
    shutil.copytree(OLD / "packs", packs_folder(tmp_path))
    write_pack(packs_folder(tmp_path), [record(n).to_json().encode() for n in range(8)])
    for number in range(8, 14):
        write_loose(tmp_path, record(number))
    rate(tmp_path, chance, 14)
    held = loaded(tmp_path)
    alike(held, QUESTIONS)

    def packed() -> None:
        Archive(tmp_path).pack()

    def doubled() -> None:
        """As after a merge with somebody who packed the same, and some more."""
        write_pack(packs_folder(tmp_path), [record(n).to_json().encode() for n in range(5, 18)])

    def moved() -> None:
        imports_folder(tmp_path).mkdir(exist_ok=True)
        with (imports_folder(tmp_path) / "places-1.jsonl").open("a") as file:
            for number in (4, 5, chance.randrange(60)):
                path = f"/elsewhere/moved-{chance.randrange(9)}.png"
                file.write(json.dumps({"path": path, "sha256": f"{number:064x}"}) + "\n")

    def came_back() -> None:
        """A pack goes that hid a loose record, which counts again."""
        write_loose(tmp_path, record(6))
        alike(held)
        for pack in sorted(packs_folder(tmp_path).iterdir())[1:]:
            shutil.rmtree(pack)

    def twice() -> None:
        """One run in two loose files counts twice in both, and once when one goes."""
        write_loose(tmp_path, record(40))
        again = write_loose(tmp_path, record(40), name="again")
        alike(held)
        again.unlink()

    def unreadable() -> None:
        (records_folder(tmp_path) / "2026_torn.json").write_text('{"run_id": ')

    happenings: list[Callable[[], object]] = [
        lambda: write_loose(tmp_path, record(14)), lambda: rate(tmp_path, chance, 16), packed,
        lambda: write_loose(tmp_path, record(20)), doubled, moved, unreadable,
        lambda: rate(tmp_path, chance, 30), packed, came_back, twice, moved,
        lambda: rate(tmp_path, chance, 50), packed,
    ]  # fmt: skip
    for happening in happenings:
        happening()
        alike(held, chance.sample(QUESTIONS, 4))
    alike(held, QUESTIONS, paged=True)
    held.close()


def test_what_is_said_of_all_adds_up_whatever_happens_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acts here and of another process, undos, new records, packs and discards, in any order."""
    monkeypatch.setattr(rating_event, "LARGE", 3)  # few pictures do as many
    chance = random.Random(1)
    for number in range(1, 7):  # a hash of zeros is none
        write_loose(tmp_path, record(number))
    held = loaded(tmp_path)
    acts: tuple[dict[str, Any], ...] = (
        {"stars": 1}, {"stars": 4}, {"stars": 0}, {"reject": True}, {"reject": False},
        {"tags": ["sharp"]}, {"untag": ["sharp"]}, {"albums": ["best"]}, {"out_of": ["best"]},
        {"note": "soft"},
    )  # fmt: skip
    said: list[RatingEvent] = []
    numbers = iter(range(7, 40))

    def act() -> None:
        of_all = rate_chosen(
            held, chance.choice(["", "", "", "steps > 11", "stars >= 3"]),
            store=chance.choice(stores), rater=chance.choice(["", "ada"]), **chance.choice(acts),
        )  # fmt: skip
        said.extend(of_all)

    def undo() -> None:
        if said:
            taken = chance.choice(said).event_id
            said.extend(chance.choice(stores).add(RatingEvent.now("undo", undoes=taken)))

    def discard() -> None:
        imports_folder(tmp_path).mkdir(exist_ok=True)
        digest = f"{chance.randrange(20):064x}"
        with (imports_folder(tmp_path) / "places-1.jsonl").open("a") as file:
            file.write(json.dumps({"path": f"/moved/{digest[-2:]}.png", "sha256": digest}) + "\n")

    happenings: list[Callable[[], object]] = [
        act, act, act, act, undo, undo, lambda: rate(tmp_path, chance, 12),
        lambda: write_loose(tmp_path, record(next(numbers))), Archive(tmp_path).pack, discard,
    ]  # fmt: skip
    with held.ratings() as own, Archive(tmp_path).ratings() as other:
        stores = [own, own, other]
        for _ in range(4):
            for happening in chance.choices(happenings, k=6):
                happening()
            alike(held, chance.sample(SAID, 2))
        alike(held, SAID)
        fresh = loaded(tmp_path)
        assert [fresh.facets(condition) for condition, _ in SAID] == [
            held.facets(condition, fresh=True) for condition, _ in SAID
        ]
    fresh.close()
    held.close()
    assert any(b"same_pictures" in file.read_bytes() for file in (tmp_path / "ratings").iterdir())


def test_a_record_is_there_as_soon_as_its_file_is(tmp_path: Path) -> None:
    """No moment in which an answer is from before."""
    write_loose(tmp_path, record(0))
    held = loaded(tmp_path)
    for number in range(1, 30):
        write_loose(tmp_path, record(number))
        assert len(held.query("", columns=["sha256"]).rows) == min(50, 2 * number + 2)
        assert held.facets("")[0] == 2 * number + 2
    held.close()


def test_readers_see_no_run_twice_and_none_missing_while_others_pack(tmp_path: Path) -> None:
    for number in range(40):
        write_loose(tmp_path, record(number))
    held = loaded(tmp_path)
    over, faults = threading.Event(), list[str]()

    def read(number: int) -> None:
        while not over.is_set():
            condition = f"steps > {number}"
            rows = held.query(condition, columns=["sha256", "model"], limit=None).rows
            total, _ = held.facets(condition)
            if not len(set(rows)) == len(rows) == 80 or total != 80:
                faults.append(f"{len(rows)} rows, {total} counted")

    readers = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for reader in readers:
        reader.start()
    for _ in range(4):
        Archive(tmp_path).pack(per_pack=10)
        time.sleep(0.2)
    over.set()
    for reader in readers:
        reader.join()
    held.close()
    assert faults == []


def test_a_record_comes_from_its_pack(tmp_path: Path) -> None:
    wanted = [record(number) for number in range(6)]
    write_pack(packs_folder(tmp_path), [run_id.to_json().encode() for run_id in wanted[:4]])
    for run_id in wanted[4:]:
        write_loose(tmp_path, run_id)
    held = loaded(tmp_path)
    assert [held.record(run_id.run_id) for run_id in wanted] == wanted
    assert held.record("last").run_id == Archive(tmp_path).record("last").run_id
    held.close()


@pytest.mark.parametrize("condition", ["steps >", "nothing = 1", "row_ = 1", "prompt_id = 1"])
def test_faults_of_a_filter_are_told_alike(tmp_path: Path, condition: str) -> None:
    write_loose(tmp_path, record(0))
    held = loaded(tmp_path)
    with pytest.raises(FilterError) as from_disk:
        Archive(tmp_path).query(condition)
    for ask in (held.query, held.facets):
        with pytest.raises(FilterError) as raised:
            ask(condition)
        assert str(raised.value) == str(from_disk.value)
    held.close()


def test_a_pack_that_cannot_be_read_costs_itself_only(tmp_path: Path) -> None:
    """What lies beside it is shown, from the disk and from memory, and the answer says so."""
    write_pack(packs_folder(tmp_path), [record(0).to_json().encode()])
    later = write_pack(packs_folder(tmp_path), [record(1).to_json().encode()])
    file = later.path / "images.parquet"
    data = bytearray(file.read_bytes())
    data[20:200] = bytes(180)
    file.write_bytes(data)
    held = HeldArchive(tmp_path)
    for _ in range(2):
        answer = held.query(columns=["run_id"])
        assert {row[0] for row in answer.rows} == {record(0).run_id}
        assert [fault.path for fault in answer.left_out] == [later.path]
        assert held.facets("")[0] == len(answer.rows)
        assert held.record(record(0).run_id) == record(0)
        held._load_soon()
        assert held._loader is not None
        held._loader.join()
        assert held._memory is not None
    shutil.rmtree(later.path)
    assert held.query(columns=["run_id"]).left_out == ()
    held.close()


@pytest.mark.parametrize("asker", [Archive, HeldArchive])
def test_what_is_packed_under_ones_eyes_is_no_trouble(
    tmp_path: Path,
    asker: type[Archive],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A record that was listed and is in a pack by the time it is read: nobody is warned."""
    with Archive(tmp_path).writer() as writer:
        for number in range(5):
            writer.write(record(number))
    asked = asker(tmp_path)
    if isinstance(asked, HeldArchive):
        asked.hold()
        with Archive(tmp_path).writer() as writer:
            writer.write(record(5))
    there = len(Archive(tmp_path).query(view="runs", limit=None).rows)
    packed: list[Path] = []

    def packed_before(path: Path) -> bytes:
        if not packed and path.parent == records_folder(tmp_path):
            packed.append(path)
            assert Archive(tmp_path).pack().records == there
        return read_regular_file(path)

    for reader in (loose_records, pictures_in_memory):
        monkeypatch.setattr(reader, "read_regular_file", packed_before)
    answer = asked.query(columns=["run_id"], limit=None)
    assert len({run_id for (run_id,) in answer.rows}) == there
    assert packed
    assert answer.left_out == asked.left_out() == ()
    assert caplog.records == []
    if isinstance(asked, HeldArchive):
        asked.close()


def test_one_that_is_asked_seldom_leaves_nothing_out_that_was_said(tmp_path: Path) -> None:
    """Without rest: each answer has what was said a moment before it was asked for."""
    with Archive(tmp_path).writer() as writer:
        writer.write(record(0))
    held = HeldArchive(tmp_path, rest=0)
    held.hold()
    assert held._memory is not None
    digest = record(0).outputs[0].sha256
    with Archive(tmp_path).ratings() as store:
        for number in range(1, 6):
            store.add(RatingEvent.now("stars", Identity(sha256=digest), value=number, rater="ann"))
            assert len(held.query(f"stars = {number} and sha256 = '{digest}'").rows) == 1
    held.close()


def test_an_answer_that_lacks_what_was_just_said_is_not_kept_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While raters are spared, an answer may be late; it must not stay so when nobody rates."""
    monkeypatch.setattr(held_archive, "_TICK", 0)  # records were not written this moment
    with Archive(tmp_path).writer() as writer:
        writer.write(record(0))
    held = HeldArchive(tmp_path)
    held.hold()
    assert held._memory is not None
    with Archive(tmp_path).ratings() as store:
        store.add(RatingEvent.now("stars", Identity(sha256=record(0).outputs[0].sha256), value=5))
    held.signature_now()
    held._rest_until = float("inf")  # just after ratings were read
    assert (held.query("stars = 5").rows, held.facets("stars = 5")[0]) == ((), 0)
    held._rest_until = 0.0
    kept = {key: replace(one, rests_until=0.0) for key, one in held._answers.items()}
    held._answers.update(kept)
    assert (len(held.query("stars = 5").rows), held.facets("stars = 5")[0]) == (1, 1)
    held.close()


def test_counts_of_all_pictures_are_those_of_the_pictures_that_are_held_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody still counts what was held before when it is read anew."""
    monkeypatch.setattr(held_archive, "_TICK", 0)
    monkeypatch.setattr(pictures_in_memory, "_NEWEST", 1)
    files = [write_loose(tmp_path, record(number)) for number in range(8)]
    held = HeldArchive(tmp_path)
    held.hold()
    before = held._memory
    assert before is not None
    files[0].unlink()
    held._load(0)
    now, held._memory = held._memory, before
    held._facets("", 40)
    held._memory = now
    assert held._facets("", 40)[0] == held._facets("steps > 0", 40)[0] == 14
    held.close()
