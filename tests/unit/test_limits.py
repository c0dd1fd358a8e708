"""What the headers of a reply say of an account's limits: read with care, or not at all."""

from collections.abc import Mapping
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.ports import Reply, Request
from relay.providers.base import Provider
from relay.providers.limits import DAY, Budget, Quota, read_count, read_prefixed, read_quotas, read_wait
from tests.drawing import drawn
from tests.factories import NOW

DATE = {"date": formatdate(NOW, usegmt=True)}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1.0),
        (" 30 ", 30.0),
        ("0.5", 0.5),
        ("86400", 86_400.0),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        ("2026-11-22T10:00:30Z", 30.0),
        ("2026-11-22T10:00:30+00:00", 30.0),
        ("2026-11-22T12:00:30+02:00", 30.0),
        ("2026-11-22 10:00:30", 30.0),
        (f"{NOW + 30:.0f}", 30.0),
        (f"{NOW + 30.5:.1f}", 30.5),
        (f"{(NOW + 30) * 1000:.0f}", 30.0),
        (f"{NOW + 86_400:.0f}", 86_400.0),
    ],
)
def test_waits_that_are_believed(text: str, seconds: float) -> None:
    """Seconds, a Unix time in seconds or milliseconds, an HTTP date or an ISO 8601 date, with or without the reply's
    own date.
    """
    assert read_wait(text, {}, NOW) == seconds
    assert read_wait(text, DATE, NOW) == seconds


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "soon",
        "0",
        "-1",
        "86401",
        "1e99",
        "nan",
        "inf",
        "-inf",
        "1,5",
        formatdate(NOW - 30, usegmt=True),
        formatdate(NOW, usegmt=True),
        formatdate(NOW + 100_000, usegmt=True),
        "2026-11-22T09:59:59Z",
        "9999-12-31T23:59:59Z",
        "Mon, 99 Foo 2026 10:00:00 GMT",
        "x" * 10_000,
        "\x00",
        "1795341600",
        "1795341599",
        "1795341600000",
        f"{NOW + 86_401:.0f}",
        f"{(NOW + 100_000) * 1000:.0f}",
        "179534163",
        "17953416300",
        "179534163000",
        "17953416300000",
        "1795341630000.5",
        "1795341630,5",
        "+1795341630",
        "1_795_341_630",
        "٣" * 10,
    ],
)
def test_waits_that_say_nothing(text: str | None) -> None:
    """Missing, past, negative, zero, absurd and garbled: as if the header were not there."""
    assert read_wait(text, DATE, NOW) is None
    assert read_wait(text, {}, NOW) is None


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_a_date_is_taken_against_the_replys_own(skew: float) -> None:
    """Neither our clock nor theirs need be right, as long as theirs agrees with itself."""
    theirs = {"date": formatdate(NOW + skew, usegmt=True)}
    assert read_wait(formatdate(NOW + skew + 30, usegmt=True), theirs, NOW) == 30
    assert read_wait(f"{NOW + skew + 30:.0f}", theirs, NOW) == 30
    assert read_wait(f"{(NOW + skew + 30) * 1000:.0f}", theirs, NOW) == 30


@pytest.mark.parametrize("date", ["", "garbage", "0"])
def test_a_garbled_own_date_is_no_date(date: str) -> None:
    """Then our clock must do."""
    assert read_wait("2026-11-22T10:00:30Z", {"date": date}, NOW) == 30


@pytest.mark.parametrize(("text", "count"), [("0", 0), ("5", 5), (" 60 ", 60), ("1000000", 1_000_000)])
def test_counts_that_are_believed(text: str, count: int) -> None:
    """Whole numbers."""
    assert read_count(text) == count


@pytest.mark.parametrize("text", [None, "", "-1", "+1", "1.5", "1e3", "٣", "²", "x", "1000001", "9" * 5_000, "1_000"])
def test_counts_that_say_nothing(text: str | None) -> None:
    """Anything else is as if it were not there."""
    assert read_count(text) is None


def test_counts_have_a_bound() -> None:
    """Nobody allows that many."""
    assert read_count("101", most=100) is None


# ------------------------------------------------------------------------------------------------ several windows


def headers(policy: str = "", left: str = "") -> dict[str, str]:
    return {"ratelimit-policy": policy, "ratelimit": left}


@pytest.mark.parametrize(
    ("policy", "left", "quotas"),
    [
        ('"default";q=100;w=10', '"default";r=50;t=30', (Quota(100, 50, 30.0, 10.0),)),
        ("default;q=100;w=10", "default;r=50;t=30", (Quota(100, 50, 30.0, 10.0),)),
        (
            '"burst";q=350;w=1, "steady";q=3500;w=60',
            '"burst";r=349;t=1, "steady";r=3420;t=44',
            (Quota(350, 349, 1.0, 1.0), Quota(3500, 3420, 44.0, 60.0)),
        ),
        (
            '"steady";q=3500;w=60, "burst";q=350;w=1',
            '"burst";r=0;t=1',
            (Quota(3500, None, None, 60.0), Quota(350, 0, 1.0, 1.0)),
        ),
        (' "a" ; w=60 ; q=5 ', '"a"; t=7; r=3', (Quota(5, 3, 7.0, 60.0),)),
        ('"a";q=5;w=60;pk=:Zm9v:', '"a";r=3;pk=:Zm9v:', (Quota(5, 3, None, 60.0),)),
        ('"a";q=5', "", (Quota(5),)),
        ('"a";q=5;w=60', '"another";r=0;t=60', (Quota(5, window=60.0),)),
        ('"a";q=5;w=60', '"a";r=0;t=0', (Quota(5, 0, None, 60.0),)),
        ("", '"a";r=0;t=60', ()),
        ('"a";w=60', "", ()),
        ('"a";q=5;w=60, "b";w=60', '"a";w=60', (Quota(5, window=60.0),)),
        ("", "", ()),
    ],
    ids=range(13),
)
def test_the_fields_of_the_ietf(policy: str, left: str, quotas: tuple[Quota, ...]) -> None:
    """GIVEN a policy and what is left of it, by their names THEN a quota for each window, in the policy's order."""
    assert read_quotas(headers(policy, left)) == quotas


