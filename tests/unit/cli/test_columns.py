"""Which column, or which constant, is which field of an event."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cli.columns import FIELDS, OPEN_FIELDS, ColumnMap, derived_id
from cli.command import CommandError
from relay.contract.event import Customer, Event
from relay.errors import FieldError

BASE = ("id=Id", "source=@shop", "type=@order_shipped")


def row(*told: str, zone: str | None = None, **cells: str) -> tuple[dict[str, Any], list[FieldError]]:
    """What one row becomes; `cells` by the names of their columns, `_` for a space."""
    named = {name.replace("_", " "): value for name, value in {"Id": "7", **cells}.items()}
    columns = ColumnMap.read((*BASE, *told), None, ZoneInfo(zone) if zone else None)
    return columns.bind(list(named)).event(list(named.values()))


def value(kind: str, cell: str) -> Any:
    """What a cell of that kind becomes. Fails where it is none."""
    data, errors = row(f"properties.x:{kind}=Cell", Cell=cell)
    assert errors == []
    return data["properties"]["x"]


def test_the_fields_are_the_contract_s() -> None:
    """Every field of the model is mapped, as itself or with a name behind it."""
    fields = {*(Event.model_fields.keys() - {"customer"}), *(f"customer.{name}" for name in Customer.model_fields)}
    assert {*FIELDS, *OPEN_FIELDS} == fields


def test_columns_constants_and_columns_within_constants() -> None:
    """GIVEN a row WHEN mapped THEN each field holds what its map says, nested where it is nested."""
    told: tuple[str, ...] = (
        "id=@order-{Id}-shipped",
        "customer.email=E Mail",
        "customer.properties.tier=@gold",
        "properties.a.b=Id",
    )
    told = (*told, "customer.provider_ids.post=Id", "destinations=@one/main two/main")
    data, errors = ColumnMap.read((*BASE[1:], *told), None).bind(["Id", "E Mail"]).event(["7", " ada@example.com "])
    assert errors == []
    assert data == {
        "id": "order-7-shipped",
        "source": "shop",
        "type": "order_shipped",
        "customer": {
            "email": "ada@example.com",
            "properties": {"tier": "gold"},
            "provider_ids": {"post": "7"},
        },
        "properties": {"a.b": "7"},
        "destinations": ["one/main", "two/main"],
    }


@pytest.mark.parametrize(
    ("kind", "cell", "expected"),
    [
        ("text", "007", "007"),
        ("number", "7", 7),
        ("number", "6.70", 6.7),
        ("number", "-1e3", -1000.0),
        ("comma", "1.234,50", 1234.5),
        ("comma", "86,7", 86.7),
        ("comma", "1 000", 1000),
        ("integer", "42", 42),
        ("boolean", "Yes", True),
        ("boolean", "0", False),
        ("unix", "1795341600", "2026-11-22T10:00:00Z"),
        ("unix", "1795341600250", "2026-11-22T10:00:00.250000Z"),
    ],
)
def test_a_kind_says_what_a_cell_holds(kind: str, cell: str, expected: object) -> None:
    """Nothing is guessed: a number is one because its map says so."""
    found = value(kind, cell)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("number", "6,70"),
        ("number", "1.234.5"),
        ("number", "inf"),
        ("number", "0x1f"),
        ("comma", "1.23,4"),
        ("comma", "1,2,3"),
        ("integer", "6.7"),
        ("boolean", "maybe"),
        ("unix", "2026-11-22"),
        ("number", "ada@example.com"),
    ],
)
def test_what_is_not_of_its_kind_is_an_error_that_does_not_quote_it(kind: str, cell: str) -> None:
    """A person finds the cell by its line; a log has nothing of it."""
    data, (error,) = row(f"properties.x:{kind}=Cell", Cell=cell)
    assert error.field == "properties.x"
    assert cell not in error.message
    assert "properties" not in data


@pytest.mark.parametrize(("cell", "expected"), [("true", True), ("No", False), ("1", True)])
def test_history_is_yes_or_no(cell: str, expected: bool) -> None:
    """Without a kind of its own, and it is no part of the id that is made of the content."""
    columns = ColumnMap.read(["type=@order", "backfill=Old"], None)
    data, errors = columns.bind(["Old"]).event([cell])
    assert (data["backfill"], errors) == (expected, [])
    assert data["id"] == ColumnMap.read(["type=@order", "source=Old"], None).bind(["Old"]).event([""])[0]["id"]


def test_an_empty_cell_is_no_field() -> None:
    """Nor is a constant with a column in it that is empty."""
    data, errors = row("customer.email=Mail", "properties.x=@a-{Mail}", Mail="  ")
    assert (data.keys() & {"customer", "properties"}, errors) == (set(), [])


def test_value_is_a_number_and_moments_have_a_zone() -> None:
    """GIVEN moments without an offset WHEN their zone is told THEN they have that day's offset; others keep theirs."""
    told = ("value=Total", "occurred_at=Then", "expires_at=Until")
    data, _ = row(*told, zone="Europe/Berlin", Total="5", Then="2026-07-01 10:00:00", Until="2026-12-01T10:00:00Z")
    assert (data["value"], data["occurred_at"], data["expires_at"]) == (
        5,
        "2026-07-01T10:00:00+02:00",
        "2026-12-01T10:00:00Z",
    )


