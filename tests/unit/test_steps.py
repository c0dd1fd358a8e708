"""The counter of steps itself: what is quadratic looks quadratic, what is linear looks linear."""

import json
import re
import threading
from collections.abc import Callable
from operator import itemgetter

import pytest

from relay.masking import mask_identifiers
from tests.factories import make_event
from tests.steps import peak_bytes, steps

pytestmark = pytest.mark.long

SMALL, LARGE = 100, 1_000


def growth(cost: Callable[[int], int]) -> float:
    """How much more ten times the work costs: about 10 for linear work, about 100 for quadratic."""
    return cost(LARGE) / cost(SMALL)


def keys(size: int) -> list[str]:
    return [str(number) for number in range(size)]


def repeated(given: list[str]) -> list[str]:
    return [key for key in given if given.count(key) > 1]


def kept_in_a_variable(given: list[str]) -> list[str]:
    count = given.count
    return [key for key in given if count(key) > 1]


def nested_loops(given: list[str]) -> int:
    return sum(1 for one in given for other in given if one is other)


def shifted(given: list[str]) -> None:
    while given:
        given.remove(given[0])


def sorted_each_time(given: list[str]) -> None:
    for _ in given:
        sorted(given)


def searched_each_time(given: list[str]) -> None:
    text = "".join(given)
    pattern = re.compile("z")
    for _ in given:
        pattern.search(text)


def joined_each_time(given: list[str]) -> None:
    for _ in given:
        ",".join(given)


def read_as_an_iterator_each_time(given: list[str]) -> None:
    for _ in given:
        any(map(str.isspace, given))


def dumped_each_time(given: list[str]) -> None:
    for _ in given[::20]:
        json.dumps({"given": given})


def written_each_time(given: list[str]) -> None:
    event = make_event(properties=dict.fromkeys(given, 1))
    for _ in given[::20]:
        event.to_json()


@pytest.mark.parametrize(
    "work",
    [
        repeated,
        kept_in_a_variable,
        nested_loops,
        shifted,
        sorted_each_time,
        searched_each_time,
        joined_each_time,
        read_as_an_iterator_each_time,
        dumped_each_time,
        written_each_time,
    ],
)
def test_quadratic_work_looks_quadratic(work: Callable[[list[str]], object]) -> None:
    """Whether the inner loop is Python's or C's."""
    assert growth(lambda size: steps(lambda: work(keys(size)))) > 50


def counted_in_a_table(given: list[str]) -> dict[str, int]:
    seen: dict[str, int] = {}
    for key in given:
        seen[key] = seen.get(key, 0) + 1
    return seen


def collected(given: list[str]) -> list[str]:
    out: list[str] = []
    add = out.append
    for key in given:
        out.append(key)
        add(key)
    return sorted(out, key=itemgetter(0))


def written_and_read(given: list[str]) -> object:
    return json.loads(json.dumps(given))


def masked_one_by_one(given: list[str]) -> None:
    for key in given:
        mask_identifiers(key)


@pytest.mark.parametrize("work", [counted_in_a_table, collected, written_and_read, masked_one_by_one])
def test_linear_work_looks_linear(work: Callable[[list[str]], object]) -> None:
    """A long list beside a short call does not make that call long."""
    assert growth(lambda size: steps(lambda: work(keys(size)))) < 15


def test_the_count_is_the_same_every_time() -> None:
    """Nothing of the machine or of what runs beside it is in it."""
    stop = threading.Event()
    beside = threading.Thread(target=lambda: [json.dumps([0]) for _ in iter(stop.is_set, True)])
    alone = {steps(lambda: repeated(keys(SMALL))) for _ in range(3)}
    beside.start()
    try:
        busy = {steps(lambda: repeated(keys(SMALL))) for _ in range(3)}
    finally:
        stop.set()
        beside.join()
    assert len(alone | busy) == 1


def test_what_the_work_raises_is_raised() -> None:
    """And the next count begins afresh."""
    with pytest.raises(ZeroDivisionError):
        steps(lambda: 1 / 0)
    assert steps(lambda: None) < 10


def paths(given: list[str]) -> list[tuple[str, ...]]:
    """One longer than the other: an operator, which `steps` cannot see."""
    made: list[tuple[str, ...]] = [()]
    for key in given:
        made.append((*made[-1], key))
    return made


def test_what_is_kept_shows_in_the_peak() -> None:
    """Paths of nested nodes, each a whole tuple, are quadratic in memory."""
    assert growth(lambda size: steps(lambda: paths(keys(size)))) < 15
    assert growth(lambda size: peak_bytes(lambda: paths(keys(size)))) > 40
    assert growth(lambda size: peak_bytes(lambda: keys(size))) < 15
