"""Programs keep their libraries off the network; the attnlag library changes no setting."""

import sys

from projects import ROOT, command_of_code, environment_of_a_user, ran

SAYS = """
from huggingface_hub import is_offline_mode
from transformers.integrations import hub_kernels
print(is_offline_mode(), hub_kernels._TRANSFORMERS_USE_HUB_KERNELS)
"""
LIFTED = """
from huggingface_hub import is_offline_mode
from attnlag.model import offline
before = is_offline_mode()
with offline.lifted():
    within = is_offline_mode()
print(before, within, is_offline_mode())
"""
FORBIDDEN = f"from attnlag.model import offline\noffline.forbid_network()\n{LIFTED}"


def printed(code, **environment):
    """Run code with the library in an environment that asks for nothing."""
    command, environment = [sys.executable, "-c", code], environment_of_a_user() | environment
    return ran(command, cwd=ROOT / "scripts", env=environment).stdout.strip()


def test_programs_are_offline_even_if_a_setting_allows_the_network(tmp_path):
    command = command_of_code(f"{SAYS}\ndef main(job): pass", tmp_path)
    environment = environment_of_a_user() | {"HF_HUB_OFFLINE": "0"}
    assert ran(command, env=environment).stdout.strip() == "True 0"


def test_the_library_changes_no_environment():
    code = """
import os
import attnlag.quantities.extraction, attnlag.corpus.tokens, attnlag.model.fetching
from attnlag.model import offline
print(offline.SETTINGS.keys() & os.environ.keys())
"""
    assert printed(code) == "set()"


def test_the_network_is_allowed_only_during_a_download():
    assert printed(FORBIDDEN) == "True False True"
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        assert printed(FORBIDDEN, **{name: "1"}) == "True True True"
    # As a user of the library has it.
    assert printed(LIFTED) == "False False False"
    assert printed(LIFTED, HF_HUB_OFFLINE="1") == "True True True"
