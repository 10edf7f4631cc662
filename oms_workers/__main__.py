"""`python -m oms_workers` is `oms`."""

from oms_workers.cli.app import main

main()
