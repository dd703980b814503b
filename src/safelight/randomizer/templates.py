"""Dynamic-prompt templates as spaces: counted and indexed instead of run.

The ``dynamicprompts`` library parses what ``template_syntax`` does not; counting,
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
* ``${x=...}`` is expanded anew wherever ``${x}`` stands. ``${x=!...}`` is chosen once per variant,
  and multiplies like any other choice, around whatever uses ``${x}``.
* ``%{... ... $$ ...}`` multiplies, the wrapper outermost, in every mode.

Which characters are signs, comments or text, :mod:`~safelight.randomizer.template_signs` decides.
What it notices on the way, and what a template changes without a choice, is told in a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from safelight.errors import TemplateError
from safelight.knobs import did_you_mean
from safelight.randomizer.bound_texts import (
    Reference,
    TextNeeded,
    Unrolled,
    bind,
    every_text,
    text_needed,
)
from safelight.randomizer.plan_bounds import LONGEST_SEARCH, MOST_SIGNS, PlanWork
from safelight.randomizer.template_bounds import picking_steps, refuse_large
from safelight.randomizer.template_signs import (
    Note,
    has_syntax,
    is_json,
    read_signs,
    separator_text,
    template_sign_in_json,
    unshielded,
)
from safelight.randomizer.template_syntax import count_signs, needs_library, parse_template
from safelight.randomizer.template_warnings import TemplateWarnings
from safelight.randomizer.text_spaces import (
    Choice,
    Dependent,
    Joined,
    Literal,
    Moment,
    Moving,
    Named,
    Node,
    Picks,
    Repeating,
    Slot,
    Wrapped,
    steps_to_compare,
    without_repeated,
)
from safelight.randomizer.wildcard_files import WildcardFiles

if TYPE_CHECKING:
    from dynamicprompts.commands import Command

__all__ = ["Templates"]

_MOST_PATHS = 1_000
_DEEPEST = 60
_LONGEST_VALUE = 80
"""Characters of a value of a wildcard in a message."""
_NODE, _OPTION = 60, 5
"""What a node, and an option of a choice, count of the work of a plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """What holds at one place of a template.

    Attributes:
        where: ``stage.knob`` of the prompt.
        prefix: Names of the wildcards around this place.
        method: How a choice without a prefix is sampled here.
        variables: What ``${name}`` stands for.
        beside: Variables that are set beside the one whose value is chosen here.
        reading: Variables being expanded, to notice one that needs itself.
        wildcards: Wildcards being expanded, likewise.
        numbers: Number of each choice of this text, by identity.
    """

    where: str
    method: str
    prefix: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)
    beside: frozenset[str] = frozenset()
    reading: tuple[str, ...] = ()
    wildcards: tuple[tuple[str, str], ...] = ()
    numbers: dict[int, int] = field(default_factory=dict)

    def slot(self, name: str) -> Slot:
        return Slot(self.where, self.prefix + name)

    def number(self, command: Command) -> Slot:
        number = self.numbers.setdefault(id(command), len(self.numbers) + 1)
        return self.slot(f"{{{number}}}")


