"""`relay forget`: removes what is stored of a customer, and gives a receipt that does not name them."""

import json
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Group as Lines

from cli.accounts import Account, all_known
from cli.command import Answer, CommandError, Exit, confirmed
from cli.dead import progress_bar
from cli.index import Index, State
from cli.moments import iso
from cli.stack import Relay, who
from cli.sweep import Sweep
from relay.adapters.dynamodb import REJECTED
from relay.contract.event import Customer
from relay.providers import PROVIDERS

ASK = "-"
_DEEPEST = 8
"""Envelopes in envelopes, each as text in the other."""

Email = Annotated[str, typer.Option("--email", help="Their address; - asks for it, and no shell remembers it.")]
Phone = Annotated[str, typer.Option("--phone", help="Their number as +15551234567; - asks for it.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count, and remove nothing.")]


def forget(relay: Relay, email: Email = "", phone: Phone = "", yes: Yes = False, dry_run: DryRun = False) -> Answer:
    """Remove a customer's stored copies: from rejects, from dead letters, from the lanes that wait."""
    customer = _customer(_asked(email, "e-mail address"), _asked(phone, "phone number"))
    is_theirs = names(customer)
    index, now = Index(relay), time.time()
    if dry_run:
        found = Counter(each.lane for each in index.everything() if each.body and is_theirs(each.body))
        return Answer({"would forget": dict(found)}, f"{found.total()} in the index hold them; nothing was removed")
    if not yes:
        confirmed("remove all that is stored of this customer, for good?")
    # First the lanes: what is given up meanwhile is found among the dead letters.
    destinations = [each for each in all_known(relay) if each.provider in PROVIDERS]
    shown = sum(Account(relay, each).forget(customer.identities, now) for each in destinations)
    removed: Counter[str] = Counter()
    with progress_bar() as progress:
        for lane in (*PROVIDERS, REJECTED):
            task = progress.add_task(f"looking through {lane}", total=None)
            # The messages themselves first, also those that nobody put into the index.
            counts = Sweep(relay, lane, lambda task=task: progress.advance(task), is_theirs).run()  # type: ignore[misc]
            removed[_place(lane)] += counts["forgotten"]
        for letter in index.everything():
            if letter.body and is_theirs(letter.body):
                removed[_place(letter.lane)] += index.settle(letter.letter, State.FORGOTTEN, who(), time.time())
    receipt = {
        "forgotten at": iso(now),
        "by": who(),
        "stack": relay.where.stack,
        "removed": dict(removed),
        "accounts": len(destinations),
        "shown": shown,
    }
    return Answer(
        receipt,
        Lines(
            f"forgotten at {iso(now)} by {who()}:",
            *(f"{count} of {place}" for place, count in removed.items()),
            f"What waits in the lanes of {len(destinations)} accounts, accepted until then, is taken out unsent when "
            f"it is next looked at ({shown} hidden messages are looked at now).",
        ),
    )


def _place(lane: str) -> str:
    return "the rejects" if lane == REJECTED else f"the dead letters of {lane}"


def _asked(given: str, what: str) -> str:
    return typer.prompt(what, err=True) if given == ASK else given


def _customer(email: str, phone: str) -> Customer:
    if not email and not phone:
        raise CommandError("say whom to forget: --email or --phone", Exit.USAGE)
    try:
        return Customer.model_validate({"email": email or None, "phone_number": phone or None})
    except ValidationError as error:
        # By the field's name: what was given is theirs.
        fields = ", ".join(str(each["loc"][0]) for each in error.errors() if each["loc"])
        raise CommandError(f"{fields or 'what was given'} is none that an event may hold", Exit.USAGE) from None


def names(customer: Customer) -> Callable[[str], bool]:
    """Whether a body, an event or anything else, holds the customer's address or number somewhere."""
    patterns = []
    if customer.email:
        patterns.append(re.compile(rf"(?<![\w.+-]){re.escape(_plain(customer.email))}(?![\w-]|\.\w)"))
    if customer.phone_number:
        # However it is written: +1 (555) 123-4567.
        between = r"[\s().\-/]{0,3}"
        digits = between.join(customer.phone_number.removeprefix("+"))
        patterns.append(re.compile(rf"(?<!\d){digits}(?!\d)"))

    def is_theirs(body: str) -> bool:
        return any(pattern.search(text) for text in _texts(body, _DEEPEST) for pattern in patterns)

    return is_theirs


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _texts(body: str, depth: int) -> Iterator[str]:
    """The text, and every text in it where it is JSON, also JSON as a text in JSON."""
    yield _plain(body)
    if depth and body.lstrip()[:1] in ("{", "[", '"'):
        try:
            parsed: Any = json.loads(body)
        except (ValueError, RecursionError):
            return
        for inside in _strings(parsed):
            yield from _texts(inside, depth - 1)


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, each in value.items():
                yield key
                yield from _strings(each)
        case list():
            for each in value:
                yield from _strings(each)
