"""What runs the checks by itself calls make, and targets that exist; the pins are anybody's."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.browser import PROGRAMS

ROOT = Path(__file__).parents[2]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def targets(command: str) -> list[str]:
    """What a command has make do. Fails for a command that is not make's."""
    program, *named = command.split()
    assert program == "make", command
    return named


WORKFLOW = read(".github/workflows/ci.yml")
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
HOOKS = [hook for repository in read(".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]


def test_the_workflow_and_the_hooks_call_targets_of_make() -> None:
    """Together all that a contributor is asked to run."""
    run = [*(step["run"] for step in STEPS if "run" in step), *(hook["entry"] for hook in HOOKS)]
    named = {target for command in run for target in targets(command)}
    assert named == {"lint", "quick", "check", "audit"}
    assert named <= TARGETS


def test_actions_are_pinned_by_their_commit() -> None:
    """A tag may be moved; beside the commit stands the version that it is."""
    text = (ROOT / ".github/workflows/ci.yml").read_text()
    used = re.findall(r"uses: (.+)", text)
    assert used
    assert not [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)]


def test_the_workflow_has_the_project_s_python_and_may_only_read() -> None:
    """The version of `.python-version`; a pull request's code gets no right to write."""
    versions = {str(step["with"]["python-version"]) for step in STEPS if "python-version" in step.get("with", {})}
    assert versions == {(ROOT / ".python-version").read_text().strip()}
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not [name for name, job in WORKFLOW["jobs"].items() if "permissions" in job]


def test_the_hooks_bring_no_tools_of_their_own() -> None:
    """What make pins is what they run, on the whole repository."""
    assert {hook["language"] for hook in HOOKS} == {"system"}
    assert not [hook["id"] for hook in HOOKS if hook["pass_filenames"]]


@pytest.mark.parametrize("name", ["requirements-dev.txt", "requirements-scan.txt", "layers/relay/requirements.txt"])
def test_every_pin_has_a_hash_and_none_an_address(name: str) -> None:
    """Where packages come from is for each machine to say, and no reason to trust them."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not re.match(r"\s*(#|$)", line)]
    pins = [line for line in lines if not line.startswith("    --hash=sha256:")]
    assert pins
    assert not [line for line in pins if not re.fullmatch(r"[a-z0-9._-]+==[\w.+!-]+ \\", line)]
    assert len(lines) >= 2 * len(pins)


def test_ci_skips_no_test_of_the_page() -> None:
    """Where it runs there is a browser, or it gets one; that one is missing is then a failure."""
    assert "export REQUIRE_CHROMIUM=1" in (ROOT / ".ci/run").read_text()
    assert WORKFLOW["jobs"]["check"]["env"]["REQUIRE_CHROMIUM"] == "1"
    assert all(name in (ROOT / ".ci/run").read_text() for name in PROGRAMS)


@pytest.mark.parametrize("name", ["cfn-lint.yaml", "checkov.yaml"])
def test_every_rule_that_is_left_out_has_its_reason(name: str) -> None:
    """Beside it."""
    left_out = re.findall(r"^  - (.*)$", (ROOT / "tools/scan" / name).read_text(), re.MULTILINE)
    assert left_out
    assert not [line for line in left_out if not re.fullmatch(r"[A-Z]\w+ # .{20,}", line)]


def test_bandit_s_rules_are_on_as_a_whole() -> None:
    """Ruff has them as `S`. What is left out for everything is asserts alone."""
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert [rule for rule in lint["ignore"] if rule.startswith("S")] == ["S101"]
