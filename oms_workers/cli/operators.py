"""Who gives a command, as the audit trail names them."""

import getpass
import os

import settings


def operator() -> str:
    """`operator:` with the name in `OMS_ACTOR`, or else the system's name of the user."""
    return f"operator:{settings.current().oms_actor or _system_user()}"


def _system_user() -> str:
    """A container may run as a user that the system has no name for."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
