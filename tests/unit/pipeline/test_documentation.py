"""Pages about results, the gallery and the lists of packages say what is true."""

import re
import shutil
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import check_numbers
import generate
import pandas as pd
import pytest
import yaml
from copy_gallery import LIMIT, OF_OTHER_RUNS, figures_of_default_run, shown, shrunk
from described import undescribed
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from projects import ROOT

from attnlag.config.reading import null_named, read_yaml
from attnlag.config.schema import Config
from attnlag.corpus.settings import Corpus
from attnlag.model.settings import SOURCES
from attnlag.pipeline.outputs import FILE, OUTPUTS, TABLE
from attnlag.regression.covariates import CATALOGUE
from attnlag.regression.properties import OTHER, TERCILES

GALLERY = ROOT / "docs" / "gallery"
LIBRARY = ROOT / "scripts" / "attnlag"


def test_files_and_columns_without_a_description_are_named(tmp_path):
    folder = tmp_path / "results/model/corpus/attention/notebook"
    (folder / "design").mkdir(parents=True)
    pd.DataFrame({"layer": [0], "estimat": [0.1]}).to_csv(folder / "coefficients.csv")
    names = ["document", "layer_00.y", "layer_100.lag_1", "group_a b", "layer_00.", "Y"]
    pd.DataFrame({name: [0] for name in names}).to_parquet(folder / "design/0000.parquet")
    (folder / "design/0000.csv").write_text("")
    (folder / "thirds.json").write_text('{"cuts": [0.5, 1.5], "beta": 1}')
    (tmp_path / "results/notes.txt").write_text("")
    study = "results/model/corpus/attention/notebook"
    assert list(undescribed(tmp_path)) == [
        f"{study}/coefficients.csv: Unnamed: 0",
        f"{study}/coefficients.csv: estimat",
        f"{study}/design/0000.csv",
        f"{study}/design/0000.parquet: layer_00.",
        f"{study}/design/0000.parquet: Y",
        f"{study}/thirds.json: beta",
        "results/notes.txt",
    ]


def test_slopes_by_class_say_what_is_no_class_of_a_property():
    """Elsewhere the same column has groups of documents."""
    (table,) = (output for output in OUTPUTS if output.name == "classes.csv")
    named = re.findall(r"`(\w+)`", table.columns["subset"])
    assert named == [OTHER, *TERCILES]


def test_the_catalogue_of_outputs_states_each_key_once():
    """The reader of configurations, which refuses a repeated key, finds the same in it."""
    assert read_yaml(FILE).values == TABLE


