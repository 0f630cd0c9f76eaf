"""No network but for ``fetch_model``: imported before the libraries that could use it.

transformers and huggingface_hub read their environment once, when they are imported, wherever in
a program that is. So each module that imports them imports this one before.
"""

import contextlib
import os
from collections.abc import Iterator

# transformers can also replace layers of a model by code from repositories ("kernels").
SETTINGS = {"HF_HUB_OFFLINE": "1", "USE_HUB_KERNELS": "0"}

# Variables with which users forbid the network, and the values that do it.
FORBIDDING = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")

TRUE = {"1", "ON", "YES", "TRUE"}

FORBIDDEN = any(os.environ.get(name, "").upper() in TRUE for name in FORBIDDING)

os.environ.update(SETTINGS)


@contextlib.contextmanager
def lifted() -> Iterator[None]:
    """Let the client of the hub use the network within the block, unless the user forbids it."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = FORBIDDEN
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = True
