"""Forbidding of the network, except for fetching a model.

transformers and huggingface_hub read the environment once, when they are imported. Programs
therefore call this first and then import them and modules that import them. Importing the library
itself changes no environment variable.
"""

import contextlib
import os
from collections.abc import Iterator

# transformers can also replace layers of a model with code from repositories ("kernels").
SETTINGS = {"HF_HUB_OFFLINE": "1", "USE_HUB_KERNELS": "0"}

# Variables with which users forbid the network, and the values that forbid it.
FORBIDDING = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
TRUE = {"1", "ON", "YES", "TRUE"}

# Whether only `forbid_network`, and not the user, has forbidden the network.
_forbidden_here = False


def forbid_network() -> None:
    """Keep transformers and the hub's client off the network in this process.

    This must be called before they are imported.
    """
    global _forbidden_here
    _forbidden_here = not any(os.environ.get(name, "").upper() in TRUE for name in FORBIDDING)
    os.environ.update(SETTINGS)


@contextlib.contextmanager
def lifted() -> Iterator[None]:
    """Let the hub's client use the network within the block, unless the user forbids it."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before and not _forbidden_here
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