def test_generated_pages_are_up_to_date(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    generate.main()


def test_a_stale_page_is_named_and_written(tmp_path, monkeypatch):
    pages = ["docs/outputs.md", "docs/lesson.py", "data/prompts.jsonl", "docs/reruns.md"]
    pages += ["docs/house.svg", "workflow/schemas/config.schema.yaml", "tests/workflow/reruns.txt"]
    for name in pages:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    page = tmp_path / "docs/outputs.md"
    text = page.read_text()
    page.write_text(text.replace("`fits.csv`", "`fit.csv`"))
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    with pytest.raises(SystemExit, match=r"error: docs/outputs\.md: not up to date, expected "):
        generate.main()
    assert "`fit.csv`" in page.read_text()
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    generate.main()
    assert page.read_text() == text


def test_every_key_and_column_is_printed(monkeypatch, capsys, subtests):
    printed = {}
    for page in ("keys", "columns"):
        monkeypatch.setattr(sys, "argv", ["generate.py", page])
        generate.main()
        printed[page] = capsys.readouterr().out
    page = (ROOT / "config/README.md").read_text().split("## All keys")[1]
    for text, sections in ((page, r"^\| `(\w+)` \|"), (printed["keys"], r"^### (\w+)")):
        with subtests.test(sections=sections):
            found = dict.fromkeys(re.findall(sections, text, re.M))
            assert list(found) == list(Config.model_fields)
    assert "- `alpha: 0.05` (" in printed["keys"]
    assert all(f"\n`{name}` | " in printed["keys"] for name in CATALOGUE)
    columns = {name for output in OUTPUTS for name in output.column_names()}
    assert len(columns) > 200
    assert [name for name in columns if f"`{name}`" not in printed["columns"]] == []


def listed_in(properties, before=""):
    """Yield each key below some properties with its description, as the catalog lists them."""
    for name, key in properties.items():
        yield f"{before}{name}", key.get("description", "")
        yield from listed_in(key.get("properties", {}), f"{before}{name}.")


def test_the_schema_lists_every_key_without_references(subtests):
    """The Snakemake workflow catalog reads a file of this name and follows no references."""
    text = (ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8")
    listed = dict(listed_in(yaml.safe_load(text)["properties"]))
    assert {name for name in listed if "." not in name} == set(Config.model_fields)
    for kind in SOURCES.values():
        with subtests.test(kind=kind.__name__):
            assert {f"models.<name>.{key}" for key in kind.model_fields} <= set(listed)
    assert {f"corpora.<name>.{key}" for key in Corpus.model_fields} <= set(listed)
    deep = ("regressions.<name>.lags", "controls.random_weights.scales", "causal.sign_draws")
    assert all(listed[name] for name in deep)
    assert [name for name in listed if not listed[name]] == [
        f"{section}.<name>" for section in ("models", "corpora", "regressions")
    ]


def test_the_gallery_shows_every_figure_and_none_is_large():
    assert sorted(shown()) == sorted(path.stem for path in GALLERY.iterdir())
    known = figures_of_default_run() | OF_OTHER_RUNS
    assert {*shown()} <= {*known}
    # By the stages of the stored list of jobs, and more.
    graph = (ROOT / "tests/workflow/graph.txt").read_text()
    config = Config.model_validate(null_named(read_yaml(ROOT / "config/config.yaml").values))
    stages = re.findall(r"^plot_\w+", graph, re.M)
    drawn = {figure.name for stage in stages for figure in config.figures_drawn(stage)}
    assert len(drawn) > 8
    assert drawn <= {Path(known[name]).stem for name in shown()}
    assert max(path.stat().st_size for path in GALLERY.iterdir()) <= LIMIT


def test_the_page_on_clusters_names_the_rules_with_threads_gpus_or_no_submission():
    rules = {
        rule: text
        for path in (ROOT / "workflow/rules").glob("*.smk")
        for rule, text in re.findall(
            r"(?ms)^ *use rule \w+ as (\w+) with:\n(.*?)(?=^ *use rule|\Z)", path.read_text()
        )
    }
    assert len(rules) > 25
    several = {rule for rule, text in rules.items() if "threads:" in text}
    on_gpus = {rule for rule, text in rules.items() if "gpu=" in text}
    local = {rule for rule, text in rules.items() if "localrule: True" in text}
    page = (ROOT / "docs/cluster.md").read_text()
    (line,) = re.findall(r"--set-threads ((?:\w+=4 ?)+)", page)
    assert set(re.findall(r"(\w+)=4", line)) == several

    def named(beginning):
        """Return the rules that an item of the list names."""
        item = page.split(f"- **{beginning}.**")[1].split("\n- **")[0]
        return set(re.findall(r"`([a-z]+_\w+)`", item))

    assert named("GPUs") == on_gpus
    assert named("Local jobs") == local
    profile = (ROOT / "profiles/slurm/profile.yaml").read_text()
    assert set(re.findall(r"^#   (\w+): \{slurm_partition", profile, re.M)) == on_gpus


def test_every_link_of_the_readme_leads_to_a_file():
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_stop_of_a_walk_through_the_code_is_there():
    """Each name in a numbered line is defined in a file that this line names."""
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    stops = re.findall(r"^\d+\. (.*(?:\n   .*)*)", page, re.MULTILINE)
    assert len(stops) >= 12
    missing = []
    for stop in stops:
        quoted = re.findall(r"`([^`]+)`", stop)
        text = ""
        for path in quoted:
            if "/" in path:
                (file,) = [file for file in (ROOT / path, LIBRARY / path) if file.exists()]
                text += file.read_text(encoding="utf-8")
        names = [name for name in quoted if re.fullmatch(r"[\w.]+", name)]
        for name in names:
            last = name.rpartition(".")[2]
            definition = rf"\b(def|class|rule program as) {last}\b|^{last} = "
            if not re.search(definition, text, re.MULTILINE):
                missing.append(name)
    assert missing == []


def test_every_function_that_a_clustered_error_passes_is_in_its_file():
    page = (ROOT / "docs" / "formulas.md").read_text(encoding="utf-8")
    section = page.split("### In the code\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\S+\.py)` \| (.*) \|$", section, re.MULTILINE)
    assert len(rows) >= 8
    missing = []
    for path, text in rows:
        (file,) = [file for file in (ROOT / path, LIBRARY / path) if file.exists()]
        code = file.read_text(encoding="utf-8")
        for name in re.findall(r"`([\w.]+)`", text):
            if not re.search(rf"\b{name.rpartition('.')[2]}\b", code):
                missing.append(f"{path}: {name}")
    assert missing == []


def test_a_figure_of_the_gallery_is_reduced_to_1400_pixels(tmp_path):
    """The same figure gives the same bytes, and transparent pixels become white."""
    figure = tmp_path / "figure.png"
    Image.new("RGBA", (2800, 1400), (0, 0, 0, 0)).save(figure)
    (tmp_path / "small.png").write_bytes(shrunk(figure))
    with Image.open(tmp_path / "small.png") as small:
        assert small.size == (1400, 700)
        assert small.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert shrunk(figure) == (tmp_path / "small.png").read_bytes()


def test_numbers_in_a_page_are_compared_with_results_and_written(tmp_path):
    page, text = tmp_path / "page.md", "Lag 1 is 0.25 (−0.10\nto 1,024) in 9 of 30 layers: 0.25."
    page.write_text(text)
    statements = [
        ("page.md", "is 0.25 (-0.10 to 1,024)"),
        ("page.md", "in 10 of 30 layers"),
        ("page.md", "in 3 layers"),
    ]
    wrong, lacking = check_numbers.differences(tmp_path, iter(statements), write=False)
    assert wrong == "page.md: found 'in 9 of 30 layers', expected 'in 10 of 30 layers'"
    assert lacking == "page.md: lacks the statement 'in 3 layers'"
    assert page.read_text() == text
    assert list(check_numbers.differences(tmp_path, iter(statements), write=True)) == [lacking]
    assert page.read_text() == text.replace("9 of", "10 of")


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def by_name(lines):
    requirements = map(Requirement, lines)
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


LINES = (ROOT / "requirements.txt").read_text().splitlines()
PINNED = by_name(line for line in LINES if line and not line.startswith("#"))


def test_exact_versions_are_within_the_ranges(subtests):
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    for name, requirement in by_name([*PROJECT["dependencies"], *extras]).items():
        with subtests.test(name=name):
            if name == "torch":
                # A build for CPU that is at hand will do.
                assert name not in PINNED
                assert requirement.specifier.contains("2.13.0")
            else:
                (pin,) = PINNED[name].specifier
                assert pin.operator == "=="
                assert requirement.specifier.contains(pin.version)


def test_the_conda_environment_has_every_requirement():
    environment = yaml.safe_load((ROOT / "workflow/envs/attnlag.yaml").read_text())
    (listed,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    extras = PROJECT["optional-dependencies"]
    default_run = [*extras["model"], *extras["workflow"], *extras["tagger"]]
    needed = by_name([*PROJECT["dependencies"], *default_run])
    expected = [PINNED.get(name, requirement) for name, requirement in sorted(needed.items())]
    assert listed == [str(requirement) for requirement in expected]


DIGEST = r" \\\n    --hash=sha256:[0-9a-f]{64}"
HASHED = (ROOT / "requirements-hashes.txt").read_text()
VERSIONS_WITH_DIGESTS = dict(
    re.findall(rf"^([\w-]+)==(\S+)(?: ;[^\\]*)?(?:{DIGEST})+$", HASHED, re.M)
)


def test_digests_are_of_the_versions_that_are_tested():
    """Some are for other systems alone, and not installed here."""
    elsewhere = {"colorama", "httpx2-jsfetch", "pyreadline3", "tzdata"}
    assert len(VERSIONS_WITH_DIGESTS) == len(re.findall(r"^\w", HASHED, re.M))
    assert VERSIONS_WITH_DIGESTS.keys() - PINNED.keys() <= elsewhere
    tested = VERSIONS_WITH_DIGESTS.keys() & PINNED.keys()
    expected = {name: f"=={VERSIONS_WITH_DIGESTS[name]}" for name in tested}
    assert {name: str(PINNED[name].specifier) for name in tested} == expected


def closure(requirements):
    """Return the names of the packages that these need here, but for torch and what it needs."""
    needed = set()
    left = [(requirement, "") for requirement in requirements]
    while left:
        requirement, extra = left.pop()
        name = canonicalize_name(requirement.name)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if name == "torch" or not applies:
            continue
        extras = ["", *requirement.extras]
        if name in needed and extras == [""]:
            continue
        needed.add(name)
        for line in metadata.requires(name) or []:
            left += [(Requirement(line), each) for each in extras]
    return needed


def test_every_package_of_a_run_has_digests():
    extras = PROJECT["optional-dependencies"]
    of_a_run = [*extras["model"], *extras["workflow"], *extras["tagger"]]
    needed = closure(by_name([*PROJECT["dependencies"], *of_a_run]).values())
    assert len(needed) > 80
    assert needed - VERSIONS_WITH_DIGESTS.keys() == set()


@pytest.mark.parametrize(
    "name",
    [
        *("pyproject.toml", "requirements.txt", "requirements-hashes.txt"),
        "workflow/envs/attnlag.yaml",
    ],
)
def test_no_download_address_is_recorded(name):
    assert not re.search(r"://|index-url|find-links", (ROOT / name).read_text())
