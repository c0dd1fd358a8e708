"""Carries out a plan on a running relay: sends, breaks, mends, and waits until nothing is on the way."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

from local.invoke import invoke
from local.stack import STAGE
from relay.providers import PROVIDERS
from tests.soak.plan import Batch, Plan
from tests.system.running import ON_THE_WAY, Relay, provider_account, secret, short_visibility, token, workers

LANES = tuple(name for name in ON_THE_WAY if name != "IntakeQueueUrl")
MOST_WAITING = 500
"""No more is sent while so many wait on a lane: the emulator looks through all of them for each batch."""
PATIENCE = 240.0
"""Seconds in which something has to come to its end, before the audit says what has not."""


@dataclass(frozen=True)
class Progress:
    """How far it is: `sent` events, requests that providers `took`, messages `waiting`, and troubles made."""

    sent: int = 0
    took: int = 0
    waiting: int = 0
    kills: int = 0
    rotations: int = 0


@dataclass
class Conduct:
    """One run. `emulator` is the process whose children are the functions' workers."""

    relay: Relay
    emulator: int
    plan: Plan
    show: Callable[[Progress], None] = lambda _: None
    visibility: int = 12
    """Seconds after which what a killed worker had in hand comes back."""
    kills: int = 0
    """Workers that were killed."""
    tokens: dict[str, str] = field(default_factory=dict)
    """The token of each destination whose secret was changed."""
    rotations: int = 0
    sent: int = 0
    _told: tuple[float, Progress] = (0.0, Progress())
    _due: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def run(self) -> None:
        """From the first event to the last answer, or until nothing has moved for `PATIENCE` seconds."""
        self._rng = Random(self.plan.seed)
        with ExitStack() as stack:
            for queue in ON_THE_WAY:
                stack.enter_context(short_visibility(self.relay, queue, self.visibility))
            for batch in self.plan.batches:
                while max(self.relay.waiting(lane) for lane in LANES) > MOST_WAITING:
                    self._pause()
                self._do_what_is_due()
                self._trouble(batch)
                self._send(batch)
                self._tell()
            self._drain()

    def _drain(self) -> None:
        moved_at, before = time.monotonic(), Progress()
        while self._due or any(map(self.relay.waiting, ON_THE_WAY)):
            if (now := self._tell()) != before:
                moved_at, before = time.monotonic(), now
            if time.monotonic() - moved_at > PATIENCE:
                return
            self._pause()

    def _pause(self) -> None:
        self._do_what_is_due()
        time.sleep(0.5)

    def _tell(self) -> Progress:
        """How far it is, at most every other second: who counts shares the machine with who is counted."""
        told_at, told = self._told
        if time.monotonic() - told_at < 2:
            return told
        took = sum(each["accepted"] for each in self.relay.providers.sandbox.summary().values())
        waiting = sum(map(self.relay.waiting, ON_THE_WAY))
        told = Progress(self.sent, took, waiting, self.kills, self.rotations)
        self._told = (time.monotonic(), told)
        self.show(told)
        return told

    # ------------------------------------------------------------------------------------------------- sending

    def _send(self, batch: Batch) -> None:
        for event in batch.events:
            for fault in event.faults:
                self._misbehave(fault)
        bodies = [event.body for event in batch.events]
        match batch.way:
            case "SQS":
                self.relay.send(*bodies)
            case "EventBridge":
                self.relay.put_on_bus(*bodies)
            case "direct":
                self._call(batch.events)
        self.sent += len(bodies)

    def _call(self, events: "Any") -> None:
        """As a producer does: a call that was not answered is made again."""
        call = {"events": [event.body for event in events]}
        function = self.relay.outputs["IntakeFunctionName"]
        for _ in range(5):
            answered, answer = invoke(self.relay.clients, function, call)
            if answered:
                told = {one["id"] for one in answer["rejected"]} | set(answer["accepted"])
                assert len(answer["rejected"]) + len(answer["accepted"]) == len(events), answer
                assert told <= {event.id for event in events} | {None}, answer
                return
            time.sleep(0.5)
        raise AssertionError(f"a direct call was not answered, five times: {answer}")

    def _misbehave(self, fault: dict[str, Any]) -> None:
        if "account" in fault:
            fault = {**fault, "account": provider_account(fault["provider"], fault["account"])}
        self.relay.providers.sandbox.add_fault(**fault)

    # ------------------------------------------------------------------------------------------------- trouble

    def _trouble(self, batch: Batch) -> None:
        if batch.kill:
            self._kill(self.relay.outputs[f"{batch.kill}FunctionName"])
        if batch.rotate:
            self._rotate(batch.rotate)

    def _kill(self, function: str) -> None:
        if running := workers(self.emulator, function):
            with suppress(ProcessLookupError):
                os.kill(self._rng.choice(running), signal.SIGKILL)
                self.kills += 1

    def _rotate(self, destination: str) -> None:
        """Revokes the token at once, and stores the new one a moment later."""
        provider, _, account = destination.partition("/")
        old = self.tokens.get(destination, token(provider, account))
        fresh = self.tokens[destination] = f"{token(provider, account)}-{self.rotations}"
        self.relay.providers.change_token(provider, account, revoke=[old], accept=[fresh])
        self.rotations += 1
        stored = secret(provider, account, fresh)

        def store() -> None:
            self.relay.clients.secrets.put_secret_value(
                SecretId=f"{STAGE}/customer-events/{destination}", SecretString=stored
            )

        self._due.append((time.monotonic() + self._rng.uniform(0.2, 4.0), store))

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        due = [do for at, do in self._due if at <= now]
        self._due = [each for each in self._due if each[0] > now]
        for do in due:
            do()


def open_accounts(relay: Relay, accounts: tuple[str, ...]) -> None:
    """The sandbox takes their tokens, and Secrets Manager holds them."""
    for provider in PROVIDERS:
        for account in accounts:
            relay.providers.change_token(provider, account, accept=[token(provider, account)])
            relay.clients.secrets.create_secret(
                Name=f"{STAGE}/customer-events/{provider}/{account}", SecretString=secret(provider, account)
            )
