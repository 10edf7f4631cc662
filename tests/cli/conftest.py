"""What the tests of the command line start from."""

import pytest
from typer.testing import CliRunner

import settings
from oms_workers.broker import current
from oms_workers.cli.app import app
from oms_workers.scheduling import process
from tests.examples import FILES
from tests.orders.samples import an_order, store_orders


@pytest.fixture
def oms(db: None, monkeypatch: pytest.MonkeyPatch):
    """Run `oms` with these arguments; the exit status and what was printed."""
    before = settings.current()
    # Messages that earlier tests have sent.
    current().client.flushdb()
    runner = CliRunner()

    def invoke(*arguments: str):
        return runner.invoke(app, [*arguments])

    yield invoke
    process.stop_liveness()
    settings._current = before


@pytest.fixture
def package(oms) -> str:
    """The number of a package that waits at a location of the examples."""
    oms("load", *FILES)
    store_orders(an_order(7, skus=("CRUNCHY-ARMCHAIR", "RED-LAMP")))
    assert oms("run", "FULFIL_WAITING_ORDERS").exit_code == 0
    return "P1-1"
