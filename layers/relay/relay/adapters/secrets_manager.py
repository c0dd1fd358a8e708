"""Credentials from Secrets Manager: fetched once, kept, fetched again only when a provider refuses them."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from relay.contract.destination import KNOWN, recent
from relay.errors import CredentialsError, RelayError, UnavailableError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

MAX_AGE_SECONDS = 900.0

FAILED_SECONDS = 30.0
"""For how long a failed fetch answers everyone: what waited for it together would fail one after the other."""

_FINAL = ("ResourceNotFoundException", "InvalidRequestException", "AccessDeniedException", "DecryptionFailure")


@dataclass(slots=True)
class _Secret:
    """One destination's secret. Times are monotonic seconds."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    value: Mapping[str, str] | None = None
    fetched_at: float = float("-inf")
    failed_at: float = float("-inf")
    failure: RelayError | None = None
    resumed: int = 0


class SecretsManagerSecrets:
    """Satisfies `ports.Secrets`. A destination's secret is `<stage>/customer-events/<provider>/<account>`, JSON.

    Each destination has a lock of its own: of those who want its secret at once one fetches it, and nobody waits for
    another destination's fetch. Of those whose credentials were refused each fetches, until there are others. When
    Secrets Manager fails, what was fetched before goes on being used. Kept are the secrets of the `most` destinations
    that were asked for last.
    """

    def __init__(
        self,
        client: "SecretsManagerClient",
        stage: str,
        monotonic: Callable[[], float] = time.monotonic,
        most: int = KNOWN,
    ) -> None:
        self._client = client
        self._prefix = f"{stage}/customer-events/"
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._of = recent(lambda _destination: _Secret(), most)

    def get(self, destination: str, resumed: int = 0) -> Mapping[str, str]:
        secret = self._secret(destination)
        with secret.lock:
            if resumed > secret.resumed:
                # An operator may have stored another one, or the first.
                secret.resumed, secret.fetched_at, secret.failure = resumed, float("-inf"), None
            if secret.value is not None and self._monotonic() - secret.fetched_at < MAX_AGE_SECONDS:
                return secret.value
            try:
                return self._fetch(secret, destination)
            except UnavailableError:
                if secret.value is None:
                    raise
                return secret.value

    def refresh(self, destination: str, seen: Mapping[str, str]) -> Mapping[str, str]:
        secret = self._secret(destination)
        with secret.lock:
            # What equals the refused ones was fetched before they were replaced, if they were.
            if secret.value is not None and secret.value != seen:
                return secret.value
            return self._fetch(secret, destination)

    def _secret(self, destination: str) -> _Secret:
        with self._lock:
            return self._of(destination)

    def _fetch(self, secret: _Secret, destination: str) -> Mapping[str, str]:
        if secret.failure is not None and self._monotonic() - secret.failed_at < FAILED_SECONDS:
            raise secret.failure
        try:
            secret.value = self._read(destination)
        except (CredentialsError, UnavailableError) as error:
            secret.failed_at, secret.failure = self._monotonic(), error
            raise
        secret.fetched_at, secret.failure = self._monotonic(), None
        return secret.value

    def _read(self, destination: str) -> Mapping[str, str]:
        try:
            got = self._client.get_secret_value(SecretId=self._prefix + destination)
            answer = cast(Mapping[str, object], got or {})
        except Exception as error:  # Of an answer that it cannot parse botocore raises kinds that are not its own.
            if isinstance(error, ClientError) and error.response["Error"]["Code"] in _FINAL:
                raise CredentialsError(f"no readable secret for {destination}") from None
            raise UnavailableError("Secrets Manager", error) from None
        if not answer.keys() & {"SecretString", "SecretBinary"}:
            raise UnavailableError("Secrets Manager", code="no secret in the answer")
        try:
            value = json.loads(str(answer.get("SecretString", "")))
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise CredentialsError(f"the secret of {destination} is not a JSON object")
        return value
