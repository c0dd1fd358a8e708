"""Credentials from Secrets Manager: fetched once, kept, fetched again only when a provider refuses them."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.exceptions import ClientError

from relay.errors import CredentialsError, UnavailableError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

MAX_AGE_SECONDS = 900.0
_FINAL = ("ResourceNotFoundException", "InvalidRequestException", "AccessDeniedException", "DecryptionFailure")


class SecretsManagerSecrets:
    """Satisfies `ports.Secrets`. The secret of `yotpo/main` is `<stage>/customer-events/yotpo/main`, a JSON object.

    Powertools' provider is not thread-safe, so one lock stands around every fetch. When Secrets Manager fails, what was
    fetched before goes on being used.
    """

    def __init__(
        self, client: "SecretsManagerClient", stage: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._provider = SecretsProvider(boto3_client=client)
        self._prefix = f"{stage}/customer-events/"
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Mapping[str, str]]] = {}

    def get(self, destination: str) -> Mapping[str, str]:
        with self._lock:
            kept = self._kept.get(destination)
            if kept and self._monotonic() - kept[0] < MAX_AGE_SECONDS:
                return kept[1]
            try:
                return self._fetch(destination)
            except UnavailableError:
                if kept is None:
                    raise
                # Not again with every attempt: what is down is left alone for a minute.
                self._kept[destination] = (self._monotonic() - MAX_AGE_SECONDS + 60, kept[1])
                return kept[1]

    def refresh(self, destination: str, seen: Mapping[str, str]) -> Mapping[str, str]:
        with self._lock:
            kept = self._kept.get(destination)
            if kept and kept[1] is not seen:
                return kept[1]
            return self._fetch(destination)

    def _fetch(self, destination: str) -> Mapping[str, str]:
        try:
            text = self._provider.get(self._prefix + destination, force_fetch=True)
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
        self._kept[destination] = (self._monotonic(), value)
        return value
