"""A file of events into the relay: checked whole, sent once, gone on with where it stopped."""

import json
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from cli import send as command
from cli import ways
from cli.command import Answer, CommandError, Exit
from cli.progress import path_beside
from cli.reading import Written
from cli.send import MOST_NAMED, How
from cli.stack import Relay
from cli.ways import Via
from relay.contract.event import MAX_EVENT_BYTES
from tests.factories import EMAIL, event_data, make_event
from tests.kinds import EVERYWHERE, OVERWRITES, REPEATS
from tests.unit.cli.stack import chosen, stack

type Json = dict[str, Any]

SECRETIVE = ("ada", "example.com", "5551234", "+1555")


class Queue:
    """IntakeQueue, which takes everything. `before` is called with each batch, and may raise."""

    def __init__(self, before: Callable[[Sequence[Json]], object] = lambda _: None) -> None:
        self.taken: list[str] = []
        self.before = before

    def send_message_batch(self, QueueUrl: str, Entries: Sequence[Json]) -> Json:
        self.before(Entries)
        self.taken += [json.loads(entry["MessageBody"])["id"] for entry in Entries]
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}


def send(relay: Relay, files: list[str], columns: list[str] | None = None, **given: Any) -> Answer:
    """The command, its options by their names."""
    return command.send(relay, files, chosen(Written, given | {"columns": columns}), chosen(How, given))


@pytest.fixture(autouse=True)
def one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches in their order, and no pauses."""
    monkeypatch.setattr(ways.QueueWay, "at_once", 1)
    monkeypatch.setattr(ways, "FIRST_PAUSE", 0.0)


def lines(folder: Path, *events: Json | str, name: str = "events.jsonl") -> str:
    path = folder / name
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in events))
    return str(path)


def ids(count: int, **changes: Any) -> list[Json]:
    return [event_data(id=f"e-{number}", **changes) for number in range(count)]


def test_every_event_is_sent(tmp_path: Path) -> None:
    """GIVEN two files WHEN sent THEN all events are in the queue, and nothing is left beside the files."""
    queue = Queue()
    files = [lines(tmp_path, *ids(25)), lines(tmp_path, event_data(id="last"), name="one.json")]
    answer = send(stack(sqs=queue), files)
    assert answer.exit_code is Exit.OK
    assert sorted(queue.taken) == sorted([*(f"e-{number}" for number in range(25)), "last"])
    assert [(each["events"], each["sent"], each["refused"]) for each in answer.data["files"]] == [
        (25, 25, 0),
        (1, 1, 0),
    ]
    assert sorted(os.listdir(tmp_path)) == ["events.jsonl", "one.json"]


def test_an_event_in_an_envelope_is_sent_as_itself(tmp_path: Path) -> None:
    """As an archive of the bus holds it."""
    queue = Queue()
    envelope = json.loads((Path(__file__).parents[3] / "events/eventbridge-quiz-finished.json").read_text())
    assert send(stack(sqs=queue), [lines(tmp_path, envelope, envelope)]).exit_code is Exit.OK
    assert queue.taken == [envelope["detail"]["id"]] * 2


def test_a_file_of_history_says_so_of_each_event(tmp_path: Path) -> None:
    """GIVEN --backfill WHEN sent THEN each event is marked, and no other where it is not asked for."""
    marks = list[object]()
    queue = Queue(lambda entries: marks.extend(json.loads(one["MessageBody"]).get("backfill") for one in entries))
    assert send(stack(sqs=queue), [lines(tmp_path, *ids(2))], backfill=True).exit_code is Exit.OK
    assert send(stack(sqs=queue), [lines(tmp_path, *ids(2))]).exit_code is Exit.OK
    assert marks == [True, True, None, None]


def test_nothing_is_sent_if_anything_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GIVEN bad lines among good WHEN sent THEN each is told with its line and every field, without its customer."""
    queue = Queue()
    bad = event_data(id="bad", type="no name", customer={"email": f"{EMAIL}@", "phone_number": "5551234567"})
    file = lines(tmp_path, *ids(2), bad, '{"id": ', event_data(id=EMAIL, value="x"))
    answer = send(stack(sqs=queue), [file])
    assert (answer.exit_code, queue.taken) == (Exit.USAGE, [])
    assert [(each["place"], [one["field"] for one in each["errors"]]) for each in answer.data["invalid"]] == [
        ("line 3", ["type", "customer.email", "customer.phone_number"]),
        ("line 4", ["body"]),
        ("line 5", ["value"]),
    ]
    told = capsys.readouterr().err
    assert f"{file}, line 3 (bad): customer.email: must be an e-mail address" in told
    assert f"{file}, line 4: body: is not JSON" in told
    everything = told.replace(str(tmp_path), "") + json.dumps(answer.data).replace(str(tmp_path), "")
    assert not [word for word in SECRETIVE if word in everything.replace("+15551234567", "")]
    assert not path_beside(Path(file)).exists()


