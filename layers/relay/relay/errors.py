"""Everything the relay raises, in one tree.

RelayError
├── InvalidEventError        the producer's input breaks the contract: reject it, retrying is pointless
├── UndeliverableError       a valid event this one provider cannot take: dead letter for that destination
├── CredentialsError         the destination's secret is missing, malformed or refused: hold the account
├── UnavailableError         one of our own dependencies failed: leave the message to SQS
│   └── NotAcceptedError     intake could not carry out a whole call: its caller tries again
└── TransportError           the HTTP exchange failed
    ├── NotSentError         the provider cannot have acted on it
    └── NoAnswerError        the request went out whole, the answer never came

No message carries a token, a URL, an e-mail address or a phone number.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

MOST_ERRORS = 20
"""Errors of one record that are named. Of the others (a megabyte may hold 100,000) only the number is told."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field. `field` is a dotted path from the event's root, such as `customer.email`."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def name_some[Found](
    found: Iterable[Found], error: Callable[[Found], FieldError], unnamed: int = 0
) -> list[FieldError]:
    """The first MOST_ERRORS of what was found, each as `error` puts it, and how many are left `unnamed`."""
    left = iter(found)
    errors = [error(each) for each in islice(left, MOST_ERRORS)]
    unnamed += sum(1 for _ in left)
    return [*errors, FieldError("body", unnamed_errors(unnamed))] if unnamed else errors


def unnamed_errors(count: int) -> str:
    return f"errors not named here: {count}"


class RelayError(Exception):
    """Base of every error the relay raises on purpose."""


class _FieldsError(RelayError):
    def __init__(self, errors: Iterable[FieldError], event_id: str | None = None) -> None:
        self.errors = tuple(errors)
        self.event_id = event_id
        super().__init__("; ".join(map(str, self.errors)))


class InvalidEventError(_FieldsError):
    """The input is not an event of version 1.1. `event_id` is the producer's id where one could be read."""


class UndeliverableError(_FieldsError):
    """The event is valid, but no request can be built from it for this provider."""


class CredentialsError(RelayError):
    """The destination's secret is absent or lacks a key the provider needs."""


class UnavailableError(RelayError):
    """A dependency of ours (queue, ledger, secrets) did not do its work. `service` names it, `code` what was wrong: the
    service's own word for it, or the kind of the cause.
    """

    def __init__(self, service: str, cause: BaseException | None = None, code: str = "") -> None:
        self.service = service
        self.code = code or (type(cause).__name__ if cause else "")
        super().__init__(f"{service} unavailable" + (f" ({self.code})" if self.code else ""))


class NotAcceptedError(UnavailableError):
    """A call of intake that was not carried out as a whole. Made again, it repeats nothing that was."""

    def __init__(self, first: UnavailableError, place: int, failed: int, of: int) -> None:
        super().__init__(first.service, code=first.code)
        self._told = f"{failed} of {of} events not accepted, the first has index {place}: send the call again"

    def __str__(self) -> str:
        return f"{super().__str__()}; {self._told}"


class TransportError(RelayError):
    """The exchange with the provider failed. Carries the name of the cause, never its text: that holds the URL."""

    def __init__(self, cause: BaseException | str) -> None:
        self.cause = cause if isinstance(cause, str) else type(cause).__name__
        super().__init__(self.cause)


class NotSentError(TransportError):
    """The request's body was never handed over (refused, DNS, TLS, reset before it): safe to send again."""


class NoAnswerError(TransportError):
    """The body was handed over and no readable answer came: the provider may or may not have acted."""
