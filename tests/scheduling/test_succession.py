"""The newer configuration wins, whoever is seen last: a table of sightings."""

from datetime import UTC, datetime, timedelta

import pytest

from oms_workers.scheduling.succession import REPLACED_AFTER, Standing, alone_since, takes_effect

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("generation", "in_effect", "wins"),
    [
        (3, 2, True),
        # It is in effect already.
        (2, 2, True),
        (1, 2, False),
    ],
)
def test_the_higher_generation_takes_effect(generation: int, in_effect: int, wins: bool) -> None:
    assert takes_effect(generation, in_effect, NOON, NOON) is wins


@pytest.mark.parametrize(
    ("alone", "wins"),
    [(REPLACED_AFTER - SECOND, False), (REPLACED_AFTER, True), (REPLACED_AFTER + SECOND, True)],
)
def test_an_older_one_takes_effect_when_it_has_been_alone_for_long_enough(
    alone: timedelta, wins: bool
) -> None:
    assert takes_effect(1, 2, NOON - alone, NOON) is wins


@pytest.mark.parametrize(
    ("own_seen", "alone", "newest_seen", "is_since"),
    [
        # It is seen for the first time.
        (None, None, None, NOON),
        (NOON - MINUTE, None, NOON - 9 * MINUTE, NOON),
        # It goes on being seen, and the newer one is not.
        (NOON - MINUTE, NOON - 9 * MINUTE, NOON - 10 * MINUTE, NOON - 9 * MINUTE),
        (NOON - MINUTE, NOON - 9 * MINUTE, None, NOON - 9 * MINUTE),
        # The newer one was seen in the meantime.
        (NOON - MINUTE, NOON - 9 * MINUTE, NOON - 9 * MINUTE, NOON),
        (NOON - MINUTE, NOON - 9 * MINUTE, NOON - 2 * MINUTE, NOON),
        # Nobody was seen for a while, for example in an outage.
        (NOON - 5 * MINUTE, NOON - 9 * MINUTE, NOON - 10 * MINUTE, NOON - 9 * MINUTE),
        (NOON - 5 * MINUTE - SECOND, NOON - 9 * MINUTE, NOON - 10 * MINUTE, NOON),
    ],
)
def test_since_when_an_older_one_is_alone(
    own_seen: datetime | None, alone: datetime | None, newest_seen: datetime | None, is_since: datetime
) -> None:
    assert alone_since(Standing(1, own_seen, alone), Standing(2, newest_seen, None), NOON) == is_since