def test_a_row_s_cells_and_its_event_are_both_told(tmp_path: Path) -> None:
    """A cell that could not be read is one error, and not that its field is lacking as well."""
    (tmp_path / "x.csv").write_text("Id,Mail,Value,Kind\n1,nobody,much,odd\n")
    columns = ["id=Id", "source=@shop", "type:integer=Kind", "customer.email=Mail", "value=Value"]
    answer = send(stack(), [str(tmp_path / "x.csv")], columns, dry_run=True, via=Via.DIRECT)
    (record,) = answer.data["invalid"]
    assert [error["field"] for error in record["errors"]] == ["type", "value", "customer.email"]


def test_destinations_are_the_stack_s(tmp_path: Path) -> None:
    answer = send(stack(sqs=Queue()), [lines(tmp_path, event_data(destinations=[f"{REPEATS}/other"]))])
    assert [error["field"] for error in answer.data["invalid"][0]["errors"]] == ["destinations.0"]


def test_bad_ones_can_be_left_out(tmp_path: Path) -> None:
    """GIVEN --skip-invalid WHEN sent THEN the others go, and these stand with their errors where only we can read."""
    queue = Queue()
    file = lines(tmp_path, *ids(2), '{"id": ', event_data(id="bad", type=...), event_data(id="good"))
    answer = send(stack(sqs=queue), [file], skip_invalid=True)
    assert (answer.exit_code, queue.taken) == (Exit.FAILED, ["e-0", "e-1", "good"])
    rejected = Path(answer.data["files"][0]["rejected_file"])
    assert rejected == Path(f"{file}.rejected.jsonl")
    assert stat.S_IMODE(rejected.stat().st_mode) == 0o600
    first, second = map(json.loads, rejected.read_text().splitlines())
    assert (first["place"], first["record"]) == ("line 3", '{"id":')
    assert second["errors"] == [{"field": "type", "message": "is required"}]
    assert json.loads(second["record"]) == event_data(id="bad", type=...)


def test_where_none_is_bad_no_file_of_them_is_left(tmp_path: Path) -> None:
    assert send(stack(sqs=Queue()), [lines(tmp_path, *ids(2))], skip_invalid=True).exit_code is Exit.OK
    assert os.listdir(tmp_path) == ["events.jsonl"]


def test_the_same_event_twice_is_told_and_other_content_is_an_error(tmp_path: Path) -> None:
    """Over all files; but where each destination takes it for an update."""
    queue = Queue()
    again, other = event_data(id="e-0"), event_data(id="e-1", properties={"total": 1})
    answer = send(stack(sqs=queue), [lines(tmp_path, *ids(2)), lines(tmp_path, again, other, name="b.jsonl")])
    first, second = answer.data["files"]
    assert (first["repeated"], second["repeated"], second["invalid"]) == (0, 1, 1)
    assert queue.taken == []
    (told,) = answer.data["invalid"]
    assert told["errors"][0]["message"].startswith(f"is that of {first['file']}, line 2, with other content")
    assert f"{REPEATS}/main would get it as id_reused" in told["errors"][0]["message"]

    only = {"destinations": [f"{OVERWRITES}/main"]}
    file = lines(tmp_path, event_data(**only), event_data(properties={"total": 1}, **only), name="c.jsonl")
    assert send(stack(sqs=queue), [file]).exit_code is Exit.OK
    elsewhere = [event_data(destinations=[each], properties={"to": each}) for each in EVERYWHERE]
    assert send(stack(sqs=queue), [lines(tmp_path, *elsewhere, name="d.jsonl")]).exit_code is Exit.OK


