"""Where variables come from: what a running `oms up` has left, a `.env` file, the environment."""

import io
import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from oms_workers.configuration.problems import Problem, SettingsError

#: What `oms up` keeps: the embedded servers' data, their addresses and the logs.
LOCAL_DIRECTORY = Path(".oms")
LOCAL_SERVERS = LOCAL_DIRECTORY / "servers.json"

#: Variables for a developer's machine; the environment wins over it.
DOTENV = Path(".env")

# It would say in passing, and twice, what stands in a `SettingsError`.
logging.getLogger("dotenv.main").setLevel(logging.ERROR)


def environment() -> dict[str, str]:
    """The variables of `.env` and of the environment, without the empty ones; the environment wins.

    Their names are in capitals, however they were written; one that was wins over one that was not.
    """
    layers: tuple[Mapping[str, str | None], ...] = (local_variables(), dotenv_values(DOTENV), os.environ)
    return {
        name.upper(): value
        for layer in layers
        for name, value in sorted(layer.items(), key=lambda item: item[0].isupper())
        if value and value.strip()
    }


def problems_of_dotenv() -> Iterable[Problem]:
    """What cannot be read of `.env`; raises `SettingsError` where nothing of it can.

    The library that reads it would pass over a broken line with a warning, and what it set would be unset.
    """
    try:
        text = DOTENV.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read: {error.strerror if isinstance(error, OSError) else 'it is not UTF-8'}"
        raise SettingsError([Problem(str(DOTENV), "", problem, "")]) from None
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            where = f"line {binding.original.line} of {DOTENV}"
            yield Problem(where, "", "cannot be read; a quote may be missing, or the equals sign", "")


def local_variables() -> dict[str, str]:
    """What a running `oms up` has left for other terminals, or nothing."""
    try:
        variables: dict[str, Any] = json.loads(LOCAL_SERVERS.read_text())
        os.kill(variables.pop("pid"), 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return variables
