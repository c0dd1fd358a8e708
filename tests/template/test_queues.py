"""No queue loses an event, and none lets anybody else in."""

from relay.account.account import LONGEST_BACKOFF
from relay.delivery.batch import PATIENT_AFTER_RECEIVES
from relay.ports import MOST_BYTES
from relay.providers import PROVIDERS
from tests.simulation.function import BATCH, TIMEOUT_SECONDS
from tests.simulation.sqs import RETENTION, VISIBILITY
from tests.simulation.world import INTAKE_RECEIVES, MAX_RECEIVES
from tests.template.stack import Stack, listed, measured, statements, target

DAY = 86_400
FOURTEEN_DAYS = 14 * DAY
LOOK_AHEAD = 120_000
VISIBLE, AGE = "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"


def receives(stack: Stack) -> dict[str, int]:
    """Each queue's receives until SQS gives a message up."""
    return {queue: stack.queues[queue]["RedrivePolicy"]["maxReceiveCount"] for queue in stack.dead_letter_queues}


def test_visibility_outlasts_the_function(stack: Stack) -> None:
    """Events stay hidden for at least six times the timeout of the function that has them."""
    for function, source in stack.sources():
        queue = stack.queues[target(source["Queue"])]
        timeout = (stack.globals | stack.functions[function])["Timeout"]
        assert queue["VisibilityTimeout"] >= 6 * timeout, function


def test_every_queue_has_a_dead_letter_queue_or_is_one(stack: Stack) -> None:
    """What cannot be handled ends in a queue, never nowhere."""
    given_up = stack.dead_letter_queues
    assert set(stack.queues) == set(given_up) | set(given_up.values())


def test_a_dead_letter_queue_is_of_its_queue_s_kind(stack: Stack) -> None:
    """SQS takes a FIFO queue's dead letters in a FIFO queue only."""
    for queue, dead_letters in stack.dead_letter_queues.items():
        assert stack.queues[queue].get("FifoQueue") == stack.queues[dead_letters].get("FifoQueue"), queue


def test_the_receive_count_is_a_far_backstop(stack: Stack) -> None:
    """Events are given up by age, so throttling and outages must not use up their receives."""
    counts = receives(stack)
    del counts["IntakeQueue"]
    assert set(counts.values()) == {1000}
    least = sum(min(receive, LONGEST_BACKOFF) for receive in range(PATIENT_AFTER_RECEIVES + 1, 1000))
    assert stack.parameters["MaxDeliveryAgeHours"]["MaxValue"] * 3600 < least


def test_intake_s_backstop_comes_within_hours(stack: Stack) -> None:
    """Intake waits for nobody: what keeps failing is kept apart the same day, but not before a night is over."""
    hours = receives(stack)["IntakeQueue"] * stack.queues["IntakeQueue"]["VisibilityTimeout"] / 3600
    assert 8 <= hours <= 12


def test_nobody_else_s_dead_letters_come_in(stack: Stack) -> None:
    """A dead-letter queue is that of its one queue, every other queue nobody's."""
    for name, queue in stack.queues.items():
        sources = [source for source, dead_letters in stack.dead_letter_queues.items() if dead_letters == name]
        allowed = queue["RedriveAllowPolicy"]
        if sources:
            arn = "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:"
            names = [arn + stack.queues[source]["QueueName"]["Fn::Sub"] for source in sources]
            assert allowed == {
                "redrivePermission": "byQueue",
                "sourceQueueArns": [{"Fn::Sub": name} for name in names],
            }, name
        else:
            assert allowed == {"redrivePermission": "denyAll"}, name


