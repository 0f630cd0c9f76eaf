"""attnlag: attention adjustments of language models, and their lag regressions.

In a notebook::

    import attnlag

    attnlag.check(model)
    measured = attnlag.measure(model, tokenizer, texts)
    fit = attnlag.fit(measured, lags=[1, 2], fixed_effects="document")
    effects = attnlag.intervene(model, tokenizer, texts).elasticities
    study = attnlag.read("results")

The library works on tensors, arrays and tables and is independent of Snakemake. Each program in
``scripts/`` reads its inputs, calls the library and writes its outputs.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnlag.study.intervening import Interventions, intervene
    from attnlag.study.measurement import Measurement
    from attnlag.study.measuring import measure
    from attnlag.study.regressing import Fit, fit
    from attnlag.study.results import Study, read
    from attnlag.study.verifying import check

__version__ = "0.1.0"

__all__ = [
    "Fit",
    "Interventions",
    "Measurement",
    "Study",
    "check",
    "fit",
    "intervene",
    "measure",
    "read",
]

# Module of each public name. Names are imported on first use: torch and seaborn take seconds to
# import, and most programs of the workflow need only one of them.
PUBLIC = {
    "Fit": "regressing",
    "Interventions": "intervening",
    "Measurement": "measurement",
    "Study": "results",
    "check": "verifying",
    "fit": "regressing",
    "intervene": "intervening",
    "measure": "measuring",
    "read": "results",
}


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'attnlag' has no attribute '{name}'")
    from importlib import import_module

    try:
        module = import_module(f"attnlag.study.{PUBLIC[name]}")
    except ModuleNotFoundError as error:
        from attnlag.errors import missing_extra

        if problem := missing_extra(error, f"attnlag.{name}"):
            raise problem from None
        raise
    return getattr(module, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
