"""The bench's model and prices: what is compared with what, and that a formula is the formula."""

import pytest

from bench.model import OTHERS, SAME, Played, _section
from bench.prices import _textbook


@pytest.mark.parametrize(("steps_then", "said"), [(100, SAME), (50, OTHERS)])
def test_the_model_is_held_against_what_it_was(steps_then: int, said: str) -> None:
    """GIVEN rounds of either side WHEN compared THEN the ratio is of steps a second, round by round, and it is said
    whether both did the same.
    """
    then = Played(steps_then, steps_then / 100)
    section = _section([[Played(100, 0.5), then], [Played(100, 0.8), then], [Played(100, 0.4), then]])
    compared, plain = section.rows
    assert compared.runs == pytest.approx([2.0, 1.25, 2.5])
    assert compared.is_met
    assert plain.runs == pytest.approx([200.0, 125.0, 250.0])
    assert said in section.notes[0]


def test_without_history_nothing_is_claimed() -> None:
    """GIVEN rounds of one side THEN no row has a goal, and a note says why."""
    section = _section([[Played(100, 0.5)], [Played(100, 0.8)]])
    assert [row.goal for row in section.rows] == [None]
    assert section.notes[0].startswith("Not compared")


def test_the_textbook_has_one_call_a_batch_and_one_post_after_the_other() -> None:
    """GIVEN ten events that come together THEN a batch's requests and its call are shared, and its posts are not."""
    ten, one = _textbook(10, 500), _textbook(1, 500)
    assert (ten.sqs_standard, one.sqs_standard) == (1.2, 3)
    assert (ten.invocations, one.invocations) == (0.1, 1)
    assert ten.seconds == one.seconds == 0.2
    assert ten.writes == 0
