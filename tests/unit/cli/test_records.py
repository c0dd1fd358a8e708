"""What a file holds, record by record, however it is written."""

import io
import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from cli.columns import ColumnMap
from cli.command import CommandError
from cli.records import LONGEST_LINE, Format, Reading, Record, Source

A, B = {"id": "a"}, {"id": "b"}


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(name: str, **options: Any) -> list[Record]:
    return list(Source(name, Reading(**options)))


def contents(name: str, **options: Any) -> list[object]:
    return [record.content for record in read(name, **options)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("one.json", json.dumps([A, B])),
        ("many.json", json.dumps({"events": [A, B]}, indent=2)),
        ("lines.jsonl", f"{json.dumps(A)}\n\n{json.dumps(B)}\r\n"),
        ("lines.json", f"{json.dumps(A)}\n{json.dumps(B)}"),
        ("nothing", f"\n{json.dumps(A)}\n{json.dumps(B)}\n"),
        ("marked.jsonl", f"\ufeff{json.dumps(A)}\n{json.dumps(B)}"),
        ("table.csv", "id\na\nb\n"),
        ("table.tsv", "id\tx\na\t\nb\t\n"),
        ("marked.csv", "\ufeffid;y\r\na;1\r\nb;2\r\n"),
    ],
)
def test_every_way_of_writing_two_events(tmp_path: Path, name: str, text: str) -> None:
    """GIVEN a file WHEN read twice THEN the same two records each time, without saying what it is."""
    source = Source(write(tmp_path, name, text), Reading())
    for _ in range(2):
        assert [record.content for record in source] == [A, B]
        assert [record.number for record in source] == [1, 2]


def test_one_event_is_a_document(tmp_path: Path) -> None:
    assert contents(write(tmp_path, "one.json", json.dumps(A, indent=2))) == [A]


def test_what_sqs_and_sns_hand_a_function_is_a_list_of_records(tmp_path: Path) -> None:
    """Bodies are read, and a body that is no JSON is one bad record."""
    batch = {"Records": [{"eventSource": "aws:sqs", "body": body} for body in (json.dumps(A), "{", json.dumps(B))]}
    first, bad, last = read(write(tmp_path, "sqs.json", json.dumps(batch)))
    assert (first.content, last.content, bad.place) == (A, B, "event 2")
    assert "is not JSON" in bad.errors[0].message
    call = {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "x"}}]}
    assert contents(write(tmp_path, "sns.json", json.dumps(call))) == [{"Message": "x"}]


def test_a_call_of_deliver_is_no_event(tmp_path: Path) -> None:
    """It may be a dry run: sent as an event, it would be delivered."""
    call = {"destination": "one/main", "event": A, "dry_run": True}
    (record,) = read(write(tmp_path, "call.json", json.dumps(call)))
    assert "is a call of a function that delivers" in record.errors[0].message


def test_lines_are_told_by_their_number(tmp_path: Path) -> None:
    """Blank lines count, and a cell of several lines does."""
    name = write(tmp_path, "x.jsonl", '{"id": "a"}\n\n{"id": }\n{"id": "b", "id": "c"}\n')
    assert [(record.place, [str(each) for each in record.errors]) for record in read(name)] == [
        ("line 1", []),
        ("line 3", ["body: is not JSON: Expecting value at character 7"]),
        ("line 4", ["id: stands twice"]),
    ]
    name = write(tmp_path, "x.csv", 'id,type\na,"two\nlines"\n\nb,x\nc\nd,x,y\ne,"x"y\nf,z\n')
    assert [(record.place, [str(each) for each in record.errors]) for record in read(name)] == [
        ("line 2", []),
        ("line 5", []),
        ("line 6", ["body: has 1 cells, the header 2"]),
        ("line 7", ["body: has 3 cells, the header 2"]),
        ("line 8", ["body: is no row of CSV: ',' expected after '\"'"]),
        ("line 9", []),
    ]


def test_a_quote_that_is_never_closed_is_one_error_and_no_megabytes(tmp_path: Path) -> None:
    """GIVEN a CSV file with an open quote WHEN read THEN the rows before it stand, and the end of the file is told."""
    name = write(tmp_path, "x.csv", 'id,type\na,x\nb,"x\n' + "c,x\n" * 10)
    first, last = read(name)
    assert (first.errors, last.place) == ((), "line 3")
    assert "unexpected end of data" in last.errors[0].message


def test_the_delimiter_is_what_divides_the_header(tmp_path: Path) -> None:
    """Whatever else the cells below are full of."""
    name = write(tmp_path, "x.csv", 'id;"a, b";type\na;"1,2,3,4,5";x\n')
    assert contents(name) == [{"id": "a", "type": "x"}]
    assert contents(write(tmp_path, "y.csv", "id#type\na#x\n"), delimiter="#") == [{"id": "a", "type": "x"}]


def test_encodings(tmp_path: Path) -> None:
    """UTF-8 and UTF-16 with its mark are known; another is named, and one that is wrong is told with its place."""
    text = "id,properties.name\na,Zoë\n"
    expected = [{"id": "a", "properties": {"name": "Zoë"}}]
    assert contents(write(tmp_path, "8.csv", text)) == expected
    assert contents(write(tmp_path, "16.csv", text.encode("utf-16"))) == expected
    latin = write(tmp_path, "1.csv", text.encode("cp1252"))
    assert contents(latin, encoding="cp1252") == expected
    with pytest.raises(CommandError, match=r"is not utf-8, at or behind its first line: name its --encoding"):
        read(latin)
    with pytest.raises(CommandError, match="there is no encoding klingon"):
        read(latin, encoding="klingon")


def test_a_line_that_is_too_long_is_one_bad_record(tmp_path: Path) -> None:
    """It is never in memory whole."""
    name = write(tmp_path, "x.jsonl", '{"id": "a"}\n"' + "x" * (2 * LONGEST_LINE) + '"\n{"id": "b"}\n')
    assert [(record.place, bool(record.errors)) for record in read(name)] == [
        ("line 1", False),
        ("line 2", True),
        ("line 3", False),
    ]


def test_what_it_is_cannot_always_be_known(tmp_path: Path) -> None:
    """Then it is asked for, or the options tell."""
    name = write(tmp_path, "export", "id,type\na,x\n")
    with pytest.raises(CommandError, match="what is it"):
        read(name)
    assert contents(name, format=Format.CSV) == [{"id": "a", "type": "x"}]
    assert contents(name, columns=ColumnMap.read(("id=id",), None)) == [{"id": "a", "type": "x"}]


def test_a_file_without_a_header_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="without a header"):
        read(write(tmp_path, "x.csv", "\n"))


def test_standard_input_can_be_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is checked, then sent. Nobody can go on with it in another run."""

    class Standard:
        buffer = io.BytesIO(json.dumps([A, B]).encode())

    monkeypatch.setattr(sys, "stdin", Standard)
    source = Source("-", Reading())
    assert not source.can_go_on
    assert [record.content for record in source] == [record.content for record in source] == [A, B]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """GIVEN 6 MB of lines WHEN read THEN less than a tenth of it is in memory at any time."""
    name = write(tmp_path, "x.csv", "id,type\n" + "a,x\n" * 10 + f"b,{'x' * 6_000}\n" * 1_000)
    source = Source(name, Reading())
    tracemalloc.start()
    count = sum(1 for _ in source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1_010
    assert peak < source.size / 10
