"""Whose a body is: found however it is written, and nobody else's."""

import json

import pytest

from cli.command import CommandError
from cli.forget import _customer, names

THEIRS = names(_customer("Ada.Lovelace@Example.com", "+15551234567"))


@pytest.mark.parametrize(
    "body",
    [
        '{"customer": {"email": "ada.lovelace@example.com"}}',
        '{"customer": {"email": "ADA.LOVELACE@EXAMPLE.COM"}}',
        '{"customer": {"email": "ada.lovelace\\u0040example.com"}}',
        '{"note": "write to Ada.Lovelace@example.com, please"}',
        json.dumps(
            {"Type": "Notification", "Message": json.dumps({"customer": {"email": "ada.lovelace@example.com"}})}
        ),
        json.dumps({"a": json.dumps({"b": json.dumps({"c": "\uff41da.lovelace@example.com"})})}),
        '{"customer": {"phone_number": "+15551234567"}}',
        '{"customer": {"phone_number": "+1 (555) 123-4567"}}',
        '{"ada.lovelace@example.com": 1}',
        '["00 1 555 123 4567"',
        "to ada.lovelace@example.com",
        '{"customer": {"email": "ada.lovelace@example.com"',
    ],
)
def test_theirs(body: str) -> None:
    """In any field, any envelope, any spelling, and in what is no JSON."""
    assert THEIRS(body)


@pytest.mark.parametrize(
    "body",
    [
        '{"customer": {"email": "x.ada.lovelace@example.com"}}',
        '{"customer": {"email": "ada.lovelace@example.com.au"}}',
        '{"customer": {"email": "ada.lovelace+shop@example.com"}}',
        '{"customer": {"email": "adaxlovelace@example.com"}}',
        '{"customer": {"phone_number": "+155512345678"}}',
        '{"customer": {"phone_number": "+915551234567"}}',
        "",
        "{}",
        "null",
        "[" * 100_000,
    ],
)
def test_somebody_elses(body: str) -> None:
    """A part of another's address or number is not theirs."""
    assert not THEIRS(body)


@pytest.mark.parametrize(("email", "phone"), [("", ""), ("nobody", ""), ("", "555"), ("a@b.example", "x")])
def test_nobody_is_forgotten_by_mistake(email: str, phone: str) -> None:
    """GIVEN what is no address and no number THEN it is said without what was given."""
    with pytest.raises(CommandError) as refused:
        _customer(email, phone)
    assert "nobody" not in str(refused.value)
    assert "555" not in str(refused.value).replace("+15551234567", "")
