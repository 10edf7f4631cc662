"""The embedded servers: where they can be started, and who reaches them."""

import os
from pathlib import Path

import pytest

from oms_workers.errors import OmsError
from oms_workers.sandbox.servers import EmbeddedPostgres, EmbeddedValkey
from tests.processes.stage import directory


@pytest.mark.parametrize("sign", ["$", '"', "`", "\\"])
def test_a_path_that_pg_ctl_cannot_take_is_refused_with_the_way_out(tmp_path: Path, sign: str) -> None:
    with pytest.raises(OmsError, match="work in another directory"):
        EmbeddedPostgres(tmp_path / f"od{sign}d" / "pg").start()


def test_the_ctrl_c_of_a_terminal_does_not_reach_valkey() -> None:
    with directory() as place:
        server = EmbeddedValkey(place / "with a blank").start()
        try:
            assert os.getpgid(server.pid) != os.getpgid(0)
        finally:
            server.stop()
