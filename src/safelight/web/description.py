"""description: the OpenAPI description of what programs may ask."""

from __future__ import annotations

from typing import Any

from safelight.application.settings_texts import FORMS
from safelight.learning.ratings.rating_event import KINDS, MANY, SAID_OF_MANY
from safelight.version import __version__

__all__ = ["description"]

_TEXT = {"type": "string"}
_DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_Q = ("q", _TEXT, "In the filter language.")
_SORT = ("sort", _TEXT, "A column; with - before it from the largest down.")


def _question(summary: str, *asked: tuple[str, dict[str, Any], str], path: str = "") -> Any:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "query", "schema": schema, "description": about}
        for name, schema, about in asked
    ]
    if path:
        schema = _DIGEST if path == "digest" else _TEXT
        parameters.append({"name": path, "in": "path", "required": True, "schema": schema})
    return {"get": {"summary": summary, "parameters": parameters, "responses": _responses("200")}}


def _next_to_rate() -> Any:
    """Return the question that is worked out while others are answered."""
    number = {"type": "integer", "minimum": 0}
    question = _question(
        "Pictures to rate: the last choice at once, a new one when it is there.",
        ("mode", {"enum": ["one", "pair", "four"]}, "How many pictures are shown at once."),
        ("fair", {"enum": ["0", "1"]}, "Whether settings are left out."),
        _Q,
        ("rater", _TEXT, "Who."),
        ("after", {**number, "maximum": 10**14}, "The number of the sets that you have already."),
        ("kept", {"enum": ["1"]}, "Take what there is; begin nothing if there is something."),
        ("meanwhile", {"enum": ["1"]}, "While there is none: unrated pictures, drawn by chance."),
    )
    question["get"]["parameters"].append(
        {
            "name": "Prefer", "in": "header", "schema": _TEXT,
            "description": "wait=SECONDS: answer when the new choice is there, 600 at most.",
        }
    )  # fmt: skip
    told = _object(
        ("sets", "state", "number", "age_s", "fresh", "waiting", "key"),
        sets={"type": "array", "items": {"type": "array", "items": {"type": "object"}}},
        state={"enum": ["answered", "computing"]},
        number={**number, "description": "Larger for later sets; send it as after."},
        age_s={"type": "number", "description": "Seconds since these were chosen."},
        fresh={"type": "boolean", "description": "Whether nothing has changed since."},
        waiting={"type": "boolean", "description": "Whether a new choice is being made."},
        key={**_TEXT, "description": "/events?wait=KEY tells, as event answer, when it is there."},
    )
    content = {"application/json": {"schema": told}}
    question["get"]["responses"] |= {
        "200": {"description": "Sets, perhaps none.", "content": content},
        "202": {"description": "The first choice is being made.", "content": content},
        "429": {"description": "Too many of your questions wait already."},
    }
    return question


def _order(summary: str, body: dict[str, Any], status: str = "200", method: str = "post") -> Any:
    content = {"application/json": {"schema": body}}
    return {
        method: {
            "summary": summary,
            "requestBody": {"required": True, "content": content},
            "responses": _responses(status),
        }
    }


def _handed(summary: str) -> dict[str, Any]:
    """Return the question that a picture's bytes are sent with."""
    name = {"name": "name", "in": "query", "schema": _TEXT, "description": "Of its file."}
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    body = {"required": True, "content": content}
    return {
        "post": {
            "summary": summary, "parameters": [name], "requestBody": body,
            "responses": _responses("200"),
        }
    }  # fmt: skip


def _responses(status: str) -> dict[str, Any]:
    fault = {"description": "What was wrong, in the field error."}
    return {status: {"description": "Done."}, "default": fault}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


_SAYS = {"enum": list(SAID_OF_MANY)}
_LINE = _object(
    ("spool", "tool"),
    spool={"const": 1},
    tool=_TEXT,
    id=_TEXT,
    status={"enum": ["completed", "failed", "cancelled"]},
    error=_TEXT,
    seconds={"type": "number", "minimum": 0},
    parameters={"type": "object"},
    graph={"type": "object"},
    infotexts={"type": "array", "items": _TEXT},
    outputs={"type": "array", "items": _object(path=_TEXT, image=_TEXT)},
)


