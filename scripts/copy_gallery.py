"""Copy figures to docs/gallery/, small enough to be kept with the code.

They are those of the default run, and the comparison of ``make models``, if that was run. Each PNG
is at most as wide in pixels as a page and has 256 colours; large files get fewer of both. Files
that would not change are not rewritten.
"""

import argparse
import io
from pathlib import Path

from PIL import Image

from attnlag.config.reading import null_named, read_yaml
from attnlag.config.schema import Config
from attnlag.figures.sizes import PAGE, SIZES, suffix_of
from attnlag.pipeline import outputs
from attnlag.storage.writing import written_whole

ROOT = Path(__file__).parents[1]
# Widths in pixels and numbers of colours; the first that gives a file below the limit is used.
STEPS = [(1400, 256), (1400, 64), (1100, 64), (900, 32)]
LIMIT = 200_000
MAIN = "coefficients_by_layer"
# The figure of ``make models``, by its name in the gallery.
OF_MODELS = {
    "models_coefficients": "results/comparison/figures/attention/within/coefficients_by_depth.png"
}

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument(
    "--run",
    type=Path,
    default=ROOT,
    metavar="FOLDER",
    help="folder with results/, with the default run's figures in all sizes",
)
parser.add_argument(
    "--output", type=Path, default=ROOT / "docs/gallery", metavar="FOLDER", help="the gallery"
)


def gallery_config() -> Config:
    """Return the configuration of the default run."""
    return Config.model_validate(null_named(read_yaml(ROOT / "config/config.yaml").values))


def figures(config: Config) -> dict[str, str]:
    """Return the paths of the figures in the gallery, by their names in it.

    Each is shown for the first regression that has it, and the coefficients in all sizes.
    """
    found = {}
    fixed = {"model": next(iter(config.models)), "corpus": next(iter(config.corpora))}
    for output in outputs.OUTPUTS:
        having = [name for name in config.regressions if output.made(config, name)]
        if (figure := output.figure) and having:
            site, regression, folder = config.extraction.sites[0], having[0], output.folder
            names = {**fixed, "site": site, "pair": site, "regression": regression}
            short = f"{regression}_{figure.name.partition('_by_')[0]}"
            own = short if "{regression}" in folder else figure.name
            for size in SIZES if figure.name == MAIN else [PAGE.name]:
                end = suffix_of(size)
                found[own + end] = f"{folder.format(**names)}/{figure.name}{end}.png"
    return found


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


def main(arguments: argparse.Namespace) -> None:
    arguments.output.mkdir(parents=True, exist_ok=True)
    figures_made = figures(gallery_config())
    for name, figure in OF_MODELS.items():
        if (arguments.run / figure).exists():
            figures_made[name] = figure
        else:
            print(f"{name}.png: as it was, because `make models` was not run")
    for name, figure in figures_made.items():
        content, target = shrunk(arguments.run / figure), arguments.output / f"{name}.png"
        if not target.exists() or target.read_bytes() != content:
            with written_whole(target) as temporary:
                temporary.write_bytes(content)
        print(f"{target.name}: {len(content) / 1000:.0f} kB")


if __name__ == "__main__":
    main(parser.parse_args())
