"""What `make deploy` is told reaches CloudFormation as it was meant."""

import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from samcli.cli.types import CfnParameterOverridesType  # type: ignore[import-untyped]  # ships no types

from tests.drawing import drawn
from tests.template.stack import Stack
from tools.deploy import (
    DeployError,
    configured_stages,
    parse_parameters,
    refuse_wrong_settings,
    template_parameters,
    write_overrides,
)

KNOWN = frozenset({"AlarmEmail", "Destinations", "DestinationSettings", "HoldSeconds"})
SETTINGS = '{"yotpo/one": {"identify_by": "phone_number"}, "sender": {"on_unknown": "park"}}'


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", {}),
        ("AlarmEmail=you@example.com", {"AlarmEmail": "you@example.com"}),
        (
            "Destinations=yotpo/one,yotpo/two,sender/main HoldSeconds=60",
            {"Destinations": "yotpo/one,yotpo/two,sender/main", "HoldSeconds": "60"},
        ),
        (f"DestinationSettings={SETTINGS} HoldSeconds=60", {"DestinationSettings": SETTINGS, "HoldSeconds": "60"}),
        (f"HoldSeconds=60\n  DestinationSettings='{SETTINGS}'", {"DestinationSettings": SETTINGS, "HoldSeconds": "60"}),
        ('AlarmEmail="" HoldSeconds=60', {"AlarmEmail": "", "HoldSeconds": "60"}),
        ("AlarmEmail= HoldSeconds=60", {"AlarmEmail": "", "HoldSeconds": "60"}),
        ("AlarmEmail=a+HoldSeconds=1@example.com", {"AlarmEmail": "a+HoldSeconds=1@example.com"}),
    ],
)
def test_parameters_hold_spaces_commas_and_json(text: str, parameters: dict[str, str]) -> None:
    """GIVEN a line of parameters WHEN read THEN each value is what a person means by it."""
    assert parse_parameters(text, KNOWN) == parameters


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("AlarmMail=you@example.com", '"AlarmMail" is no parameter'),
        ("AlarmEmail=you@example.com Destination=yotpo/one", '"Destination" is no parameter'),
        ("Destination=yotpo/one AlarmEmail=you@example.com", '"Destination" is no parameter'),
        ("you@example.com", '"you@example.com" is no parameter'),
        ("HoldSeconds=60 HoldSeconds=70", '"HoldSeconds" is given twice'),
    ],
)
def test_what_is_no_parameter_is_named(text: str, words: str) -> None:
    """GIVEN a slip of the pen WHEN read THEN the error names it and what there is."""
    with pytest.raises(DeployError, match=words):
        parse_parameters(text, KNOWN)


@drawn(100, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(sorted(KNOWN)),
        st.text(st.characters(codec="utf-8", exclude_categories=["C"])) | st.text("\\\"' {}:,=a"),
    )
)
def test_the_sam_cli_reads_every_value_as_it_was_given(parameters: dict[str, str]) -> None:
    """GIVEN any values WHEN the SAM CLI reads the file of overrides THEN it has exactly these."""
    with tempfile.TemporaryDirectory() as folder:
        read = CfnParameterOverridesType().convert([write_overrides(parameters, Path(folder))], None, None)
    assert read == parameters


def test_the_names_are_the_template_s() -> None:
    """GIVEN the template WHEN its parameters are listed THEN none is missing and none invented."""
    assert template_parameters() == set(Stack.load().parameters)


def test_the_stages_are_those_that_can_go_to_aws() -> None:
    """GIVEN samconfig.toml WHEN its stages are listed THEN the stack on one machine is none of them."""
    assert set(configured_stages()) == {"dev", "prod"}


def test_the_file_of_overrides_is_plain_yaml() -> None:
    """GIVEN a value that YAML would read as something else WHEN written THEN it stays text."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_overrides({"HoldSeconds": "60", "AlarmEmail": "null"}, Path(folder)).removeprefix("file://")
        assert yaml.safe_load(Path(path).read_text()) == {"HoldSeconds": "60", "AlarmEmail": "null"}


@pytest.mark.parametrize("stage", configured_stages())
def test_settings_with_which_no_function_starts_are_not_deployed(stage: str) -> None:
    """GIVEN parameters WHEN they are wrong THEN every error is told at its path; right ones pass."""
    refuse_wrong_settings(stage, {})
    refuse_wrong_settings(stage, {"Destinations": "yotpo/one,sender/main", "DestinationSettings": SETTINGS})
    wrong = '{"yotpo/main": {"mapping": {"drop": ["x"]}}, "sender": {"groups": 0}}'
    with pytest.raises(DeployError, match=r"yotpo/main\.mapping\.drop\.x: is no property.*sender\.groups: "):
        refuse_wrong_settings(stage, {"DestinationSettings": wrong})
    with pytest.raises(DeployError, match="Destinations: nobody/main is not provider/account"):
        refuse_wrong_settings(stage, {"Destinations": "nobody/main"})
    with pytest.raises(DeployError, match="yotpo/one: is neither"):
        refuse_wrong_settings(stage, {"Destinations": "yotpo/two", "DestinationSettings": SETTINGS})
