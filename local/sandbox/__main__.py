"""``python -m local.sandbox --port 8080``: the provider sandbox on 127.0.0.1."""

import argparse

from local.sandbox.app import application
from local.sandbox.provider_side import Sandbox
from local.sandbox.server import server


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    server(application(Sandbox()), parser.parse_args().port).run()


if __name__ == "__main__":
    main()
