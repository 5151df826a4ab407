"""Turning a table of options into the arguments of a stage, by the stage's own signature, all problems at once."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union

from edgecompress.corpus import Corpus
from edgecompress.errors import RecipeError
from edgecompress.options import TaskFiles, Training

Options = Mapping[str, Any]
_ABOVE_ZERO = {"batch_size", "max_length", "temperature", "soft_temperature"}
_SHARES = {"share", "swap", "warmup", "mask", "coverage", "alpha", "alpha_end", "dropout"}  # at most 1


@dataclass
class Context:
    """What option values may refer to by name, where paths start from, and the problems found so far."""

    corpora: Mapping[str, Corpus] = field(default_factory=dict)
    tasks: Mapping[str, TaskFiles] = field(default_factory=dict)
    root: Path = Path()
    problems: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        """Note one problem; :meth:`check` raises them together."""
        self.problems.append(text)

    def check(self, what: str) -> None:
        """Raise RecipeError with every problem noted."""
        if self.problems:
            raise RecipeError(f"{what}: " + "; ".join(dict.fromkeys(self.problems)))  # once an entry, not a task


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the options of a stage: its keyword-only parameters, annotations resolved."""
    hints = typing.get_type_hints(function, localns=_LAZY)
    found = inspect.signature(function).parameters.values()
    return {p.name: p.replace(annotation=hints[p.name]) for p in found if p.kind is p.KEYWORD_ONLY}


