"""Runs last: what every function of every test left behind, on `deployed` at the most talkative level a log can have,
and on `plain`. Before that, known tokens, e-mail addresses and phone numbers go down every path where something fails.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore.config import Config

from local.machine import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from local.stack import STACK_NAME, STAGE
from relay.outcome import Outcome
from tests.factories import eventbridge
from tests.kinds import FAST, PAIR, REPEATS, SLOW
from tests.system.running import PHONE, Json, Letter, Relay, event, secret, token, until

HIDDEN = {
    "an e-mail address": re.compile(r"[\w.+-]+(@|%40)[\w-]+(\.[\w-]+)+"),
    "a phone number": re.compile(r"(?<!such as )\+\d{8,}"),  # but the example in an error message
    "an address of other letters": re.compile(r"j.rg|m.ller|b.cherw.rmer|bcherwrmer", re.IGNORECASE),
    "a token": re.compile("|".join(["tok3n-", *(token(provider, "main") for provider in PAIR)])),
    "a URL with a token": re.compile(r"(access_token=|Bearer )(?!\*\*\*)", re.IGNORECASE),
    "what was planted": re.compile("planted|5550100", re.IGNORECASE),
}
FINAL = (400, 404, 413, 422)
"""Answers after which an event is a dead letter."""
AGAIN = (408, 429, 500, 503)
"""Answers after which it is tried again."""


# -------------------------------------------------------------------------------------------------------- planting


def bearing(name: str, account: str = "leaky", **changes: Any) -> Json:
    """An event full of what must not be seen, for an account of every provider."""
    numbered = sum(map(ord, name)) % 1000
    return event(
        name,
        customer={
            "email": f"planted.{name}@leaks.example",
            "phone_number": f"+15550100{numbered:03}",
            "properties": {"note": f"planted note of {name}"},
        },
        destinations=[f"{provider}/{account}" for provider in PAIR],
        **changes,
    )


def echo(body: Json, provider: str, account: str) -> str:
    """All that a provider might quote, in the encodings in which it might."""
    email, phone = body["customer"]["email"], body["customer"]["phone_number"]
    held = token(provider, account)
    url = f"https://api.example/stores/x?access_token={held}&email={quote(email)}"
    return (
        f"token {held} of {email} / {quote(email)} / {email.upper()} / {phone} / {phone[1:]} / {phone[:5]} {phone[5:]} "
        f"refused at {url}; Authorization: Bearer {held}; \\u0070lanted note of {body['type']}"
    )


def misbehave(relay: Relay, body: Json, account: str, **fault: Any) -> None:
    """Every provider answers with all it was given, in the body and in headers."""
    for provider in PAIR:
        said = echo(body, provider, account)
        shown = {
            "headers": {"X-Debug": said, "X-Request-Id": body["customer"]["email"], "Retry-After": said[:40]},
            "body": {"message": said, "errors": {body["customer"]["email"]: [said]}},
        }
        relay.providers.misbehave(body["type"], provider=provider, **(shown if "status" in fault else {}), **fault)


@pytest.fixture(scope="module")
def answers(deployed: Relay) -> list[Any]:
    """Goes down every path where something fails. Returns what direct calls were told."""
    relay = deployed
    relay.providers.behave()
    ending: dict[str, list[Json]] = {"delivered": [], "given_up": []}

    def expect(end: str, body: Json, account: str = "leaky", **fault: Any) -> None:
        if fault:
            misbehave(relay, body, account, **fault)
        ending[end].append(body)

    for status in FINAL:
        expect("given_up", bearing(f"leak_{status}"), status=status)
    for status in AGAIN:
        expect("delivered", bearing(f"leak_{status}"), status=status, count=1)
    for status in (401, 403):
        expect("delivered", bearing(f"leak_{status}", "refused"), "refused", status=status, count=2)
    expect("delivered", bearing("leak_moved"), status=302, count=1)
    expect("delivered", bearing("leak_reset_before"), reset="before", count=1)
    expect("delivered", bearing("leak_reset_after"), reset="after", count=1)
    expect("delivered", bearing("leak_hangs"), delay=11, count=1)
    expect("delivered", bearing("leak_garbled"), status=200, count=1)
    expect("given_up", bearing("leak_expired", expires_at="2026-11-22T10:00:01Z"))
    relay.send(*(body for bodies in ending.values() for body in bodies))

    accounts = plant_secrets(relay)
    plant_malformed(relay)
    for end, bodies in ending.items():
        relay.until_settled(bodies, end, seconds=120)
    reused = bearing("leak_reset_after", properties={"order_id": "planted"}) | {"destinations": [f"{REPEATS}/leaky"]}
    relay.send(reused)
    until(lambda: [one for one in relay.dead_letters(REPEATS, reused["id"]) if "reused" in str(one)], "an id reused")
    for destination, body in accounts.items():
        name = destination.partition("/")[2]
        relay.clients.secrets.put_secret_value(
            SecretId=f"{STAGE}/customer-events/{destination}", SecretString=secret(SLOW, name)
        )
        relay.until_settled([body], seconds=90)
    for provider in PAIR:
        relay.put_on_lane(provider, bearing("leak_500"), "leaky")
    told = call_directly(relay)
    relay.until_drained()
    relay.providers.behave()
    return told


def plant_secrets(relay: Relay) -> dict[str, Json]:
    """Events for accounts whose secrets are not what they should be, by destination. Waits until each is held."""
    contents = {
        f"{SLOW}/leaky-text": "tok3n-that-is-no-json",
        f"{SLOW}/leaky-shape": json.dumps({"acces_token": "tok3n-under-a-wrong-name"}),
        f"{SLOW}/leaky-header": json.dumps({"access_token": "tok3n-broken\r\nX-Injected: tok3n-line"}),
    }
    bodies: dict[str, Json] = {}
    for destination, content in contents.items():
        name = destination.partition("/")[2]
        relay.providers.change_token(SLOW, name, accept=[token(SLOW, name)])
        relay.clients.secrets.create_secret(Name=f"{STAGE}/customer-events/{destination}", SecretString=content)
        bodies[destination] = bearing(name.replace("-", "_")) | {"destinations": [destination]}
    relay.send(*bodies.values())
    for destination, body in bodies.items():
        until(
            lambda to=destination: relay.logged(outcome="unauthorized", destination=to),  # type: ignore[misc]
            f"{destination} held",
        )
        assert relay.providers.requests(body["type"]) == []
    return bodies


def plant_malformed(relay: Relay) -> None:
    """Records that are no events, at intake and on the lanes."""
    body = bearing("leak_bad")
    email, phone = body["customer"]["email"], body["customer"]["phone_number"]
    # No token as the name of a field: names are told, and intake knows no token that it could hide in them.
    bad: list[Json | str] = [
        json.dumps(body)[:-20],
        f"{email} {phone} {token(SLOW, 'leaky')}",
        body | {email: "an unknown field", f"call {phone}": token(FAST, "leaky")},
        body | {"occurred_at": email, "value": token(FAST, "leaky"), "type": email},
        body | {"customer": {"email": "planted at leaks.example", "phone_number": "+1555010"}},
        body | {"properties": {email: {"nested": phone}}},
    ]
    elsewhere = body | {"destinations": [f"{FAST}/{email}", f"{SLOW}/{phone}"]}
    relay.send(*bad, elsewhere)
    relay.notify(bad[2])
    for provider in PAIR:
        for one in bad:
            relay.put_on_lane(provider, one)
    for queue, read in dead_ends(relay).items():
        wanted = len(bad) + (2 if queue == "rejected" else 0)
        until(
            lambda read=read, wanted=wanted: sum("leak_bad" in one.body for one in read()) == wanted,  # type: ignore[misc]
            f"{wanted} bad records kept: {queue}",
        )


def dead_ends(relay: Relay) -> dict[str, Callable[[], list[Letter]]]:
    """Where records end that nobody takes, by name."""
    lanes = {name: lambda name=name: relay.dead_letters(name) for name in PAIR}
    return {"rejected": relay.rejected, **lanes}


def call_directly(relay: Relay) -> list[Any]:
    """What callers of the functions are told."""
    told = [relay.call("Intake", bearing("leak_told") | {"colour": token(FAST, "leaky")})]
    for provider in PAIR:
        for status in (401, 422, 500):
            body = bearing(f"leak_called_{provider}_{status}")
            call = {"destination": f"{provider}/leaky", "event": body}
            misbehave(relay, body, "leaky", status=status, count=2)
            told += [relay.call(provider.title(), {**call, "dry_run": True}), relay.call(provider.title(), call)]
        told.append(relay.call(provider.title(), call | {"destination": body["customer"]["email"]}))
        told.append(relay.call(provider.title(), eventbridge(body)))
    return told


# -------------------------------------------------------------------------------------------------------- searching


@pytest.fixture(params=["deployed", "plain"])
def relay(request: pytest.FixtureRequest) -> Relay:
    """Each of the session's two; down `deployed` everything was sent that must not be seen."""
    if request.param == "deployed":
        request.getfixturevalue("answers")
    found: Relay = request.getfixturevalue(request.param)
    return found


