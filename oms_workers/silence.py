"""Why a server does not answer, in words of ours: those of its client quote the address, or a part of it.

An address may hold a password, and where a sign in it is not encoded, a part of the password passes for the
name of the host.
"""

import re

#: What a client's message has in it, and what that means. The first that fits is said.
_REASONS = (
    (r"certificate verify failed", "its certificate cannot be verified"),
    (r"refused|no such file or directory", "nothing listens there"),
    (
        r"translate host|resolve host|name or service not known|name resolution|nodename nor servname",
        "its host name is not known",
    ),
    (
        r"password|role \".*\" does not exist|wrongpass|noauth|authenticat",
        "it refuses the user name or the password",
    ),
    (r"database \".*\" does not exist", "it has no database of that name"),
    (r"pg_hba\.conf", "it admits no such user from here, or not without TLS"),
    (r"connection slots|too many|max number of clients|no connection available", "no connection is left"),
    (r"starting up|shutting down|loading", "it is starting or stopping"),
    (r"ssl|tls", "TLS does not come about"),
    (r"time", "it did not answer in time"),
    (r"closed|reset|terminat|lost|eof", "the connection was cut off"),
)

#: What names somebody or some place in a client's message, and would pass for a reason.
_NAMES = re.compile(r"\"[^\"]*\"|\S+:\d+")

#: Said where no reason is known.
_UNKNOWN = "the reason is left out, since it may show the address"

_SAID = frozenset({_UNKNOWN, *(words for _, words in _REASONS)})


def why(error: BaseException) -> str:
    """Why a server does not answer, with no part of its address."""
    text = str(error)
    if text in _SAID:
        return text
    text = _NAMES.sub('""', text)
    return next((words for sign, words in _REASONS if re.search(sign, text, re.IGNORECASE)), _UNKNOWN)
