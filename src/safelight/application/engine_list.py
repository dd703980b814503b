"""EngineList: the engines that the owner of this machine has named, and what a config makes of it.

Where requests go, and with which secrets, is said in ``engines.toml`` of the user's configuration
folder and never in an archive, which comes from anywhere::

    [engines.gpu]
    backend = "webui"
    url = "https://gpu-box:7860"
    user = "ann"
    password = "env:GPU_PASSWORD"
    headers = { X-Team = "env:TEAM" }

``backend = "gpu"`` in a config is that engine, at both doors. A config from a page, and one out of
an archive, takes addresses and secrets from the list only.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from safelight.allowed_files import is_hub_name
from safelight.application.user_folder import change_settings, read_settings
from safelight.backends import BUILT_IN, backend_names, engine_factory, option_kinds
from safelight.config import BackendChoice
from safelight.errors import ConfigError, ConfigFault, RequestError
from safelight.knobs import did_you_mean

__all__ = ["NO_ENGINES", "EngineList", "ListedEngine", "own_engine"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_VARIABLE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_TOLD = 200
_WRITTEN = "what a password has of / ? # [ and @ is written %2F %3F %23 %5B and %40"
_HOW = 'name the engine in your list, safelight engines add NAME URL, and write backend = "NAME"'


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEngine:
    """One engine of the list.

    Attributes:
        name: What the list calls it.
        backend: Which engine it is: ``webui``, ``comfyui``, ...
        options: Of the engine; ``env:NAME`` stands for a variable. Files are named wholly.
        files: The files and folders among them.
    """

    name: str
    backend: str
    options: Mapping[str, Any]
    files: tuple[Path, ...] = ()

    @property
    def addresses(self) -> frozenset[str]:
        """Where its servers are, without logins; empty for one that has none."""
        return _addresses(self.options)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables of the environment that it takes secrets from."""
        values = _texts(self.options)
        return tuple(dict.fromkeys(v.removeprefix("env:") for v in values if v.startswith("env:")))


