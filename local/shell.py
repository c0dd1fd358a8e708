"""The lines that turn a shell to the stack on this machine, and nowhere else."""

import shlex
from collections.abc import Mapping

from local.machine import ACCESS_KEY_ID, OWN, SECRET_ACCESS_KEY, TOOLS
from local.stack import STACK_NAME, Stack

LOOPBACK = "127.0.0.1"


def credential_lines(stack: Stack, own: Mapping[str, str] = OWN) -> list[str]:
    """For sh, bash and zsh: what any AWS CLI or SDK needs to speak to ``stack``. ``own`` is the shell's environment."""
    lines = [
        # Else a profile's, or a session's, would be mixed with these.
        "unset AWS_PROFILE AWS_SESSION_TOKEN",
        f"export AWS_ENDPOINT_URL={stack.endpoint_url}",
        f"export AWS_ACCESS_KEY_ID={ACCESS_KEY_ID} AWS_SECRET_ACCESS_KEY={SECRET_ACCESS_KEY}",
        f"export AWS_REGION={stack.region} AWS_DEFAULT_REGION={stack.region}",
    ]
    beside = own.get("no_proxy") or own.get("NO_PROXY") or ""
    if _behind_a_proxy(own) and LOOPBACK not in beside.split(","):
        without = shlex.quote(",".join(filter(None, (beside, LOOPBACK))))
        lines.append(f"export NO_PROXY={without} no_proxy={without}")
    return lines


def output_lines(stack: Stack) -> list[str]:
    """The stack's outputs and the provider sandbox's URL as variables of those names."""
    named = stack.outputs | {"SandboxUrl": stack.sandbox_url}
    return [f"export {name}={shlex.quote(value)}" for name, value in named.items()] + [
        f"export RELAY_STACK={STACK_NAME}",
        # Whatever is on the PATH: the command of this checkout.
        f'relay() {{ {shlex.quote(str(TOOLS / "relay"))} "$@"; }}',
    ]


def _behind_a_proxy(own: Mapping[str, str]) -> bool:
    return any(own.get(name) for one in ("http_proxy", "all_proxy") for name in (one, one.upper()))