def test_replies_without_the_fields_of_the_ietf() -> None:
    """They say nothing."""
    assert read_quotas({}) == ()


@pytest.mark.parametrize(
    "policy",
    [
        "100;w=60",
        '"a"',
        '"a";',
        '"a";q;w',
        '"a";q=-1;w=-1',
        '"a";q=1e3;w=nan',
        '"a";q=1000001;w=86401',
        '"a";q=1.5;w=0',
        '"a" q=5',
        '"a;q=5;w=60',
        ";;;",
        ",,,",
        "=" * 500,
        '"' * 2_000,
        '"a";' + "q=" * 2_000,
        ";q=5;w=60",
        '"é";q=٣;w=²',
        "\x00",
        "x" * 100_000,
    ],
    ids=lambda policy: ascii(policy[:16]),
)
def test_a_garbled_policy_says_nothing(policy: str) -> None:
    """It names no limit and nothing that is left; at most a window, of which it then says nothing."""
    for quota in read_quotas(headers(policy, policy)):
        assert (quota.limit, quota.remaining, quota.reset_after) == (None, None, None)


ITEMS = st.lists(
    st.builds(
        "{};{}".format,
        st.sampled_from(['"a"', "b", '""', '"a', "*"]),
        st.lists(st.builds("{}={}".format, st.sampled_from("qwrt"), st.integers() | st.floats()), max_size=4).map(
            ";".join
        ),
    ),
    max_size=4,
).map(", ".join)


@given(policy=ITEMS | st.text(max_size=60), left=ITEMS | st.text(max_size=60))
@drawn(200)
def test_whatever_the_fields_hold_is_in_bounds(policy: str, left: str) -> None:
    """No error, no count that is absurd, no wait that is."""
    for quota in read_quotas(headers(policy, left)):
        assert all(0 <= count <= 1_000_000 for count in (quota.limit, quota.remaining) if count is not None)
        assert all(0 < wait <= DAY for wait in (quota.reset_after, quota.window) if wait is not None)


BOTH = "350, 350;w=1, 3500;w=60"


@pytest.mark.parametrize(
    ("limit", "remaining", "quotas"),
    [
        (BOTH, "349", (Quota(350, 349, 44.0, 1.0), Quota(3500, window=60.0))),
        (BOTH, "0", (Quota(350, 0, 44.0, 1.0), Quota(3500, window=60.0))),
        (BOTH, "3420", (Quota(350, window=1.0), Quota(3500, 3420, 44.0, 60.0))),
        ("3500, 3500;w=60, 350;w=1", "20", (Quota(3500, 20, 44.0, 60.0), Quota(350, window=1.0))),
        ("350,3500;w=60;burst=9,350;w=1;name=x", "20", (Quota(3500, window=60.0), Quota(350, 20, 44.0, 1.0))),
        (BOTH, "3501", (Quota(350, window=1.0), Quota(3500, window=60.0))),
        ("3500", "3420", (Quota(3500, 3420, 44.0),)),
        ("60, 60;w=60", "59", (Quota(None, 59, 44.0),)),
        ("350, 350;w=1, many;w=60", "349", (Quota(None, 349, 44.0),)),
        ("350, 350;w=1, 3500;w=86401", "349", (Quota(None, 349, 44.0),)),
        ("350, 350;w=0, 3500;w=60", "349", (Quota(None, 349, 44.0),)),
        ("350, 350;w=1, 100001;w=60", "349", (Quota(None, 349, 44.0),)),
        ("350, 0;w=1, 3500;w=60", "349", (Quota(None, 349, 44.0),)),
        ("many, 350;w=1, 3500;w=60", "349", (Quota(None, 349, 44.0),)),
        (", ," * 2_000, "349", (Quota(None, 349, 44.0),)),
    ],
    ids=range(15),
)
def test_a_limit_that_lists_its_windows(limit: str, remaining: str, quotas: tuple[Quota, ...]) -> None:
    """GIVEN the limit, and behind it each window's THEN a quota for each, what is left in that which it can be of."""
    said = {"x-limit": limit, "x-remaining": remaining, "x-reset": "44"}
    assert read_prefixed(said, "x", NOW) == quotas


class Plain(Provider):
    """A provider that reads no header of its own."""

    def payload(self, *_: object) -> dict[str, object]:
        return {}

    def request(self, body: bytes, credentials: Mapping[str, str]) -> Request:
        raise NotImplementedError


def test_a_provider_reads_the_ietfs_fields_unless_it_says_otherwise() -> None:
    """And Retry-After."""
    said = {**headers('"a";q=5;w=60', '"a";r=3;t=7'), "retry-after": "9"}
    plain = Plain("https://provider.example")
    assert plain.budget(Reply(429, said), NOW) == Budget((Quota(5, 3, 7.0, 60.0),), 9.0)
    assert plain.budget(Reply(200), NOW) == Budget()
