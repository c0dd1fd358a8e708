"""An alarm that fires is about something, reaches somebody, and tells them what to do."""

import json
import re
from typing import Any

from relay.observability import METRICS
from tests.template.stack import PROVIDERS, Stack, anchors, target

LINK = re.compile(r"Runbook: docs/runbook\.md#([\w-]+)$")


def test_every_alarm_links_a_section_of_the_runbook(stack: Stack, runbook: str) -> None:
    """The anchor at the end of each alarm's description exists."""
    for name, alarm in stack.alarms.items():
        link = LINK.search(alarm["AlarmDescription"])
        assert link, name
        assert link[1] in anchors(runbook), f"{name}: {link[1]}"


def test_every_section_of_the_runbook_names_its_alarms(stack: Stack, runbook: str) -> None:
    """A section lists exactly the alarms that link to it, and says what they mean and what to do."""
    sections = re.split(r"^## ", runbook, flags=re.MULTILINE)[1:]
    for section in sections:
        (anchor,) = anchors(f"## {section.splitlines()[0]}")
        linked = [alarm for alarm in stack.alarms.values() if alarm["AlarmDescription"].endswith(f"#{anchor}")]
        names = {alarm["AlarmName"]["Fn::Sub"].replace("${Stage}-customer-events", "…") for alarm in linked}
        listed = re.search(r"^Alarms?: (.+)\.$", section, re.MULTILINE)
        assert listed, anchor
        assert set(re.findall(r"`(…[\w-]+)`", listed[1])) == names != set(), anchor
        assert all(f"**{part}**" in section for part in ("Means", "Look at")), anchor
        assert "**Do**" in section or "**do**" in section, anchor


def test_links_within_the_runbook_hold(runbook: str) -> None:
    """Sections refer to sections that exist."""
    assert set(re.findall(r"\]\(#([\w-]+)\)", runbook)) <= anchors(runbook)


def test_every_alarm_reaches_the_address_if_there_is_one(stack: Stack) -> None:
    """With AlarmEmail an alarm notifies; without, it only shows."""
    action = {"Fn::If": ["HasAlarmEmail", [{"Ref": "AlarmTopic"}], []]}
    assert [name for name, alarm in stack.alarms.items() if alarm["AlarmActions"] != action] == []
    for name in ("AlarmTopic", "AlarmTopicPolicy"):
        assert stack.resources[name]["Condition"] == "HasAlarmEmail"
    (subscription,) = stack.of("AWS::SNS::Topic")["AlarmTopic"]["Subscription"]
    assert subscription == {"Protocol": "email", "Endpoint": {"Ref": "AlarmEmail"}}


def test_silence_is_no_alarm(stack: Stack) -> None:
    """A queue nobody uses and a metric nobody writes leave every alarm off."""
    assert {alarm["TreatMissingData"] for alarm in stack.alarms.values()} == {"notBreaching"}
    assert {alarm["ComparisonOperator"] for alarm in stack.alarms.values()} == {"GreaterThanOrEqualToThreshold"}


def test_every_function_s_errors_and_throttles_raise_an_alarm(stack: Stack) -> None:
    """One crash or time-out is enough, and room that lacks for long."""
    for function in stack.functions:
        alarms = {one["MetricName"]: one for one in stack.watching("FunctionName", function)}
        for metric in ("Errors", "Throttles"):
            assert (alarms[metric]["Statistic"], alarms[metric]["Threshold"]) == ("Sum", 1), function


def test_what_is_kept_for_asynchronous_callers_is_watched(stack: Stack) -> None:
    """Where a function has somewhere to put its failures, the failure to put them there raises an alarm.

    AsyncEventsDropped would not do: it counts what reached that place, too.
    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    """
    kept = {name for name, function in stack.functions.items() if "EventInvokeConfig" in function}
    metric = "DestinationDeliveryFailures"
    watched = {
        name for name in stack.functions for one in stack.watching("FunctionName", name) if one["MetricName"] == metric
    }
    assert watched == kept != set()


def test_intake_s_own_age_is_watched_as_its_queue_s(stack: Stack) -> None:
    """SQS's age passes over what was received three times: the alarm on ours takes over at the same moment."""
    ages = [alarm for alarm in stack.alarms.values() if alarm["MetricName"] == "IntakeAge"]
    ages += [one for one in stack.watching("QueueName", "IntakeQueue") if one["MetricName"].startswith("Approx")]
    assert len(ages) == 2
    assert {(alarm["Statistic"], alarm["Period"], alarm["Threshold"]) for alarm in ages} == {("Maximum", 300, 900)}


def test_an_account_stays_on_alarm_between_two_tries(stack: Stack) -> None:
    """The alarm looks back further than the longest hold, so that it does not go off and on."""
    longest = 3 * stack.parameters["HoldSeconds"]["Default"]
    for alarm in stack.alarms.values():
        if alarm["MetricName"] == "AccountHeld":
            assert alarm["Period"] * alarm["EvaluationPeriods"] > longest
            assert alarm["DatapointsToAlarm"] == alarm["Threshold"] == 1


def test_late_means_late_everywhere(stack: Stack) -> None:
    """Both age alarms of a lane use LateAfterSeconds."""
    late = [alarm for alarm in stack.alarms.values() if alarm["Threshold"] == {"Ref": "LateAfterSeconds"}]
    wanted = sorted(["ApproximateAgeOfOldestMessage", "DeliveryAge"] * len(PROVIDERS))
    assert sorted(alarm["MetricName"] for alarm in late) == wanted


def test_the_dashboard_shows_every_outcome_of_every_lane(stack: Stack) -> None:
    """The dashboard is valid, fits its grid, and leaves no outcome out."""
    (dashboard,) = stack.of("AWS::CloudWatch::Dashboard").values()
    widgets = json.loads(dashboard["DashboardBody"]["Fn::Sub"])["widgets"]
    spots = {(widget["x"], widget["y"]) for widget in widgets}
    assert len(spots) == len(widgets)
    assert all(widget["x"] + widget["width"] <= 24 for widget in widgets)
    assert {widget["properties"]["region"] for widget in widgets} == {"${AWS::Region}"}
    for provider in PROVIDERS:
        title = f"{provider.capitalize()}: outcomes"
        (widget,) = [one for one in widgets if one["properties"]["title"] == title]
        assert [metric[1] for metric in widget["properties"]["metrics"]] == list(METRICS.values()), provider


def test_the_dashboard_shows_every_metric_that_has_an_alarm(stack: Stack) -> None:
    """Whoever gets an alarm finds its metric there, but for the age of what waits in a queue."""
    (dashboard,) = stack.of("AWS::CloudWatch::Dashboard").values()
    shown = set(re.findall(r'"([A-Z]\w+)"', dashboard["DashboardBody"]["Fn::Sub"]))
    watched = {alarm["MetricName"] for alarm in stack.alarms.values()}
    assert watched - shown == {"ApproximateAgeOfOldestMessage"}


def test_the_dashboard_names_what_the_stack_has(stack: Stack) -> None:
    """Every name the dashboard fills in is a resource, a parameter or a pseudo parameter."""
    (dashboard,) = stack.of("AWS::CloudWatch::Dashboard").values()
    body: Any = dashboard["DashboardBody"]["Fn::Sub"]
    names = {name.split(".")[0] for name in re.findall(r"\$\{([\w:.]+)\}", body)}
    assert names <= {*stack.resources, *stack.parameters, "AWS::Region"}
    assert {target({"Ref": queue}) for queue in stack.queues} <= names
