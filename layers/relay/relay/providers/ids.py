"""An event's ID in a provider's own form: made of ours, so that every try sends the same."""

from base64 import b32encode
from hashlib import sha256
from uuid import NAMESPACE_URL, UUID, uuid5

from relay.contract.event import Event

_CROCKFORD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ")
"""From the alphabet of RFC 4648's base 32."""
_LATEST = 2**48 - 1
_OURS = uuid5(NAMESPACE_URL, "customer-event-relay:event")


def uuid(event: Event) -> UUID:
    """Version 5, of the event's ID alone."""
    return uuid5(_OURS, event.id)


def ulid(event: Event) -> str:
    """26 characters (https://github.com/ulid/spec): the moment the event occurred, in milliseconds, and 80 bits of its
    ID's SHA-256. Of an event without a moment, or from before 1970, the first ten are zeros.
    """
    moment = int(event.occurred_at.timestamp() * 1000) if event.occurred_at else 0
    number = min(max(moment, 0), _LATEST) << 80 | int.from_bytes(sha256(event.id.encode()).digest()[:10])
    # The last 26 of 32 characters are its 128 bits, and two zeros before them.
    return b32encode(number.to_bytes(20)).translate(_CROCKFORD)[-26:].decode()
