"""What an operator does to an account, and what deliver hears of it, on both emulators."""

import time
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from cli.accounts import Account, is_held
from cli.connect import Secret
from cli.stack import Lane, Relay, Where
from relay.adapters.dynamodb import KEEP_SECONDS, DynamoAccounts
from relay.adapters.secrets_manager import SecretsManagerSecrets
from relay.adapters.sqs import SqsLaneQueue
from relay.contract.destination import Destination
from relay.errors import CredentialsError, UnavailableError
from relay.ports import AccountRecord, Hidden, LaneMessage, State, Window
from relay.providers import PROVIDERS
from tests.contract.conftest import Aws
from tests.kinds import FAST

pytestmark = pytest.mark.emulator

NAME = Destination.of(FAST, "main")


@dataclass
class Desk:
    """An operator, and deliver, with one stack's tables and queues."""

    aws: Aws

    def __post_init__(self) -> None:
        aws, lane = self.aws, self.aws.lanes[FAST]
        lanes = {FAST: Lane(FAST, lane, aws.dead_letters, "")}
        relay = Relay(Where())
        outputs = {"AccountsTableName": aws.accounts}
        relay.__dict__ |= {"outputs": outputs, "lanes": lanes, "dynamodb": aws.dynamodb, "sqs": aws.sqs}
        self.account = Account(relay, NAME)
        self.accounts = DynamoAccounts(aws.dynamodb, aws.accounts)
        self.queue = SqsLaneQueue(aws.sqs, lane, aws.dead_letters)

    @property
    def item(self) -> dict[str, Any]:
        return self.aws.account(NAME)

    def write(self, **changes: Any) -> None:
        """As an environment does that has the newest record."""
        stands = self.account.read()
        written = replace(stands, version=stands.version + 1, writer=f"w-{stands.version}", **changes)
        assert self.accounts.write(written) is None

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.aws.sqs.send_message(
                QueueUrl=self.aws.lanes[FAST], MessageBody=body, MessageGroupId="main", MessageDeduplicationId=body
            )

    def receive(self) -> list[LaneMessage]:
        reply = self.aws.sqs.receive_message(QueueUrl=self.aws.lanes[FAST], MaxNumberOfMessages=10)
        return [
            LaneMessage(each["MessageId"], each["ReceiptHandle"], each["Body"], "main", 0.0)
            for each in reply.get("Messages", [])
        ]

    def defer(self, messages: list[LaneMessage], seconds: float) -> None:
        """As a batch does that leaves them for long."""
        assert not self.queue.defer(messages, seconds)
        receipts = tuple(each.receipt_handle for each in messages)
        self.accounts.note(Hidden(NAME, "main", receipts, time.time() + seconds))


@pytest.fixture
def desk(aws: Aws) -> Desk:
    return Desk(aws)


@pytest.mark.parametrize("known", [True, False])
def test_a_hold(desk: Desk, known: bool) -> None:
    """GIVEN an account of which something, or nothing, is known WHEN it is held THEN whoever writes next is told, and
    leaves it as it is.
    """
    if known:
        desk.write(calm=7)
    desk.account.hold("they asked us to stop", "Ann", 2_000_000_000.5)
    version = 2 if known else 1
    found = desk.accounts.write(AccountRecord(NAME, version, "other"))
    assert found is not None
    assert (found.version, found.held, found.held_by, found.held_until) == (
        version,
        "they asked us to stop",
        "Ann",
        2_000_000_000.5,
    )
    assert found.calm == (7 if known else 0)
    desk.write(held="of ours", held_by="me", held_until=0.0, resumed=9)
    found = desk.account.read()
    assert (found.held, found.held_by, found.held_until, found.resumed) == (
        "they asked us to stop",
        "Ann",
        2_000_000_000.5,
        0,
    )
    assert is_held(found)


