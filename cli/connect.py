"""`relay connect`: an account's secret, stored without being shown, and the account going on with it."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Group
from rich.text import Text

from cli.accounts import Account, destination_of
from cli.check import CHECK_EMAIL, found_out
from cli.check import told as told_of
from cli.command import Answer, CommandError, Exit, beside
from cli.hold import Name, told, words
from cli.stack import Relay
from relay.contract.destination import Destination
from relay.errors import CredentialsError
from relay.providers import PROVIDERS
from relay.providers.base import Provider

LONGEST = 4_096
"""Characters of a credential."""


def connect(
    relay: Relay,
    destination: Name,
    secret_file: Annotated[
        str, typer.Option("--secret-file", metavar="FILE", help="JSON; - for standard input. Else it is asked for.")
    ] = "",
    no_check: Annotated[bool, typer.Option("--no-check", help="Send no test event.")] = False,
    email: Annotated[str, typer.Option("--email", help="The test event's customer.")] = CHECK_EMAIL,
) -> Answer:
    """Store an account's token, have the account go on with it at once, and check it with one test event.

    What is secret is asked for without an echo, or read from a file or standard input: never from the command line.
    """
    to = destination_of(relay, destination)
    provider = PROVIDERS[to.provider](relay.settings[to.provider].base_url, relay.settings[to.provider].of(to))
    secrets = Secret(relay, to)
    if secret_file or not sys.stdin.isatty():
        given = from_json(provider, _read(secret_file))
    else:
        given = asked(provider, secrets.shown_of(provider))
    stored = secrets.store(given)
    beside.print(f"secret {secrets.name} {stored}")
    account = Account(relay, to)
    before = account.read()
    with beside.status("resumed; watching whether it goes on"):
        went = account.go_on()
    data: dict[str, Any] = {"destination": destination, "secret": secrets.name, "stored": stored, **told(went)}
    shown = words(destination, went)
    if no_check:
        return Answer(data, shown, Exit.FAILED if went.how == "refused" else Exit.OK)
    if went.how == "refused":
        # It was asked with a customer's event, and waits again. What the test event is told says why.
        account.resume()
    checked = told_of(destination, found_out(relay, to, email, before))
    if went.how == "refused" and checked.exit_code is Exit.OK:
        # The provider, or Secrets Manager, took its time with the new token.
        went = account.go_on()
        data, shown = data | told(went), words(destination, went)
    return Answer({**data, "check": checked.data}, Group(shown, checked.shown), checked.exit_code)


class Secret:
    """A destination's secret. Raises what botocore raises."""

    def __init__(self, relay: Relay, destination: Destination) -> None:
        self.name = f"{relay.stage}/customer-events/{destination}"
        self._client = relay.secrets
        self._key = relay.parameters.get("SecretsKeyArn", "")

    def shown_of(self, provider: Provider) -> Mapping[str, str]:
        """What is no secret of what is stored now, as far as that can be read."""
        try:
            kept = json.loads(self._client.get_secret_value(SecretId=self.name)["SecretString"])
            return {key: str(kept[key]) for key in provider.open_credentials if key in kept}
        except (self._client.exceptions.ClientError, ValueError, KeyError, TypeError):
            return {}

    def store(self, given: Mapping[str, str]) -> str:
        """Returns whether it was `created`, `updated` or `restored`, where it waited for its deletion."""
        text, how = json.dumps(given), "updated"
        try:
            try:
                self._client.put_secret_value(SecretId=self.name, SecretString=text)
            except self._client.exceptions.InvalidRequestException:
                self._client.restore_secret(SecretId=self.name)
                self._client.put_secret_value(SecretId=self.name, SecretString=text)
                how = "restored"
        except self._client.exceptions.ResourceNotFoundException:
            key = {"KmsKeyId": self._key} if self._key else {}
            self._client.create_secret(
                Name=self.name,
                SecretString=text,
                Description="Credentials of an account that the customer event relay delivers to",
                **key,  # type: ignore[arg-type]
            )
            how = "created"
        return how


def asked(provider: Provider, before: Mapping[str, str], ask: Callable[..., str] = typer.prompt) -> dict[str, str]:
    """Each part of the secret, from a person: again until it can be one."""
    given: dict[str, str] = {}
    for key in provider.credentials:
        is_open = key in provider.open_credentials
        while key not in given:
            value = ask(f"{key} of {provider.name}", default=before.get(key), hide_input=not is_open, err=True).strip()
            if wrong := fault(value):
                beside.print(Text(f"{key} {wrong}"))
            else:
                given[key] = value
    _fits(provider, given)
    return given


def from_json(provider: Provider, text: str) -> dict[str, str]:
    """Each part of the secret, from JSON. Raises CommandError, which repeats nothing of it."""
    wanted = ", ".join(provider.credentials)
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise CommandError(f"the secret is no JSON object with {wanted}", Exit.USAGE)
    if unknown := len(given.keys() - set(provider.credentials)):
        raise CommandError(f"the secret has {unknown} keys too many: it takes {wanted}", Exit.USAGE)
    values = {key: given.get(key, "") for key in provider.credentials}
    trimmed = {key: value.strip() if isinstance(value, str) else "" for key, value in values.items()}
    for key, value in trimmed.items():
        if wrong := fault(value):
            raise CommandError(f"{key} {wrong}", Exit.USAGE)
    _fits(provider, trimmed)
    return trimmed


_FAULTS: tuple[tuple[Callable[[str], bool], str], ...] = (
    (lambda value: not value, "is empty"),
    (lambda value: value[0] in "\"'`" or value[-1] in "\"'`", "is in quotes: give it without"),
    (
        lambda value: value.lower().startswith(("bearer ", "authorization:")),
        'begins with what the relay adds: give it without "Bearer"',
    ),
    (lambda value: any(each.isspace() for each in value), "has white space in it"),
    (lambda value: not value.isprintable(), "has characters in it that cannot be printed"),
    (lambda value: value.lower().startswith(("<", "your-")) or set(value) <= set("*•."), "is a placeholder"),
    (lambda value: len(value) > LONGEST, f"is longer than {LONGEST} characters"),
)


def fault(value: str) -> str:
    """What shows that it cannot be a credential, in words that do not repeat it; empty if nothing does."""
    return next((what for is_so, what in _FAULTS if is_so(value)), "")


def _fits(provider: Provider, given: Mapping[str, str]) -> None:
    try:
        provider.auth.show(given)
    except CredentialsError as error:
        raise CommandError(str(error), Exit.USAGE) from None


def _read(name: str) -> str:
    if name in ("", "-"):
        return sys.stdin.read(2 * LONGEST)
    try:
        with Path(name).open(encoding="utf-8") as file:
            return file.read(2 * LONGEST)
    except (OSError, UnicodeDecodeError) as error:
        _unreadable(name, error)


def _unreadable(name: str, error: Exception) -> NoReturn:
    why = error.strerror if isinstance(error, OSError) else "it is no text"
    raise CommandError(f"{name} cannot be read: {why}", Exit.USAGE) from None
