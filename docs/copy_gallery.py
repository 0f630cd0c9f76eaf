"""Copy figures to docs/gallery/, small enough to be kept with the code.

They are those that pages of the docs show: of the default run, and of ``make models`` and ``make
training``, if these were run. Each PNG is at most as wide in pixels as a page and has 256 colours;
large files get fewer of both.
"""

import io
import itertools
import re
from pathlib import Path

from PIL import Image

from attnlag.config.reading import null_named, read_yaml
from attnlag.config.schema import Config
from attnlag.figures import catalogue
from attnlag.figures.sizes import SIZES, suffix_of
from attnlag.pipeline.outputs import OUTPUTS

ROOT = Path(__file__).parents[1]
GALLERY = ROOT / "docs/gallery"
# Widths in pixels and numbers of colours; the first that gives a file below the limit is used.
STEPS = [(1400, 256), (1400, 64), (1100, 64), (900, 32)]
LIMIT = 200_000
# The figures of ``make models`` and ``make training``, by their names in the gallery.
OF_OTHER_RUNS = {
    "models_coefficients": "results/comparison/figures/attention/within/coefficients_by_depth.png",
    "training_coefficients": "results/default-0/addresses/attention/lags/training/figures/"
    "coefficients_by_step.png",
}


def shown() -> list[str]:
    """Return the names of the figures in the pages."""
    names = set()
    for path in (ROOT / "docs").glob("*.md"):
        page = path.read_text(encoding="utf-8")
        names.update(re.findall(r"\]\(gallery/(\w+)\.png\)", page))
    return sorted(names)


def figures_of_default_run() -> dict[str, str]:
    """Return the paths of the figures that the default run may draw, by their names in the page.

    The name of one that is about a regression begins with the regression's.
    """
    config = Config.model_validate(null_named(read_yaml(ROOT / "config/config.yaml").values))
    site = config.extraction.sites[0]
    names = {"model": next(iter(config.models)), "corpus": next(iter(config.corpora))}
    names |= {"site": site, "pair": site}
    drawn = set()
    for figure in catalogue.figures():
        drawn |= {each.name for each in config.figures_drawn(figure.drawn_by)}
    paths = {}
    figures = [
        output for output in OUTPUTS if output.figure in drawn and "{model}" in output.folder
    ]
    for output, regression, size in itertools.product(figures, config.regressions, SIZES):
        name = output.figure
        if "{regression}" in output.folder:
            name = f"{regression}_{name.partition('_by_')[0]}"
        folder = output.folder.format(**names, regression=regression)
        paths[name + suffix_of(size)] = f"{folder}/{output.figure}{suffix_of(size)}.png"
    return paths


def shrunk(figure: Path) -> bytes:
    """Return a PNG of a figure, on white."""
    with Image.open(figure) as image:
        rgba = image.convert("RGBA")
    page = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    content = b""
    for width, colours in STEPS:
        scale = min(1, width / page.width)
        size = round(page.width * scale), round(page.height * scale)
        small = page.resize(size, Image.Resampling.LANCZOS).quantize(
            colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
        stream = io.BytesIO()
        small.save(stream, "PNG", optimize=True)
        content = stream.getvalue()
        if len(content) <= LIMIT:
            break
    return content


def main() -> None:
    figures = figures_of_default_run() | OF_OTHER_RUNS
    for name in shown():
        figure = figures[name]
        if name in OF_OTHER_RUNS and not (ROOT / figure).exists():
            print(f"{name}.png: as it was, because {figure} was not made")
        else:
            (GALLERY / f"{name}.png").write_bytes(shrunk(ROOT / figure))


if __name__ == "__main__":
    main()
