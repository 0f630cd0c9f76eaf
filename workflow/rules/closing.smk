# What a run leaves at its end. The entry point calls these, or a workflow that has attnlag as a module.

import time

from attnlag.errors import UserError
from attnlag.pipeline import closing

BEGUN = time.time()


def closing_words():
    """Return where the results are and the findings of every regression and comparison."""
    prefix = workflow.storage_settings.default_storage_prefix
    return closing.words(CONFIG, final_targets(CONFIG), prefix)


def write_record(complete=False):
    """Write results/provenance.json; results in a storage provider's hands are not read back."""
    if not workflow.storage_settings.default_storage_provider:
        try:
            records.write(CONFIG, BEGUN, complete)
            stale.remember_tables(BEGUN)
        except UserError as error:
            sys.exit(f"error: {error}")
