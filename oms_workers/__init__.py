"""The scheduled operations of an order management system."""

#: As in pyproject.toml. A buildpack installs only the requirements, and then nothing else has it.
__version__ = "0.1.0"
