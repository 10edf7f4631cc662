"""What a command line may hold: texts that name something, and each option once."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

#: What a command line that cannot be parsed raises; typer has it from click, or as its own.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def text(name: str) -> Callable[[str | None], str | None]:
    """A callback that lets a text pass which was given and is one; for any other the status is 2.

    An empty one is most likely a shell variable that is not set.
    """

    def check(value: str | None) -> str | None:
        if value is None:
            return None
        if not value.strip():
            raise typer.BadParameter(f"{name} is empty; is it a shell variable that is not set?")
        if not all(sign.isprintable() or sign in "\n\t" for sign in value):
            raise typer.BadParameter(f"{name} holds a sign that no text has: {value!a}")
        return value

    return check


class EachOptionOnce(TyperGroup):
    """Commands that refuse an option which is given twice, instead of taking the last."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            _refuse_repeated(command, ctx, rest)
        return name, command, rest


def _refuse_repeated(command: Any, ctx: Any, arguments: list[str]) -> None:
    inner = type(ctx)(command, info_name=command.name, parent=ctx)
    try:
        _, _, given = command.make_parser(inner).parse_args(args=[*arguments])
    except _UsageError:
        # The command itself will say it.
        return
    for option, times in Counter(given).items():
        if times > 1 and option.param_type_name == "option" and not (option.multiple or option.is_flag):
            name = max(option.opts, key=len)
            raise typer.BadParameter(f"{name} is given {times} times, and only one can be meant.", ctx=inner)
