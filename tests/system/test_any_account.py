"""`<provider>/*`: accounts that nobody listed. And what other systems write beyond ASCII and RFC 3339."""

from local.sandbox.contract import contracts
from local.stack import STAGE
from relay.providers import PROVIDERS
from tests.kinds import FAST, OVERWRITES, SLOW
from tests.system.running import Relay, event, order_id, secret, token

SHOPS = [f"shop-{number:02}" for number in range(12)]
ADDRESS = "jörg.müller@bücherwürmer.example"


def test_accounts_that_nobody_listed(relay: Relay) -> None:
    """GIVEN `<provider>/*` WHEN there is a secret for an account THEN its events go there, with its own token."""
    for shop in SHOPS:
        relay.providers.change_token(SLOW, shop, accept=[token(SLOW, shop)])
        relay.clients.secrets.create_secret(
            Name=f"{STAGE}/customer-events/{SLOW}/{shop}", SecretString=secret(SLOW, shop)
        )
    bodies = [event("unlisted", number, destinations=[f"{SLOW}/{shop}"]) for number, shop in enumerate(SHOPS)]
    relay.send(*bodies)
    relay.until_settled(bodies)
    sent = {one["account"]: order_id(one) for one in relay.providers.accepted("unlisted")}
    assert sent == {shop: body["id"] for shop, body in zip(SHOPS, bodies, strict=True)}


def test_a_name_that_no_account_can_have_is_refused_at_intake(relay: Relay) -> None:
    """With its field; and an account of the provider that has no `*` is as unknown as ever."""
    bad = event("misnamed", destinations=[f"{SLOW}/main", f"{SLOW}/a b"])
    unknown = event("misnamed", 2, destinations=[f"{SLOW}/main", f"{FAST}/unlisted"])
    refused = relay.call("Intake", {"events": [bad, unknown]})["rejected"]
    assert [[error["field"] for error in one["errors"]] for one in refused] == [["destinations.1"]] * 2


def test_addresses_and_moments_as_others_write_them(relay: Relay) -> None:
    """An address of other letters arrives as it was given, at every provider; a moment in nanoseconds is cut off."""
    there = [f"{name}/main" for name, kind in PROVIDERS.items() if not kind.useless]
    moment = "2026-11-22 10:00:00.999999999 +0100"
    body = event("other_letters", customer={"email": ADDRESS}, occurred_at=moment, destinations=there)
    relay.send(body)
    relay.until_settled([body])
    sent = {one["provider"]: one for one in relay.providers.accepted("other_letters")}
    for provider, one in sent.items():
        assert ADDRESS in str(contracts()[provider].event("customer", one["body"], one["url"]))
    assert sent[OVERWRITES]["body"]["timestamp"] == "2026-11-22T10:00:00.999999+01:00"


def test_an_address_of_other_letters_is_not_in_a_dead_letter_s_reason(relay: Relay) -> None:
    """As a provider quotes it: as it is, and its domain as DNS has it. The logs are read by `test_secrecy.py`."""
    relay.providers.misbehave(
        "quoted_letters", status=422, body={"message": f"no MX at xn--bcherwrmer-9dbf.example for {ADDRESS} given"}
    )
    body = event("quoted_letters", customer={"email": ADDRESS}, destinations=[f"{SLOW}/main"])
    relay.send(body)
    relay.until_settled([body], "given_up")
    [letter] = relay.dead_letters(SLOW, body["id"])
    assert letter.attributes["reason"] == "HTTP 422: no MX at *** for *** given"
