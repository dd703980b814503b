"""Dynamic-prompt templates as spaces: counted and indexed instead of run.

The ``dynamicprompts`` library parses the template and reads the wildcard files; counting,
picking and drawing are done here over its syntax tree. That gives the size at once and any
variant alone, and it avoids two defects of the library: an unknown wildcard makes it loop for
ever in combinatorial mode (here all unknown wildcards are named before anything is counted),
and its weighted draw without replacement removes weights by value instead of by position.

The order of variants is the library's combinatorial order. What is chosen on purpose:

* ``{2$$...}`` takes different options in every order; a count above the number of different
  options is lowered to it. Equal texts of one choice are merged when it has at most 10,000.
  A value of a wildcard file is listed once, whatever its weight.
* ``!`` changes nothing. ``~`` draws and ``@`` steps along with every variant, and neither
  multiplies; in random mode ``~`` is a choice like any other, in sequential mode ``@`` is.
* ``${x=...}`` is expanded anew wherever ``${x}`` stands. ``${x=!...}`` is expanded once per
  variant: to its first value in the modes that count (fanout, rotate), drawn in random mode,
  stepping in sequential mode. It never multiplies.
* ``%{... ... $$ ...}`` multiplies, the wrapper outermost, in every mode.
* ``#`` starts a comment, which is reported. A ``$`` or ``%`` that begins no syntax is text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from safelight.errors import TemplateError
from safelight.knobs import did_you_mean
from safelight.randomizer.template_syntax import has_syntax, parse_template, unshielded
from safelight.randomizer.text_spaces import (
    Choice,
    Dependent,
    Joined,
    Literal,
    Moment,
    Moving,
    Node,
    Picks,
    Slot,
    Wrapped,
    every_text,
    without_equal_texts,
)
from safelight.randomizer.wildcard_files import WildcardFiles

if TYPE_CHECKING:
    from dynamicprompts.commands import Command

__all__ = ["Templates"]

_MOST_PATHS = 1_000
_DEEPEST = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """What holds at one place of a template.

    Attributes:
        where: ``stage.knob`` of the prompt.
        prefix: Names of the wildcards around this place.
        method: How a choice without a prefix is sampled here.
        variables: What ``${name}`` stands for.
        reading: Variables being expanded, to notice one that needs itself.
        wildcards: Wildcards being expanded, likewise.
        numbers: Number of each choice of this text, by identity.
    """

    where: str
    method: str
    prefix: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)
    reading: tuple[str, ...] = ()
    wildcards: tuple[tuple[str, str], ...] = ()
    numbers: dict[int, int] = field(default_factory=dict)

    def slot(self, name: str) -> Slot:
        return Slot(self.where, self.prefix + name)

    def number(self, command: Command) -> Slot:
        number = self.numbers.setdefault(id(command), len(self.numbers) + 1)
        return self.slot(f"{{{number}}}")


class Templates:
    """Turns prompt templates into spaces of texts.

    Attributes:
        warnings: What was left out or left in place.
    """

    def __init__(self, files: WildcardFiles, mode: str, *, keep: frozenset[str] | None) -> None:
        """Start with no templates.

        Args:
            files: The wildcard files.
            mode: The plan's mode.
            keep: Unknown wildcards that stay in the text, with a warning; None for all.
        """
        methods = {"random": "random", "sequential": "cycle"}
        self.files = files
        self.warnings: list[str] = []
        self._method = methods.get(mode, "combinatorial")
        self._keep = keep
        self._unknown: dict[str, str] = {}
        self._commands: dict[str, Command] = {}
        self._moving = 0

    def read(self, text: str, where: str) -> Node:
        """Return the space of *text*; a text without template syntax is kept byte for byte.

        Raises:
            TemplateError: The text cannot be read, or uses itself without end.
        """
        if not has_syntax(text):
            return Literal(text)
        self._moving = 0
        command = self.parse(text, where)
        if "#" in text:
            self._warn(f"{where}: what follows '#' is a comment and was left out")
        try:
            node = self._node(command, _Scope(where=where, method=self._method))
            node.text(0, 0, Moment(0, 0))
        except RecursionError as error:
            raise TemplateError(f"{where}: the template is nested too deeply") from error
        return node

    def check(self) -> None:
        """Raise TemplateError when any template read so far needs an unknown wildcard."""
        if self._unknown:
            raise self.files.unknown(self._unknown)

    def parse(self, text: str, where: str) -> Command:
        """Return the library's syntax tree of *text*, with lone ``$`` and ``%`` shielded."""
        if text not in self._commands:
            self._commands[text] = parse_template(text, where)
        return self._commands[text]

    def _warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)

    def _key(self, scope: _Scope) -> str:
        self._moving += 1
        return f"{scope.where} {self._moving}"

    # -- one command each ---------------------------------------------------------------

    def _node(self, command: Command, scope: _Scope) -> Node:
        from dynamicprompts import commands as library
        from dynamicprompts.commands.variable_commands import VariableAccessCommand

        if isinstance(command, library.LiteralCommand):
            return Literal(unshielded(command.literal))
        if isinstance(command, library.VariantCommand):
            return self._sampled(command, scope, lambda inner: self._variant(command, inner))
        if isinstance(command, library.WildcardCommand):
            return self._sampled(command, scope, lambda inner: self._wildcard(command, inner))
        if isinstance(command, VariableAccessCommand):
            return self._variable(command.name, command.default, scope)
        if isinstance(command, library.WrapCommand):
            return Wrapped([self._node(each, scope) for each in (command.wrapper, command.inner)])
        tokens = command.tokens if isinstance(command, library.SequenceCommand) else [command]
        return self._sequence(tokens, scope)

    def _sampled(self, command: Command, scope: _Scope, build: Callable[[_Scope], Node]) -> Node:
        method = command.sampling_method.value if command.sampling_method else scope.method
        if method in ("combinatorial", scope.method):
            return build(scope)
        return Moving(build(replace(scope, method=method)), method, self._key(scope))

    def _sequence(self, tokens: Sequence[Command], scope: _Scope) -> Node:
        from dynamicprompts.commands.variable_commands import VariableAssignmentCommand

        assigned = {}
        for token in tokens:
            if isinstance(token, VariableAssignmentCommand):
                assigned[token.name] = self._assigned(token, scope)
        inner = replace(scope, variables={**scope.variables, **assigned}) if assigned else scope
        parts = [
            self._node(token, inner)
            for token in tokens
            if not isinstance(token, VariableAssignmentCommand)
        ]
        return parts[0] if len(parts) == 1 else Joined(parts) if parts else Literal("")

    def _assigned(self, command: Any, scope: _Scope) -> Any:
        if not command.overwrite and command.name in scope.variables:
            return scope.variables[command.name]
        if not command.immediate:
            return command.value
        node = self._node(command.value, scope)
        if node.size == 1 and not node.moving:
            return node
        how = "first" if self._method == "combinatorial" else self._method
        fixed = Moving(node, how, self._key(scope), once=True)
        fixed.moving = how != "first" or node.moving
        return fixed

    def _variable(self, name: str, default: Command | None, scope: _Scope) -> Node:
        value = scope.variables.get(name, default)
        if value is None:
            near = did_you_mean(name, scope.variables)
            raise TemplateError(
                f"{scope.where}: variable ${{{name}}} has no value{near}; set it with "
                f"${{{name}=...}} or give a default, ${{{name}:...}}"
            )
        if isinstance(value, Node):
            return value
        if name in scope.reading:
            cycle = " -> ".join(f"${{{each}}}" for each in (*scope.reading, name))
            raise TemplateError(f"{scope.where}: a variable needs itself: {cycle}")
        return self._node(value, replace(scope, reading=(*scope.reading, name)))

    def _variant(self, command: Any, scope: _Scope) -> Node:
        from dynamicprompts.commands import WildcardCommand

        if not command.variants:
            return Literal("")
        only = command.variants[0].value if len(command.variants) == 1 else None
        bounds = (command.min_bound, command.max_bound)
        if isinstance(only, WildcardCommand):
            return self._sampled(
                only, scope, lambda inner: self._wildcard(only, inner, bounds, command.separator)
            )
        slot = scope.number(command)
        options = [
            (self._node(option.value, scope), option.weight, repr(option.value))
            for option in command.variants
        ]
        return self._choice(slot, options, bounds, command.separator, scope)

    def _choice(
        self,
        slot: Slot,
        options: Sequence[tuple[Node, float, str]],
        bounds: tuple[int, int],
        separator: str,
        scope: _Scope,
    ) -> Node:
        """Return the choice among (option, weight, what it says) triples."""
        if scope.method == "random" and any(weight > 0 for _, weight, _ in options):
            options = [option for option in options if option[1] > 0]
        several = bounds[1] > 1
        merged: dict[object, list[Any]] = {}
        for place, (node, weight, written) in enumerate(options):
            alike = isinstance(node, Literal) or not (several or node.moving)
            key: object = node.literal if isinstance(node, Literal) else (written,)
            merged.setdefault(key if alike else place, [node, 0.0])[1] += weight
        nodes = [node for node, _ in merged.values()]
        weights = [weight for _, weight in merged.values()]
        if not any(weights):
            weights = [1.0] * len(nodes)
        low, high = (min(bound, len(nodes)) for bound in bounds)
        if high == 0:
            return Literal("")
        if low == high == 1:
            known = len(nodes) == 1 and not slot.name.endswith("__")
            return nodes[0] if known else without_equal_texts(Choice(slot, nodes, weights))
        return without_equal_texts(Picks(slot, nodes, weights, (low, high), unshielded(separator)))

    # -- wildcards ----------------------------------------------------------------------

    def _wildcard(
        self,
        command: Any,
        scope: _Scope,
        bounds: tuple[int, int] = (1, 1),
        separator: str = ",",
    ) -> Node:
        path = command.wildcard
        node = Literal(path) if isinstance(path, str) else self._node(path, scope)
        inner = replace(scope, variables={**scope.variables, **command.variables})

        def find(name: str) -> Node:
            return self._values(name, inner, bounds, separator)

        if node.moving:
            values_of = {name: find(name) for name in islice(every_text(node), _MOST_PATHS)}
            how = "random" if scope.method == "combinatorial" else scope.method
            return Dependent(
                node, lambda name: values_of.get(name) or find(name), how, self._key(scope)
            )
        scratch = Moment(0, 0)
        names = dict.fromkeys(node.text(r, 0, scratch) for r in range(min(node.size, _MOST_PATHS)))
        nodes = [find(name) for name in names]
        if len(nodes) == 1:
            return nodes[0]
        return without_equal_texts(Choice(scope.slot("__...__"), nodes, [1.0] * len(nodes)))

    def _values(self, name: str, scope: _Scope, bounds: tuple[int, int], separator: str) -> Node:
        if ".." in name:
            raise TemplateError(f"{scope.where}: wildcard __{name}__ must not leave its folder")
        values = self.files.values(name)
        if not values:
            if self._keep is None or name in self._keep:
                self._warn(f"{scope.where}: __{name}__ has no values and was left in place")
            else:
                self._unknown.setdefault(name, scope.where)
            return Literal(f"__{name}__")
        slot = scope.slot(f"__{name}__")
        entered = (name, repr(scope.variables))
        if entered in scope.wildcards or len(scope.wildcards) > _DEEPEST:
            names = [each for each, _ in (*scope.wildcards, entered)]
            cycle = " -> ".join(f"__{each}__" for each in names[names.index(name) :])
            raise TemplateError(f"{scope.where}: a wildcard needs itself: {cycle}")
        inside = replace(
            scope, prefix=f"{slot.name} > ", wildcards=(*scope.wildcards, entered), reading=()
        )
        options = [(self._value(value.text, inside), value.weight, value.text) for value in values]
        return self._choice(slot, options, bounds, separator, scope)

    def _value(self, text: str, scope: _Scope) -> Node:
        if not has_syntax(text):
            return Literal(text)
        command = self.parse(text, f"{scope.where}, {scope.prefix}{text!r}")
        return self._node(command, replace(scope, numbers={}))
