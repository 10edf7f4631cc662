"""The root of the errors that this application raises on purpose."""


class OmsError(Exception):
    """Something that an operator can mend; its message names the thing, the value and the way out."""


class ArgumentError(OmsError):
    """The command line names something that is not there; it ends with status 2."""