def log_lines(relay: Relay) -> Iterator[str]:
    """All that the functions wrote, their metrics among it."""
    yield from relay.log.read_text(errors="replace").splitlines()


def log_groups(relay: Relay) -> Iterator[str]:
    """The same, and the names of its groups and streams, as CloudWatch has them."""
    with clients_for(relay, "logs") as logs:
        for group in logs.describe_log_groups()["logGroups"]:
            yield json.dumps(logs.describe_log_streams(logGroupName=group["logGroupName"]), default=str)
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
                yield from (one["message"] for one in page["events"])


def tables(relay: Relay) -> Iterator[str]:
    """Every item of every table, without the bodies that `Letters` is there for."""
    for name, table in relay.outputs.items():
        if name.endswith("TableName"):
            for page in relay.clients.dynamodb.get_paginator("scan").paginate(TableName=table):
                for item in page["Items"]:
                    yield json.dumps({key: value for key, value in item.items() if key != "body"}, default=str)


def messages(relay: Relay) -> Iterator[str]:
    """All but the body of every rejected record and dead letter: its attributes, its group, its deduplication id."""
    for read in dead_ends(relay).values():
        for letter in read():
            yield json.dumps([letter.attributes, letter.system])


def metrics(relay: Relay) -> Iterator[str]:
    """Their names and dimensions."""
    with clients_for(relay, "cloudwatch") as cloudwatch:
        for page in cloudwatch.get_paginator("list_metrics").paginate():
            yield from map(json.dumps, page["Metrics"])


