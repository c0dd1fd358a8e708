"""What the build takes out of the layer, and what it leaves as it was."""

import json
import shutil
from pathlib import Path

import botocore
import pytest
from botocore.regions import EndpointResolver

from tools.layer import SERVICES, slim

DATA = Path(botocore.__file__).parent / "data"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """botocore's data in a layer, as far as it is small."""
    data = tmp_path / "botocore" / "data"
    for service in (*SERVICES, "sns"):
        shutil.copytree(DATA / service, data / service)
    for file in DATA.glob("*.json"):
        shutil.copy(file, data)
    slim(tmp_path)
    return data


def test_services_that_are_not_spoken_to_are_left_out(data: Path) -> None:
    """Their descriptions, and where they are."""
    assert {path.name for path in data.iterdir() if path.is_dir()} == SERVICES
    assert len((data / "endpoints.json").read_bytes()) < 0.05 * len((DATA / "endpoints.json").read_bytes())


def test_the_others_are_found_where_they_were(data: Path) -> None:
    """GIVEN any region of any partition THEN each service has the endpoint that it has by botocore's own list."""
    whole = json.loads((DATA / "endpoints.json").read_text())
    left = json.loads((data / "endpoints.json").read_text())
    before, after = EndpointResolver(whole), EndpointResolver(left)
    regions = [region for partition in whole["partitions"] for region in partition["regions"]]
    assert len(regions) > 30
    for service in SERVICES:
        for region in (*regions, "us-west-99"):
            assert before.construct_endpoint(service, region) == after.construct_endpoint(service, region)
