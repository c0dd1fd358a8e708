"""CloudWatch's rule for an alarm, written from its documentation.

The emulator evaluates alarms, too, but by all data points of a metric's name, whatever their dimensions and period.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

FARTHER_BACK = 2
"""How many periods CloudWatch looks at beyond EvaluationPeriods, in its documentation's examples."""


type Period = Sequence[float] | Mapping[str, float]
"""The values that a metric got in it; by its id the data point of each of several, where an expression has them."""


def rings(alarm: Mapping[str, Any], threshold: float, periods: Sequence[Period]) -> bool:
    """Whether the alarm is on after these periods, oldest first.

    Only what the template uses is known: a threshold reached from below, and missing data that does not breach.
    """
    assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
    assert alarm["TreatMissingData"] == "notBreaching"
    wanted = alarm["EvaluationPeriods"]
    looked_at = periods[-(wanted + FARTHER_BACK) :]
    # Real data points go before missing ones, also those from farther back; what is still missing does not breach.
    points = [point(alarm, values) for values in looked_at if values][-wanted:]
    return sum(each >= threshold for each in points) >= int(alarm.get("DatapointsToAlarm", wanted))


def point(alarm: Mapping[str, Any], values: Period) -> float:
    """A period's data point."""
    return computed(alarm, values) if isinstance(values, Mapping) else statistic(alarm, values)


def computed(alarm: Mapping[str, Any], values: Mapping[str, float]) -> float:
    """What the alarm's expression makes of its metrics: numbers, +, * and one > are known. A value that is missing
    beside others counts as 0; what is compared comes out as 1 or 0.
    """
    (expression,) = [one["Expression"] for one in alarm["Metrics"] if "Expression" in one]
    assert {one["Id"] for one in alarm["Metrics"] if "MetricStat" in one} >= values.keys()
    left, right = (_sum(side, values) for side in expression.split(">"))
    return float(left > right)


def _sum(text: str, values: Mapping[str, float]) -> float:
    def factor(word: str) -> float:
        return float(word) if re.fullmatch(r"[0-9]+", word) else values.get(word, 0.0)

    return math.fsum(math.prod(factor(word.strip()) for word in term.split("*")) for term in text.split("+"))


def statistic(alarm: Mapping[str, Any], values: Sequence[float]) -> float:
    """A period's data point. Raises KeyError for a statistic that is not known here."""
    if percentile := alarm.get("ExtendedStatistic"):
        assert "Statistic" not in alarm
        return sorted(values)[math.ceil(float(percentile.removeprefix("p")) / 100 * len(values)) - 1]
    return {"Sum": math.fsum(values), "Maximum": max(values)}[alarm["Statistic"]]
