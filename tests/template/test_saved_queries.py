"""The saved queries ask for what is logged, of the log groups there are, and the runbook says when to use which.

No emulator runs Logs Insights: what a query looks for is compared with lines that the functions write.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from relay.delivery.batch import BatchReport
from relay.errors import FieldError, UnavailableError
from relay.intake.intake import Accepted, Failed, Rejected
from relay.observability import DeliverObserver, IntakeObserver
from relay.outcome import Outcome, Result
from relay.providers import PROVIDERS
from tests.template.stack import Stack, target

FOLDER = "${Stage}-customer-events/"
COMMANDS = {"fields", "filter", "stats", "sort", "parse", "by", "as", "asc", "desc", "and", "or", "not", "in"}
FUNCTIONS = {"count", "count_distinct", "latest", "min", "max", "bin", "ispresent", "coalesce"}
OF_INSIGHTS = {"@timestamp", "@message", "@log"}
"""https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_AnalyzeLogData-discoverable-fields.html"""
OF_LAMBDA = {
    # Its own lines of a run: https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html
    *("type", "record.status", "record.requestId", "record.metrics.durationMs", "record.metrics.maxMemoryUsedMB"),
    # What the runtime writes of an exception that nobody caught.
    *("log_level", "errorMessage", "errorType"),
}


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every kind of line that both functions write."""
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", "INFO")
    intake = IntakeObserver()
    wrong = (FieldError("customer.email", "is no address"), FieldError("type", "is required"))
    for verdict in (Accepted("a", ()), Rejected("b", wrong), Failed("c", UnavailableError("SQS", code="AccessDenied"))):
        intake.saw(verdict, "corr-1")
    deliver = DeliverObserver(next(iter(PROVIDERS)))
    results = [Result(outcome, "why", status=500) for outcome in Outcome]
    deliver.saw(BatchReport([], results, {"provider/main": 30.0}, not_hidden=1))
    return [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "_aws" not in line]


def asked(query: str) -> Iterator[str]:
    """The fields that a query reads, but for those that it made itself."""
    made = set(re.findall(r"\bas (\w+)", query)) | set(re.findall(r"\(\?<(\w+)>", query))
    bare = re.sub(r'"[^"]*"|/\^.*/|\b\d\w*', " ", query)
    yield from set(re.findall(r"@?[A-Za-z_][\w.]*", bare)) - made - COMMANDS - FUNCTIONS


def test_every_query_asks_for_fields_that_are_logged(stack: Stack, lines: list[dict[str, Any]]) -> None:
    """Insights finds nothing under a name that nobody writes, and says so to nobody."""
    written = {field for line in lines for field in line}
    for name, query in stack.queries.items():
        assert set(asked(query["QueryString"])) <= written | OF_INSIGHTS | OF_LAMBDA, name


def test_every_query_compares_with_what_is_logged(stack: Stack, lines: list[dict[str, Any]]) -> None:
    """The words that it looks for are those that the functions write, the outcomes those that there are."""
    text = "\n".join(query["QueryString"] for query in stack.queries.values())
    messages = set(re.findall(r'message = "([^"]+)"', text))
    assert messages == {"rejected", "not accepted"}
    assert messages <= {line["message"] for line in lines}
    outcomes = set(re.findall(r'outcome = "(\w+)"', text))
    for listed in re.findall(r"outcome not in \[([^]]+)\]", text):
        outcomes |= set(re.findall(r'"(\w+)"', listed))
    assert outcomes <= set(map(str, Outcome))
    assert {"unauthorized", "delivered"} <= outcomes


def test_a_rejected_record_is_found_by_its_first_field(stack: Stack, lines: list[dict[str, Any]]) -> None:
    """The query takes field and words out of the reason as it is logged."""
    (query,) = [query["QueryString"] for name, query in stack.queries.items() if name == "RejectedQuery"]
    (pattern,) = re.findall(r"parse reason /(.+)/", query)
    (reason,) = [line["reason"] for line in lines if (line["message"], line["service"]) == ("rejected", "intake")]
    found = re.search(pattern.replace("(?<", "(?P<"), reason)
    assert found
    assert found.groupdict() == {"at": "customer.email", "wrong": "is no address"}


def test_every_query_reads_the_log_groups_it_is_about(stack: Stack) -> None:
    """All of the stack, or intake's; a function's that is left out would look as if nothing had happened there."""
    groups = {name for name, resource in stack.resources.items() if resource["Type"] == "AWS::Logs::LogGroup"}
    assert len(groups) == 1 + len(PROVIDERS)
    of_intake = {"RejectedQuery", "NotAcceptedQuery"}
    for name, query in stack.queries.items():
        assert set(map(target, query["LogGroupNames"])) == ({"IntakeLogGroup"} if name in of_intake else groups), name


def test_the_runbook_names_every_query(stack: Stack, runbook: str) -> None:
    """And no other; in the sections, too, where it sends a person to one."""
    names = [query["Name"]["Fn::Sub"] for query in stack.queries.values()]
    assert all(name.startswith(FOLDER) for name in names)
    listed = re.findall(r"^\| \*([^*]+)\* \|", runbook, re.MULTILINE)
    assert sorted(listed) == sorted(name.removeprefix(FOLDER) for name in names)
    assert set(re.findall(r"saved query \*([^*]+)\*", runbook)) <= set(listed)
    assert "```\nfilter" not in runbook


def test_what_the_emulator_does_not_know_is_made_in_aws_only(stack: Stack) -> None:
    """Saved queries, and alarms on an expression; nothing else hangs on it."""
    unknown = {*stack.queries, *(name for name, alarm in stack.alarms.items() if "Metrics" in alarm)}
    assert unknown == {name for name, each in stack.resources.items() if each.get("Condition") == "IsInAws"}
    assert stack.body["Conditions"]["IsInAws"] == {
        "Fn::Not": [
            {
                "Fn::Or": [
                    {"Fn::Equals": [{"Ref": "AWS::AccountId"}, each]} for each in ("000000000000", "AWS::AccountId")
                ]
            }
        ]
    }
