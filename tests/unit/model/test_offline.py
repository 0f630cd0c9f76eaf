"""The libraries that can use the network are told not to, before they are imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"

SAYS = """
import huggingface_hub, sys
from transformers.integrations import hub_kernels
print(huggingface_hub.is_offline_mode(), hub_kernels._TRANSFORMERS_USE_HUB_KERNELS)
"""
LIFTED = """
from huggingface_hub import is_offline_mode
from attnlag.model import offline
before = is_offline_mode()
with offline.lifted():
    within = is_offline_mode()
print(before, within, is_offline_mode())
"""


def printed(code: str, **environment: str) -> str:
    """Run code as a program of ``scripts/`` in an environment that asks for nothing."""
    telling = ("HF_", "TRANSFORMERS_", "USE_HUB_KERNELS")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(telling)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=SCRIPTS,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["adjustments.extraction", "corpus.tokens", "model.fetching"])
def test_told_before_they_are_imported(module: str) -> None:
    """What a stage imports first comes first: ``extraction`` imports all that loads models."""
    assert printed(f"import attnlag.{module}\n{SAYS}") == "True 0"
    # Neither does a user's setting that allows it reach a stage.
    assert printed(f"import attnlag.{module}\n{SAYS}", HF_HUB_OFFLINE="0") == "True 0"


def test_lifted_for_a_download_alone() -> None:
    assert printed(f"import attnlag.model.offline\n{LIFTED}") == "True False True"
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        assert printed(f"import attnlag.model.offline\n{LIFTED}", **{name: "1"}) == "True True True"