def test_a_hold_is_not_forgotten(desk: Desk) -> None:
    """GIVEN an account that is held THEN its item stays as long as the hold does, whatever is written meanwhile; after
    the hold it goes, as any does, when nobody has written it for a month.
    """
    desk.write()
    assert "ttl" in desk.item
    desk.account.hold("their maintenance", "Ann")
    desk.write(calm=1)
    assert "ttl" not in desk.item
    until = time.time() + 90 * 86_400
    desk.account.hold("their maintenance", "Ann", until)
    assert int(desk.item["ttl"]["N"]) == int(until) + KEEP_SECONDS
    desk.write(calm=2)
    assert int(desk.item["ttl"]["N"]) == int(until) + KEEP_SECONDS
    desk.account.resume()
    assert abs(int(desk.item["ttl"]["N"]) - time.time() - KEEP_SECONDS) < 100


def test_a_resume(desk: Desk) -> None:
    """GIVEN an account that is held, refused, and told to be silent WHEN it is resumed THEN nothing of that stands,
    what was learned of its limit does, and who probed last is not waited for.
    """
    now = float(int(time.time()))
    known = {"windows": (Window(1.0, 5, 5, 3.5),), "burst": 2, "calm": 7, "why": "unauthorized", "since": now - 60}
    desk.write(state=State.OPEN, until=now + 300, quiet_until=now + 900, asked_until=now + 900, throttled=4, **known)
    desk.account.hold("their maintenance", "Ann", now + 3_600)
    version = desk.account.read().version
    found = desk.account.resume()
    assert found == desk.account.read()
    assert found == AccountRecord(
        NAME, version + 1, found.writer, state=State.OPEN, throttled=0, resumed=1, **cast(Any, known)
    )
    desk.write(state=State.HALF_OPEN, until=now + 35, probe="one-that-died")
    found = desk.account.resume()
    assert (found.state, found.until, found.probe, found.resumed) == (State.HALF_OPEN, 0, "", 2)


def test_an_account_of_which_nothing_is_known_is_resumed(desk: Desk) -> None:
    """It is as before, and who comes first is told."""
    desk.account.resume()
    found = desk.accounts.write(AccountRecord(NAME, 1, "first"))
    assert found is not None
    assert (found.version, found.state, found.resumed) == (1, State.CLOSED, 1)


def test_what_is_hidden_is_shown_in_its_order(desk: Desk) -> None:
    """GIVEN messages of a group that are hidden for minutes WHEN they are shown THEN they are handed out at once, in
    their order, and none of another account's.
    """
    desk.send("a", "b", "c")
    desk.defer(desk.receive(), 300)
    assert desk.receive() == []
    assert [len(each.receipts) for each in desk.account.hidden()] == [3]
    assert desk.account.show() == 3
    assert [each.body for each in desk.receive()] == ["a", "b", "c"]
    assert desk.account.show() == 0


def test_more_than_one_call_takes(desk: Desk) -> None:
    """GIVEN notes of many groups THEN all are read, and what nobody hides any more is passed over."""
    for number in range(1, 256, 5):
        desk.accounts.note(Hidden(NAME, f"main#{number}", (f"r-{number}",), time.time() + 300))
    desk.accounts.note(Hidden(NAME, "main", ("over",), time.time() - 1))
    desk.accounts.note(Hidden(NAME, "main#backfill", ("history",), time.time() + 300))
    found = {each.group: each for each in desk.account.hidden()}
    assert found.keys() == {"main", "main#backfill", *(f"main#{number}" for number in range(1, 256, 5))}
    assert found["main#6"].receipts == ("r-6",)
    assert found["main#6"].destination == NAME


def test_a_note_is_no_account(desk: Desk) -> None:
    """It stands beside the account's item, and takes the place of the one before it."""
    desk.accounts.note(Hidden(NAME, "main", ("r-1", "r-2"), 2_000_000_000.25))
    assert desk.account.read() == AccountRecord(NAME)
    desk.accounts.note(Hidden(NAME, "main", ("r-3",), 2_000_000_300.25))
    assert desk.account.hidden() == [Hidden(NAME, "main", ("r-3",), 2_000_000_300.25)]


def test_a_note_that_cannot_be_written(aws: Aws) -> None:
    """GIVEN no table THEN it is said to be away, not more."""
    with pytest.raises(UnavailableError, match="DynamoDB"):
        DynamoAccounts(aws.dynamodb, "nowhere").note(Hidden(NAME, "main", ("r",), 1.0))


