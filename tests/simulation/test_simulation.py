"""The relay in virtual time, for a little while; `make simulate` is the long one."""

import shutil
import subprocess
from dataclasses import replace
from itertools import accumulate, count
from pathlib import Path

import pytest

from local.machine import ROOT
from tests.kinds import FAST
from tests.simulation import seeds
from tests.simulation.campaign import Campaign, campaign, one
from tests.simulation.figures import groups_for
from tests.simulation.plan import AccountPlan, EventPlan, Plan, draw, draw_live, draw_plain, draw_single, draw_untouched
from tests.simulation.world import play

pytestmark = pytest.mark.long

ACCOUNT = f"{FAST}/main"


@pytest.mark.parametrize("first", range(0, 15, 3))
def test_every_invariant_holds_over_some_seeds(first: int) -> None:
    """GIVEN three seeds WHEN each is run THEN none breaks an invariant."""
    result = campaign(((seed, "now") for seed in range(first, first + 3)), seconds=None, jobs=1)
    assert result.violations == []
    assert result.totals.acts > 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_campaign_keeps_what_it_has(jobs: int) -> None:
    """GIVEN seeds without an end WHEN somebody presses Ctrl-C after the third THEN the campaign ends with these three,
    whatever other processes are busy with, and says that it was interrupted.
    """
    seen: list[int] = []

    def tell(result: Campaign) -> None:
        seen.append(result.totals.steps)
        if len(seen) == 3:
            raise KeyboardInterrupt

    result = campaign(((seed, "now") for seed in count(4)), seconds=None, jobs=jobs, tell=tell)
    steps = [one((seed, "now"))[2].steps for seed in range(4, 7)]
    assert result.interrupted
    assert seen == list(accumulate(steps))
    assert (result.seeds, result.totals.steps) == (3, sum(steps))


@pytest.mark.parametrize("seed", [1, 41])
def test_the_same_seed_is_the_same_run(seed: int) -> None:
    """GIVEN one seed WHEN it is run twice THEN both timelines are the same, line by line."""
    first, second = (play(draw(seed), timeline=True).history.timeline.lines for _ in range(2))
    assert len(first) > 20
    assert first == second


def test_what_aws_does_now_and_then_is_drawn_beside_the_rest() -> None:
    """GIVEN many seeds WHEN they are drawn THEN each of the four things happens in some plans and not in others, and
    all else is as it was drawn before it was known.
    """
    plans = [draw_untouched(seed) for seed in range(200)]
    plain = Plan(seed=0, accounts=(), events=())
    new = ("hand_over", "held_up", "twice", "opens_by_head")
    for name in new:
        assert {getattr(each, name) != getattr(plain, name) for each in plans} == {True, False}
    assert {most for _, most in (each.hand_over for each in plans)} == {0.0, 0.13, 0.38, 0.78}
    for each in plans:
        single = draw_single(each.seed)
        assert replace(single, **{name: getattr(plain, name) for name in new}) == draw_plain(each.seed)
        later = {name: getattr(each, name) for name in ("groups", "regrouped", "accounts")}
        assert replace(single, **later) == each
    assert {each.groups for each in plans} == {1, 2, 3, 4}
    assert max(account.answers_in for each in plans for account in each.accounts) > 4
    assert {account.limiter for each in plans for account in each.accounts} >= {"counter", "leaky"}


def test_operators_are_drawn_beside_the_rest() -> None:
    """GIVEN many seeds WHEN they are drawn THEN accounts are held and resumed in some plans, always before the faults
    end, and all else is as it was drawn before there were operators.
    """
    plans = [draw_live(seed) for seed in range(200)]
    assert all(replace(each, hands=()) == draw_untouched(each.seed) for each in plans)
    hands = [(plan, hand) for plan in plans for hand in plan.hands]
    assert 20 < sum(bool(plan.hands) for plan in plans) < 100
    assert {(hand.hold is None, hand.until > 0) for _, hand in hands} == {(True, False), (False, True), (False, False)}
    assert all((hand.hold or 0.0) < hand.resume < plan.faults_end for plan, hand in hands)


def test_history_is_drawn_beside_the_rest() -> None:
    """GIVEN many seeds WHEN they are drawn THEN some plans have events that are history, a few or most of them, and all
    else is as it was drawn before there was any.
    """
    plans = [draw(seed) for seed in range(200)]
    for each in plans:
        live = tuple(replace(event, backfill=False) for event in each.events)
        assert replace(each, events=live) == draw_live(each.seed)
    shares = [sum(event.backfill for event in each.events) / len(each.events) for each in plans]
    assert 40 < sum(share > 0 for share in shares) < 120
    assert max(shares) > 0.7


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (2, 3)])
def test_groups_that_change_while_events_wait(before: int, after: int) -> None:
    """GIVEN events that come in while the number of groups changes THEN each is delivered, once."""
    events = tuple(EventPlan(0.1 * index, f"e{index}", index % 20, (ACCOUNT,)) for index in range(200))
    plan = replace(
        Plan(seed=1, accounts=(AccountPlan(ACCOUNT, answers_in=1.0),), events=events, settle_down=False),
        groups=before,
        regrouped=after,
    )
    run = play(plan)
    assert run.violation is None
    assert [len(each.acts) for each in run.history.deliveries.values()] == [1] * 200


def test_the_page_recommends_the_groups_that_the_figures_are_reached_with() -> None:
    """The table in docs/delivery.md is computed."""
    page = (ROOT / "docs" / "delivery.md").read_text()
    for requests in (1, 5, 15, 58, 150, 350):
        row = " | ".join(str(groups_for(requests, seconds)) for seconds in (0.1, 0.5, 1, 2, 3, 5))
        assert f"| {requests} | {row} |" in page


def test_a_commit_has_seeds_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a commit WHEN its seeds are asked for THEN they are the same each time, others than those of the next one,
    and far enough apart.
    """
    git = shutil.which("git")
    if git is None:
        pytest.skip("there is no git here")
    monkeypatch.setattr(seeds, "ROOT", tmp_path)
    firsts = []

    def run(*words: str) -> None:
        who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
        subprocess.run([git, *who, *words], cwd=tmp_path, check=True)

    run("init", "-q")
    for message in ("one", "two"):
        run("commit", "-q", "--allow-empty", "-m", message)
        assert seeds.fresh() == seeds.fresh()
        first, source = seeds.fresh()
        assert source.startswith("commit ")
        firsts.append(first)
    assert abs(firsts[0] - firsts[1]) >= seeds.APART


def test_a_source_archive_has_seeds_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN the code without git WHEN its seeds are asked for THEN they come from the code, and change with it."""
    code = tmp_path / "layers" / "relay" / "relay" / "delivery" / "batch.py"
    code.parent.mkdir(parents=True)
    monkeypatch.setattr(seeds, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    firsts = []
    for text in ("one", "two"):
        code.write_text(text)
        assert seeds.fresh() == seeds.fresh()
        first, source = seeds.fresh()
        assert "no git" in source
        firsts.append(first)
    assert firsts[0] != firsts[1]
