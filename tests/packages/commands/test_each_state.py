"""Every command, in each of the states that it is registered for, on what really is in that state."""

from enum import IntEnum

import pytest

from oms_workers.audit_events.door import name_of
from oms_workers.packages.commands.registry import Command, CommandSubject, commands
from oms_workers.packages.models import PackageState as P
from oms_workers.packages.models import TransferState as T
from tests.fulfilment.samples import a_scenario, assert_books_balance, load_merchant
from tests.fulfilment.steps import PLACES, plan_all
from tests.orders.samples import an_order, store_orders
from tests.packages.commands.shop import do, state, transfer_state

#: The commands that lead to a state, from one that waits.
WAY: dict[P, tuple[str, ...]] = {
    P.WAITING: (),
    P.WAITING_FOR_TRANSFER: (),
    P.PREPARING: ("START_PREPARING",),
    P.READY_FOR_PACKAGING: ("START_PREPARING", "READY_FOR_PACKAGING"),
    P.BLOCKED: ("BLOCK",),
    P.PACKED: ("COMPLETE_PACKAGING",),
    P.NEEDS_REPLAN: ("REFUSE",),
    P.OUT_OF_STOCK: ("PRODUCT_NOT_FOUND",),
    P.DEFECTIVE_PRODUCT: ("DEFECTIVE_PRODUCT",),
    P.UNAVAILABLE: ("UNAVAILABLE",),
}
TRANSFER_WAY: dict[T, tuple[str, ...]] = {
    T.WAITING: (),
    T.READY_FOR_SHIPMENT: ("READY_TRANSFER",),
    T.IN_TRANSIT: ("SHIP_TRANSFER",),
}

EACH = [(command, known) for command in commands() for known in command.states]


@pytest.mark.parametrize(
    ("command", "begins"), EACH, ids=[f"{command.name}-{name_of(known)}" for command, known in EACH]
)
def test_a_command_does_its_work_in_each_of_its_states(db: None, command: Command, begins: IntEnum) -> None:
    of_transfer = command.subject is CommandSubject.TRANSFER
    skus = ("CHAIR", "LAMP") if of_transfer or begins is P.WAITING_FOR_TRANSFER else ("CHAIR", "CHAIR")
    load_merchant(
        PLACES,
        {("CHAIR", "GEBZE"): 5, ("LAMP", "IZMIR"): 3},
        a_scenario({"mode": "single", "transferable": True, "ranking": ["priority"]}),
    )
    store_orders(an_order(7, skus=skus))
    plan_all()
    number, of = ("T1-1-1", transfer_state) if of_transfer else ("P1-1", state)
    for step in TRANSFER_WAY[begins] if isinstance(begins, T) else WAY[P(begins)]:
        do(number, step)
    assert of() is begins

    missing = {"CHAIR": 1} if command.name == "PRODUCT_NOT_FOUND_ADVANCED" else {}
    ended = do(number, command.name, missing=missing)

    assert ended == name_of(of())
    assert (of() is begins) == (command.name == "PRODUCT_NOT_FOUND_ADVANCED")
    assert_books_balance()
