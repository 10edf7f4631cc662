"""What became of a plan's packages, written into its context, in sets, where it changed."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from peewee import SQL, NodeList, Select, Tuple, Value, fn

from oms_workers.database import database, retry_transient, transaction
from oms_workers.fulfilment.models import OrderExecutionPlan
from oms_workers.packages.models import PACKED_FROM, Package
from oms_workers.reservations.models import Location
from oms_workers.scheduling.run import Run
from oms_workers.sets import column, fetch_one, for_change, one_of

#: Plans that one statement compares; their packages are few.
BATCH = 5_000

#: The age up to which a plan's context is kept up, by the operators' document: three months.
MAX_AGE = timedelta(days=92)


class _Position(NamedTuple):
    """A plan's place in the order in which plans are read."""

    created_at: datetime
    id: int


def refresh_contexts(run: Run) -> dict[str, int]:
    """Rewrite the context of each plan younger than three months whose packed packages changed since.

    Returns how many plans were rewritten.
    """
    counts = {"rewritten": 0}
    after = _Position(run.now - MAX_AGE, 0)
    while (last := _last_of_batch(after)) is not None:
        counts["rewritten"] += _refresh_safely(after, last, run.now)
        after = last
        if run.should_stop():
            break
    return counts


def _last_of_batch(after: _Position) -> _Position | None:
    """The end of the next batch of plans, by the index order_execution_plans_created_at."""
    plan = OrderExecutionPlan
    batch = (
        plan.select(plan.created_at, plan.id)
        .where(_position() > _values(after))
        .order_by(plan.created_at, plan.id)
        .limit(BATCH)
        .alias("batch")
    )
    query = Select([batch], [batch.c.created_at, batch.c.id]).bind(database)
    return fetch_one(query.order_by(batch.c.created_at.desc(), batch.c.id.desc()).limit(1), _Position)


def _refresh_safely(after: _Position, last: _Position, now: datetime) -> int:
    return retry_transient(lambda: _refresh(after, last, now))


def _refresh(after: _Position, last: _Position, now: datetime) -> int:
    """Compare one batch, and rewrite its changed plans, which are locked in the order of their ids."""
    plan = OrderExecutionPlan
    with transaction():
        changed = _changed_between(after, last)
        if not changed:
            return 0
        column(for_change(plan.select(plan.id).where(one_of(plan.id, changed)).order_by(plan.id)))
        facts = (
            _with_packages(plan.select(plan.id, _facts().alias("packages")))
            .where(one_of(plan.id, changed))
            .group_by(plan.id)
            .alias("facts")
        )
        refreshed = fn.jsonb_build_object(
            _text("packages"),
            facts.c.packages,
            _text("refreshed_at"),
            NodeList((Value(now), SQL("::timestamptz")), glue=""),
        )
        context = NodeList((plan.context, SQL("||"), refreshed))
        return int(plan.update({plan.context: context}).from_(facts).where(plan.id == facts.c.id).execute())


def _changed_between(after: _Position, last: _Position) -> list[int]:
    """The plans of a batch whose order has something packed, and whose packages are not as was written."""
    plan, packed = OrderExecutionPlan, Package.alias("packed")
    is_packed = packed.select(Value(1)).where(
        packed.order == plan.order, NodeList((packed.state, SQL(f">= {PACKED_FROM}")))
    )
    query = (
        _with_packages(plan.select(plan.id))
        .where(_position() > _values(after), _position() <= _values(last), fn.EXISTS(is_packed))
        .group_by(plan.id)
        .having(NodeList((plan.context, SQL("-> 'packages' IS DISTINCT FROM"), _facts())))
        .order_by(plan.id)
    )
    return column(query)


def _with_packages(query: Any) -> Any:
    """Join a plan's packages, which are few; its order's packages have an index."""
    plan = OrderExecutionPlan
    return query.join(Package, on=(Package.order == plan.order) & (Package.plan_id == plan.id)).join(
        Location, on=Location.id == Package.location
    )


def _facts() -> Any:
    """What is written of a plan's packages."""
    package = fn.jsonb_build_object(
        _text("number"), Package.number,
        _text("state"), Package.state,
        _text("location"), Location.code,
        _text("created_at"), Package.created_at,
        _text("changed_at"), Package.changed_at,
    )  # fmt: skip
    return fn.jsonb_agg(package).order_by(Package.id)


def _text(name: str) -> Any:
    """A key in the statement itself: PostgreSQL cannot tell the type of a parameter there."""
    return SQL(f"'{name}'")


def _position() -> Any:
    return Tuple(OrderExecutionPlan.created_at, OrderExecutionPlan.id)


def _values(position: _Position) -> Any:
    return Tuple(Value(position.created_at), Value(position.id))
