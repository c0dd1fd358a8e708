"""What came in, and how far it got, from what the functions log."""

from dataclasses import asdict
from typing import Any

from local.fates import Fate
from local.page.board import KEPT, Board

type Json = dict[str, Any]

EARLY = "seen at deliver"
"""Where intake has not told of it, or not yet: the emulator may hand on what a function logs with its next run only."""


class Arrivals:
    """Puts onto the board, as ``came``, each record that intake told of, with what came of it at each destination."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._count = 0
        self._verdicts = {"accepted": 0, "rejected": 0}
        self._last: dict[tuple[str, str], str] = {}

    def take(self, line: Json) -> None:
        """One line of a function's log, whatever it is about."""
        if line.get("service") == "intake" and line.get("message") in ("accepted", "rejected", "not accepted"):
            self._arrived(line)
        elif "outcome" in line and "destination" in line:
            self._attempted(line)

    def _arrived(self, line: Json) -> None:
        if line["message"] in self._verdicts:
            self._verdicts[line["message"]] += 1
            self._board.put("counts", "came", dict(self._verdicts))
        key = self._last.get(_record(line), "")
        early = self._board.get("came", key)
        is_known = early is not None and early["verdict"] == EARLY
        fates = dict.fromkeys(line.get("destinations", ())) | (early["fates"] if early and is_known else {})
        self._put(line, line["message"], fates, key if is_known else self._next(line))

    def _attempted(self, line: Json) -> None:
        key = self._last.get(_record(line), "")
        arrival = self._board.get("came", key)
        fate = {line["destination"]: asdict(Fate.of_line(line))}
        if arrival is None:
            self._put(line, EARLY, fate, self._next(line))
        else:
            self._board.put("came", key, arrival | {"fates": arrival["fates"] | fate})

    def _put(self, line: Json, verdict: str, fates: Json, key: str) -> None:
        reason = line.get("reason", "") if verdict == "rejected" else ""
        self._board.put(
            "came",
            key,
            {
                "at": line["timestamp"],
                "event_id": line["event_id"],
                "verdict": verdict,
                "errors": [_field(one) for one in reason.split("; ") if one],
                "failed_at": line.get("failed_at", ""),
                "fates": fates,
            },
        )

    def _next(self, line: Json) -> str:
        """A key for one that is new."""
        self._count += 1
        self._last.pop(_record(line), None)
        self._last[_record(line)] = str(self._count)
        if len(self._last) > KEPT:
            del self._last[next(iter(self._last))]
        return str(self._count)


def _record(line: Json) -> tuple[str, str]:
    """What all lines about one record have in common."""
    return line["event_id"], line["correlation_id"]


def _field(error: str) -> Json:
    name, _, message = error.partition(": ")
    return {"field": name, "message": message} if message else {"field": "", "message": error}
