"""Settings of stages as their programs get them, from configurations that tests state in part."""

import copy
from typing import Any

from attnlag.config.schema import Config
from attnlag.pipeline import stages

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
