"""The page in a browser, on a running stack: send, reject, fault, drain; by mouse, by keys, in both schemes."""

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from local.machine import OWN
from local.sandbox.contract import contracts
from local.stack import Stack
from tests.kinds import FAST, PAIR, SLOW
from tests.system.running import BOTH, Relay
from tools.browser import browser, program

PATIENCE = 60_000
"""Milliseconds: a function's first call on a busy machine takes its time."""
CONTRAST = """() => {
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const ground = (one) => {
    const colour = one ? parse(getComputedStyle(one).backgroundColor) : [255, 255, 255, 1];
    return colour[3] > 0 ? colour : ground(one.parentElement);
  };
  const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const isText = (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim();
  const found = [];
  for (const one of document.body.querySelectorAll("*")) {
    const seen = one.checkVisibility() && ([...one.childNodes].some(isText) || one.matches("textarea, select, input"));
    if (!seen) continue;
    const [low, high] = [parse(getComputedStyle(one).color), ground(one)].map(light).sort((a, b) => a - b);
    found.push([(high + 0.05) / (low + 0.05), `${one.tagName} ${one.className}: ${one.textContent.slice(0, 40)}`]);
  }
  return found;
}"""
"""For each text that is seen, its contrast to what is behind it as the browser computes them, and what it is."""


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    path = program()
    if path is None:
        assert OWN.get("REQUIRE_CHROMIUM") != "1", "REQUIRE_CHROMIUM is set, and there is no Chromium or Chrome"
        pytest.skip("there is no Chromium or Chrome on this machine")
    with browser(path) as started:
        yield started


@pytest.fixture
def page(opened: Browser, plain: Relay, plain_stack: tuple[Stack, Any]) -> Iterator[Page]:
    """The page of the stack as a user deploys it, with providers that behave before and after."""
    context = opened.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto(plain_stack[0].sandbox_url)
    expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="All back to normal").click()
    yield page
    page.get_by_role("button", name="All back to normal").click()
    expect(page.get_by_role("button", name=f"{SLOW}: normal")).to_have_attribute("aria-pressed", "true")
    context.close()
    assert [one for one in wrong if "net::ERR_FAILED" not in one] == []
    plain.until_drained()


def unique(name: str) -> str:
    """An id that nothing else has."""
    return f"{name}-{uuid4().hex[:8]}"


def write(page: Page, **event: Any) -> None:
    """Type an event, which is sent as it stands."""
    given = {"source": "shop", "type": "page_tested", "customer": {"email": "page@customers.example"}, **event}
    page.get_by_label("The event, as JSON").fill(json.dumps(given, indent=2))
    page.get_by_label("a new id for each").uncheck()


def send(page: Page) -> Locator:
    """Press the button. What is said of it."""
    page.get_by_role("button", name="Send", exact=True).click()
    said = page.locator("#sent")
    expect(said).to_have_text(re.compile("^(Sent|Not sent)"), timeout=PATIENCE)
    return said


def arrival(page: Page, event_id: str) -> Locator:
    """What the page shows of an event that came in."""
    items = page.get_by_role("list", name="Came in").get_by_role("listitem")
    return items.filter(has=page.get_by_text(event_id, exact=True))


def requests(page: Page, provider: str, event_type: str) -> Locator:
    """The requests of that type that the page shows for a provider, the newest first."""
    return page.locator("#received details").filter(has_text=f"{provider}{event_type}")


@pytest.mark.parametrize("way", ["intake queue", "EventBridge", "direct call"])
def test_an_event_is_seen_on_its_whole_way(page: Page, way: str) -> None:
    """GIVEN a good event WHEN sent by each way THEN it came in, is delivered, and its requests are shown."""
    name, kind = unique("page"), f"page_{way.partition(' ')[0].lower()}"
    write(page, id=name, type=kind)
    expect(page.locator("#verdict")).to_have_text("valid")
    expect(page.locator("#requests article")).to_have_count(len(BOTH))
    page.get_by_role("radio", name=way).check()
    expect(send(page)).to_contain_text("Sent 1 event")
    delivered = expect(arrival(page, name).get_by_text("delivered", exact=True))
    delivered.to_have_count(len(BOTH), timeout=PATIENCE)
    for provider in PAIR:
        shown = requests(page, provider, kind)
        expect(shown).to_have_count(1)
        expect(shown.get_by_text("fits contract")).to_be_visible()
        shown.locator("summary").click()
        expect(shown.get_by_role("group", name="Request")).to_contain_text("***")
        expect(shown.get_by_role("group", name="Body")).to_contain_text(kind)
        expect(shown.get_by_role("group", name="Answer")).to_contain_text("HTTP 20")