def test_every_queue_outlives_the_stack(stack: Stack) -> None:
    """Under a name of its own, so that the next stack can adopt it; a queue that never came to be leaves nothing."""
    for name in stack.queues:
        queue = stack.resources[name]
        assert (queue["DeletionPolicy"], queue["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain"), name
        assert queue["Properties"]["QueueName"]["Fn::Sub"].startswith("${Stage}-customer-events-"), name


def test_every_queue_keeps_for_as_long_as_sqs_can(stack: Stack) -> None:
    """A queue outlasts the oldest age at which an event may still be delivered."""
    assert {queue["MessageRetentionPeriod"] for queue in stack.queues.values()} == {FOURTEEN_DAYS}
    assert stack.parameters["MaxDeliveryAgeHours"]["MaxValue"] * 3600 < FOURTEEN_DAYS


def test_every_queue_takes_what_the_code_takes_for_granted(stack: Stack) -> None:
    """A message and its evidence fit beside each other wherever they are kept; nothing hangs on a default."""
    assert {queue["MaximumMessageSize"] for queue in stack.queues.values()} == {MOST_BYTES}


def test_the_simulation_has_the_templates_numbers(stack: Stack) -> None:
    """What runs in virtual time is what is deployed."""
    (timeout,) = {(stack.globals | stack.functions[function])["Timeout"] for function, _ in stack.sources()}
    counts = receives(stack)
    assert timeout == TIMEOUT_SECONDS
    assert {source["BatchSize"] for _, source in stack.sources()} == {BATCH}
    assert counts.pop("IntakeQueue") == INTAKE_RECEIVES
    assert set(counts.values()) == {MAX_RECEIVES}
    assert {stack.queues[queue]["VisibilityTimeout"] for queue in stack.dead_letter_queues} == {VISIBILITY}
    assert {queue["MessageRetentionPeriod"] for queue in stack.queues.values()} == {RETENTION}


def test_lanes_are_fifo_with_explicit_deduplication(stack: Stack) -> None:
    """A lane orders by account, and deduplicates by the relay's ids within an account."""
    lanes = [queue for queue in stack.queues.values() if "FifoThroughputLimit" in queue]
    assert len(lanes) == len(PROVIDERS)
    for lane in lanes:
        assert lane["FifoQueue"] is True
        assert lane["ContentBasedDeduplication"] is False
        assert (lane["DeduplicationScope"], lane["FifoThroughputLimit"]) == ("messageGroup", "perMessageGroupId")


def test_every_queue_has_an_alarm(stack: Stack) -> None:
    """Every queue is watched for its age: events that wait are noticed."""
    for queue in stack.queues:
        assert AGE in {alarm["MetricName"] for alarm in stack.watching("QueueName", queue)}, queue


def test_dead_letters_are_noticed_at_once_and_before_they_go(stack: Stack) -> None:
    """The first dead letter raises an alarm, and so does one that SQS is about to delete.

    In a FIFO queue a dead letter's time begins anew; in a standard one its expiry stays that of its first queue while
    its age counts from the move.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/setting-up-dead-letter-queue-retention.html
    """
    for queue in stack.dead_letter_queues.values():
        alarms = {alarm["MetricName"]: alarm for alarm in stack.watching("QueueName", queue)}
        assert alarms[VISIBLE]["Threshold"] == 1, queue
        assert alarms[AGE]["Threshold"] == (10 if stack.queues[queue].get("FifoQueue") else 5) * DAY, queue


def test_a_lane_is_noticed_before_sqs_loses_sight_of_it(stack: Stack) -> None:
    """A backlog raises an alarm before it hides accounts of the same provider."""
    for _, source in stack.sources():
        queue = target(source["Queue"])
        if stack.queues[queue].get("FifoQueue"):
            alarms = {alarm["MetricName"]: alarm for alarm in stack.watching("QueueName", queue)}
            assert alarms[VISIBLE]["Threshold"] < LOOK_AHEAD, queue


def test_no_alarm_counts_sent_messages(stack: Stack) -> None:
    """That count leaves out what SQS itself moves to a dead-letter queue."""
    assert "NumberOfMessagesSent" not in {
        metric["MetricName"] for alarm in stack.alarms.values() for metric in measured(alarm)
    }


def test_every_queue_refuses_plain_http(stack: Stack) -> None:
    """Each queue has one policy, about itself only, that denies everything without TLS but on one machine."""
    policed = []
    for name, policy in stack.of("AWS::SQS::QueuePolicy").items():
        (queue,) = map(target, policy["Queues"])
        policed.append(queue)
        allowed = statements(policy["PolicyDocument"])
        assert all(target(one["Resource"]) == queue for one in allowed), name
        (denied,) = [one for one in allowed if one["Effect"] == "Deny"]
        assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}, name
        assert denied["Principal"] == "*"
        assert denied["Action"] == "sqs:*"
    assert sorted(policed) == sorted(stack.queues)
    assert stack.body["Conditions"]["RequiresTls"] == {"Fn::Not": [{"Condition": "IsLocal"}]}
    assert stack.body["Conditions"]["IsLocal"] == {"Fn::Equals": [{"Ref": "Stage"}, "local"]}


def test_only_one_machine_is_local(stack: Stack) -> None:
    """AWS refuses a stage of that name, whose queues would take plain http: nobody has the emulator's account there."""
    (rule,) = stack.body["Rules"].values()
    (assertion,) = rule["Assertions"]
    assert rule["RuleCondition"] == stack.body["Conditions"]["IsLocal"]
    assert assertion["Assert"] == {"Fn::Equals": [{"Ref": "AWS::AccountId"}, "000000000000"]}
    assert "another name" in assertion["AssertDescription"]


def test_the_rule_takes_every_event_and_loses_none(stack: Stack) -> None:
    """Every event on the bus goes to intake's queue; what cannot be handed over goes to the rejected queue."""
    (rule,) = stack.of("AWS::Events::Rule").values()
    (goal,) = rule["Targets"]
    assert rule["EventPattern"] == {"source": [{"prefix": ""}]}
    assert target(rule["EventBusName"]) == "EventBus"
    assert (target(goal["Arn"]), target(goal["DeadLetterConfig"]["Arn"])) == ("IntakeQueue", "RejectedQueue")
    for queue in ("IntakeQueue", "RejectedQueue"):
        policies = stack.of("AWS::SQS::QueuePolicy").values()
        (policy,) = [policy for policy in policies if listed(policy["Queues"]) == [{"Ref": queue}]]
        assert "Allow" in {one["Effect"] for one in statements(policy["PolicyDocument"])}, queue
