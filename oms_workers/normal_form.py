"""One form for words that people write differently: `İzmir`, `IZMIR `, and `izmir` in decomposed letters."""

import unicodedata
from functools import lru_cache

#: Turkish has an I with a dot and one without, in both cases, and other languages mix them up.
_EVERY_I = str.maketrans({"İ": "i", "I": "i", "ı": "i"})


@lru_cache(maxsize=4096)
def normal_form(text: str) -> str:
    """The text without case, without blanks around it, with single blanks in it, in composed letters.

    The letters themselves stay: `Muğla` and `Mugla` are two names.
    """
    composed = unicodedata.normalize("NFKC", " ".join(text.split()))
    return unicodedata.normalize("NFKC", composed.translate(_EVERY_I).casefold())


def written_form(text: str) -> str:
    """A code, a sku or a name as it is stored: without blanks around it, in composed letters.

    Case stays: `x` and `X` are two skus. Codes and names are compared by their `normal_form`.
    """
    return unicodedata.normalize("NFC", text.strip())
