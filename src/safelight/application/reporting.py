"""reporting: what the ratings of some pictures say, as one page in one file for somebody else.

Everything is in the file: pictures made small, the figures as a drawing, the method. It is opened
without a server and fetches nothing, so that it can go with a letter, a paper or a pull request.
"""

from __future__ import annotations

import base64
import html
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from safelight.application.asked_pictures import asked_pictures
from safelight.application.effects_answer import sentences_behind
from safelight.application.rated_pictures import rated_trials
from safelight.archive import Archive
from safelight.archive_layout import picture_file
from safelight.errors import ImageError
from safelight.formats.shrunk_pictures import shrunk
from safelight.learning.evidence.effect_plot import draw_effects
from safelight.learning.evidence.effects import MATTERS, find_effects
from safelight.learning.evidence.findings import Behind, Comparison, Effects
from safelight.learning.evidence.scores import ImageScores
from safelight.learning.evidence.sentences import Sentence
from safelight.version import __version__

__all__ = ["Report", "made_report", "moment_text", "report_page"]

_SIDE = 320
"""Longest side in pixels of a picture on the page."""

_MOST_PAIRS, _MOST_EXAMPLES, _OF_ONE_PROMPT, _MOST_UNDECIDED = 3, 20, 3, 12
_METHOD = f"""
Stars, picks, favourites and rejects of a picture become one score, each rater read on a scale of
their own; 1 is the spread of the scores. Settings are compared in pairs of pictures that are
alike in every other recorded setting where there are such pairs, else by a linear mixed model in
which the other settings, the prompt, the seed and the rater's session take part. Intervals are 95
%. A difference is called clear where it holds however often one looks while ratings come in,
likely where it holds at this first look after correction for all settings, small where it is
surely less than {MATTERS:g}. Where prompts, months, raters, folders or the order of rating could
explain it as well, it cannot be told, and that is said. Intervals are for these raters and these
prompts.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is reported.

    Attributes:
        title: At the top.
        condition: Which pictures it is about, in the filter language; empty for all.
        made: When, as it is to be shown.
        effects: What each setting does.
        scores: Who rated, and how far they agree.
        rated_by: Who rated, in words.
        behind: Of each sentence, pictures that it rests on; None where there are none.
        examples: SHA-256 of the pictures with the best scores, the best first.
        pictures: SHA-256 of a picture's file -> the picture made small, WebP.
        captions: SHA-256 -> what differs among the pictures that are shown.
    """

    title: str
    condition: str
    made: str
    effects: Effects
    scores: ImageScores
    rated_by: str
    behind: tuple[Behind | None, ...]
    examples: tuple[str, ...]
    pictures: Mapping[str, bytes]
    captions: Mapping[str, str]


def moment_text(moment: datetime) -> str:
    """Return *moment*, which is aware, as a report shows when it was made."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def made_report(
    archive: Archive,
    condition: str = "",
    *,
    title: str = "",
    made: str = "",
    told: str | None = None,
    raters: Sequence[str] = (),
    doing: Callable[[str], None] = lambda _: None,
) -> Report:
    """Return what the rated pictures of *archive* that meet *condition* say.

    Args:
        archive: Whose pictures and ratings.
        condition: In the filter language.
        title: At the top; else the condition.
        made: When, as it is to be shown.
        told: The condition as it is to be shown; as it is, when None.
        raters: Only ratings by these; with none, people's.
        doing: Is told what is being done.

    Raises:
        FilterError: The condition cannot be read.
        RequestError: One of *raters* rated nothing.
        ArchiveError: The archive cannot answer.
    """
    doing("Reading ratings and settings")
    scores, trials, rated_by = rated_trials(archive, condition, raters)
    doing(f"Comparing {len(trials):,} rated pictures")
    effects = find_effects(trials)
    behind = sentences_behind(archive, trials, effects)
    doing("Making pictures small")
    best = _best(archive, condition, scores)
    shown = dict.fromkeys([*_digests_of(behind), *best])
    pictures, captions = _small_pictures(archive, list(shown))
    told = condition if told is None else told
    return Report(
        title=title or (f"What works: {told}" if told.strip() else "What works"),
        condition=told, made=made, effects=effects, scores=scores, rated_by=rated_by,
        behind=behind, examples=best, pictures=pictures, captions=captions,
    )  # fmt: skip


def _best(archive: Archive, condition: str, scores: ImageScores) -> tuple[str, ...]:
    """Return the pictures of the best scores, few of each prompt, and none twice."""
    found: dict[int, tuple[str, str]] = {}
    digests = ["sha256", "pixel_sha256", "image_sha256"]
    for row in asked_pictures(archive, [*digests, "prompt"], condition):
        places = (scores.places.get(row[digest]) for digest in digests if row[digest])
        place = next((place for place in places if place is not None), None)
        if place is not None:
            found.setdefault(place, (row["sha256"], row["prompt"] or ""))
    best, shown = list[str](), Counter[str]()
    for place in sorted(found, key=lambda place: -scores.scores[place]):
        digest, prompt = found[place]
        shown[prompt] += 1
        if shown[prompt] <= _OF_ONE_PROMPT and len(best) < _MOST_EXAMPLES:
            best.append(digest)
    return tuple(best)


def _digests_of(behind: Sequence[Behind | None]) -> Iterator[str]:
    for one in behind:
        if one is not None:
            for pair in one.pairs[:_MOST_PAIRS]:
                yield from pair
            yield from (digest for _, digest in one.singles)


def _small_pictures(
    archive: Archive, digests: Sequence[str]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the pictures that can be read made small, and a caption of each."""
    pictures, captions = dict[str, bytes](), dict[str, str]()
    columns = ["sha256", "path", "prompt"]
    for row in asked_pictures(archive, columns, "", digests):
        captions.setdefault(row["sha256"], row["prompt"] or "")
        if row["sha256"] in pictures:
            continue
        written = io.BytesIO()
        try:
            with picture_file(archive.path, row["path"]).open("rb") as file:
                shrunk(file, _SIDE).save(written, "WEBP")
        except (OSError, ImageError):
            continue  # a picture that is gone is left out, and the page says that it is
        pictures[row["sha256"]] = written.getvalue()
    return pictures, captions


