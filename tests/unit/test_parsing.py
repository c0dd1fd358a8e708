"""JSON as the contract wants it."""

import pytest

from relay.contract.parsing import LONGEST_NAME, MAX_LEVELS, parse_json
from relay.errors import MOST_ERRORS, InvalidEventError
from tests.factories import EMAIL


def errors_of(body: str) -> list[tuple[str, str]]:
    with pytest.raises(InvalidEventError) as caught:
        parse_json(body)
    return [(error.field, error.message) for error in caught.value.errors]


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_json_has_no_such_number(constant: str) -> None:
    """Python's JSON would take NaN; the contract does not."""
    with pytest.raises(InvalidEventError, match=f"^body: holds {constant}, which is not a JSON number$"):
        parse_json(f'{{"value": {constant}}}')


@pytest.mark.parametrize("body", ["[" * 10_000 + "]" * 10_000, '{"a":' * 10_000 + "1" + "}" * 10_000])
def test_ten_thousand_levels(body: str) -> None:
    """Endless nesting is one error."""
    with pytest.raises(InvalidEventError, match=r"^body: is nested too deeply: more than 32 levels$"):
        parse_json(body)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"id": "1", "id": "2"}', "id"),
        ('{"customer": {"email": "a@b.io", "email": "c@d.io"}}', "customer.email"),
        ('{"properties": {"a": 1, "a": 1, "a": 1}}', "properties.a"),
        ('{"destinations": [{}, {"x": 1, "x": 2}]}', "destinations.1.x"),
    ],
)
def test_a_key_that_stands_twice(body: str, field: str) -> None:
    """Which of the two was meant, nobody can know."""
    with pytest.raises(InvalidEventError) as caught:
        parse_json(body)
    assert [(error.field, error.message) for error in caught.value.errors] == [(field, "stands twice")]


def test_every_key_that_stands_twice_is_named() -> None:
    """All of them at once."""
    with pytest.raises(InvalidEventError) as caught:
        parse_json('{"a": 1, "a": 2, "b": {"c": 1, "c": 2}}')
    assert {error.field for error in caught.value.errors} == {"a", "b.c"}


@pytest.mark.parametrize("body", ["", " ", "\n\t"])
def test_an_empty_body(body: str) -> None:
    """Nothing is named nothing."""
    with pytest.raises(InvalidEventError, match=r"^body: is empty$"):
        parse_json(body)


@pytest.mark.parametrize("body", ["{", "hello", "{'id': 1}", '{"id": 1,}', '{"id": 1} {}', "\ufeff{}", '{"a": "\n"}'])
def test_malformed_json(body: str) -> None:
    """The error says where, and does not repeat the body."""
    with pytest.raises(InvalidEventError) as caught:
        parse_json(body)
    (error,) = caught.value.errors
    assert error.field == "body"
    assert error.message.startswith("is not JSON")
    assert "hello" not in error.message


# ------------------------------------------------------------------------------------------------ nesting


@pytest.mark.parametrize(("start", "end", "levels"), [("[", "]", 1), ('{"a":', "}", 1), ('[{"a":1},{"a":', "}]", 2)])
def test_levels(start: str, end: str, levels: int) -> None:
    """As deep as is allowed is read, one level more is an error."""
    most = MAX_LEVELS // levels
    assert parse_json(start * most + "1" + end * most)
    body = start * most + "[1]" + end * most
    assert errors_of(body) == [("body", f"is nested too deeply: more than {MAX_LEVELS} levels")]


@pytest.mark.parametrize("text", ["[" * 1_000, "]" * 1_000, '\\"[' * 1_000, "\\\\", "{[" * 50 + "\\\\"])
def test_brackets_in_texts_are_no_levels(text: str) -> None:
    """Nor do they close any: wherever a text ends, the count goes on."""
    beside = "[1]," * MAX_LEVELS
    assert parse_json(f'["{text}",{beside}"{text}"]')
    levels = "[" * MAX_LEVELS
    assert errors_of(f'["{text}",{levels}1')[0][1].startswith("is nested too deeply")


def test_many_side_by_side() -> None:
    """Width is no depth."""
    assert parse_json("[" + "[[]]," * 1_000 + "{}]")


@pytest.mark.parametrize("body", ['["' + "[" * 1_000, "[]]" + "[" * 10, "[1 " + "[]" * 1_000])
def test_malformed_before_it_is_deep(body: str) -> None:
    """What is no JSON is called so, whatever brackets it holds."""
    assert errors_of(body)[0][1].startswith("is not JSON")


# ------------------------------------------------------------------------------------------------ many errors


def test_keys_that_stand_twice_are_named_in_the_order_of_the_text() -> None:
    """From the outside to the inside, each once, where it stands again."""
    body = '{"z": [{"y": 1, "y": 2}], "a": 1, "b": {"c": 1, "c": 2, "c": 3}, "a": 2, "z": [{"x": 1, "x": 2}]}'
    assert [field for field, _ in errors_of(body)] == ["a", "z", "z.0.x", "b.c"]


def test_the_first_are_named_and_the_others_counted() -> None:
    """A producer hears of the first errors, and how many more there are."""
    body = "{" + ", ".join(f'"k{number}": 1' for number in [*range(50), *range(50)]) + "}"
    *named, last = errors_of(body)
    assert named == [(f"k{number}", "stands twice") for number in range(MOST_ERRORS)]
    assert last == ("body", f"errors not named here: {50 - MOST_ERRORS}")


def test_as_many_errors_as_can_be_named_are_all_of_them() -> None:
    """No error that says there are no more."""
    body = "[" + ", ".join(['{"a": 1, "a": 2}'] * MOST_ERRORS) + "]"
    assert [field for field, _ in errors_of(body)] == [f"{index}.a" for index in range(MOST_ERRORS)]


@pytest.mark.parametrize("key", ["x" * (LONGEST_NAME + 1), f"{'x' * (LONGEST_NAME - 5)} {EMAIL}"])
def test_a_long_key_is_not_repeated(key: str) -> None:
    """Cut off, an address in it would not look like one any more: only its length is told."""
    assert errors_of(f'{{"a": {{"{key}": 1, "{key}": 2}}}}') == [(f"a.({len(key)} characters)", "stands twice")]


def test_a_key_that_is_an_address_is_masked() -> None:
    """As long as it is repeated at all."""
    assert errors_of(f'{{"{EMAIL}": 1, "{EMAIL}": 2}}') == [("***", "stands twice")]


@pytest.mark.parametrize(
    ("key", "seen"),
    [
        ("15551234567", "***"),
        ("0170-1234567", "***"),
        ("phone_0170 1234567", "phone_***"),
        ("address_2", "address_2"),
        ("q4_2026", "q4_2026"),
        ("123456", "123456"),
    ],
)
def test_a_key_that_may_be_a_phone_number_is_masked(key: str, seen: str) -> None:
    """Seven digits or more, with or without a plus; shorter numbers are part of the key's name."""
    assert errors_of(f'{{"properties": {{"{key}": 1, "{key}": 2}}}}') == [(f"properties.{seen}", "stands twice")]
