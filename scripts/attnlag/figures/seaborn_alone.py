"""seaborn, imported without the parts of scipy that only densities and dendrograms need.

No figure has these, and they take half of the time of the import.
"""

import sys

UNUSED = [name for name in ("scipy.stats", "scipy.cluster") if name not in sys.modules]
sys.modules.update(dict.fromkeys(UNUSED))  # type: ignore[arg-type]

import seaborn  # noqa: E402, F401

for name in UNUSED:
    del sys.modules[name]
