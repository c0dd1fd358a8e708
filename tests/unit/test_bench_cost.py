"""The README's cost tables are what `make bench-cost` counted, at the prices of its list."""

import re

import pytest

from bench import scale
from bench.cost import PRICED, README, SHAPES, Usage, per_million, read_counts, tables, with_tables
from relay.adapters.http import CONNECT_SECONDS, READ_SECONDS
from relay.delivery.services import LONGEST_WAIT, RESERVE


def test_the_readme_s_tables_are_what_the_script_prints() -> None:
    """GIVEN the counts, the template and the prices WHEN the tables are made THEN the README has just these.

    `python -m bench.cost --write` puts them there; `make bench-cost` counts anew first.
    """
    text = README.read_text()
    assert tables() in text
    assert with_tables(text) == text
    assert PRICED in text


def test_a_dollar_is_a_dollar() -> None:
    """GIVEN one of each thing that is paid for WHEN priced THEN a million of them cost what the list says."""
    usage = Usage(
        sqs_standard=1, sqs_fifo=1, writes=1, reads=1, log_bytes=1000, stored_bytes=1000, sent_bytes=1000,
        invocations=1, seconds=1,
    )  # fmt: skip
    assert usage.lines == pytest.approx(
        {"queues": 0.9, "function": 0.2 + 6.6667, "ledger": 0.75 + 0.45, "logs": 0.5, "data out": 0.09}
    )


def test_a_destination_more_is_a_delivery_more() -> None:
    """GIVEN counts of one kind only WHEN put into a table THEN each row adds up."""
    nothing, delivery = Usage(), Usage(writes=2)
    table = per_million({shape: {"intake": nothing, "delivery": delivery} for shape in SHAPES})
    assert "| **to one destination** | **$1.25** | **$1.25** |" in table
    assert "| each further destination | $1.25 | $1.25 |" in table


def test_both_shapes_were_counted() -> None:
    """GIVEN the counts in the repository WHEN read THEN bursts need fewer calls for each event than single ones."""
    counts = read_counts()
    assert counts.keys() == SHAPES.keys()
    for part in ("intake", "delivery"):
        assert counts["bursts"][part].invocations == 0.1
        assert counts["single"][part].invocations == 1
        assert counts["bursts"][part].log_bytes < counts["single"][part].log_bytes


def test_the_table_of_scale_is_what_the_script_prints() -> None:
    """GIVEN the counts WHEN the table of docs/scale.md is made THEN the page has just that.

    `python -m bench.scale --write` puts it there.
    """
    text = scale.PAGE.read_text()
    assert scale.with_table(text) == text
    assert "| writes to the ledger, a second | 20 | 2,000 | 200,000 |" in text


def test_what_scale_computes_from_the_counts_still_holds() -> None:
    """GIVEN the counts WHEN the page's sums are made again THEN it says so much, as near as seconds can be had on a
    machine that is busy with other things.
    """
    text, counts = scale.PAGE.read_text(), read_counts()
    intake, delivery = ([counts[shape][part].seconds for shape in SHAPES] for part in ("intake", "delivery"))
    said = re.search(r"([\d,]+) events a second in bursts, ([\d,]+) one by one \| alarms `…-intake-age`", text)
    assert said
    assert [_number(each) for each in said.groups()] == pytest.approx([10 / each for each in intake], rel=0.7)
    said = re.search(r"1,700 a second: (\d+) to (\d+) places", text)
    assert said
    assert [_number(each) for each in said.groups()] == pytest.approx([1e5 / 60 * each for each in delivery], rel=0.3)
    longest = LONGEST_WAIT + CONNECT_SECONDS + READ_SECONDS + RESERVE
    assert f"| {longest:.0f} s before that |" in text
    assert (
        f"wait {LONGEST_WAIT} s for its turn, {CONNECT_SECONDS:.0f} s for a connection, {READ_SECONDS:.0f} s for an"
        in text
    )


def _number(text: str) -> float:
    return float(text.replace(",", ""))
