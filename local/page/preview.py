"""What would become of an event: each error, or the exact request for each destination. Nothing is sent."""

import json
import time
from typing import Any

from local.page.deployed import Deployed
from local.sandbox.contract import contracts
from relay.contract.destination import Destination
from relay.errors import CredentialsError, InvalidEventError, UndeliverableError
from relay.handlers.envelope import open_record
from relay.handlers.records import described
from relay.intake.routing import route
from relay.providers import PROVIDERS

type Json = dict[str, Any]

_TOKEN = "made-up-token"  # noqa: S105 (it is masked, and no account takes it)


def preview(text: str, deployed: Deployed) -> Json:
    """``{"errors": [{"field", "message"}], "requests": {destination: {"request", "errors"}}}``, by the relay's own code
    and the stack's own settings; only the token is made up, and masked.
    """
    try:
        entries = route(open_record(text), deployed.intake.destinations, time.time())
    except InvalidEventError as error:
        return {"errors": described(error.errors), "requests": {}}
    return {
        "errors": [],
        "requests": {one.destination: _request(one.destination, one.body, deployed) for one in entries},
    }


def _request(destination: Destination, body: str, deployed: Deployed) -> Json:
    kind, contract = PROVIDERS[destination.provider], contracts()[destination.provider]
    settings, event = deployed.intake.of(destination), open_record(body)
    if settings.mapping and (why := settings.mapping.skips(event)):
        return {"request": None, "errors": [{"field": "destination", "message": f"does not go there: {why}"}]}
    provider = kind(deployed.base_urls[destination.provider], settings)
    account = contract.own_account if destination.account == "main" else destination.account
    try:
        request = provider.build(event, contract.secret(account, _TOKEN)).masked()
    except UndeliverableError as error:
        return {"request": None, "errors": described(error.errors)}
    except CredentialsError as error:
        return {"request": None, "errors": [{"field": "destination", "message": str(error)}]}
    return {"request": request | {"body": json.loads(request["body"])}, "errors": []}