def descriptions(relay: Relay) -> Iterator[str]:
    """What anybody may see who may look at the stack: outputs, parameters, alarms, dashboards, functions, queues."""
    yield json.dumps(relay.clients.cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"], default=str)
    events = relay.clients.cloudformation.describe_stack_events(StackName=STACK_NAME)["StackEvents"]
    yield from (json.dumps(one, default=str) for one in events)
    with clients_for(relay, "cloudwatch") as cloudwatch:
        yield from (json.dumps(one, default=str) for one in cloudwatch.describe_alarms()["MetricAlarms"])
        for one in cloudwatch.list_dashboards()["DashboardEntries"]:
            yield cloudwatch.get_dashboard(DashboardName=one["DashboardName"])["DashboardBody"]
    for name, value in relay.outputs.items():
        if name.endswith("FunctionName"):
            function = relay.clients.functions.get_function(FunctionName=value)
            # A request's own ID and a digest are random letters, in which any word of four may stand.
            del function["ResponseMetadata"], function["Configuration"]["CodeSha256"]
            yield json.dumps(function, default=str)
        if name.endswith("QueueUrl"):
            attributes = relay.clients.sqs.get_queue_attributes(QueueUrl=value, AttributeNames=["All"])["Attributes"]
            yield json.dumps(attributes)


PLACES: dict[str, Callable[[Relay], Iterator[str]]] = {
    "log": log_lines,
    "CloudWatch": log_groups,
    "tables": tables,
    "messages": messages,
    "metrics": metrics,
    "descriptions": descriptions,
}


@contextmanager
def clients_for(relay: Relay, service: str) -> Iterator[Any]:
    session = boto3.Session(ACCESS_KEY_ID, SECRET_ACCESS_KEY, region_name=REGION)
    client = session.client(  # type: ignore[call-overload]
        service, endpoint_url=relay.clients.endpoint_url, config=Config(proxies={})
    )
    yield client
    client.close()


@pytest.mark.parametrize("place", PLACES)
def test_nothing_hidden_is_there(relay: Relay, place: str) -> None:
    """GIVEN all that this session did to the stack THEN no token and nothing personal is in what it left behind."""
    found = [
        (what, text[max(0, match.start() - 200) : match.end() + 100])
        for text in PLACES[place](relay)
        for what, pattern in HIDDEN.items()
        if (match := pattern.search(text))
    ]
    assert found == []


def test_no_body_holds_a_token(relay: Relay) -> None:
    """A rejected record or a dead letter is as its producer wrote it: whoever puts a token there finds it there. Ours
    never gets in.
    """
    own = re.compile("|".join([*(token(provider, "main") for provider in PAIR), "access_token=", "Bearer "]))
    assert [one for read in dead_ends(relay).values() for one in read() if own.search(one.body)] == []


def test_direct_calls_are_told_no_token(answers: list[Any]) -> None:
    """Who calls a deliver function sees the customer's data, which they sent, and the request without its token."""
    assert len(answers) == 1 + 8 * len(PAIR)
    for answer in answers:
        assert not HIDDEN["a token"].search(json.dumps(answer)), answer


# -------------------------------------------------------------------------------------------------- no empty search


def test_every_outcome_happened(deployed: Relay, answers: list[Any]) -> None:
    """And each of what was planted came as far as it should: to a provider, to a lane, to the rejects."""
    seen = {line["outcome"] for line in deployed.logged() if "outcome" in line}
    assert seen >= {str(outcome) for outcome in Outcome}
    for status in (*FINAL, *AGAIN, 401, 403, 302):
        name = "leak_moved" if status == 302 else f"leak_{status}"
        for provider in PAIR:
            assert status in {one["status"] for one in deployed.providers.requests(name, provider)}


@pytest.mark.parametrize("place", PLACES)
def test_the_search_reaches(deployed: Relay, answers: list[Any], place: str) -> None:
    """GIVEN what everybody may see THEN it is found there: the tests above have looked at something."""
    sought = {
        "log": "leak_422-1",
        "CloudWatch": '"outcome"',
        "tables": "leak_422-1",
        "messages": "leak_422-1",
        "metrics": "",
        "descriptions": "customer-events-intake",
    }
    assert any(sought[place] in text for text in PLACES[place](deployed))


def test_the_functions_do_write_there(relay: Relay) -> None:
    """Else the tests above would have looked at nothing."""
    relay.send(event("told"), event("told_badly", colour="blue"))
    for fields in ({"message": "accepted"}, {"message": "delivered"}, {"message": "rejected"}):
        until(lambda fields=fields: relay.logged(**fields), f"{fields} in the log")  # type: ignore[misc]


def test_the_search_finds_what_it_looks_for() -> None:
    sample = f"ada@customers.example jörg {PHONE} {token(FAST, 'main')} ?access_token=x planted"
    assert all(pattern.search(sample) for pattern in HIDDEN.values())