def test_a_column_named_as_a_field_is_that_field() -> None:
    """Unless the map says else. What is no field is told."""
    header = ["id", "type", "customer.email", "properties.total:number", "Remark"]
    rows = ColumnMap.read(("source=@shop", "type=@seen"), None).bind(header)
    data, errors = rows.event(["1", "other", "ada@example.com", "6.7", "secret"])
    assert errors == []
    assert data == {
        "id": "1",
        "source": "shop",
        "type": "seen",
        "customer": {"email": "ada@example.com"},
        "properties": {"total": 6.7},
    }
    assert rows.unused == ["type", "Remark"]


def test_without_an_id_it_has_one_of_its_content() -> None:
    """GIVEN no map of `id` WHEN the same row comes again, or goes elsewhere THEN it is the same event; else another."""
    columns = ColumnMap.read(("type=@seen", "customer.email=Mail", "properties.n=N", "destinations=To"), None)
    rows = columns.bind(["Mail", "N", "To", "expires_at"])

    def id_of(*cells: str) -> str:
        return str(rows.event(cells)[0]["id"])

    first = id_of("ada@example.com", "1", "one/main", "")
    assert first == id_of("ada@example.com", "1", "two/main", "2026-12-01T10:00:00Z")
    assert first != id_of("ada@example.com", "2", "one/main", "")
    assert "ada" not in first
    # As it is written down in the docs: for good.
    assert derived_id({"type": "seen"}) == "row-b6c466fae2099c73587d1787692d42f3"


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("nonsense=A", "nonsense is no field of an event"),
        ("customer=A", "customer is no field"),
        ("properties.=A", "properties. is no field"),
        ("properties.x:nubmer=A", "there is no kind nubmer"),
        ("type", "write FIELD=COLUMN"),
        ("type=", "write FIELD=COLUMN"),
    ],
)
def test_what_is_no_map_is_refused(told: str, says: str) -> None:
    with pytest.raises(CommandError, match=says):
        ColumnMap.read((told,), None)


def test_a_field_is_mapped_once() -> None:
    with pytest.raises(CommandError, match="type stands twice"):
        ColumnMap.read(("type=A", "type=@b"), None)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (["Name"], "Mail is not a column of it; it has Name"),
        (["Mail", "Mail"], "Mail is the name of 2 columns"),
        # A file without a header: its first customer is not told.
        (["ada@example.com", "+15550100001"], "it has \\*\\*\\*"),
    ],
)
def test_a_column_that_is_not_there_once_is_refused(header: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says) as caught:
        ColumnMap.read(("customer.email=Mail",), None).bind(header)
    assert "ada" not in str(caught.value)


def test_a_file_that_nothing_is_mapped_of_is_refused() -> None:
    with pytest.raises(CommandError, match="which column is what"):
        ColumnMap.read(("type=@seen",), None).bind(["Name"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "map.toml",
            'type = "@seen"\nid = "@{No}"\ncustomer.email = "Mail"\n'
            'properties.total = {column = "Total", kind = "comma"}\n'
            'properties.way = {constant = "web"}\n"properties.n:integer" = "N"\n',
        ),
        (
            "map.json",
            '{"type": "@seen", "id": "@{No}", "customer": {"email": "Mail"}, "properties.n:integer": "N",'
            ' "properties": {"total": {"column": "Total", "kind": "comma"}, "way": {"constant": "web"}}}',
        ),
    ],
)
def test_a_map_file_says_the_same(tmp_path: Path, name: str, text: str) -> None:
    """In TOML or JSON; what is told on the command line goes before it."""
    (tmp_path / name).write_text(text)
    columns = ColumnMap.read(("properties.way=@app",), tmp_path / name)
    data, errors = columns.bind(["No", "Mail", "Total", "N"]).event(["1", "ada@example.com", "1,5", "3"])
    assert errors == []
    assert data == {
        "type": "seen",
        "id": "1",
        "customer": {"email": "ada@example.com"},
        "properties": {"total": 1.5, "way": "app", "n": 3},
    }


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("map.toml", "type = ", "cannot be read"),
        ("map.json", "[1]", "holds no map"),
        ("map.toml", "type = 7", "type is none of"),
        ("map.toml", "colour = 'x'", "colour is no field"),
        ("map.toml", "properties.x = {column = 'X', kind = 'odd'}", "no kind odd"),
    ],
)
def test_a_map_file_that_is_none_is_refused(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CommandError, match=says):
        ColumnMap.read((), tmp_path / name)


def test_value_is_a_number_in_a_map_file_too(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text("value = {column = 'Total'}")
    data, errors = ColumnMap.read((), tmp_path / "map.toml").bind(["Total"]).event(["6.7"])
    assert (data["value"], errors) == (6.7, [])


@pytest.mark.parametrize("kind", ["number", "comma"])
def test_a_number_of_thousands_of_digits_is_none(kind: str) -> None:
    """Python itself refuses to read it."""
    _, errors = row(f"properties.x:{kind}=Cell", Cell="9" * 5_000)
    assert [error.field for error in errors] == ["properties.x"]


def test_a_map_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        ColumnMap.read((), tmp_path / "map.toml")
