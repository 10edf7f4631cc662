"""Whole numbers, and products of them such as `60*60`, read without evaluating code."""

import re

#: More than any number here may be; what is larger is as good as this, and is never read digit by digit.
_MOST = 10**12

_PRODUCT = re.compile(r"[0-9]+(\s*\*\s*[0-9]+)*")


def read_product(text: str) -> int | None:
    """The value of a whole number or a product of them, a trillion at the most; None for anything else."""
    if not _PRODUCT.fullmatch(text.strip()):
        return None
    value = 1
    for factor in text.split("*"):
        value = min(_MOST, value * read_digits(factor.strip()))
    return value


def read_digits(digits: str) -> int:
    """The value of ASCII digits, a trillion at the most: Python refuses to read thousands of them."""
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= len(str(_MOST)) else _MOST
