"""The commands of this room; importing it registers them."""

from oms_workers.packages.commands import handling, rejections, transfers

__all__ = ["handling", "rejections", "transfers"]
