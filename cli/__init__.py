"""`relay`, the operator's command: see, explain and mend a deployed stack."""

VERSION = "0.1.0"
"""Of the project. The packaging reads it here, `relay --version` shows it, and CHANGELOG.md says what is in it."""
