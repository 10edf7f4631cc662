"""How a command begins: the settings, and where it needs them the task table and the broker."""

import importlib

import settings


def begin(*, need_servers: bool = True, need_omnitron: bool = False) -> settings.Settings:
    """Read the settings, then load the task table; exits with status 2 where a setting is wrong.

    `schedules` is imported here and not at the top of a file: importing it begins a program.
    """
    configuration = settings.load_or_exit(need_servers=need_servers, need_omnitron=need_omnitron)
    importlib.import_module("schedules")
    return configuration
