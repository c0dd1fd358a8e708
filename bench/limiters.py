"""Delivery against limiters that nobody here wrote, on the emulator with everything on.

`python -m bench.limiters` (about ten minutes) sends a backlog to an account for each limiter, which knows nothing yet:
nginx's `limit_req` before the sandbox, where nginx is on the PATH, and in the sandbox the strategies of the package
`limits`, with the headers that the provider documents and without a word. The relay is told the rate and nothing else.
`--limiter NAME` runs one. Exits non-zero if an event was lost, repeated or dead-lettered: speed is shown, never
asserted.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.delivery import Measured, Scenario, measure, running
from local.machine import free_port, server_environment
from local.processes import CommandError, held, start, stop
from local.sandbox.client import SandboxClient
from local.sandbox.contract import contracts
from local.sandbox.limiters import StrategyName
from local.stack import STAGE, Stack, base_url_parameter
from relay.providers import PROVIDERS

PROVIDER = min(PROVIDERS, key=lambda name: PROVIDERS[name].limits[-1].window)
EVENTS = 200
RATES = (5, 20)


@dataclass(frozen=True)
class Strategy(Scenario):
    """A strategy of `limits`."""

    headers: bool = True

    @property
    def order(self) -> dict[str, Any]:
        return {**super().order, "headers": self.headers}


@dataclass(frozen=True)
class Nginx(Scenario):
    """`limit_req`: a request each so many milliseconds, and `burst` of them at once."""

    burst: int = 0

    @property
    def order(self) -> dict[str, Any]:
        """Whatever nginx lets through passes, and no reply says a word of a limit."""
        return {"provider": self.provider, "limit": 100_000, "window": self.window, "headers": False}

    @property
    def ideal(self) -> float:
        return (self.events - 1 - self.burst) * self.window / self.limit


def strategies() -> Iterator[Strategy]:
    for rate in RATES:
        for algorithm in get_args(StrategyName):
            for headers in (True, False):
                name = f"{algorithm}-{rate}" + ("" if headers else "-silent")
                title = f"limits: {algorithm}" + ("" if headers else ", no headers")
                yield Strategy(name, title, PROVIDER, EVENTS, rate, 1.0, algorithm, account=name, headers=headers)


def nginxes() -> Iterator[Nginx]:
    for rate, burst in ((5, 0), (5, 5), (10, 0)):
        name = f"nginx-{rate}" + (f"-burst-{burst}" if burst else "")
        title = "nginx: limit_req" + (f" burst={burst} nodelay" if burst else "")
        yield Nginx(name, title, PROVIDER, EVENTS, rate, 1.0, "leaky", account=name, burst=burst)


SCENARIOS: tuple[Nginx | Strategy, ...] = (*nginxes(), *strategies())


def parameters(scenarios: list[Nginx | Strategy], nginx_port: int | None) -> dict[str, str]:
    """An account for each scenario, with its rate, and nginx in the place of the provider."""
    accounts = {f"{PROVIDER}/{one.account}": one for one in scenarios}
    others = (f"{name}/main" for name in PROVIDERS)
    settings = {name: {"requests": one.limit, "window_seconds": one.window} for name, one in accounts.items()}
    nginx = {base_url_parameter(PROVIDER): f"http://127.0.0.1:{nginx_port}/{PROVIDER}"} if nginx_port else {}
    # Twice: the SAM CLI takes the quotes of the first time off.
    return {
        "Destinations": ",".join([*others, *accounts]),
        "DestinationSettings": json.dumps(json.dumps(settings)),
        **nginx,
    }


def open_account(stack: Stack, account: str) -> None:
    """An account at the sandbox, and its secret."""
    token = f"token-of-{account}"
    SandboxClient(stack.sandbox_url).change_tokens(PROVIDER, account, accept=[token])
    stack.clients.secrets.create_secret(
        Name=f"{STAGE}/customer-events/{PROVIDER}/{account}",
        SecretString=json.dumps(contracts()[PROVIDER].secret(account, token)),
    )


def configuration(port: int, sandbox_url: str, limited: list[Nginx]) -> str:
    """nginx before the sandbox: a zone, and a log of statuses, for each account, which stands in the path."""
    lines = [
        # Alone, it needs no other user's rights for its folders.
        "daemon off; master_process off; pid nginx.pid; events {}",
        "http {",
        "  access_log off; log_format status $status; limit_req_status 429;",
        *(f"  {name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")),
        f"  upstream sandbox {{ server {sandbox_url.removeprefix('http://')}; keepalive 8; }}",
        *(f"  limit_req_zone $uri zone={one.name}:1m rate={one.limit}r/s;" for one in limited),
        f"  server {{ listen 127.0.0.1:{port};",
        '    proxy_http_version 1.1; proxy_set_header Connection "";',
    ]
    for one in limited:
        burst = f" burst={one.burst} nodelay" if one.burst else ""
        lines += [
            f"    location ~ /{one.account}/ {{",
            f"      limit_req zone={one.name}{burst}; access_log {one.name}.log status; proxy_pass http://sandbox;",
            "    }",
        ]
    return "\n".join([*lines, "    location / { proxy_pass http://sandbox; }", "  }", "}", ""])


@contextmanager
def nginx_before(sandbox_url: str, program: str, port: int, limited: list[Nginx]) -> Iterator[Path]:
    """nginx on that port; the folder has the statuses of each scenario."""
    folder = Path(tempfile.mkdtemp(prefix="nginx-"))
    try:
        (folder / "nginx.conf").write_text(configuration(port, sandbox_url, limited))
        command = [program, "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr"]
        with held():
            process = start("nginx", command, env=server_environment(folder), cwd=folder, log=folder / "own.log")
        try:
            deadline = time.monotonic() + 10
            while not _answers(port):
                if not process.alive or time.monotonic() > deadline:
                    raise CommandError(f"nginx did not start:\n{(folder / 'own.log').read_text(errors='replace')}")
                time.sleep(0.1)
            yield folder
        finally:
            stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int) -> bool:
    try:
        SandboxClient(f"http://127.0.0.1:{port}").summary()
    except (OSError, urllib.error.URLError):
        return False
    return True


def with_refused(measured: Measured, log: Path) -> Measured:
    """With what nginx did not let through."""
    refused = log.read_text().split().count("429")
    return replace(measured, throttled=refused, requests=measured.requests + refused)


def row(measured: Measured) -> tuple[str, ...]:
    scenario = measured.scenario
    return (
        scenario.title,
        f"{scenario.limit}/s",
        f"{measured.delivered}/{scenario.events}",
        f"{scenario.ideal / measured.elapsed:.1%}",
        f"{measured.throttled} ({measured.throttled / measured.requests:.2%})",
        str(measured.repeats),
        str(measured.dead_letters),
    )


def table(rows: list[Measured]) -> Table:
    made = Table(title="Delivery against limiters of others")
    for name in ("limiter", "rate", "delivered", "share", "429s", "repeats", "dead letters"):
        made.add_column(name, justify="left" if name == "limiter" else "right")
    for one in rows:
        made.add_row(*row(one), style="red" if one.faults else "")
    return made


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.limiters", description=__doc__)
    parser.add_argument("--limiter", action="append", choices=[scenario.name for scenario in SCENARIOS])
    wanted = parser.parse_args().limiter
    console = Console(width=None if sys.stdout.isatty() else 140)
    scenarios = [scenario for scenario in SCENARIOS if not wanted or scenario.name in wanted]
    program, port = shutil.which("nginx"), free_port()
    if program is None:
        console.print("nginx is not on the PATH: its limit_req is left out.")
        scenarios = [scenario for scenario in scenarios if isinstance(scenario, Strategy)]
    rows: list[Measured] = []
    with ExitStack() as opened:
        stack, log = opened.enter_context(running(console, parameters(scenarios, port if program else None)))
        for scenario in scenarios:
            open_account(stack, scenario.account)
        limited = [scenario for scenario in scenarios if isinstance(scenario, Nginx)]
        folder = opened.enter_context(nginx_before(stack.sandbox_url, program, port, limited)) if program else None
        progress = opened.enter_context(Progress(console=console, transient=True))
        for scenario in scenarios:
            measured = measure(stack, log, scenario, progress)
            if folder and scenario in limited:
                measured = with_refused(measured, folder / f"{scenario.name}.log")
            rows.append(measured)
            progress.console.print(" · ".join(row(measured)), highlight=False)
    console.print(table(rows))
    return 1 if any(one.faults for one in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
