"""What came in, and how far it got, from what the functions log."""

from dataclasses import asdict
from typing import Any

from local.fates import Fate
from local.page.board import KEPT, Board

type Json = dict[str, Any]


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
        self._count += 1
        if line["message"] in self._verdicts:
            self._verdicts[line["message"]] += 1
            self._board.put("counts", "came", dict(self._verdicts))
        key = str(self._count)
        record = (line["event_id"], line["correlation_id"])
        self._last.pop(record, None)
        self._last[record] = key
        if len(self._last) > KEPT:
            del self._last[next(iter(self._last))]
        self._board.put(
            "came",
            key,
            {
                "at": line["timestamp"],
                "event_id": line["event_id"],
                "verdict": line["message"],
                "errors": [_field(one) for one in line.get("reason", "").split("; ") if one],
                "failed_at": line.get("failed_at", ""),
                "fates": dict.fromkeys(line.get("destinations", ())),
            },
        )

    def _attempted(self, line: Json) -> None:
        key = self._last.get((line["event_id"], line["correlation_id"]), "")
        arrival = self._board.get("came", key)
        if arrival is not None:
            fate = asdict(Fate.of_line(line))
            self._board.put("came", key, arrival | {"fates": arrival["fates"] | {line["destination"]: fate}})


def _field(error: str) -> Json:
    name, _, message = error.partition(": ")
    return {"field": name, "message": message} if message else {"field": "", "message": error}
