"""One file per provider, and the list of them."""

from relay.providers.attentive import Attentive
from relay.providers.base import Provider
from relay.providers.braze import Braze
from relay.providers.customerio import Customerio
from relay.providers.klaviyo import Klaviyo
from relay.providers.omnisend import Omnisend
from relay.providers.postscript import Postscript
from relay.providers.sender import Sender
from relay.providers.yotpo import Yotpo

PROVIDERS: dict[str, type[Provider]] = {
    provider.name: provider
    for provider in (
        Yotpo,
        Sender,
        Klaviyo,
        Attentive,
        Omnisend,
        Customerio,
        Braze,
        Postscript,
    )
}
