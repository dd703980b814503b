"""Whatever is sent to the light table, the answer is a sentence, and never a fault of ours."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.routing import Route
from starlette.testclient import TestClient

from safelight.controller import PipelineController
from safelight.web import create_app

BASE = "http://127.0.0.1:7860"
DIGITS = "9" * 3000
NAMES = (
    "q",
    "sort",
    "group",
    "limit",
    "after",
    "side",
    "pictures",
    "x",
    "y",
    "run",
    "mode",
    "rater",
    "fair",
    "like",
    "toml",
    "ignore",
    "model",
    "as",
    "around",
    "download",
    "only.steps",
)
CURSORS = [
    base64.urlsafe_b64encode(text.encode()).decode()
    for text in (
        "[1, 2, 3]",
        '["x", "y", "z"]',
        "[[], {}, null]",
        "[null, null, null]",
        "[true, 1e400, NaN]",
        f"[{DIGITS}, 1, 1]",
        "[" * 5000 + "]" * 5000,
        '["\\ud800", "\\u0000", 1]',
        "9" * 5000,
        "{}",
        '["2026", "r", "x"]',
        "[1e308, -1, 99999999999999999999999]",
    )
]
TEXTS = [
    "",
    "0",
    "-1",
    "x",
    "\0",
    "'",
    '"',
    "%",
    "\N{SUPERSCRIPT TWO}",
    "\N{ARABIC-INDIC DIGIT THREE}",
    DIGITS,
    f"steps > {DIGITS}",
    f"steps in ({DIGITS}, 1.5e{DIGITS})",
    f"seed = {'9' * 4900}",
    "cfg_scale > 1e400",
    "cfg_scale = nan",
    "steps > -inf",
    f"lora.x > {DIGITS}",
    f"extra.x = '{DIGITS}'",
    "seed = 1e30",
    f"stars between {DIGITS} and 1",
    "steps > " + "(" * 3000,
    "not " * 990 + "steps > 1",
    "prompt has '\0'",
    "prompt has '%_\\'",
    "lora('\0') > 1",
    "timestamp > '\uffff'",
    "run_id = '\0'",
    "width * 2",
    "sha256",
    "-sha256",
    "tags",
    "-tags",
    "stars",
    "-mismatches",
    "nan",
    "NaN,NaN",
    "1e400",
    "a" * 3999,
    "../" * 50,
    "0" * 64,
    "f" * 64,
    "\U0010ffff",
    "timestamp",
    "prompt",
    "recorded('x') > 1",
    f"{DIGITS}".zfill(4000),
    "steps is not missing",
    "tags has 'x'",
    "notes = 'x'",
    *CURSORS,
]
SURROGATES = ["%ED%A0%80", "%FF%FE", "%00", "%E2%80"]
NUMBERS = [
    "1e400",
    "-1e400",
    DIGITS,
    f"-{DIGITS}",
    f"1e{DIGITS}",
    "NaN",
    "Infinity",
    "-0",
    "1e-400",
    "18446744073709551616",
    "0.1e1",
    "00",
]
_TOML = """
[txt2img]
prompt = "x"
seed = N
cfg_scale = N
[randomizer]
mode = "fanout"
seeds_per_variant = N
"""
_NUMBERED = (
    '{"number":N,"yes":N,"config":{"txt2img":{"prompt":"x","steps":N,"seed":N,"cfg_scale":N},'
    '"randomizer":{"draws":N,"mode":"random","start":N}}}'
)
_EVENTS = json.dumps(
    {
        "events": [
            {"event_id": "0" * 32, "timestamp": t, "rater": r, "kind": "stars", "value": v}
            for t, r, v in (("9" * 400, "\0", 1e308), ("", "", []), ("2026", "x", {}))
        ]
    }
).encode()
BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"\0",
    b"\xff\xfe",
    b'"\\ud800"',
    b"9" * 5000,
    b"[" * 100_000,
    b'{"events":[{"event_id":"\\ud800"}]}',
    b'{"events":[' + b'{"a":' * 50_000,
    b'{"searches":[{"name":"\\ud800","q":"\\u0000"}]}',
    b'{"number":99999999999999999999}',
    b'{"toml":"a=\\"\\\\ud800\\""}',
    b'{"toml":"\\u0000"}',
    b'{"toml":"\\ud800"}',
    b'{"config":{"txt2img":{"prompt":"\\ud800"}}}',
    b'{"config":{"\\ud800":1}}',
    b'{"config":{"txt2img":{"prompt":"x","extra":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}}}",
    b'{"config":{"txt2img":{"prompt":"x","extra":' + b'{"a":' * 90 + b"1" + b"}" * 90 + b"}}}",
    b'{"config":{"txt2img":{"prompt":["x",1,null,true,{}]},"randomizer":{"mode":[]}}}',
    b'{"config":{"txt2img":{"prompt":"{a|b}\\u0000"},'
    b'"randomizer":{"sweep":{"txt2img.steps":"1-\\u00b2"}}}}',
    b'{"config":{"txt2img":{"prompt":"x"},"randomizer":{"sweep":{"txt2img.prompt":"a\\nb\\rc"}}}}',
    b'{"config":{"txt2img":{"prompt":"x"},"randomizer":{"settings":[{"txt2img.seed":-1,"x":[]}]}}}',
    *(_NUMBERED.replace("N", n).encode() for n in NUMBERS),
    *(json.dumps({"toml": _TOML.replace("N", n)}).encode() for n in NUMBERS),
    _EVENTS,
]

_CONTENT = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def table(drawn: Path) -> Iterator[TestClient]:
    """A table that nothing can be run from, so that what is asked for is only looked at."""
    app = create_app(drawn, PipelineController())
    with TestClient(app, base_url=BASE, follow_redirects=False) as made:
        yield made


def _routes(table: TestClient, *methods: str) -> list[tuple[str, str]]:
    """Return every method and path of the table; a new route is asked without anybody's doing."""
    app: Any = table.app
    found = [
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route) and route.path != "/events"
        for method in sorted(route.methods or ())
        if method in methods
    ]
    assert len(found) > 5 or methods != ("GET",)
    return found


