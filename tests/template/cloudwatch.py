"""CloudWatch's rule for an alarm on one metric, written from its documentation.

The emulator evaluates alarms, too, but by all data points of a metric's name, whatever their dimensions and period.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

FARTHER_BACK = 2
"""How many periods CloudWatch looks at beyond EvaluationPeriods, in its documentation's examples."""


def rings(alarm: Mapping[str, Any], threshold: float, periods: Sequence[Sequence[float]]) -> bool:
    """Whether the alarm is on after these periods, oldest first, each with the values that the metric got in it.

    Only what the template uses is known: a threshold reached from below, and missing data that does not breach.
    """
    assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
    assert alarm["TreatMissingData"] == "notBreaching"
    wanted = alarm["EvaluationPeriods"]
    looked_at = periods[-(wanted + FARTHER_BACK) :]
    # Real data points go before missing ones, also those from farther back; what is still missing does not breach.
    points = [statistic(alarm, values) for values in looked_at if values][-wanted:]
    return sum(point >= threshold for point in points) >= int(alarm.get("DatapointsToAlarm", wanted))


def statistic(alarm: Mapping[str, Any], values: Sequence[float]) -> float:
    """A period's data point. Raises KeyError for a statistic that is not known here."""
    if percentile := alarm.get("ExtendedStatistic"):
        assert "Statistic" not in alarm
        return sorted(values)[math.ceil(float(percentile.removeprefix("p")) / 100 * len(values)) - 1]
    return {"Sum": math.fsum(values), "Maximum": max(values)}[alarm["Statistic"]]