def description() -> dict[str, Any]:
    """Return the description, OpenAPI 3.1."""
    identity = _object(sha256=_DIGEST, pixel_sha256=_DIGEST)
    place = {"type": "integer", "minimum": 0}
    event = _object(
        ("event_id", "timestamp", "kind"),
        event_id={"type": "string", "pattern": "^[0-9a-f]{32}$"},
        timestamp={"type": "string", "format": "date-time"},
        kind={"enum": [*KINDS, MANY]},
        image=identity,
        value={"type": ["boolean", "integer", "string", "null"]},
        added={"type": "array", "items": _TEXT},
        removed={"type": "array", "items": _TEXT},
        shown={"type": "array", "items": identity},
        won={"type": "array", "items": place},
        undoes=_TEXT,
        rater=_TEXT,
        says=_SAYS,
        many={
            **_object(sha256=_TEXT, pixel_sha256=_TEXT),
            "description": "Hashes of 32 bytes one behind the other, in base64.",
        },
        after={**place, "description": "1 + the picture's own, as its row gave it."},
    )
    search = {
        **_object(("name",), name=_TEXT, q=_TEXT, sort=_TEXT, group=_TEXT),
        "additionalProperties": False,
    }
    config = _object(config={"type": "object"}, toml=_TEXT, yes={"type": "integer"})
    hashes = {"type": "array", "items": _TEXT}
    pictures: dict[str, Any] = {"q": _TEXT, "sha256s": hashes}
    which: dict[str, Any] = {"which": _TEXT, "files": {"type": "integer"}}
    limit = ("limit", {"type": "integer", "minimum": 1, "maximum": 500}, "Pictures of a page.")
    after = ("after", _TEXT, "What the page before ended with.")
    path_of_folder = ("path", _TEXT, "Whole.")
    return {
        "openapi": "3.1.0",
        "info": {"title": "safelight light table", "version": __version__},
        "paths": {
            "/api/pictures": _question("Pictures, page by page.", _Q, _SORT, limit, after),
            "/api/facets": _question(
                "How many pictures, and how they part.",
                _Q,
                ("name", _TEXT, "All values of this facet, and no other."),
                ("fresh", _TEXT, "Ratings of this moment count."),
            ),
            "/api/complete": _question("What may come at the end of a filter.", _Q),
            "/api/being-made": _question("Pictures of runs that go on now."),
            "/api/executions": _question(
                "How many executions of other tools ended without a picture, and how.", _Q
            ),
            "/api/pictures/{digest}": _question("Everything about one.", _Q, _SORT, path="digest"),
            "/api/pictures/{digest}/kindred": _question(
                "Pictures that compare with it: the same seed, one setting apart, most in common.",
                path="digest",
            ),
            "/api/pictures/{digest}/settings": _question(
                "The settings in the words of another tool, and what does not fit into them.",
                ("as", {"enum": list(FORMS)}, "A1111's text, ComfyUI's API format, or a config."),
                path="digest",
            ),
            "/api/pictures/{digest}/metadata": _question("The file's own texts.", path="digest"),
            "/api/changes": _question(
                "What differs.", ("pictures", _TEXT, "Two to four SHA-256, with commas.")
            ),
            "/api/records/{run_id}": _question("The learning record.", path="run_id"),
            "/pictures/{digest}": _question("The picture's file.", path="digest"),
            "/thumbnails/{digest}": _question(
                "A small WebP.", ("side", {"enum": [192, 384, 768]}, "Pixels."), path="digest"
            ),
            "/api/next-to-rate": _next_to_rate(),
            "/api/memory": _question("Megabytes of the server, and of the process that answers."),
            "/api/ratings": _order(
                "Say what pictures are worth; on the disk when it is answered.",
                _object(("events",), events={"type": "array", "items": event}),
            ),
            "/api/hand-over": _order("How many pictures a .zip would have.", _object(**pictures)),
            "/api/trash": {
                **_question("What is in the trash, by date."),
                **_order(
                    "Move pictures there; the snapshot is that of the plan.",
                    _object(("snapshot",), **pictures, snapshot=_TEXT),
                ),
            },
            "/api/hand-over/progress": _question("How far a .zip is.", ("name", _TEXT, "Of it.")),
            "/api/hand-over/cancel": _order("Break a .zip off.", _object(("name",), name=_TEXT)),
            "/api/trash/progress": _question("How far the files are that are being moved."),
            "/api/trash/plan": _order("What would be moved there.", _object(**pictures)),
            "/api/trash/restore": _order("Move files back.", _object(**which)),
            "/api/trash/empty": _order("Delete files for good.", _object(("files",), **which)),
            "/api/chosen": _question("How many pictures, and a name of just these.", _Q),
            "/api/ratings/many": _order(
                "Say one thing of all that a filter finds; 409 when it finds others meanwhile.",
                _object(
                    ("event_id", "says", "q", "snapshot"),
                    event_id=_TEXT,
                    says=_SAYS,
                    q=_TEXT,
                    snapshot=_TEXT,
                    value={"type": ["boolean", "integer", "string", "null"]},
                    added={"type": "array", "items": _TEXT},
                    removed={"type": "array", "items": _TEXT},
                    rater=_TEXT,
                )
                | {"additionalProperties": False},
            ),
            "/api/albums": _question("Albums, and how many pictures are in each."),
            "/api/tags": _question("Tags, the most used first."),
            "/api/searches": {
                **_question("Saved searches."),
                **_order(
                    "Keep these searches.",
                    _object(("searches",), searches={"type": "array", "items": search})
                    | {"additionalProperties": False},
                    method="put",
                ),
            },
            "/api/config": _order("A config as a tree and as TOML, faulty or not.", config),
            "/api/engines/states": _question(
                "Which engines are ready; of one, what it has.",
                ("name", _TEXT, "That engine."),
                ("again", _TEXT, "Ask it now."),
            ),
            "/api/plan": _order("What a config would draw.", config),
            "/api/runs": {
                **_question("The queue and its progress."),
                **_order("Start a config.", config, "202"),
            },
            "/api/engines": {
                **_question("Engines that configs from here may name."),
                **_order("Name an engine.", _object(("name", "url"), name=_TEXT, url=_TEXT), "201"),
            },
            "/api/folders": {
                **_question("Folders below which configs from here may name files."),
                **_order("Add one.", _object(("folder",), folder=_TEXT), "201"),
                **_order(
                    "Take one out again.", _object(("folder",), folder=_TEXT), method="delete"
                ),
            },
            "/api/machine/places": _question("Folders of this machine where pictures usually lie."),
            "/api/machine/folder": _question("The folders in a folder.", path_of_folder),
            "/api/machine/count": _question("What an import of it would meet.", path_of_folder),
            "/api/imports": {
                **_question("Imports that were begun here, and how they are doing."),
                **_order(
                    "Import a folder; asks first whether pictures below it may be read.",
                    _object(("folder",), folder=_TEXT, yes={"type": "boolean"}, expected=place),
                    "202",
                ),
            },
            "/api/imports/stop": _order(
                "Ask an import to read no more.", _object(("number",), number={"type": "integer"})
            ),
            "/api/spool": {
                **_question("The address for tools, and what SwarmUI is to post there."),
                **_order(
                    "Tell of executions: one line of a spool, or a list; on the disk when it is"
                    " answered. Owners, and tools by the token in their address.",
                    _LINE,
                    "202",
                ),
            },
            "/api/dropped": _handed("What a picture says of itself; nothing of it is kept."),
            "/api/dropped/keep": _handed("Keep a picture in the archive, and import it."),
            "/api/runs/{run_id}/go-on": {
                "post": {
                    "summary": "Go on with a run that did not get to its end.",
                    "parameters": [
                        {"name": "run_id", "in": "path", "required": True, "schema": _TEXT}
                    ],
                    "responses": _responses("202"),
                }
            },
            "/api/runs/cancel": _order(
                "Ask a run to stop.", _object(("number",), number={"type": "integer"})
            ),
        },
    }