_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title><style>
:root {{ --ground: #171513; --raised: #24211e; --text: #eae6df; --quiet: #b3aca1; --line: #3a3530;
 --evidence: #8fb8d8 }}
@media (prefers-color-scheme: light), print {{ :root {{ --ground: #faf8f5; --raised: #efebe5;
 --text: #1d1a17; --quiet: #5d564d; --line: #d5cfc6; --evidence: #1f5f8b }} }}
body {{ margin: 0 auto; padding: 32px 24px; max-width: 960px; background: var(--ground);
 color: var(--text); font: 15px/1.5 system-ui, sans-serif }}
h1 {{ font-size: 26px; overflow-wrap: anywhere }} h2 {{ margin-top: 40px; font-size: 19px }}
.quiet, small, figcaption {{ color: var(--quiet) }}
ol {{ padding: 0; list-style: none }} ol li {{ margin: 24px 0 }}
.pairs {{ display: flex; flex-wrap: wrap; gap: 16px; margin-top: 8px }}
.pair {{ display: flex; gap: 4px; padding: 6px; background: var(--raised); border-radius: 8px }}
figure {{ margin: 0; width: 150px }} figcaption {{ font-size: 12px; overflow-wrap: anywhere }}
.pair img, .best img {{ width: 150px; height: 150px; object-fit: contain; border-radius: 4px;
 background: var(--raised) }}
.worse img {{ opacity: .75 }} .plot {{ max-width: 100%; border-radius: 8px; background: #fff }}
.wide {{ overflow-x: auto }} table {{ border-collapse: collapse; width: 100%; font-size: 14px }}
th, td {{ padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line); text-align: left;
 vertical-align: top; overflow-wrap: anywhere }}
td.number {{ font-variant-numeric: tabular-nums; white-space: nowrap; color: var(--evidence) }}
.best {{ display: flex; flex-wrap: wrap; gap: 12px }}
@media print {{ li, figure, tr {{ break-inside: avoid }} }}
</style></head><body>
"""


def report_page(report: Report) -> bytes:
    """Return *report* as HTML, UTF-8."""
    parts = [_HEAD.format(title=html.escape(report.title)), *_page(report), "</body></html>\n"]
    return "".join(parts).encode("utf-8", "replace")


def _page(report: Report) -> Iterator[str]:
    effects = report.effects
    yield f"<h1>{html.escape(report.title)}</h1>\n<p class=quiet>"
    yield (
        f"{_count(effects.ratings, 'rating')} by {html.escape(report.rated_by)} of"
        f" {_count(effects.pictures, 'picture')}, {_count(effects.prompts, 'prompt')}"
    )
    unrated = f"; {effects.unrated:,} more are not rated" if effects.unrated else ""
    yield f"{unrated}. {html.escape(report.made)}</p>\n"
    if report.condition.strip():
        yield f"<p class=quiet>Pictures: <code>{html.escape(report.condition)}</code></p>\n"
    yield from _answer(report)
    told = [(k.knob, c) for k in effects.knobs for c in k.comparisons if c.difference is not None]
    if told:
        svg = base64.b64encode(
            draw_effects(effects, title="What each setting does", rated_by=report.rated_by).svg()
        ).decode()
        yield "<h2>Figures</h2>\n<p><img class=plot alt='Differences with their intervals; the"
        yield f" same figures stand in the table' src='data:image/svg+xml;base64,{svg}'></p>\n"
        yield from _table(told)
    yield from _undecided(effects)
    yield from _raters(report)
    yield from _best_pictures(report)
    yield f"<h2>Method</h2>\n<p>{_METHOD}</p>\n"
    yield f"<p class=quiet>Made with safelight {html.escape(__version__)}.</p>\n"


def _answer(report: Report) -> Iterator[str]:
    effects = report.effects
    if effects.reason:
        yield f"<p>{html.escape(effects.reason[:1].upper() + effects.reason[1:])}.</p>\n"
        return
    if effects.warning:
        yield f"<p>{html.escape(effects.warning)}</p>\n"
    yield "<ol>"
    sentences = effects.sentences
    for sentence, behind in zip(sentences, report.behind or (None,) * len(sentences), strict=True):
        yield from _sentence(sentence, behind, report)
    yield "</ol>\n"


def _sentence(sentence: Sentence, behind: Behind | None, report: Report) -> Iterator[str]:
    claim, rest = sentence.claim, sentence.text.removeprefix(sentence.claim)
    yield f"<li><b>{html.escape(claim)}</b>{html.escape(rest)}" if claim else "<li>"
    yield "" if claim else html.escape(rest)
    if behind is not None and (behind.pairs or behind.singles):
        yield "<div class=pairs>"
        for better, worse in behind.pairs[:_MOST_PAIRS]:
            yield "<div class=pair>" + _figure(report, better, behind.better)
            yield _figure(report, worse, behind.worse, "worse") + "</div>"
        for name, digest in behind.singles:
            yield f"<div class=pair>{_figure(report, digest, name)}</div>"
        yield "</div>"
    yield "</li>\n"


def _figure(report: Report, digest: str, caption: str, kind: str = "") -> str:
    data, alt = (
        report.pictures.get(digest),
        html.escape(report.captions.get(digest, ""), quote=True),
    )
    shown = "<p class=quiet>Not there any more</p>"
    if data is not None:
        shown = f'<img alt="{alt}" src="data:image/webp;base64,{base64.b64encode(data).decode()}">'
    told = html.escape(caption[:300])
    return f'<figure class="{kind}">{shown}<figcaption>{told}</figcaption></figure>'


def _table(told: Sequence[tuple[str, Comparison]]) -> Iterator[str]:
    yield "<div class=wide><table><thead><tr>"
    yield from (
        f"<th scope=col>{name}</th>"
        for name in ("setting", "value", "against", "difference", "95 %", "n", "verdict")
    )
    yield "</tr></thead><tbody>\n"
    for knob, one in told:
        span = "" if one.low is None else f"{one.low:+.2f} to {one.high:+.2f}"
        n = _count(one.n, "pair" if one.basis == "pairs" else "picture")
        yield (
            f"<tr><th scope=row>{html.escape(knob)}</th><td>{html.escape(one.level[:300])}</td>"
            f"<td>{html.escape(one.against[:300])}</td><td class=number>{one.difference:+.2f}</td>"
            f"<td class=number>{span}</td><td class=number>{n}</td>"
            f"<td>{html.escape(one.verdict)}</td></tr>\n"
        )
    yield "</tbody></table></div>\n"


def _undecided(effects: Effects) -> Iterator[str]:
    if not (effects.undecided or effects.untold):
        return
    yield "<h2>Not decided</h2>\n"
    for lines in ([f"{line}." for line in effects.undecided], effects.untold):
        yield "<ul>"
        for line in lines[:_MOST_UNDECIDED]:
            yield f"<li>{html.escape(line)}</li>"
        more = len(lines) - _MOST_UNDECIDED
        yield f"<li>and {more:,} more</li></ul>\n" if more > 0 else "</ul>\n"


def _raters(report: Report) -> Iterator[str]:
    if not report.scores.raters:
        return
    yield "<h2>Who rated</h2>\n<div class=wide><table><thead><tr><th scope=col>rater</th>"
    yield "<th scope=col>stars</th><th scope=col>picks</th></tr></thead><tbody>\n"
    for fit in report.scores.raters.values():
        name = html.escape(fit.rater or "without a name")
        yield f"<tr><th scope=row>{name}</th><td class=number>{fit.stars:,}</td>"
        yield f"<td class=number>{fit.picks:,}</td></tr>\n"
    yield "</tbody></table></div>\n"
    agreement = report.scores.agreement
    if agreement.alpha is not None:
        yield f"<p>Agreement in stars: Krippendorff's alpha {agreement.alpha:.2f} (ordinal; 1 is"
        yield f" perfect, 0 is chance), of {_count(agreement.alpha_pictures, 'picture')}.</p>\n"
    if agreement.tau is not None:
        yield f"<p>Agreement in order: Kendall's tau {agreement.tau:.2f}, of"
        yield f" {_count(agreement.tau_pairs, 'pair')} of raters.</p>\n"


def _best_pictures(report: Report) -> Iterator[str]:
    if report.examples:
        yield "<h2>Best liked</h2>\n<div class=best>"
        for digest in report.examples:
            yield _figure(report, digest, report.captions.get(digest, ""))
        yield "</div>\n"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
