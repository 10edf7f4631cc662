"""What is wrong with variables, as a program would name it."""

import pytest

import settings


def problems(configure, **variables: str) -> list[settings.Problem]:
    with pytest.raises(settings.SettingsError) as raised:
        configure(**variables)
    return list(raised.value.problems)
