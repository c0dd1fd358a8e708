"""What happened, one line a step, for a person to read."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Timeline:
    """Empty unless `on`."""

    on: bool = False
    lines: list[str] = field(default_factory=list)

    def note(self, now: float, where: str, event: str, what: str) -> None:
        """`now` is the run's second, `where` an account or an environment."""
        hours, rest = divmod(now, 3600)
        minutes, seconds = divmod(rest, 60)
        self.lines.append(f"{int(hours):3}:{int(minutes):02}:{seconds:06.3f}  {where:<14} {event:<8} {what}")