RECEIPT = (
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html: "
    "a receipt handle is that of the last receive, and of a message that is hidden"
)


@pytest.mark.differs("moto", RECEIPT)
def test_an_old_receipt_shows_nothing(desk: Desk) -> None:
    """GIVEN a message that came up by itself, and that somebody else has now WHEN what was noted of it is shown THEN
    it stays with who has it.
    """
    desk.send("a")
    desk.defer(desk.receive(), 1)
    desk.accounts.note(replace(desk.account.hidden()[0], until=time.time() + 300))
    deadline = time.monotonic() + 10
    while not desk.receive():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert desk.account.show() == 0
    assert desk.receive() == []


def test_a_resume_makes_the_secret_be_read_again(aws: Aws) -> None:
    """GIVEN a secret that was read, or could not be, a moment ago WHEN the account is resumed THEN it is read again,
    once.
    """
    secrets = SecretsManagerSecrets(aws.secrets, aws.name, lambda: 0.0)
    with pytest.raises(CredentialsError):
        secrets.get(NAME)
    aws.secret(NAME, '{"access_token": "one"}')
    with pytest.raises(CredentialsError):
        secrets.get(NAME)
    assert secrets.get(NAME, 1)["access_token"] == "one"
    aws.secrets.put_secret_value(SecretId=f"{aws.name}/customer-events/{NAME}", SecretString='{"access_token": "two"}')
    assert [secrets.get(NAME, resumed)["access_token"] for resumed in (1, 2, 2, 1, 0)] == ["one", *["two"] * 4]


def test_a_resume_while_secrets_cannot_be_read(aws: Aws) -> None:
    """What was read before goes on being used."""
    aws.secret(NAME, '{"access_token": "one"}')
    secrets = SecretsManagerSecrets(aws.secrets, aws.name, lambda: 0.0)
    secrets.get(NAME)

    def broken(**_: Any) -> None:
        raise AttributeError("keys")

    aws.secrets.meta.events.register_first("after-call.secrets-manager.GetSecretValue", broken)
    assert secrets.get(NAME, 1)["access_token"] == "one"


KEY = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555"


def secret_of(aws: Aws, key: str = "") -> Secret:
    stack = type("Stack", (), {"stage": aws.name, "parameters": {"SecretsKeyArn": key}})()
    stack.secrets = aws.secrets
    return Secret(cast(Relay, stack), NAME)


def test_a_secret_is_stored_whatever_there_was_of_it(aws: Aws) -> None:
    """GIVEN none, or one THEN it is what deliver reads, and what was done is said."""
    secret, credentials = secret_of(aws), PROVIDERS[FAST].credentials
    provider = PROVIDERS[FAST]("https://provider.example")
    assert secret.shown_of(provider) == {}
    for number, done in enumerate(("created", "updated", "updated")):
        given = dict.fromkeys(credentials, f"v-{number}")
        assert secret.store(given) == done
        assert SecretsManagerSecrets(aws.secrets, aws.name).get(NAME) == given
    assert secret.shown_of(provider) == dict.fromkeys(provider.open_credentials, "v-2")


DELETED = (
    "https://docs.aws.amazon.com/secretsmanager/latest/userguide/manage_delete-secret.html: "
    "a secret that waits for its deletion cannot be used"
)


@pytest.mark.differs("moto", DELETED)
def test_a_secret_that_waits_for_its_deletion_is_restored(aws: Aws) -> None:
    """Else its name could not be used for a month."""
    secret = secret_of(aws)
    secret.store({"access_token": "one"})
    aws.secrets.delete_secret(SecretId=secret.name, RecoveryWindowInDays=7)
    assert secret.store({"access_token": "two"}) == "restored"
    assert SecretsManagerSecrets(aws.secrets, aws.name).get(NAME) == {"access_token": "two"}


@pytest.mark.parametrize("key", [KEY, ""])
def test_a_secret_is_encrypted_with_the_stack_s_key(aws: Aws, key: str) -> None:
    """GIVEN a stack with a key of its own THEN a new secret is under that."""
    secret = secret_of(aws, key)
    secret.store({"access_token": "one"})
    assert aws.secrets.describe_secret(SecretId=secret.name).get("KmsKeyId", "") == key
