"""The classes that compute quantities, imported when one is measured."""

import importlib
from typing import Any

from attnlag.quantities.catalogue import QUANTITIES


def computation(name: str, site: str, model: Any) -> Any:
    """Return what computes a quantity of a site for a model, an `Extractor`."""
    module, _, kind = QUANTITIES[name].computed_by.partition(".")
    return getattr(importlib.import_module(f"{__package__}.{module}"), kind)(
        QUANTITIES[name], site, model
    )
