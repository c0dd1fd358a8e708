"""The README's cost is of the code as it is: its calls are counted again."""

from bench.cost import COUNTS, SHAPES, count, read_counts
from local.stack import Stack
from tests.system.running import Relay


def test_an_event_still_needs_the_calls_that_the_readme_is_priced_by(stack: tuple[Stack, object], relay: Relay) -> None:
    """GIVEN the functions of today WHEN counted again THEN calls are the same, bytes nearly; else `make bench-cost`."""
    priced, counted = read_counts(), count(stack[0], rounds=1)
    for shape in SHAPES:
        for part, usage in counted[shape].items():
            kept = priced[shape][part]
            # A batch that used a turn late, or gave one back, writes its account's record once more: never less. Ten
            # on a machine that is busy with other tests did so twice; a write for each of ten would be a fault.
            more = round(usage.writes - kept.writes, 3)
            assert 0 <= more <= (0.4 if SHAPES[shape] > 1 else 1), (shape, part, "writes")
            for name in ("sqs_standard", "sqs_fifo", "reads", "invocations"):
                assert getattr(usage, name) == getattr(kept, name), (
                    f"{COUNTS.name} is out of date: {shape} {part} {name}"
                )
            for name in ("log_bytes", "stored_bytes", "sent_bytes"):
                # Ids and ports are longer or shorter from one run to the next.
                assert abs(getattr(usage, name) - getattr(kept, name)) <= 0.1 * getattr(kept, name), (shape, part, name)
