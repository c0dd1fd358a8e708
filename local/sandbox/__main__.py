"""``python -m local.sandbox --port 8080``: the provider sandbox on 127.0.0.1.

With ``--state``, the folder of a stack's files, it serves the page as well (``local.page``).
"""

import argparse
from pathlib import Path

from local.sandbox.app import application
from local.sandbox.provider_side import Sandbox
from local.sandbox.server import server


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--state", type=Path, help="the folder of the stack whose page to serve")
    asked = parser.parse_args()
    sandbox = Sandbox()
    more = []
    if asked.state:
        # By itself the sandbox needs neither the relay nor boto3.
        from local.page.app import page  # noqa: PLC0415

        more = page(sandbox, asked.state)
    server(application(sandbox, more), asked.port).run()


if __name__ == "__main__":
    main()