class EngineList:
    """The list, read whenever it is asked.

    Args:
        folder: The user's configuration folder; None where there is none.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / "engines.toml"

    def read(self) -> Mapping[str, ListedEngine]:
        """Return name -> engine.

        Raises:
            ConfigError: The list is at fault; all of it is told.
        """
        return {} if self.path is None else _Reader(self.path).read(read_settings(self.path))

    # -- what a config means -------------------------------------------------------------

    def of_command(self, choice: BackendChoice) -> BackendChoice:
        """Return the engine that a config of this machine's owner means.

        Raises:
            ConfigError: The list is at fault, or the config gives a listed engine another address.
        """
        if choice.listed:
            return choice
        if choice.name in BUILT_IN:
            if "headers" in choice.options:  # whatever their names are, they may be secrets
                message = f"never comes from a config, which is recorded: {_HOW}"
                raise ConfigError([ConfigFault(path="backend.headers", message=message)])
            return choice
        listed = self.read().get(choice.name)
        if listed is None:
            return choice
        kinds = option_kinds(listed.backend)
        _raise(_owners(choice.options, kinds, f"comes from the list, where {listed.name} is named"))
        return _chosen(listed, choice.options)

    def of_page(self, choice: BackendChoice) -> BackendChoice:
        """Return the engine that a config from a page means.

        Raises:
            ConfigError: It says what only the list may, or names no engine that a page may.
        """
        # A fault of the list is in the way of those that it names only.
        entries = {} if choice.name in BUILT_IN else self.read()
        listed = entries.get(choice.name)
        if listed is None and choice.name not in BUILT_IN:
            names = (*BUILT_IN, *entries)
            name = choice.name[:_LONGEST_TOLD]
            hint = did_you_mean(name, names) or f"; there are {', '.join(names)}"
            raise ConfigError([ConfigFault(
                path="backend",
                message=f"{name!r} is no engine that a page may name{hint}. On the machine"
                f" of the page: {_HOW}",
            )])  # fmt: skip
        kinds = option_kinds(listed.backend if listed is not None else choice.name)
        faults = list(_owners(choice.options, kinds, f"never comes from a page: {_HOW}"))
        for option in choice.options:
            if option not in kinds and not any(f.path == f"backend.{option}" for f in faults):
                hint = did_you_mean(option, kinds) or f"; it has: {', '.join(kinds)}"
                message = f"is no option that a page may state{hint}"
                faults.append(ConfigFault(path=f"backend.{option}", message=message))
        _raise(faults)
        return choice if listed is None else _chosen(listed, choice.options)

    def as_listed(self, choice: BackendChoice) -> BackendChoice:
        """Return what the config of a record says, its address replaced by an engine of the list.

        A record comes out of an archive, so that its address and what it takes from the
        environment count only as far as the list, or the engine's own default, says the same.

        Raises:
            ConfigError: The list has no engine at that address.
        """
        if choice.name not in BUILT_IN and choice.name in self.read():
            return choice
        kinds = option_kinds(choice.name)
        only_owners = {fault.path.partition(".")[2] for fault in _owners(choice.options, kinds, "")}
        if choice.name not in BUILT_IN:  # what its options are nobody has said
            only_owners |= set(choice.options) - set(kinds)
        if not only_owners:
            return choice
        plain = {key: value for key, value in choice.options.items() if key not in only_owners}
        addresses = _addresses(choice.options)
        if addresses:
            for listed in self.read().values():
                if listed.backend == choice.name and listed.addresses == addresses:
                    return BackendChoice(name=listed.name, options=plain)
            if only_owners == {"url"} and addresses == _default_address(choice.name):
                return BackendChoice(name=choice.name, options=plain)
        where = f" at {', '.join(sorted(addresses))}" if addresses else ""
        raise ConfigError([ConfigFault(
            path="backend",
            message=f"the record's engine is {choice.name}{where}, and your list has none there;"
            f" if it is yours: safelight engines add NAME {next(iter(sorted(addresses)), 'URL')}",
        )])  # fmt: skip

    def at(self, url: str, backend: str) -> ListedEngine | None:
        """Return the engine of the list that is at *url* alone; None when there is none.

        Raises:
            ConfigError: The list is at fault.
        """
        here = _addresses({"url": url})
        found = (e for e in self.read().values() if (e.backend, e.addresses) == (backend, here))
        return next(found, None) if here else None

    # -- changes -------------------------------------------------------------------------

    def add(self, name: str, url: str, backend: str) -> ListedEngine:
        """Add an engine; the rest of the list stays as it is written.

        Raises:
            RequestError: The name is taken.
            ConfigError: It is at fault, or the list is.
            StorageError: The list cannot be written.
        """
        import tomli_w

        path = self._place()
        table = {"backend": backend, "url": url}
        added = _Reader(path).read({"engines": {name: table}})

        def change(text: str, data: dict[str, Any]) -> str:
            there = _Reader(path).read(data)
            if name in there:
                raise RequestError(f"{name} is in the list already; choose another name, or remove"
                                   f" it: safelight engines remove {name}")  # fmt: skip
            block = tomli_w.dumps({"engines": {name: table}})
            whole = {**data, "engines": {**data.get("engines", {}), name: table}}
            joined = f"{text.rstrip()}\n\n{block}".lstrip("\n")
            return joined if _means(joined, whole) else tomli_w.dumps(whole)

        change_settings(path, change)
        return added[name]

    def remove(self, name: str) -> None:
        """Take an engine out; the rest of the list stays as it is written.

        Raises:
            RequestError: There is none of that name.
            ConfigError: The list is at fault.
            StorageError: The list cannot be written.
        """
        import tomli_w

        def change(text: str, data: dict[str, Any]) -> str:
            engines = data.get("engines", {})
            if not isinstance(engines, dict) or name not in engines:
                known = engines if isinstance(engines, dict) else ()
                raise RequestError(f"no engine of the list is called {name!r}"
                                   f"{did_you_mean(name, known)}")  # fmt: skip
            rest = {**data, "engines": {k: v for k, v in engines.items() if k != name}}
            without = _without_table(text, name)
            return without if _means(without, rest) else tomli_w.dumps(rest)

        change_settings(self._place(), change)

    def _place(self) -> Path:
        if self.path is None:
            raise RequestError("there is no configuration folder to keep the list in")
        return self.path


NO_ENGINES = EngineList(None)


def own_engine(engines: EngineList, backend: str | None) -> str | None:
    """Return the engine of the list that is a *backend*, when it is the only one of its kind.

    Raises:
        ConfigError: The list is at fault.
    """
    own = [one.name for one in engines.read().values() if one.backend == backend]
    return own[0] if len(own) == 1 else None


class _Reader:
    """Checks what ``engines.toml`` holds, gathering every fault on the way."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._faults: list[ConfigFault] = []

    def read(self, data: Mapping[str, Any]) -> dict[str, ListedEngine]:
        for key in data:
            if key != "engines":
                self._fault(key, "is not known; the list has tables [engines.NAME]")
        engines = data.get("engines", {})
        if not isinstance(engines, dict):
            self._fault("engines", "must hold tables [engines.NAME]")
            engines = {}
        entries = {name: self._entry(name, table) for name, table in engines.items()}
        if self._faults:
            raise ConfigError(self._faults, source=str(self._path))
        return {name: entry for name, entry in entries.items() if entry is not None}

    def _fault(self, path: str, message: str) -> None:
        self._faults.append(ConfigFault(path=path, message=message))

    def _entry(self, name: str, table: Any) -> ListedEngine | None:
        where = f"engines.{name}"
        if not _NAME.fullmatch(name):
            self._fault(where, "must be a name of letters, digits and _ . -, 64 at most")
        if name in BUILT_IN:
            self._fault(where, "is the name of an engine itself; choose another")
        if not isinstance(table, dict):
            self._fault(where, "must be a table")
            return None
        backend = table.get("backend")
        if not isinstance(backend, str) or not (backend in BUILT_IN or backend in backend_names()):
            known = ", ".join(backend_names())
            self._fault(f"{where}.backend", f"must be one of {known}, got {backend!r}")
            return None
        kinds = option_kinds(backend)
        options: dict[str, Any] = {}
        files: list[Path] = []
        for option, value in table.items():
            if option == "backend":
                continue
            kind = kinds.get(option)
            if kind is None and backend in BUILT_IN:
                hint = did_you_mean(option, kinds) or f"; it has: {', '.join(kinds)}"
                self._fault(f"{where}.{option}", f"is no option of {backend}{hint}")
            self._check(f"{where}.{option}", option, value)
            options[option] = value
            is_path = kind == "file" or (kind == "model" and not is_hub_name(str(value)))
            if is_path and isinstance(value, str) and value:
                options[option] = str(self._whole(f"{where}.{option}", value))
                files.append(Path(options[option]))
        return ListedEngine(name=name, backend=backend, options=options, files=tuple(files))

    def _whole(self, where: str, value: str) -> Path:
        if value.startswith("~"):
            self._fault(where, f"must be a whole path, or begin at this file, got {value!r}")
        return self._path.parent / value

    def _check(self, where: str, option: str, value: Any) -> None:
        """See to it that addresses and secrets are some; secrets are not told."""
        if option == "url" and not _is_address(value):
            self._fault(where, f"must look like http://127.0.0.1:7860; {_WRITTEN}")
        elif option == "urls" and not (isinstance(value, list) and all(map(_is_address, value))):
            self._fault(where, "must be a list of addresses like http://127.0.0.1:7860")
        elif option in ("user", "password", "api_key") and not isinstance(value, str):
            self._fault(where, "must be text")
        elif option == "headers" and not (
            isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
        ):
            self._fault(where, "must be a table of texts")
        if any(t.startswith("env:") and not _VARIABLE.fullmatch(t) for t in _texts({"": value})):
            self._fault(where, "must name a variable of the environment, such as env:GPU_PASSWORD")


