"""An alarm that fires is about something, reaches somebody, and tells them what to do."""

import json
import re

import pytest

from relay.account.account import LONGEST_BACKOFF
from relay.observability import METRICS
from relay.providers import PROVIDERS
from tests.template.stack import Properties, Stack, anchors, measured, target

LINK = re.compile(r"Runbook: docs/runbook\.md#([\w-]+)$")


def test_every_alarm_links_a_section_of_the_runbook(stack: Stack, runbook: str) -> None:
    """The anchor at the end of each alarm's description exists."""
    for name, alarm in stack.alarms.items():
        link = LINK.search(alarm["AlarmDescription"])
        assert link, name
        assert link[1] in anchors(runbook), f"{name}: {link[1]}"


UNPLAIN = re.compile(r"\b[A-Z]?[a-z]+[A-Z]\w*|\b(?:SQS|SNS|Lambda|HTTP|API|queue|lane|function|intake|bus)\b|[`_/<]")
"""Names of parameters, metrics and services, and what only this system's makers say."""


def test_an_alarm_begins_in_plain_words(stack: Stack) -> None:
    """Whoever is woken reads first, and shortly, what it means for customers; what is technical comes after that."""
    for name, alarm in stack.alarms.items():
        text = alarm["AlarmDescription"]
        first, end, _ = LINK.sub("", text).partition(". ")
        assert end, name
        assert "customer" in first, name
        assert len(first) <= 140, name
        assert not UNPLAIN.findall(first), name


def test_every_section_of_the_runbook_names_its_alarms(stack: Stack, runbook: str) -> None:
    """A section lists exactly the alarms that link to it, and says what they mean and what to do."""
    sections = re.split(r"^## ", runbook, flags=re.MULTILINE)[1:]
    for section in sections:
        (anchor,) = anchors(f"## {section.splitlines()[0]}")
        linked = [alarm for alarm in stack.alarms.values() if alarm["AlarmDescription"].endswith(f"#{anchor}")]
        names = {_of_any(alarm["AlarmName"]["Fn::Sub"].replace("${Stage}-customer-events", "…")) for alarm in linked}
        listed = re.search(r"^Alarms?: (.+)\.$", section, re.MULTILINE)
        assert listed, anchor
        assert set(re.findall(r"`(…[\w<>-]+)`", listed[1])) == names != set(), anchor
        assert all(f"**{part}**" in section for part in ("Means", "Look at")), anchor
        assert "**Do**" in section or "**do**" in section, anchor


def _of_any(alarm: str) -> str:
    """A lane's alarm under the name that stands for those of all lanes."""
    return re.sub(rf"^…-({'|'.join(PROVIDERS)})-", "…-<provider>-", alarm)


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
    ages = [alarm for alarm in stack.alarms.values() if alarm.get("MetricName") == "IntakeAge"]
    ages += [one for one in stack.watching("QueueName", "IntakeQueue") if one["MetricName"].startswith("Approx")]
    assert len(ages) == 2
    assert {(alarm["Statistic"], alarm["Period"], alarm["Threshold"]) for alarm in ages} == {("Maximum", 300, 900)}


def test_an_account_stays_on_alarm_between_two_tries(stack: Stack) -> None:
    """The alarm looks back further than the longest hold, so that it does not go off and on."""
    longest = max(3 * stack.parameters["HoldSeconds"]["Default"], LONGEST_BACKOFF)
    found = [alarm for alarm in stack.alarms.values() if alarm.get("MetricName") in ("AccountHeld", "OwnFault")]
    assert len(found) == 2 * len(PROVIDERS)
    for alarm in found:
        assert alarm["Period"] * alarm["EvaluationPeriods"] > longest
        assert alarm["DatapointsToAlarm"] == alarm["Threshold"] == 1


def test_late_means_late_everywhere(stack: Stack) -> None:
    """Both age alarms of a lane use LateAfterSeconds."""
    late = [alarm for alarm in stack.alarms.values() if alarm["Threshold"] == {"Ref": "LateAfterSeconds"}]
    wanted = sorted(["ApproximateAgeOfOldestMessage", "DeliveryAge"] * len(PROVIDERS))
    assert sorted(alarm["MetricName"] for alarm in late) == wanted


def dashboards(stack: Stack) -> dict[str, Properties]:
    """By who is on them: a provider, or "intake" with what all share."""
    found = stack.of("AWS::CloudWatch::Dashboard")
    named = {provider: found.pop(f"{provider.capitalize()}Dashboard") for provider in PROVIDERS}
    named["intake"] = found.pop("Dashboard")
    assert not found
    return named


def body(dashboard: Properties) -> tuple[str, Properties]:
    """Its text, and what is filled in by a name of the text's own."""
    given = dashboard["DashboardBody"]["Fn::Sub"]
    return (given, {}) if isinstance(given, str) else tuple(given)


def widgets(dashboard: Properties) -> list[Properties]:
    text = re.sub(r"(?<=: )\$\{\w+\}", "0", body(dashboard)[0])  # A parameter where JSON has a number.
    shown: list[Properties] = json.loads(text)["widgets"]
    return shown


