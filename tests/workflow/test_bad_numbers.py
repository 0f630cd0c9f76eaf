"""Adjustments that cannot be regressed print the lines of tests/workflow/errors.md."""

import os
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bad_input import Cases, Jobs, Row, Run, each_row, try_row
from projects import Project

# Up to the tables of a regression, what fails is like what does not.
CASES = Cases(
    "Numbers",
    made_anew=r"results/(explorer.html|tiny/small/(causal|attention/(figures|heads|geometry|notebook))/)",
)

ATTENTION = "results/tiny/small/attention"
NORMS = f"{ATTENTION}/norms/0000.parquet"
DESIGN = f"{ATTENTION}/notebook/design/0000.parquet"

FITTED = Jobs(("build_design", "fit_regression"))
CHECKED = Jobs((*FITTED.stages, "check_fits"))


def damage(project: Project, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of a result, and not its time."""
    path = project.folder / name
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(change(path.read_bytes()))
    os.utime(path, ns=times)


@CASES.of("a layer whose norms vary by rounding only")
def _(project: Project):
    path = project.folder / NORMS
    table = pq.read_table(path)
    noise = np.random.default_rng(0).normal(8, 0.004, table.num_rows).astype(np.float32)
    place = table.schema.get_field_index("layer_01")
    pq.write_table(table.set_column(place, "layer_01", pa.array(noise)), path)
    return CHECKED


@CASES.of("errors clustered by fewer than six groups")
def _(project: Project):
    project.write_config(inference={"cluster": "group"})
    return FITTED


@CASES.of("norms that are cut off", whole=True)
def _(project: Project):
    damage(project, NORMS, lambda content: content[:-100])
    project.write_config(norms={"drop_first": 2})
    return Run([DESIGN])


@CASES.of("a design that is damaged within")
def _(project: Project):
    damage(project, DESIGN, lambda content: content[:9] + bytes(2000) + content[2009:])
    return Jobs(("fit_regression",))


@each_row(CASES)
def test_bad_numbers_print_the_documented_lines(row: Row, request: pytest.FixtureRequest):
    try_row(row, CASES, request)
