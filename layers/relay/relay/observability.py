"""Logs and metrics. Personal data and secrets never come this far; what is logged here is ids, outcomes and reasons."""

import json
import logging
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from relay.intake.intake import Accepted, Failed, Verdict
from relay.masking import mask_identifiers
from relay.outcome import Outcome, Result

if TYPE_CHECKING:
    from relay.delivery.batch import BatchReport

METRICS = {outcome: outcome.name.title() for outcome in Outcome}
_ROUTINE = (Outcome.DELIVERED, Outcome.DUPLICATE, Outcome.THROTTLED)


def silence_libraries() -> None:
    """urllib3 logs whole URLs, in some warnings too; botocore and boto3 log secrets and bodies at DEBUG."""
    for name in ("urllib3", "botocore", "boto3"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    # What no line shows need not be found out for each: https://docs.python.org/3/howto/logging.html#optimization
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def _logger(service: str) -> Logger:
    # By itself it makes an encoder for each line, and tries to read each message as JSON.
    return Logger(
        service=service, location=None, utc=True, use_rfc3339=True, json_serializer=_written, json_deserializer=str
    )


_written = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


class IntakeObserver:
    def __init__(self) -> None:
        self.logger = _logger("intake")
        self._metrics = Metrics(service="intake")
        self._counted: Counter[str] = Counter()
        self._oldest: float | None = None

    def saw(self, verdict: Verdict, correlation_id: str) -> None:
        """Logs and counts one record."""
        self._oldest = max(self._oldest or 0.0, verdict.age)
        known = {
            "event_id": mask_identifiers(verdict.event_id or ""),
            "correlation_id": correlation_id,
            "age": round(verdict.age, 3),
            "via": verdict.via,
        }
        match verdict:
            case Accepted():
                self._counted["Accepted"] += 1
                told: dict[str, object] = {"destinations": verdict.destinations}
                if verdict.skipped:
                    self._counted["Skipped"] += len(verdict.skipped)
                    told["skipped"] = verdict.skipped
                self.logger.info("accepted", extra={**known, **told})
            case Failed():
                self._counted["IntakeFailed"] += 1
                trouble = {"failed_at": verdict.error.service, "code": verdict.error.code}
                self.logger.warning("not accepted", extra={**known, **trouble})
            case _:
                self._counted["RejectedEvents"] += 1
                told = {"reason": verdict.reason, "kept": verdict.kept}
                self.logger.warning("rejected", extra={**known, **told})

    def flush(self) -> None:
        """Writes the metrics of an invocation."""
        if self._oldest is not None:
            for name, count in self._counted.items():
                self._metrics.add_metric(name, MetricUnit.Count, count)
            self._metrics.add_metric("IntakeAge", MetricUnit.Seconds, self._oldest)
            self._metrics.flush_metrics()
            self._counted.clear()
            self._oldest = None


class DeliverObserver:
    """Call from the main thread only: Powertools' Metrics is not thread-safe."""

    def __init__(self, provider: str) -> None:
        self.logger = _logger(f"deliver-{provider}")
        self._metrics = Metrics()
        self._metrics.set_default_dimensions(provider=provider)

    def saw(self, report: "BatchReport") -> None:
        """Logs and counts a batch."""
        if report.results and report.pace_used is not None:
            self._metrics.add_metric("PaceUsed", MetricUnit.Percent, round(100 * report.pace_used, 1))
        self.results(report.results)
        batch = {"results": len(report.results), "failed": len(report.failed), "seconds": round(report.seconds, 3)}
        self.logger.info("batch", extra=batch)
        for destination, seconds in report.deferred.items():
            why = {"reason": report.troubles[destination]} if destination in report.troubles else {}
            self.logger.info("deferred", extra={"destination": destination, "seconds": seconds, **why})
        if report.not_noted:
            self.logger.warning("not noted: a resume will not show them", extra={"not_noted": report.not_noted})
        if report.not_hidden or report.abandoned:
            trouble = {"not_hidden": report.not_hidden, "abandoned": report.abandoned}
            self.logger.warning("left to the visibility timeout", extra=trouble)

    def results(self, results: Iterable[Result]) -> None:
        outcomes: Counter[Outcome] = Counter()
        oldest = None
        for result in results:
            outcomes[result.outcome] += 1
            if result.crashed:
                outcomes[Outcome.UNKNOWN] += result.crashed
            if result.outcome is Outcome.UNAUTHORIZED and result.wait:
                self._metrics.add_metric("AccountHeld", MetricUnit.Count, 1)
            if result.internal or result.unrecorded:
                self._metrics.add_metric("OwnFault", MetricUnit.Count, 1)
            if result.outcome is Outcome.DELIVERED and not result.backfill:
                self._metrics.add_metric("DeliveredAge", MetricUnit.Seconds, round(result.age, 3))
            if not result.backfill:
                oldest = max(oldest or 0.0, result.age)
            self._log(result)
        if outcomes:
            for outcome, count in outcomes.items():
                self._metrics.add_metric(METRICS[outcome], MetricUnit.Count, count)
            if oldest is not None:
                self._metrics.add_metric("DeliveryAge", MetricUnit.Seconds, round(oldest, 3))
            self._metrics.flush_metrics()

    def _log(self, result: Result) -> None:
        is_routine = result.outcome in _ROUTINE and not result.late
        log = self.logger.info if is_routine else self.logger.warning
        late = {"late": result.late} if result.late else {}
        log(
            str(result.outcome),
            extra={
                "event_id": mask_identifiers(result.event_id),
                "destination": result.destination,
                "outcome": str(result.outcome),
                "correlation_id": result.correlation_id,
                "reason": result.reason,
                "detail": result.detail,
                "status": result.status,
                "attempts": result.attempts,
                "final": result.final,
                "crashed_before": result.crashed,
                "unknowns": result.unknowns,
                "age": round(result.age, 3),
                **late,
            },
        )
