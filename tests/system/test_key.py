"""A stack under a key of the user's, as CloudFormation made it. What the key then allows, no emulator asks: that is in
tests/template/test_data_key.py.
"""

from tests.system.conftest import DATA_KEY
from tests.system.running import Relay


def test_queues_and_tables_are_under_the_key(deployed: Relay) -> None:
    """Every one. (That events pass through them, all other tests of this stack show.)"""
    found = {}
    for name, value in deployed.outputs.items():
        if name.endswith("QueueUrl"):
            reply = deployed.clients.sqs.get_queue_attributes(QueueUrl=value, AttributeNames=["All"])
            found[name] = reply["Attributes"].get("KmsMasterKeyId")
        if name.endswith("TableName"):
            table = deployed.clients.dynamodb.describe_table(TableName=value)["Table"]
            found[name] = table["SSEDescription"].get("KMSMasterKeyArn")
    assert len(found) >= 8
    assert set(found.values()) == {DATA_KEY}
