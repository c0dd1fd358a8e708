"""``python -m tools.picture`` draws docs/page.png again: the page of a stack of its own, with traffic, a reject and a
held account.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

from local.machine import ROOT
from local.processes import CommandError, Interrupted, raised
from local.stack import start_stack, stop_stack
from local.steps import Steps, terminal
from relay.providers import PROVIDERS
from tools.browser import browser, program

PATH = ROOT / "docs" / "page.png"
WIDTH, HEIGHT = 1280, 1080
MOST_BYTES = 300_000
FAST = min(PROVIDERS, key=lambda name: PROVIDERS[name].limits[-1].window)
SLOW = max(PROVIDERS, key=lambda name: PROVIDERS[name].limits[-1].window)
"""The one whose line is seen at its limit, and the one whose token is revoked."""
_PATIENCE = 60_000


def play(page: Page) -> None:
    """What is to be seen: two minutes of traffic, and the moment for the picture."""
    for copies in (20, 50, 10):
        send(page, "direct-order-shipped", copies=copies)
        page.wait_for_timeout(20_000)
    press(page, SLOW, "revoked token")
    send(page, "eventbridge-quiz-finished", way="EventBridge")
    held = page.locator(".account").filter(has_text=f"{SLOW}/main").get_by_text("held until")
    expect(held).to_be_visible(timeout=_PATIENCE)
    send(page, "direct-order-shipped", copies=30)
    page.wait_for_timeout(4_000)
    send(page, "direct-many-events (2)")
    rejected = page.get_by_role("list", name="Came in").get_by_text("rejected", exact=True)
    expect(rejected.first).to_be_visible(timeout=_PATIENCE)
    send(page, "sqs-product-viewed", way="direct call")
    newest = page.get_by_role("list", name="Came in").get_by_role("listitem").first
    expect(newest.get_by_text("delivered", exact=True).first).to_be_visible(timeout=_PATIENCE)
    page.get_by_label("Sample").select_option(label="direct-order-shipped")
    page.locator("#received details").filter(has_text=FAST).first.locator("summary").click()
    page.mouse.move(0, 0)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(500)


def send(page: Page, sample: str, way: str = "intake queue", copies: int = 1) -> None:
    """As a person does."""
    page.get_by_label("Sample").select_option(label=sample)
    page.get_by_role("radio", name=way).check()
    page.get_by_label("Copies").fill(str(copies))
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#sent")).to_contain_text("Sent", timeout=_PATIENCE)


def press(page: Page, provider: str, trouble: str) -> None:
    page.get_by_role("button", name=f"{provider}: {trouble}").click()


def draw(steps: Steps, state: Path, path: str) -> None:
    """Start a stack whose files are in ``state``, and take the picture. Raises CommandError."""
    stack = start_stack(state, steps)
    with steps.step("two minutes of traffic, and its picture"), browser(path) as started:
        page = started.new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", reduced_motion="reduce"
        )
        page.goto(stack.sandbox_url)
        expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=_PATIENCE)
        play(page)
        picture = page.screenshot()
    if len(picture) > MOST_BYTES:
        raise CommandError(f"the picture has {len(picture)} bytes, more than {MOST_BYTES}")
    PATH.write_bytes(picture)
    steps.say(f"{PATH.relative_to(ROOT)}, {len(picture) // 1000} kB")


def main() -> int:
    console = terminal()
    path = program()
    if path is None:
        console.print("[red]there is no Chromium or Chrome on this machine[/]")
        return 1
    state = Path(tempfile.mkdtemp(prefix="customer-event-relay-"))
    try:
        with raised():
            draw(Steps(console), state, path)
    except CommandError as error:
        console.print(f"[red]failed:[/] {error}", highlight=False)
        return 1
    except Interrupted:
        console.print("[yellow]interrupted:[/] nothing was left behind")
        return 130
    finally:
        stop_stack(state)
    return 0


if __name__ == "__main__":
    sys.exit(main())
