"""A stack under a key of the user's, as CloudFormation made it. What the key then allows, no emulator asks: that is in
tests/template/test_data_key.py.
"""

from tests.system.conftest import DATA_KEY
from tests.system.running import Relay


def test_every_queue_is_under_the_key(deployed: Relay) -> None:
    """And nothing stands still for it, as all other tests of this stack show. (Of a table CloudFormation made, the
    emulator does not tell its key.)
    """
    urls = {name: url for name, url in deployed.outputs.items() if name.endswith("QueueUrl")}
    get = deployed.clients.sqs.get_queue_attributes
    found = {name: get(QueueUrl=url, AttributeNames=["All"])["Attributes"] for name, url in urls.items()}
    assert {name: one.get("KmsMasterKeyId") for name, one in found.items()} == dict.fromkeys(urls, DATA_KEY)
    assert urls