def _asked(table: TestClient, method: str, address: str, **given: Any) -> None:
    answer = table.request(method, address, **given)
    shown = f"{method} {address[:200]} {str(given)[:300]}"
    assert answer.status_code < 500, f"{shown}: {answer.status_code} {answer.text[:300]}"
    if answer.status_code >= 400 and "json" in answer.headers.get("content-type", ""):
        assert answer.json()["error"], shown


@pytest.mark.parametrize("text", [*map(quote, TEXTS), *SURROGATES], ids=range(len(TEXTS) + 4))
def test_no_parameter_is_a_fault_of_the_server(
    table: TestClient, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every parameter of every page, and what stands in its address."""
    caplog.set_level(logging.WARNING)
    for method, path in _routes(table, "GET"):
        place = path.replace("{digest}", text[:900] or "x").replace("{run_id}", text[:900] or "x")
        _asked(table, method, place)
        address = path.replace("{digest}", "0" * 64)
        for names in (("q",), ("after",), NAMES[1:]):  # one that is refused hides the others
            most = 15_000 // len(names)
            _asked(table, method, address + "?" + "&".join(f"{n}={text[:most]}" for n in names))
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_no_body_is_a_fault_of_the_server(
    table: TestClient, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Deep, long, infinite or not Unicode: to every address that takes a body."""
    caplog.set_level(logging.WARNING)
    for method, path in _routes(table, "POST", "PUT"):
        _asked(table, method, path.replace("{run_id}", "x"), content=body, headers=_CONTENT)
    assert "Traceback" not in caplog.text


def test_a_body_without_a_length_has_an_end(table: TestClient) -> None:
    """Whoever sends on and on is told how much may be sent."""
    pieces = (b" " * 2**16 for _ in range(20))
    answer = table.post("/api/ratings", content=pieces, headers=_CONTENT)
    assert answer.status_code == 413
    assert "1,048,576 bytes" in answer.json()["error"]


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["{a|b}", "1-9 (+2)", "__x__", "txt2img.steps", "-1"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "txt2img",
                    "img2img",
                    "upscale",
                    "randomizer",
                    "prompt",
                    "seed",
                    "steps",
                    "sweep",
                    "mode",
                    "txt2img.steps",
                    "settings",
                    "matrix",
                    "slots",
                    "name",
                    "values",
                    "events",
                    "config",
                    "searches",
                    "number",
                    "toml",
                    "extra",
                    "backend",
                    "prompt_sr",
                    "rules",
                    "search",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None
)
@given(_values)
@example(
    {"config": {"txt2img": {"prompt": "x"}, "randomizer": {"sweep": {"txt2img.steps": "9" * 99}}}}
)
def test_no_tree_is_a_fault_of_the_server(table: TestClient, value: object) -> None:
    """What looks like a config, and is none."""
    body = json.dumps(value if isinstance(value, dict) and "config" in value else {"config": value})
    for path in ("/api/plan", "/api/runs"):
        _asked(table, "POST", path, content=body.encode(), headers=_CONTENT)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None
)
@given(
    st.lists(
        st.sampled_from(
            [
                "steps",
                "cfg_scale",
                "prompt",
                "lora.x",
                "extra('a')",
                "tags",
                "stars",
                "seed",
                ">",
                "=",
                "has",
                "in",
                "between",
                "and",
                "or",
                "not",
                "(",
                ")",
                ",",
                "is",
                "missing",
                "'x'",
                "1",
                "1e999",
                DIGITS,
                "-0",
                "nan",
                "'\0'",
            ]
        ),
        max_size=12,
    ),
    st.sampled_from(["-timestamp", "prompt", "-stars", "seed", "sha256", ""]),
)
def test_no_filter_is_a_fault_of_the_server(table: TestClient, words: list[str], sort: str) -> None:
    """What looks like a filter, and is none."""
    for path in ("/api/pictures", "/api/facets"):
        answer = table.get(path, params={"q": " ".join(words), "sort": sort, "limit": "3"})
        assert answer.status_code < 500, (words, answer.text)