def test_a_dry_run_sends_nothing(tmp_path: Path) -> None:
    queue = Queue()
    answer = send(stack(sqs=queue), [lines(tmp_path, *ids(3))], dry_run=True)
    assert (answer.exit_code, queue.taken, answer.data["files"][0]["events"]) == (Exit.OK, [], 3)
    assert os.listdir(tmp_path) == ["events.jsonl"]


def test_what_does_not_fit_the_bus_is_told_before(tmp_path: Path) -> None:
    """An event that SQS takes may be too large for EventBridge."""
    room = MAX_EVENT_BYTES - make_event(properties={"text": ""}).size
    file = lines(tmp_path, event_data(properties={"text": "x" * room}))
    answer = send(stack(events=None), [file], via=Via.EVENTBRIDGE, dry_run=True)
    assert answer.exit_code is Exit.USAGE
    assert "this way in takes 262144" in answer.data["invalid"][0]["errors"][0]["message"]
    assert send(stack(sqs=Queue()), [file]).exit_code is Exit.OK


class Interruption:
    """Raises once so many batches went."""

    def __init__(self, after: int, error: BaseException) -> None:
        self.left, self.error = after, error

    def __call__(self, _: object) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.error


NO_NETWORK = EndpointConnectionError(endpoint_url="https://sqs.example")


@pytest.mark.parametrize(
    ("error", "exit_code"), [(NO_NETWORK, Exit.FAILED), (KeyboardInterrupt(), Exit.INTERRUPTED)], ids=["network", "key"]
)
def test_it_goes_on_where_it_stopped(tmp_path: Path, error: BaseException, exit_code: Exit) -> None:
    """GIVEN a run that ended after two batches WHEN resumed THEN the others are sent, and nothing is left."""
    file = lines(tmp_path, *ids(45))
    queue = Queue(Interruption(2, error))
    answer = send(stack(sqs=queue), [file])
    assert (answer.exit_code, len(queue.taken)) == (exit_code, 20)
    assert json.loads(path_beside(Path(file)).read_text())["records"] == 20

    queue.before = lambda _: None
    with pytest.raises(CommandError, match="20 of its records are done: go on with --resume"):
        send(stack(sqs=queue), [file])
    answer = send(stack(sqs=queue), [file], resume=True)
    assert (answer.exit_code, answer.data["files"][0]["sent"]) == (Exit.OK, 45)
    assert queue.taken == [f"e-{number}" for number in range(45)]
    assert os.listdir(tmp_path) == ["events.jsonl"]


def test_of_several_files_those_that_are_done_are_not_sent_again(tmp_path: Path) -> None:
    queue = Queue(Interruption(2, NO_NETWORK))
    files = [lines(tmp_path, *ids(10), name="a.jsonl")]
    files += [lines(tmp_path, *(event_data(id=f"b-{number}") for number in range(20)), name="b.jsonl")]
    assert send(stack(sqs=queue), files).exit_code is Exit.FAILED
    queue.before = lambda _: None
    assert send(stack(sqs=queue), files, resume=True).exit_code is Exit.OK
    assert len(queue.taken) == len(set(queue.taken)) == 30