def near(name: str, allowed: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for a near miss, else the list of what is allowed."""
    allowed = list(allowed)
    close = difflib.get_close_matches(name, allowed, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; choose from {', '.join(allowed)}"


def expand(text: str, context: Context) -> str:
    """Replace ``${NAME}`` and ``${NAME:-default}`` by environment variables."""

    def value(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        if not os.environ.get(name) and default is None:
            context.problem(f"the environment variable {name} is not set: export {name}=…, or edit the recipe")
        return os.environ.get(name) or default or ""

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", value, text)


def tables(raw: Mapping[str, Any], name: str, context: Context) -> dict[str, Mapping[str, Any]]:
    """Return the tables that ``name`` holds in a recipe, by name."""
    found = raw.get(name, {})
    if not isinstance(found, Mapping) or not all(isinstance(value, Mapping) for value in found.values()):
        context.problem(f"{name!r} must hold tables: write [{name}.NAME]")
        return {}
    return dict(found)


def bind(function: Callable[..., Any], given: Options, where: str, context: Context) -> dict[str, Any]:
    """Return keyword arguments for ``function`` from a table of plain values; problems go to ``context``."""
    known = parameters(function)
    _check_names(given, known, where, context)
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in given:
            context.problem(f"{where}: option {name!r} is missing")
    found = {
        name: _value(known[name].annotation, value, known[name].default, f"{where}: {name}", context)
        for name, value in given.items()
        if name in known
    }
    for name, parameter in known.items():
        if parameter.default is parameter.empty and found.get(name) == () and not given[name]:
            context.problem(f"{where}: {name} is empty: give at least one")
    _check_ranges(found, f"{where}: ", context)
    return found


def nested(parameter: inspect.Parameter) -> tuple[str, ...]:
    """Return the options of the table that this option is; none for any other option."""
    kind = parameter.annotation
    if not dataclasses.is_dataclass(kind) or kind in (Corpus, TaskFiles):  # these two are given by name
        return ()
    return tuple(field.name for field in dataclasses.fields(kind))


def _check_names(given: Options, known: Mapping[str, inspect.Parameter], where: str, context: Context) -> None:
    """Note the options that a stage does not have, or has elsewhere: commands have them flat, recipes in tables."""
    tables = {"": tuple(known), **{name: fields for name, p in known.items() if (fields := nested(p))}}
    for table, allowed in tables.items():
        options = given.get(table) if table else given
        place = f"{where}: {table}" if table else where
        for name in options if isinstance(options, Mapping) else ():
            if name not in allowed:
                context.problem(f"{place}: no option {name!r}{_hint(name, table, tables)}")


def _hint(name: str, table: str, tables: Mapping[str, Sequence[str]]) -> str:
    """Say which option of a stage is meant, and in which of its tables it belongs ("": the stage itself)."""
    homes = {option: home for home, options in tables.items() for option in options}
    if name in homes:
        return f" here: it belongs in {_written(name, homes[name])}"
    close = difflib.get_close_matches(name, homes, 1)
    if close and homes[close[0]] != table:
        return f"; did you mean {_written(close[0], homes[close[0]])}?"
    return near(name, tables[table])


def _written(option: str, table: str) -> str:
    return f"{table} = {{ {option} = … }}" if table else f"the stage's own table, {option} = …"


def _value(kind: Any, value: Any, default: Any, where: str, context: Context) -> Any:  # noqa: PLR0911 - a table of kinds
    """Check one value against its annotation and return it as the stage wants it."""
    if kind is Corpus:
        return _named(value, context.corpora, "corpus", where, context)
    if kind is TaskFiles:
        return _named(value, context.tasks, "task", where, context)
    if dataclasses.is_dataclass(kind):
        return _table(kind, value, default, where, context)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            context.problem(f"{where}: {value!r} is not a list")
            return ()
        return tuple(_value(arguments[0], item, None, where, context) for item in value)
    if origin is Literal:
        if value not in arguments:
            context.problem(f"{where}: {value!r} is not one of {', '.join(map(str, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        return _value(next(a for a in arguments if a is not type(None)), value, default, where, context)
    return _scalar(kind, value, where, context)


def _scalar(kind: type, value: Any, where: str, context: Context) -> Any:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", Path: "a path"}
    right = isinstance(value, (int, float) if kind is float else (str if kind is Path else kind))
    if not right or (isinstance(value, bool) and kind is not bool):
        context.problem(f"{where}: {value!r} is not {names[kind]}")
        return value
    if kind is float and not math.isfinite(value):
        context.problem(f"{where}: {value!r} is not a finite number")
    elif kind in (int, float) and value < 0:
        context.problem(f"{where}: {value!r} is negative")
    if kind is Path and not (context.root / value).is_file():
        context.problem(f"{where}: no file {context.root / value}")
    return context.root / value if kind is Path else kind(value)


def _check_ranges(found: Options, where: str, context: Context) -> None:
    """Note numbers outside of what their option's name allows."""
    for name in sorted(_ABOVE_ZERO & found.keys()):
        if found[name] == 0:
            context.problem(f"{where}{name}: 0 is not above 0")
    for name in sorted(_SHARES & found.keys()):
        if isinstance(found[name], int | float) and found[name] > 1:
            context.problem(f"{where}{name}: {found[name]} is above 1, and a share is at most 1")


def _named(value: Any, known: Mapping[str, Any], what: str, where: str, context: Context) -> Any:
    if isinstance(value, str) and value in known:
        return known[value]
    suffix = near(str(value), known) if known else "; none is defined"
    context.problem(f"{where}: no {what} {value!r}{suffix}")
    return None


def _table(kind: Any, value: Any, default: Any, where: str, context: Context) -> Any:
    """Return the stage's default with the fields that a nested table gives."""
    if not isinstance(value, Mapping):
        context.problem(f"{where}: {value!r} is not a table")
        return default
    hints = typing.get_type_hints(kind)
    found = {n: _value(hints[n], v, None, f"{where}.{n}", context) for n, v in value.items() if n in hints}
    _check_ranges(found, f"{where}.", context)
    if kind is Training and ("steps" in found) != ("epochs" in found):
        found = {"steps": 0, "epochs": 0.0, **found}  # one of the two replaces the default's other
    base = default if dataclasses.is_dataclass(default) else kind()
    return dataclasses.replace(base, **found)  # type: ignore[type-var]


_LAZY: dict[str, Any] = {"Corpus": Corpus, "Bundle": object}
