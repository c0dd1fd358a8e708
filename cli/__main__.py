"""Where the command begins. What it needs takes a second to import, and somebody may change their mind meanwhile."""

import sys


def main() -> None:
    """The entry point, and ``python -m cli``."""
    try:
        from cli.app import main as run  # noqa: PLC0415 (Ctrl-C while it is imported is no traceback either)

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
