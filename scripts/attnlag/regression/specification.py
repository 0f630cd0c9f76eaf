"""What a regression is of: its lags, leads and covariates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Cell(NamedTuple):
    """Where a term takes its value from, seen from the outcome.

    Attributes
    ----------
    layers_before : int
        0: the outcome's own layer; 1: the layer before it.
    offset : int
        Tokens after the outcome; negative: before it.
    """

    layers_before: int
    offset: int


PREVIOUS_LAYER = {"previous_layer": Cell(1, 0), "previous_layer_lag_1": Cell(1, -1)}


def _cells(lags: Sequence[int], leads: Sequence[int], previous_layer: bool) -> Mapping[str, Cell]:
    return {
        "y": Cell(0, 0),
        **{f"lag_{lag}": Cell(0, -lag) for lag in lags},
        **{f"lead_{lead}": Cell(0, lead) for lead in leads},
        **(PREVIOUS_LAYER if previous_layer else {}),
    }


@dataclass(frozen=True)
class Sample:
    """What all regressions of a configuration together need of a row, to be held to one sample."""

    lags: tuple[int, ...] = ()
    leads: tuple[int, ...] = ()
    previous_layer: bool = False


@dataclass(frozen=True)
class Specification:
    """The terms of a regression and the rule for its rows.

    Attributes
    ----------
    lags, leads : tuple of int
        Distances in tokens to the tokens before and after, ascending, each at least 1.
    covariates : tuple of str
        Some of ``position``, ``log_frequency``, ``group``, ``previous_layer``.
    knots : tuple of int
        Of the position's spline, in tokens, ascending, at least 3.
    drop_first : int
        Tokens at the start of every sequence that are neither an outcome nor a predictor.
    sample : Sample or None
        Keep only the rows that all of this can be had for; None: all that the terms allow.
    """

    lags: tuple[int, ...] = ()
    leads: tuple[int, ...] = ()
    covariates: tuple[str, ...] = ()
    knots: tuple[int, ...] = (4, 16, 64, 256)
    drop_first: int = 1
    sample: Sample | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Specification":
        """Return the specification in the settings of a stage; what they lack has defaults."""
        sample = settings.get("sample")
        return cls(
            lags=tuple(sorted(settings.get("lags", cls.lags))),
            leads=tuple(sorted(settings.get("leads", cls.leads))),
            covariates=tuple(settings.get("covariates", cls.covariates)),
            knots=tuple(sorted(settings.get("position_knots") or cls.knots)),
            drop_first=settings.get("drop_first", cls.drop_first),
            sample=sample
            and Sample(tuple(sample["lags"]), tuple(sample["leads"]), sample["previous_layer"]),
        )

    @property
    def cells(self) -> Mapping[str, Cell]:
        """The terms that each layer has its own values of, in order, and where these are."""
        return _cells(self.lags, self.leads, "previous_layer" in self.covariates)

    @property
    def needed(self) -> list[Cell]:
        """The values without which a layer drops a row, those of the common sample included."""
        others = self.sample or Sample()
        theirs = _cells(others.lags, others.leads, others.previous_layer)
        return sorted({*self.cells.values(), *theirs.values()})

    @property
    def before(self) -> int:
        """Tokens that an outcome needs before it, besides the dropped ones."""
        return max(-cell.offset for cell in self.needed)

    @property
    def after(self) -> int:
        """Tokens that an outcome needs after it."""
        return max(cell.offset for cell in self.needed)
