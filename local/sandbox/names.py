"""The providers that the sandbox speaks for: those with a description in ``local/contracts/``."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

CONTRACTS = Path(__file__).parent.parent / "contracts"
NAMES = tuple(sorted(path.stem for path in CONTRACTS.glob("*.yaml")))


def _known(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"is none of {', '.join(NAMES)}")
    return name


ProviderName = Annotated[str, AfterValidator(_known)]