def test_every_dashboard_can_be_shown(stack: Stack) -> None:
    """It is valid, fits its grid, is about this stack's region, and has a name of its own."""
    for name, dashboard in dashboards(stack).items():
        shown = widgets(dashboard)
        assert len({(widget["x"], widget["y"]) for widget in shown}) == len(shown), name
        assert all(widget["x"] + widget["width"] <= 24 for widget in shown), name
        assert {widget["properties"]["region"] for widget in shown} == {"${AWS::Region}"}, name
    names = [dashboard["DashboardName"]["Fn::Sub"] for dashboard in dashboards(stack).values()]
    assert len(set(names)) == len(names)


def test_the_main_dashboard_begins_with_what_customers_notice(stack: Stack) -> None:
    """Its first row: delivered, how late, what waits, what needs a person. Of every provider, by search or by queue."""
    first = [widget["properties"] for widget in widgets(dashboards(stack)["intake"]) if widget["y"] == 0]
    searched = [SEARCH.fullmatch(each) for properties in first for each in expressions(properties)]
    assert all(searched)
    asked = {(found["metric"], found["statistic"]) for found in searched if found}
    ages = {("DeliveredAge", percentile) for percentile in ("p50", "p95", "p99")}
    assert asked == {("Delivered", "Sum"), *ages, ("AccountHeld", "Sum")}
    queues = {(name, each[1]) for properties in first for each in written_out(properties) for name in named_by(each[3])}
    visible, hidden = "ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"
    lanes = {name for name, queue in stack.queues.items() if "FifoThroughputLimit" in queue}
    assert queues == {(queue, visible) for queue in stack.queues} | {(lane, hidden) for lane in lanes}


def test_every_search_is_for_a_metric_of_ours(stack: Stack) -> None:
    """In this stage's namespace, by provider; what it finds nowhere else would be another stage's."""
    every = [widget["properties"] for dashboard in dashboards(stack).values() for widget in widgets(dashboard)]
    found = [SEARCH.fullmatch(each) for properties in every for each in expressions(properties) if "SEARCH" in each]
    assert len(found) == 6
    ours = {*METRICS.values(), "AccountHeld", "DeliveredAge", "PaceUsed"}
    assert all(each and each["metric"] in ours for each in found)


SEARCH = re.compile(
    r"SEARCH\('\{\"CustomerEventRelay/\$\{Stage\}\",provider\} MetricName=\"(?P<metric>\w+)\"', "
    r"'(?P<statistic>\w+)', \d+\)"
)


def expressions(properties: Properties) -> list[str]:
    return [entry[0]["expression"] for entry in properties["metrics"] if isinstance(entry[0], dict)]


def written_out(properties: Properties) -> list[list[str]]:
    """A widget's metrics in full: "." repeats what stands above."""
    found: list[list[str]] = []
    for entry in properties["metrics"]:
        if isinstance(entry[0], str):
            above = found[-1] if found else []
            found.append([above[place] if word == "." else word for place, word in enumerate(entry[:4])])
    return found


def named_by(text: str) -> list[str]:
    return re.findall(r"\$\{(\w+)\.QueueName\}", text)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_s_dashboard_shows_where_it_ends(stack: Stack, provider: str) -> None:
    """A batch's time beside the function's timeout, batches at once beside their cap."""
    drawn = {
        line["label"]: line["value"]
        for widget in widgets(dashboards(stack)[provider])
        for line in widget["properties"].get("annotations", {}).get("horizontal", [])
    }
    assert drawn["cut off"] == 1000 * stack.globals["Timeout"]
    assert drawn["all that is allowed"] == 100
    assert '"value": ${MaximumConcurrency}' in body(dashboards(stack)[provider])[0]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_s_dashboard_shows_its_every_outcome(stack: Stack, provider: str) -> None:
    """It leaves no outcome out, and counts that provider's."""
    shown = widgets(dashboards(stack)[provider])
    title = f"{provider.capitalize()}: outcomes"
    (metrics,) = [one["properties"]["metrics"] for one in shown if one["properties"]["title"] == title]
    assert [metric[1] for metric in metrics] == list(METRICS.values())
    assert metrics[0][2:] == ["provider", provider]


@pytest.mark.parametrize("who", [*PROVIDERS, "intake"])
def test_a_dashboard_shows_every_metric_that_has_an_alarm(stack: Stack, who: str) -> None:
    """Whoever gets an alarm finds its metric there, but for the age of what waits in a queue."""
    shown = set(re.findall(r'"([A-Z]\w+)"', body(dashboards(stack)[who])[0]))
    mine = {
        alarm: next((one for one in PROVIDERS if alarm.startswith(one.capitalize())), "intake")
        for alarm in stack.alarms
    }
    watched = {
        metric["MetricName"] for alarm, one in stack.alarms.items() if mine[alarm] == who for metric in measured(one)
    }
    assert watched - shown == {"ApproximateAgeOfOldestMessage"}


def test_the_dashboards_name_what_the_stack_has(stack: Stack) -> None:
    """Every name they fill in is a resource, a parameter or a pseudo parameter; no queue is left out."""
    named: set[str] = set()
    for dashboard in dashboards(stack).values():
        text, own = body(dashboard)
        named |= {name.split(".")[0] for name in re.findall(r"\$\{([\w:.]+)\}", text)} - set(own)
        named |= set(map(target, own.values()))
    assert named <= {*stack.resources, *stack.parameters, "AWS::Region"}
    assert set(stack.queues) | set(stack.functions) <= named