def _chosen(listed: ListedEngine, more: Mapping[str, Any]) -> BackendChoice:
    return BackendChoice(
        name=listed.backend,
        options={**listed.options, **more},
        listed=listed.name,
        named=listed.files,
    )


def _owners(
    options: Mapping[str, Any], kinds: Mapping[str, Any], message: str
) -> Iterator[ConfigFault]:
    """Yield a fault for each of *options* that only the owner of this machine may state."""
    for option, value in options.items():
        takes_secret = any(text.startswith("env:") for text in _texts({"": value}))
        if kinds.get(option) == "owner" or takes_secret:
            yield ConfigFault(path=f"backend.{option}", message=message)


def _raise(faults: Sequence[ConfigFault] | Iterator[ConfigFault]) -> None:
    if found := list(faults):
        raise ConfigError(found)


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in *value*, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)


def _is_address(value: Any) -> bool:
    """Return whether *value* is an address, as :class:`.EngineServer` has it.

    With an ``@`` behind its host it is a login that is written wrong, of which nothing is told.
    """
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
        fits = parts.port is None or parts.port > 0
    except ValueError:
        return False
    is_one = fits and parts.scheme in ("http", "https") and bool(parts.hostname)
    return is_one and value.count("@") == parts.netloc.count("@")


def _addresses(options: Mapping[str, Any]) -> frozenset[str]:
    several = options.get("urls")
    is_several = isinstance(several, (list, tuple)) and len(several) > 0
    values: Sequence[Any] = several if is_several and several else [options.get("url")]
    return frozenset(_address(each) for each in values if _is_address(each))


def _address(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    return urlunsplit((parts.scheme.lower(), host, parts.path.rstrip("/"), "", ""))


def _default_address(backend: str) -> frozenset[str]:
    url = inspect.signature(engine_factory(backend)).parameters.get("url")
    return _addresses({"url": url.default}) if url is not None else frozenset()


def _means(text: str, data: Mapping[str, Any]) -> bool:
    import tomllib

    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return {**parsed, "engines": parsed.get("engines", {})} == data


def _without_table(text: str, name: str) -> str:
    """Return *text* without the lines of ``[engines.NAME]`` and of tables in it."""
    quoted = re.escape(name)
    header = re.compile(rf'\s*\[\s*engines\s*\.\s*(?:"{quoted}"|\'{quoted}\'|{quoted})\s*[\].]')
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            inside = header.match(line) is not None
        if not inside:
            kept.append(line)
    return "".join(kept)
