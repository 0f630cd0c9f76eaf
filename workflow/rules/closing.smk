# What a run leaves at its end. A workflow that has attnlag as a module calls these handlers itself.

import time
from contextlib import suppress

from attnlag.errors import UserError
from attnlag.pipeline import closing

BEGUN = time.time()


def closing_words():
    """Return where the results are and the findings of every regression and comparison."""
    prefix = workflow.storage_settings.default_storage_prefix
    return closing.words(CONFIG, final_targets(CONFIG), prefix)


def has_made_everything():
    """Return whether this run has come to its last job, for which everything else has been made."""
    last_log = Path(rules.check_fits.log[0])
    return last_log.exists() and last_log.stat().st_mtime >= BEGUN


def write_record(complete=False):
    """Write results/provenance.json; results in a storage provider's hands are not read back."""
    if not workflow.storage_settings.default_storage_provider:
        try:
            records.write(CONFIG, BEGUN, complete)
            stale.remember_tables(BEGUN)
        except UserError as error:
            sys.exit(f"error: {error}")


onsuccess:
    write_record(has_made_everything())
    print(closing_words())


onerror:
    # On a full disk, the job that failed has said so.
    with suppress(SystemExit):
        write_record()
    # If a layer could not be fitted, everything else has been made and is worth reading.
    if has_made_everything():
        print(closing_words())
