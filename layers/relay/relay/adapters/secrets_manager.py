"""Credentials from Secrets Manager: fetched once, kept, fetched again only when a provider refuses them."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
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

    provider: SecretsProvider
    lock: threading.Lock = field(default_factory=threading.Lock)
    value: Mapping[str, str] | None = None
    fetched_at: float = float("-inf")
    failed_at: float = float("-inf")
    failure: RelayError | None = None


class SecretsManagerSecrets:
    """Satisfies `ports.Secrets`. A destination's secret is `<stage>/customer-events/<provider>/<account>`, JSON.

    Powertools' provider is not thread-safe, so each destination has its own behind a lock; nobody waits for another
    destination's fetch. When Secrets Manager fails, what was fetched before goes on being used. Kept are the secrets of
    the `most` destinations that were asked for last.
    """

    def __init__(
        self,
        client: "SecretsManagerClient",
        stage: str,
        monotonic: Callable[[], float] = time.monotonic,
        most: int = KNOWN,
    ) -> None:
        self._prefix = f"{stage}/customer-events/"
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._of = recent(lambda _destination: _Secret(SecretsProvider(boto3_client=client)), most)

    def get(self, destination: str) -> Mapping[str, str]:
        secret = self._secret(destination)
        with secret.lock:
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
            if secret.value is not None and secret.value is not seen:
                return secret.value
            return self._fetch(secret, destination)

    def _secret(self, destination: str) -> _Secret:
        with self._lock:
            return self._of(destination)

    def _fetch(self, secret: _Secret, destination: str) -> Mapping[str, str]:
        if secret.failure is not None and self._monotonic() - secret.failed_at < FAILED_SECONDS:
            raise secret.failure
        try:
            secret.value = self._read(secret.provider, destination)
        except (CredentialsError, UnavailableError) as error:
            secret.failed_at, secret.failure = self._monotonic(), error
            raise
        secret.fetched_at, secret.failure = self._monotonic(), None
        return secret.value

    def _read(self, provider: SecretsProvider, destination: str) -> Mapping[str, str]:
        try:
            text = provider.get(self._prefix + destination, force_fetch=True)
        except GetParameterError as error:
            cause = error.__context__
            if isinstance(cause, ClientError) and cause.response["Error"]["Code"] in _FINAL:
                raise CredentialsError(f"no readable secret for {destination}") from None
            raise UnavailableError("Secrets Manager", cause) from None
        try:
            value = json.loads(str(text))
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise CredentialsError(f"the secret of {destination} is not a JSON object")
        return value