def test_a_bad_event_is_told_of_while_it_is_typed_and_rejected(page: Page) -> None:
    """GIVEN an event with errors WHEN typed THEN each field is named at once; sent, it is rejected with the same."""
    name = unique("page-bad")
    write(page, id=name, type="Order Shipped", currency="usd")
    expect(page.locator("#verdict")).to_have_text("would be rejected: 2 errors")
    expect(page.locator("#errors code")).to_have_text(["type", "currency"])
    expect(page.get_by_label("The event, as JSON")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#requests article")).to_have_count(0)
    send(page)
    shown = arrival(page, name)
    expect(shown.get_by_text("rejected", exact=True)).to_be_visible(timeout=PATIENCE)
    expect(shown.locator("code")).to_have_text([name, "type", "currency"])
    expect(page.get_by_text(re.compile(r"^[1-9]\d* rejected$"))).to_be_visible(timeout=PATIENCE)


def test_a_fault_fills_the_lane_and_it_drains(page: Page) -> None:
    """GIVEN a provider that answers 500 WHEN events come THEN the lane fills, the account waits; back, it drains."""
    kind = "page_fault"
    page.get_by_role("button", name=f"{FAST}: 500s").click()
    expect(page.get_by_role("button", name=f"{FAST}: 500s")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name=f"{FAST}: normal")).to_have_attribute("aria-pressed", "false")
    write(page, id=unique("page-fault"), type=kind, destinations=[f"{FAST}/main"])
    page.get_by_label("a new id for each").check()
    page.get_by_label("Copies").fill("3")
    send(page)
    lane = page.locator(".lane").filter(has=page.get_by_role("heading", name=f"Lane of {FAST}"))
    expect(lane.locator(".depth b")).to_have_text("3", timeout=PATIENCE)
    expect(lane.get_by_text(re.compile("^(waiting until|probing)"))).to_be_visible(timeout=PATIENCE)
    expect(requests(page, FAST, kind).first).to_contain_text("500", timeout=PATIENCE)
    page.get_by_role("button", name="All back to normal").click()
    expect(lane.locator(".depth b")).to_have_text("0", timeout=PATIENCE)
    expect(lane.get_by_text("working", exact=True)).to_be_visible(timeout=PATIENCE)
    expect(requests(page, FAST, kind).get_by_text(re.compile("^20[01]$"))).to_have_count(3, timeout=PATIENCE)


def test_no_token_is_on_the_page(page: Page) -> None:
    """GIVEN requests with tokens WHEN all that the page holds is read THEN it has none of them."""
    write(page, id=unique("page-token"), type="page_token")
    send(page)
    for provider in PAIR:
        expect(requests(page, provider, "page_token").first).to_be_visible(timeout=PATIENCE)
    held = page.content()
    assert "***" in held
    assert not [one.provider for one in contracts().values() if one.own_token in held]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
def test_it_can_be_read_and_fits(page: Page, scheme: Any, width: int) -> None:
    """GIVEN either scheme and a wide or a narrow window THEN texts have a contrast of 4.5 and fit."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    for fields, shows in (({"type": "page_look"}, "#requests pre"), ({"type": "Page Look"}, "#errors li")):
        write(page, id=unique("page-look"), **fields)
        expect(page.locator(shows).first).to_be_visible()
        found = page.evaluate(CONTRAST)
        assert len(found) > 30
        assert [one for one in found if one[0] < 4.5] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("getComputedStyle(document.querySelector('.item')).animationName") == "none"


def test_keys_reach_every_control_in_order(page: Page) -> None:
    """GIVEN no mouse WHEN tabbed through THEN each control is reached, has a name, and is seen to have the focus."""
    page.reload()
    expect(page.get_by_role("button", name=f"{SLOW}: normal")).to_be_visible(timeout=PATIENCE)
    reached: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        here = page.evaluate(
            "(() => { const one = document.activeElement; return one === document.body ? null : "
            "[one.outerHTML.slice(0, 200), getComputedStyle(one).outlineStyle, "
            "getComputedStyle(one).outlineWidth, one.getBoundingClientRect().width] })()"
        )
        if here is None:
            break
        assert here[1] != "none", here
        assert here[3] > 0, here
        reached.append(here[0])
    order = [
        *('class="skip"', 'id="sample"', 'id="text"', 'name="way"', 'id="copies"', 'id="fresh"', 'id="send"'),
        *(
            'class="list"',
            'id="clear"',
            *(f'aria-label="{name}: {kind}"' for name in PAIR for kind in ("normal", "revoked token")),
        ),
    ]
    places = [next((at for at, one in enumerate(reached) if wanted in one), -1) for wanted in order]
    assert -1 not in places, dict(zip(order, places, strict=True))
    assert places == sorted(places)


def test_everything_has_a_name_and_its_place(page: Page) -> None:
    """GIVEN somebody who listens WHEN they go through THEN controls have names, and landmarks are there."""
    for role in ("button", "textbox", "combobox", "radio", "checkbox", "spinbutton", "img"):
        for one in page.get_by_role(role).all():
            assert page.evaluate(
                "(one) => one.labels?.length || one.getAttribute('aria-label') || one.textContent.trim()",
                one.element_handle(),
            )
    expect(page.get_by_role("main")).to_have_count(1)
    expect(page.get_by_role("banner")).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    for name in ("Send an event", "Came in", "Lanes", "Providers received"):
        expect(page.get_by_role("region", name=name)).to_have_count(1)
    assert page.locator("[role=status]").count() >= 4
    assert page.evaluate("document.documentElement.lang") == "en"
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "came"


def test_it_finds_its_way_back(page: Page) -> None:
    """GIVEN an open page WHEN its connection breaks THEN it says so; it comes back by itself, and shows all again."""
    name = unique("page-again")
    write(page, id=name, type="page_again")
    send(page)
    expect(arrival(page, name)).to_be_visible(timeout=PATIENCE)
    page.route("**/_page/stream", lambda route: route.abort())
    page.reload()
    expect(page.get_by_text("not connected: trying again …")).to_be_visible(timeout=PATIENCE)
    page.unroute("**/_page/stream")
    expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=PATIENCE)
    expect(arrival(page, name)).to_be_visible(timeout=PATIENCE)
