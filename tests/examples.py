"""The files of `examples/`, as `oms load` is given them."""

from pathlib import Path

import settings

EXAMPLES = Path(settings.__file__).parent / "examples"
FILES = [str(EXAMPLES / f"{name}.json") for name in ("locations", "stock", "scenarios")]