def test_another_file_or_another_way_is_no_going_on(tmp_path: Path) -> None:
    """GIVEN a run that stopped WHEN its file or how it is sent is another THEN it is refused; --restart sends all."""
    file = lines(tmp_path, *ids(15))
    queue = Queue(Interruption(1, NO_NETWORK))
    send(stack(sqs=queue), [file])
    with pytest.raises(CommandError, match="by another --via"):
        send(stack(events=None), [file], via=Via.EVENTBRIDGE, resume=True)
    with pytest.raises(CommandError, match="by another --skip-invalid"):
        send(stack(sqs=queue), [file], resume=True, skip_invalid=True)
    with Path(file).open("a") as more:
        more.write(json.dumps(event_data(id="more")))
    with pytest.raises(CommandError, match="has changed since"):
        send(stack(sqs=queue), [file], resume=True)
    queue.before, queue.taken = (lambda _: None), []
    assert send(stack(sqs=queue), [file], restart=True).exit_code is Exit.OK
    assert len(queue.taken) == 16


def test_a_progress_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    file = lines(tmp_path, *ids(1))
    path_beside(Path(file)).write_text("{")
    with pytest.raises(CommandError, match="cannot be read: send all of it again with --restart"):
        send(stack(sqs=Queue()), [file], resume=True)


def test_a_disk_that_fills_up_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a disk that is full in the midst of it THEN it ends with a line that says so, and goes on from there."""
    file = lines(tmp_path, *ids(25))
    replace, calls = os.replace, iter(range(100))

    def full(*names: Any) -> None:
        if next(calls):
            raise OSError(28, "No space left on device")
        replace(*names)

    queue = Queue()
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(CommandError, match="No space left on device"):
            send(stack(sqs=queue), [file])
    assert send(stack(sqs=queue), [file], resume=True).exit_code is Exit.OK
    assert set(queue.taken) == {f"e-{number}" for number in range(25)}


def test_with_nothing_to_go_on_with_it_begins(tmp_path: Path) -> None:
    """A script may always say --resume."""
    queue = Queue()
    assert send(stack(sqs=queue), [lines(tmp_path, *ids(3))], resume=True).exit_code is Exit.OK
    assert len(queue.taken) == 3


def test_those_left_out_are_left_out_when_it_goes_on(tmp_path: Path) -> None:
    queue = Queue(Interruption(1, NO_NETWORK))
    conflict = event_data(id="e-0", properties={"other": 1})
    file = lines(tmp_path, *ids(12), conflict, event_data(id="last"))
    send(stack(sqs=queue), [file], skip_invalid=True)
    queue.before = lambda _: None
    answer = send(stack(sqs=queue), [file], skip_invalid=True, resume=True)
    assert (answer.exit_code, answer.data["files"][0]["sent"]) == (Exit.FAILED, 13)
    assert queue.taken == [*(f"e-{number}" for number in range(12)), "last"]


def test_many_bad_lines_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GIVEN more bad lines than anybody reads WHEN checked THEN the first are named, and all are summed up."""
    file = lines(tmp_path, *(event_data(id=f"e-{number}", type="a b") for number in range(MOST_NAMED + 5)))
    answer = send(stack(sqs=Queue()), [file])
    assert len(answer.data["invalid"]) == MOST_NAMED
    assert answer.data["files"][0]["invalid"] == MOST_NAMED + 5
    assert len(capsys.readouterr().err.splitlines()) == MOST_NAMED + 1


@pytest.mark.parametrize(
    ("files", "options", "says"),
    [
        (["nosuch.jsonl"], {}, "nosuch.jsonl: No such file"),
        (["empty.jsonl"], {}, "there is no event in"),
        (["empty.jsonl", "empty.jsonl"], {}, "is named twice"),
        (["empty.jsonl"], {"resume": True, "restart": True}, "not both"),
        (["empty.jsonl"], {"delimiter": "ab"}, "one character"),
        (["empty.jsonl"], {"timezone": "Mars/Base"}, "no time zone Mars/Base"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], options: Json, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    lines(tmp_path, name="empty.jsonl")
    with pytest.raises(CommandError, match=says) as caught:
        send(stack(sqs=Queue()), files, **options)
    assert caught.value.exit_code is Exit.USAGE
