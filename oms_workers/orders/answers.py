"""Omnitron's answers: the bytes of a body as JSON, whatever their encoding, and what may be shown of them."""

import json
import re
from typing import Any

from oms_workers.errors import OmsError

#: More than any key or amount has; Python refuses to read integers of some thousands.
_MOST_DIGITS = 100
_SHOWN_CHARACTERS = 200

_CHARSET = re.compile(r"charset=\"?([\w.:-]+)", re.IGNORECASE)


class OmnitronError(OmsError):
    """A call to Omnitron did not bring what was promised; the message names the call."""


class OmnitronAnswerError(OmnitronError):
    """Omnitron has answered, and what it has answered is of no use; the same call again would be none."""


class OmnitronRefusedError(OmnitronError):
    """Omnitron does not accept our credentials: a matter of configuration, which no retry mends."""


def read_json(content: bytes, content_type: str | None) -> Any:
    """The document in a body. Raises `ValueError` or `RecursionError` where there is none.

    Bytes that are no text, and numbers that Python does not read, are an order's own affair.
    """
    return json.loads(_as_text(content, content_type), parse_int=_int_or_text)


def is_json(content: bytes, content_type: str | None) -> bool:
    """Whether a body is JSON, as everything is that Omnitron itself says."""
    try:
        read_json(content, content_type)
    except (ValueError, RecursionError):
        return False
    return True


def shown(content: bytes) -> str:
    """The beginning of a body, for a message."""
    return repr(content[:_SHOWN_CHARACTERS].decode(errors="replace"))


def _as_text(content: bytes, content_type: str | None) -> str:
    """JSON is UTF-8, with or without a byte order mark, or else what the header says that it is."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    named = _CHARSET.search(content_type or "")
    try:
        return content.decode(named.group(1) if named else json.detect_encoding(content))
    except (LookupError, UnicodeError):
        return content.decode("utf-8-sig", errors="surrogateescape")


def _int_or_text(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MOST_DIGITS else digits
