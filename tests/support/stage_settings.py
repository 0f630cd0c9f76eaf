"""Settings of stages as their programs get them, from configurations that tests state in part."""

import copy
from typing import Any

from attnlag.config.schema import Config
from attnlag.interventions.settings import EffectsSettings
from attnlag.pipeline import stages
from attnlag.regression.settings import ElasticitiesSettings

LEAST: dict[str, Any] = {
    "models": {"gpt2": {"source": "path", "path": "gpt2"}},
    "corpora": {"prompts": {"files": ["prompts.jsonl"]}},
    "regressions": {"notebook": {"lags": [1, 2], "slopes_by": {"upos": "outcome"}}},
    "extraction": {"quantities": []},
}
NAMES = stages.Names("gpt2", "prompts", "attention", "notebook", "attention")


def settings_text(stage: str, **sections: Any) -> str:
    """Return the settings of a stage as JSON, with sections of the configuration extended.

    ``regression`` and ``corpus`` extend the one regression and the one corpus.
    """
    raw = copy.deepcopy(LEAST)
    raw["regressions"]["notebook"] |= sections.pop("regression", {})
    raw["corpora"]["prompts"] |= sections.pop("corpus", {})
    for section, values in sections.items():
        raw[section] = {**raw.get(section, {}), **values}
    return stages.settings_of(stage, Config.model_validate(raw))(NAMES)


EFFECTS = EffectsSettings(
    source_sites=["attention"],
    target_sites=["attention"],
    targets="all",
    lags=3,
    sign_draws=1,
    documents="all",
    document_tokens=512,
    interventions=(),
    scales=(),
)


def effects_settings(**changes: Any) -> EffectsSettings:
    """Return settings of interventions on everything, changed."""
    return EFFECTS.changed(**changes)


ELASTICITIES = ElasticitiesSettings(
    alpha=0.05, bootstrap=500, seed=0, drop_first=1, equivalence_bound=0.05
)
