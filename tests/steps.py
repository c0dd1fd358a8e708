"""What a piece of work costs, in counted steps instead of seconds: the same on any machine, whatever runs beside it.

A step is one of these, as `sys.monitoring` reports them:

- a Python function that begins or resumes, a branch, a jump: so every turn of every loop, comprehension and generator;
- a call into C, which counts as many steps as what it works on is long: the method's own object and the first argument,
  in characters, bytes or items. `keys.count(key)` costs `len(keys)`; `CONSTANT` lists what costs one step however long.

Python shows only the first argument of a call. Where that is no measure (the text that a pattern reads, the parts that
`join` joins, an iterator, what pydantic or JSON write out) the longest local variable of the caller stands for it.

What it cannot see: operators (`in` a list, `+`, a slice, `(*path, key)`, an f-string), `pop` from a list's front, how
often a regular expression goes back and forth over its text (it counts as one pass: a pattern needs a test of its own),
and what C does by itself with what it was given (a sort counts once per item). `peak_bytes` finds the operators whose
results are kept.
"""

import re
import sys
import threading
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from inspect import ismodule
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any

CONSTANT: frozenset[object] = frozenset(
    {
        *(
            callable,
            enumerate,
            filter,
            getattr,
            hasattr,
            id,
            isinstance,
            issubclass,
            iter,
            len,
            map,
            next,
            range,
            reversed,
        ),
        *(setattr, super, type, zip, sys.getsizeof, sys.exc_info, object.__new__, object.__setattr__),
        *(dict.get, dict.items, dict.keys, dict.pop, dict.popitem, dict.setdefault, dict.values, Mapping.get),
        *(list.append, list.pop, set.add, set.discard, deque.append, deque.appendleft, deque.pop, deque.popleft),
        *(str.endswith, str.startswith, bytes.endswith, bytes.startswith, re.Match.end, re.Match.start, re.Match.span),
    }
)
"""Calls into C that cost the same however long their arguments are."""

_TOOL = 4
_EVENTS = sys.monitoring.events
_JOINS = frozenset({str.join, bytes.join})
_ATOMS = (int, float, bool, type(None), type, FunctionType, MethodType)


def steps(work: Callable[[], object]) -> int:
    """Does `work` and returns what it cost this thread, in steps. What it raises is raised."""
    counted = 0
    here = threading.get_ident()

    def step(*_: object) -> None:
        nonlocal counted
        if threading.get_ident() == here:
            counted += 1

    def call(code: CodeType, offset: int, function: object, first: object) -> None:
        nonlocal counted
        if threading.get_ident() == here and not isinstance(function, FunctionType | MethodType):
            counted += _cost(function, first, sys._getframe(1))

    monitoring = sys.monitoring
    monitoring.use_tool_id(_TOOL, "steps")
    try:
        for event in (_EVENTS.PY_START, _EVENTS.PY_RESUME, _EVENTS.BRANCH, _EVENTS.JUMP):
            monitoring.register_callback(_TOOL, event, step)
        monitoring.register_callback(_TOOL, _EVENTS.CALL, call)
        monitoring.set_events(
            _TOOL, _EVENTS.PY_START | _EVENTS.PY_RESUME | _EVENTS.BRANCH | _EVENTS.JUMP | _EVENTS.CALL
        )
        work()
    finally:
        monitoring.set_events(_TOOL, 0)
        monitoring.free_tool_id(_TOOL)
    return counted


def peak_bytes(work: Callable[[], object]) -> int:
    """Does `work` and returns how many bytes more than before Python held while it went on, at most."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


def _cost(function: Any, first: object, caller: FrameType) -> int:
    owner = getattr(function, "__self__", None)
    if owner is not None and not ismodule(owner) and not isinstance(owner, type):
        # A bound method, such as `out.append` kept in a variable: as if its object were the first argument.
        function, first = getattr(type(owner), function.__name__, function), owner
    if _is_one_of(function, CONSTANT):
        return 1
    if _writes_whole(function) or _writes_whole(first):
        return 1 + _longest(caller, _whole)
    if _is_one_of(function, _JOINS) or isinstance(first, re.Pattern | Iterator):
        return 1 + _longest(caller, _length)
    return 1 + _length(first)


def _is_one_of(function: object, known: frozenset[Any]) -> bool:
    try:
        return function in known
    except TypeError:
        # Bound to an object without a hash: a method has its object's.
        return False


def _writes_whole(thing: object) -> bool:
    """Whether it reads or writes all that it is given, to the last leaf."""
    return type(thing).__module__ in ("_json", "pydantic_core._pydantic_core")


def _longest(caller: FrameType, size: Callable[[object], int]) -> int:
    return max(map(size, caller.f_locals.values()), default=0)


def _length(thing: object) -> int:
    if isinstance(thing, (range, *_ATOMS)):
        return 0
    try:
        return len(thing)  # type: ignore[arg-type]
    except Exception:
        return 0


def _whole(thing: object) -> int:
    """The characters and items of a thing and of all in it."""
    total, seen, stack = 0, set[int](), [thing]
    while stack:
        node = stack.pop()
        if isinstance(node, str | bytes):
            total += len(node)
        elif not isinstance(node, _ATOMS) and id(node) not in seen:
            seen.add(id(node))
            inside = _inside(node)
            total += len(inside)
            stack.extend(inside)
    return total


def _inside(node: object) -> list[object]:
    match node:
        case Mapping():
            return [*node.keys(), *node.values()]
        case list() | tuple() | set() | frozenset():
            return list(node)
        case _:
            # An event's fields; of a model's own class, or a module, there is nothing to write.
            fields = getattr(node, "__dict__", {}) if hasattr(node, "__pydantic_fields_set__") else {}
            return list(fields.values())