class Templates:
    """Turns prompt templates into spaces of texts."""

    def __init__(
        self,
        files: WildcardFiles,
        mode: str,
        *,
        keep: frozenset[str] | None,
        work: PlanWork | None = None,
    ) -> None:
        """Start with no templates.

        Args:
            files: The wildcard files.
            mode: The plan's mode.
            keep: Unknown wildcards that stay in the text, with a warning; None for all.
            work: Counts what is done.
        """
        methods = {"random": "random", "sequential": "cycle"}
        self.files = files
        self._method = methods.get(mode, "combinatorial")
        self._keep = keep
        self._unknown: dict[str, str] = {}
        self._commands: dict[str, tuple[Command, tuple[Note, ...]]] = {}
        self._literals: dict[str, Literal] = {}
        self._moving = 0
        self._work = work or PlanWork()
        self._named = False
        self._told = TemplateWarnings()
        self._signs = 0

    @property
    def warnings(self) -> list[str]:
        """What was left out, left in place, or may not be what was meant, each once."""
        return self._told.sentences()

    def read(self, text: str, where: str) -> Node:
        """Return the space of *text*; a text without template syntax is kept byte for byte.

        Raises:
            TemplateError: The text cannot be read, uses itself without end, or may become longer
                than a prompt may be.
            PlanError: It stands for too many choices.
        """
        if not has_syntax(text) or self._left_alone(text, where):
            return Literal(text)
        self._moving = 0
        command = self.parse(text, where)
        self._tell(text, where, where)
        try:
            node = self._node(command, _Scope(where=where, method=self._method))
            node.text(0, 0, Moment(0, 0))
        except RecursionError as error:
            raise TemplateError(f"{where}: the template is nested too deeply") from error
        return node

    def naming(self) -> Templates:
        """Return what reads the same, into texts that can tell of every variable in them."""
        templates = copy(self)
        templates._told, templates._work = TemplateWarnings(), PlanWork()
        templates._named = True
        return templates

    def check(self) -> None:
        """Raise TemplateError when any template read so far needs an unknown wildcard."""
        if self._unknown:
            raise self.files.unknown(self._unknown)

    def _left_alone(self, text: str, where: str, group: str = "") -> bool:
        """Return whether *text* is JSON, which is taken as it is."""
        if not is_json(text):
            return False
        if meant := template_sign_in_json(text):
            place, sign = meant
            self._told.add(
                group or where,
                "JSON",
                f"{where}: the text is JSON and was left as it is, with {sign[:40]!r} at character"
                f" {place + 1}; for a choice inside JSON use [randomizer.prompt_sr],"
                " [randomizer.wildcards] or [[slots]]",
            )
        return True

    def parse(self, text: str, where: str) -> Command:
        """Return the library's syntax tree of *text*, with what is no sign shielded."""
        if text not in self._commands:
            self._work.spend(len(text), where)
            signs = read_signs(text)
            if needs_library(signs.text):
                self._signs += count_signs(signs.text)
            if self._signs > MOST_SIGNS:
                raise TemplateError(
                    f"{where}: the templates of a plan may have {MOST_SIGNS:,} signs where they use"
                    " more than {a|2::b} and __names__; take the rest as a plan of its own"
                )
            self._commands[text] = parse_template(text, where, signs), signs.notes
        return self._commands[text][0]

    def _tell(self, text: str, where: str, group: str) -> None:
        """Tell what was noticed about *text*, once for each *group* of texts alike."""
        for note in self._commands[text][1]:
            if note.kind != "name" or self.files.has(note.text.strip("_")):
                self._told.tell(note, where, group)

    def _key(self, scope: _Scope) -> str:
        self._moving += 1
        return f"{scope.where} {self._moving}"

    # -- one command each ---------------------------------------------------------------

    def _node(self, command: Command, scope: _Scope) -> Node:
        self._work.spend(_NODE, scope.where)
        node = self._made(command, scope)
        refuse_large(node, scope.where)
        return node

    def _made(self, command: Command, scope: _Scope) -> Node:
        from dynamicprompts import commands as library
        from dynamicprompts.commands.variable_commands import VariableAccessCommand

        if isinstance(command, library.LiteralCommand):
            return Literal(unshielded(command.literal))
        if isinstance(command, library.VariantCommand):
            return self._sampled(command, scope, lambda inner: self._variant(command, inner))
        if isinstance(command, library.WildcardCommand):
            return self._sampled(command, scope, lambda inner: self._wildcard(command, inner))
        if isinstance(command, VariableAccessCommand):
            node = self._variable(command.name, command.default, scope)
            alone = not self._named or isinstance(node, Reference)
            return node if alone else Named(scope.slot(f"${{{command.name}}}"), node)
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

        assigned: dict[str, Any] = {}
        chosen: dict[str, Reference] = {}
        setting = [token for token in tokens if isinstance(token, VariableAssignmentCommand)]
        beside = frozenset(token.name for token in setting)
        parts = []
        for token in tokens:
            if not isinstance(token, VariableAssignmentCommand):
                parts.append(token)
                continue
            value = assigned[token.name] = self._assigned(token, scope, beside)
            chosen.pop(token.name, None)
            if isinstance(value, Reference) and value is not scope.variables.get(token.name):
                chosen[token.name] = value
        if assigned:
            self._work.spend(len(assigned) + len(scope.variables), scope.where)
            scope = replace(scope, variables={**scope.variables, **assigned})
        return self._with_chosen(parts, scope, chosen)

    def _with_chosen(
        self, tokens: Sequence[Command], scope: _Scope, chosen: Mapping[str, Reference]
    ) -> Node:
        """Return what *tokens* say, with the values of variables that are chosen once around it."""
        try:
            parts = [self._node(token, scope) for token in tokens]
        except TextNeeded as needed:
            if needed.reference not in chosen.values():
                raise
            return self._unrolled(needed.reference, tokens, scope, chosen)
        node = parts[0] if len(parts) == 1 else Joined(parts) if parts else Literal("")
        for reference in reversed(tuple(chosen.values())):
            node = bind(reference, node, lambda made: self._merged(made, scope))
        return node

    def _unrolled(
        self,
        reference: Reference,
        tokens: Sequence[Command],
        scope: _Scope,
        chosen: Mapping[str, Reference],
    ) -> Node:
        """Return what *tokens* say for each value of a variable that names a wildcard."""
        value, name = reference.value, reference.slot.name
        if value.size > _MOST_PATHS:
            raise TemplateError(
                f"{scope.where}: {name} is part of a wildcard's name and has {value.size:,} values;"
                f" {_MOST_PATHS:,} are allowed; let ~ draw one of them"
            )
        left = {key: each for key, each in chosen.items() if each is not reference}
        (known,) = chosen.keys() - left.keys()
        bodies = []
        for rank in range(value.size):
            text = self._literal(value.text(rank, 0, Moment(0, 0)))
            variables = {**scope.variables, known: text}
            bodies.append(self._with_chosen(tokens, replace(scope, variables=variables), left))
        return Unrolled(reference, bodies)

    def _assigned(self, command: Any, scope: _Scope, beside: frozenset[str]) -> Any:
        if not command.overwrite and command.name in scope.variables:
            return scope.variables[command.name]
        if not command.immediate:
            return command.value
        node = self._node(command.value, replace(scope, beside=scope.beside | beside))
        if node.size == 1 and node.settled and next(node.choices(), None) is None:
            return node
        return Reference(scope.slot(f"${{{command.name}}}"), node)

    def _variable(self, name: str, default: Command | None, scope: _Scope) -> Node:
        value = scope.variables.get(name, default)
        if name in scope.beside and name not in scope.variables:
            raise TemplateError(
                f"{scope.where}: ${{{name}}} cannot be in a value that is chosen once (=!) and set"
                " beside it; leave out that ! or write the text in its place"
            )
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
            (self._node(option.value, scope), option.weight, option.value)
            for option in command.variants
        ]
        return self._choice(slot, options, bounds, command.separator, scope)

    def _choice(
        self,
        slot: Slot,
        options: Sequence[tuple[Node, float, object]],
        bounds: tuple[int, int],
        separator: str,
        scope: _Scope,
    ) -> Node:
        """Return the choice among (option, weight, what it says) triples."""
        if scope.method == "random" and any(weight > 0 for _, weight, _ in options):
            options = [option for option in options if option[1] > 0]
        self._work.spend(_OPTION * len(options), scope.where)
        several = bounds[1] > 1
        merged: dict[object, list[Any]] = {}
        for place, (node, weight, written) in enumerate(options):
            key: object = place
            if isinstance(node, Literal):
                key = node.literal
            elif node.settled and not several:
                key = (self._spelled(written, scope),)
            merged.setdefault(key, [node, 0.0])[1] += weight
        nodes = [node for node, _ in merged.values()]
        weights = [weight for _, weight in merged.values()]
        if not any(weights):
            weights = [1.0] * len(nodes)
        low, high = (min(bound, len(nodes)) for bound in bounds)
        if high == 0:
            return Literal("")
        if low == high == 1:
            known = len(nodes) == 1 and not slot.name.endswith("__")
            return nodes[0] if known else self._merged(Choice(slot, nodes, weights), scope)
        self._work.spend(picking_steps(slot, nodes, high), slot.where)
        picks = Picks(slot, nodes, weights, (low, high), separator_text(separator))
        return self._merged(picks, scope)

    def _merged(self, node: Repeating, scope: _Scope) -> Node:
        refuse_large(node, scope.where)
        self._work.spend(steps_to_compare(node), scope.where)
        return without_repeated(node)

    def _spelled(self, written: object, scope: _Scope) -> str:
        """Return what tells an option from others that come to the same texts."""
        spelled = written if isinstance(written, str) else repr(written)
        self._work.spend(len(spelled) // 20, scope.where)
        return spelled

    # -- wildcards ----------------------------------------------------------------------

    def _wildcard(
        self,
        command: Any,
        scope: _Scope,
        bounds: tuple[int, int] = (1, 1),
        separator: str = ",",
    ) -> Node:
        path = command.wildcard
        node = Literal(unshielded(path)) if isinstance(path, str) else self._node(path, scope)
        inner = replace(scope, variables={**scope.variables, **command.variables})

        def find(name: str) -> Node:
            return self._values(name, inner, bounds, separator)

        if needed := text_needed(node):
            raise TextNeeded(needed)
        if node.moving:
            values_of = {name: find(name) for name in islice(every_text(node), _MOST_PATHS)}
            how = "random" if scope.method == "combinatorial" else scope.method
            known = tuple(values_of.values())
            return Dependent(
                node, lambda name: values_of.get(name) or find(name), how, self._key(scope), known
            )
        scratch = Moment(0, 0)
        names = dict.fromkeys(node.text(r, 0, scratch) for r in range(min(node.size, _MOST_PATHS)))
        nodes = [find(name) for name in names]
        if len(nodes) == 1:
            return nodes[0]
        choice = Choice(scope.slot("__...__"), nodes, [1.0] * len(nodes))
        return self._merged(choice, scope)

    def _values(self, name: str, scope: _Scope, bounds: tuple[int, int], separator: str) -> Node:
        if ".." in name:
            raise TemplateError(f"{scope.where}: wildcard __{name}__ must not leave its folder")
        if len(name) > LONGEST_SEARCH:
            raise TemplateError(
                f"{scope.where}: the name of a wildcard may have {LONGEST_SEARCH:,} characters, got"
                f" {len(name):,}: {name[:40]!r}…"
            )
        values = self.files.values(name)
        self._work.spend(_OPTION * len(values), scope.where)
        if not values:
            if self._keep is None or name in self._keep:
                self._told.add(
                    scope.where,
                    f"left {name}",
                    f"{scope.where}: __{name}__ has no values and was left in place",
                )
            else:
                self._unknown.setdefault(name, scope.where)
            return Literal(f"__{name}__")
        slot = scope.slot(f"__{name}__")
        entered = (name, self._spelled(scope.variables, scope) if scope.variables else "")
        if entered in scope.wildcards or len(scope.wildcards) > _DEEPEST:
            names = [each for each, _ in (*scope.wildcards, entered)]
            cycle = " -> ".join(f"__{each}__" for each in names[names.index(name) :])
            raise TemplateError(
                f"{scope.where}: a wildcard needs itself: {cycle}; every choice of a plan is"
                " counted, so take out the line that names it, or write it out as often as it may"
                " come"
            )
        inside = replace(
            scope, prefix=f"{slot.name} > ", wildcards=(*scope.wildcards, entered), reading=()
        )
        options = [(self._value(value.text, inside), value.weight, value.text) for value in values]
        return self._choice(slot, options, bounds, separator, scope)

    def _value(self, text: str, scope: _Scope) -> Node:
        if not has_syntax(text):
            return self._literal(text)
        where = f"{scope.where}, {scope.prefix}{text[:_LONGEST_VALUE]!r}"
        group = f"{scope.where}, {scope.prefix.removesuffix(' > ')}"
        if self._left_alone(text, where, group):
            return self._literal(text)
        command = self.parse(text, where)
        self._tell(text, where, group)
        return self._node(command, replace(scope, numbers={}))

    def _literal(self, text: str) -> Literal:
        if text not in self._literals:
            self._literals[text] = Literal(text)
        return self._literals[text]
