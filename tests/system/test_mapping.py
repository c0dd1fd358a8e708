"""A destination with a mapping: what is not meant for it is not sent and is no failure, what is comes changed."""

from local.sandbox.contract import contracts
from local.stack import STAGE
from tests.kinds import SLOW
from tests.system.conftest import MAPPED, MAPPING
from tests.system.running import Json, Relay, event, secret, token, until
from tests.system.test_cli_status import Command

ACCOUNT = MAPPED.partition("/")[2]


def of(name: str, number: int, *, consent: bool) -> Json:
    customer = {"email": f"{name}.{number}@customers.example", "properties": {"marketing_consent": consent}}
    properties = {"order_id": f"{name}-{number}", "total": 6.7, "note": "x"}
    return event(name, number, customer=customer, properties=properties, destinations=[MAPPED])


def test_what_is_meant_for_it_arrives_changed_and_nothing_else_does(relay: Relay) -> None:
    """GIVEN an event with the consent, one without, and one of another type THEN the first arrives as the mapping has
    it, known by its own id; the others are accepted, on no lane, in no dead letter, and told by log and command.
    """
    relay.providers.change_token(SLOW, ACCOUNT, accept=[token(SLOW, ACCOUNT)])
    relay.clients.secrets.create_secret(Name=f"{STAGE}/customer-events/{MAPPED}", SecretString=secret(SLOW, ACCOUNT))
    wanted, unwanted = of("mapped_order", 1, consent=True), of("mapped_order", 2, consent=False)
    other = of("unmapped_order", 3, consent=True)
    answer = relay.call("Intake", {"events": [wanted, unwanted, other]})
    assert answer == {"accepted": [each["id"] for each in (wanted, unwanted, other)], "rejected": []}
    relay.until_settled([wanted])
    relay.until_drained()

    (sent,) = relay.providers.accepted("mapped_purchase")
    assert contracts()[SLOW].event("properties", sent["body"]) == {
        "order_id": "mapped_order-1",
        "order_total": 6.7,
        "channel": "web",
    }
    assert relay.providers.requests("mapped_order") == relay.providers.requests("unmapped_order") == []
    for each, why in ((unwanted, "mapping.require is not true"), (other, "mapping.types does not have unmapped_order")):
        assert relay.ledger(each["id"]) == {}
        assert relay.dead_letters(SLOW, each["id"]) == []
        (line,) = until(lambda id=each["id"]: relay.logged(event_id=id), "its line in the log")  # type: ignore[misc]
        assert (line["message"], line["destinations"], line["skipped"]) == ("accepted", [], {MAPPED: why})

    command = Command(relay)
    told = {each["destination"]: each for each in command.data("config", "check", code=0)["destinations"]}
    assert told[MAPPED]["require"] == MAPPING["require"]
    assert f"does not go there: {why}" in command("trace", other["id"], code=0)
