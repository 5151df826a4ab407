r"""A word pattern of Python's ``re`` as the source of a JavaScript regular expression with the flag "v".

The standard library's own parser reads the pattern; only the writing is done here. The two languages differ in what
``\w``, ``\d`` and ``\s`` mean, and JavaScript has no conditionals: `(x)?y(?(1)a|b)` becomes `(?:xya|yb)`, which
tries the same in the same order. What cannot be written with the same meaning is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from edgecompress.errors import ArtifactError

_WORD, _DIGIT = r"\p{L}\p{N}_", r"\p{Nd}"
_SPACE = r"\x09-\x0d\x1c-\x20\x85\p{Zs}\u2028\u2029"  # str.isspace()
_CATEGORIES = {"WORD": _WORD, "DIGIT": _DIGIT, "SPACE": _SPACE}
_EDGES = {"AT_BEGINNING": "^", "AT_BEGINNING_STRING": "^", "AT_END": "(?=\\n?$)", "AT_END_STRING": "$"}
_INSIDE = f"[{_WORD}]"
_BOUNDARY = f"(?:(?<={_INSIDE})(?!{_INSIDE})|(?<!{_INSIDE})(?={_INSIDE}))"
_FLAGS = re.UNICODE | re.DOTALL | re.VERBOSE
Nodes = Sequence[tuple[Any, Any]]


def to_javascript(pattern: str) -> str:
    """Return the source of ``pattern`` for ``new RegExp(source, "gv")``: it finds the same words.

    Raises ArtifactError, naming the construct, for what JavaScript cannot say: back-references, atomic groups,
    possessive repeats, flags but (?s) and (?x), conditionals on a group elsewhere, and patterns that match nothing.
    """
    parsed = import_module("re._parser").parse(pattern)
    odd = re.RegexFlag(parsed.state.flags) & ~_FLAGS
    if odd:
        raise _refused(f"the flag {odd!r}")
    if parsed.getwidth()[0] == 0:
        raise _refused("a match of no characters")
    return _sequence(list(parsed), dotall=bool(parsed.state.flags & re.DOTALL))


def _refused(what: str) -> ArtifactError:
    return ArtifactError(f"the word pattern has {what}, which a browser cannot do alike: export with a simpler pattern")


def _sequence(nodes: Nodes, *, dotall: bool) -> str:
    """Write nodes one after another; where an optional group decides a later conditional, both ways are written."""
    for index, (name, value) in enumerate(nodes):
        group = _optional_group(str(name), value)
        asks = [at for at in range(index + 1, len(nodes)) if group and _asks_for(nodes[at], group)]
        if asks:
            with_it, without = _both_ways(nodes[index + 1 :], group)
            inner = list(value[2])
            ways = (_sequence([*inner, *with_it], dotall=dotall), _sequence(without, dotall=dotall))
            return _sequence(nodes[:index], dotall=dotall) + f"(?:{'|'.join(ways)})"
    return "".join(_node(str(name), value, dotall) for name, value in nodes)


def _optional_group(name: str, value: Any) -> int:
    """Return the number of a group that may be left out, `(x)?`, else 0."""
    if name != "MAX_REPEAT" or value[:2] != (0, 1) or len(value[2]) != 1:
        return 0
    inner, group = value[2][0]
    return int(group[0] or 0) if str(inner) == "SUBPATTERN" else 0


def _asks_for(node: tuple[Any, Any], group: int) -> bool:
    return str(node[0]) == "GROUPREF_EXISTS" and node[1][0] == group


def _both_ways(nodes: Nodes, group: int) -> tuple[Nodes, Nodes]:
    """Return the nodes as they are with the group, and as they are without it."""
    with_it: list[tuple[Any, Any]] = []
    without: list[tuple[Any, Any]] = []
    for node in nodes:
        asks = _asks_for(node, group)
        with_it += list(node[1][1] or ()) if asks else [node]
        without += list(node[1][2] or ()) if asks else [node]
    return with_it, without


def _node(name: str, value: Any, dotall: bool) -> str:  # noqa: FBT001 - a flag of the pattern
    if name not in _WRITERS:
        raise _refused(name.lower().replace("_", " "))
    return _WRITERS[name](value, dotall)


def _character(code: int) -> str:
    return chr(code) if chr(code).isascii() and chr(code).isalnum() else f"\\u{{{code:x}}}"


def _category(value: Any) -> str:
    r"""Write ``\w`` and its kin as a class of its own, which may stand inside another one."""
    negated, name = "_NOT_" in str(value), str(value).rpartition("_")[2]
    return f"[{'^' if negated else ''}{_CATEGORIES[name]}]"


def _class(items: Nodes, _: bool = False) -> str:  # noqa: FBT001, FBT002
    parts = []
    for name, value in items:
        match str(name):
            case "NEGATE":
                parts.append("^")
            case "LITERAL":
                parts.append(_character(value))
            case "RANGE":
                parts.append("-".join(map(_character, value)))
            case "CATEGORY":
                parts.append(_category(value))
    return f"[{''.join(parts)}]"


def _repeat(value: Any, dotall: bool, suffix: str = "") -> str:  # noqa: FBT001
    least, most, inner = value
    most_text = "" if most == import_module("re._constants").MAXREPEAT else str(most)
    return f"(?:{_sequence(list(inner), dotall=dotall)}){{{least},{most_text}}}{suffix}"


def _group(value: Any, dotall: bool) -> str:  # noqa: FBT001
    _, added, removed, inner = value
    if added or removed:
        raise _refused("a flag inside a group")
    return f"(?:{_sequence(list(inner), dotall=dotall)})"


def _branch(value: Any, dotall: bool) -> str:  # noqa: FBT001
    return f"(?:{'|'.join(_sequence(list(way), dotall=dotall) for way in value[1])})"


def _look(value: Any, dotall: bool, sign: str) -> str:  # noqa: FBT001
    direction, inner = value
    return f"(?{'<' if direction < 0 else ''}{sign}{_sequence(list(inner), dotall=dotall)})"


def _edge(value: Any, _: bool) -> str:  # noqa: FBT001
    if str(value) in _EDGES:
        return _EDGES[str(value)]
    return _BOUNDARY if str(value) == "AT_BOUNDARY" else f"(?!{_BOUNDARY})"


_WRITERS: Mapping[str, Callable[[Any, bool], str]] = {
    "LITERAL": lambda code, _: _character(code),
    "NOT_LITERAL": lambda code, _: f"[^{_character(code)}]",
    "ANY": lambda _, dotall: "[^]" if dotall else "[^\\n]",
    "IN": _class,
    "BRANCH": _branch,
    "MAX_REPEAT": _repeat,
    "MIN_REPEAT": lambda value, dotall: _repeat(value, dotall, "?"),
    "SUBPATTERN": _group,
    "ASSERT": lambda value, dotall: _look(value, dotall, "="),
    "ASSERT_NOT": lambda value, dotall: _look(value, dotall, "!"),
    "AT": _edge,
}
