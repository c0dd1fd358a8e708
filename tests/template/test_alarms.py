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


def test_every_function_s_errors_raise_an_alarm(stack: Stack) -> None:
    """One crash or time-out is enough."""
    for function in stack.functions:
        (alarm,) = [one for one in stack.watching("FunctionName", function) if one["MetricName"] == "Errors"]
        assert (alarm["Statistic"], alarm["Threshold"]) == ("Sum", 1), function


def test_alarms_on_our_own_metrics_see_what_the_functions_write(stack: Stack) -> None:
    """Namespace and dimensions are those that the function's environment makes Powertools write."""
    for provider in PROVIDERS:
        environment = stack.environment(f"{provider.capitalize()}Function")
        dimensions = {"provider": provider}
        mine = {
            alarm["MetricName"]
            for alarm in stack.alarms.values()
            if alarm["Namespace"] == environment["POWERTOOLS_METRICS_NAMESPACE"]
            and {one["Name"]: one["Value"] for one in alarm["Dimensions"]} == dimensions
        }
        assert mine == {"AccountHeld", "DeliveryAge"}, provider
    ours = [alarm for alarm in stack.alarms.values() if alarm["Namespace"] not in ("AWS/SQS", "AWS/Lambda")]
    assert len(ours) == 2 * len(PROVIDERS)


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


def test_the_dashboard_names_what_the_stack_has(stack: Stack) -> None:
    """Every name the dashboard fills in is a resource, a parameter or a pseudo parameter."""
    (dashboard,) = stack.of("AWS::CloudWatch::Dashboard").values()
    body: Any = dashboard["DashboardBody"]["Fn::Sub"]
    names = {name.split(".")[0] for name in re.findall(r"\$\{([\w:.]+)\}", body)}
    assert names <= {*stack.resources, *stack.parameters, "AWS::Region"}
    assert {target({"Ref": queue}) for queue in stack.queues} <= names
