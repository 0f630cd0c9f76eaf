"""No network but for fetching a model: a program asks for this before it does anything else.

transformers and huggingface_hub read the environment once, when they are imported. So programs
import them, and what imports them, after the call. Whoever uses the library in a process of
their own decides for themselves: importing it changes no environment variable.
"""

import contextlib
import os
from collections.abc import Iterator

# transformers can also replace layers of a model by code from repositories ("kernels").
SETTINGS = {"HF_HUB_OFFLINE": "1", "USE_HUB_KERNELS": "0"}

# Variables with which users forbid the network, and the values that do it.
FORBIDDING = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
TRUE = {"1", "ON", "YES", "TRUE"}

# Whether the network is forbidden by `forbid_network` and not by the user too.
_forbidden_here = False


def forbid_network() -> None:
    """Keep transformers and the client of the hub off the network in this process.

    To be called before they are imported.
    """
    global _forbidden_here
    _forbidden_here = not any(os.environ.get(name, "").upper() in TRUE for name in FORBIDDING)
    os.environ.update(SETTINGS)


@contextlib.contextmanager
def lifted() -> Iterator[None]:
    """Let the client of the hub use the network within the block, unless the user forbids it."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before and not _forbidden_here
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
