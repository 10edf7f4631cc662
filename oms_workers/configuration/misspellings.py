"""Variables that have no effect and yet are likely meant for us: near misses, and Celery's own names."""

import difflib
from collections.abc import Iterable, Iterator, Mapping

#: How alike an unknown variable must be to a task's key to be taken for a misspelling of it. Keys are long.
_LIKE_A_KEY = 0.9

#: How alike to another variable: `REDIS_URI` and `OMNITRON_USER` are, a platform's `REDIS_TLS_URL` is not.
_LIKE_A_SETTING = 0.85

#: Whatever begins so is meant for us.
_OURS = "OMNITRON_"
_LIKE_OURS = 0.8

_TIME_ZONE = "set TIME_ZONE"
_REDIS_URL = "set REDIS_URL"
_CONNECTIONS = "set REDIS_MAX_CONNECTIONS"
_THREADS = "set --threads in the worker's line of the Procfile"
_CADENCES = "set the _SCHEDULE or _CRONTAB of each task"

#: What those who come from Celery have set, with what it is here.
_OF_CELERY = {
    "CELERY_TIMEZONE": _TIME_ZONE,
    "CELERY_TIME_ZONE": _TIME_ZONE,
    "CELERY_ENABLE_UTC": _TIME_ZONE,
    "CELERY_BROKER_URL": _REDIS_URL,
    "CELERY_BROKER": _REDIS_URL,
    "BROKER_URL": _REDIS_URL,
    "CELERY_BROKER_POOL_LIMIT": _CONNECTIONS,
    "BROKER_POOL_LIMIT": _CONNECTIONS,
    "CELERY_REDIS_MAX_CONNECTIONS": _CONNECTIONS,
    "CELERY_CONCURRENCY": _THREADS,
    "CELERYD_CONCURRENCY": _THREADS,
    "CELERY_WORKER_CONCURRENCY": _THREADS,
    "CELERY_BEAT_SCHEDULE": _CADENCES,
    "CELERYBEAT_SCHEDULE": _CADENCES,
}
_CELERY = "CELERY"


def misspellings(variables: Mapping[str, str], keys: Iterable[str], settings: Iterable[str]) -> Iterator[str]:
    """A sentence for each variable that is none of the tasks' keys and settings, and likely should be one."""
    known_keys, known = [*keys], [*settings]
    for name in sorted(set(variables) - {*known_keys, *known}):
        advice = _of_celery(name) or _near_miss(name, known_keys, known)
        if advice:
            yield f"{name} is not known and has no effect; {advice}"


def _of_celery(name: str) -> str | None:
    unknown = "this is no Celery application, see docs/configuration.md" if name.startswith(_CELERY) else None
    return _OF_CELERY.get(name, unknown)


def _near_miss(name: str, keys: list[str], settings: list[str]) -> str | None:
    # A unit too many, or the end of the name left out, is the likeliest.
    shortened = [each for each in settings if name == f"{each}_SECONDS" or each.startswith(name)]
    cutoff = _LIKE_OURS if name.startswith(_OURS) else _LIKE_A_SETTING
    close = [
        *difflib.get_close_matches(name, settings, n=1, cutoff=cutoff),
        *difflib.get_close_matches(name, keys, n=1, cutoff=_LIKE_A_KEY),
    ]
    close.sort(key=lambda each: difflib.SequenceMatcher(None, each, name).ratio(), reverse=True)
    found = [*(shortened if "_" in name else ()), *close]
    return f"is {found[0]} meant?" if found else None
