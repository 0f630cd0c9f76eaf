"""Copy the figures of the default run to docs/gallery/, small enough to be kept with the code.

Each PNG has at most as many pixels in width as a page shows, and 256 colours; one that is large all
the same has fewer of both. What is there already and would be the same is left as it is.
"""

import argparse
import io
from pathlib import Path

from PIL import Image

from attnlag.storage.writing import written_whole

ROOT = Path(__file__).parents[1]
# Pixels in width and colours, the first that gives a file below the limit.
SIZES = [(1400, 256), (1400, 64), (1100, 64), (900, 32)]
LIMIT = 200_000
# By the name in the gallery, below the folder of the default run's corpus.
FIGURES = {
    "norms_by_layer": "attention/figures/norms_by_layer.png",
    "norms_by_position": "attention/figures/norms_by_position.png",
    "text_by_token": "attention/figures/text_by_token.png",
    "specifications_by_layer": "attention/figures/specifications_by_layer.png",
    "notebook_coefficients": "attention/notebook/figures/coefficients_by_layer.png",
    "notebook_outcome": "attention/notebook/figures/outcome_by_lag.png",
    "notebook_diagnostics": "attention/notebook/figures/diagnostics.png",
    "notebook_groups": "attention/notebook/figures/groups_by_layer.png",
    "notebook_coefficients_column": "attention/notebook/figures/coefficients_by_layer_column.png",
    "notebook_coefficients_slide": "attention/notebook/figures/coefficients_by_layer_slide.png",
    "within_coefficients": "attention/within/figures/coefficients_by_layer.png",
    "null_coefficients": "attention/null/figures/coefficients_by_layer.png",
}

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument(
    "--results",
    type=Path,
    default=ROOT / "results/smollm2-135m/prompts",
    metavar="FOLDER",
    help="the results of a model and corpus, by default those of the default run",
)
parser.add_argument(
    "--output", type=Path, default=ROOT / "docs/gallery", metavar="FOLDER", help="the gallery"
)


def shrunk(figure: Path) -> bytes:
    """Return a PNG of a figure, on white."""
    with Image.open(figure) as image:
        rgba = image.convert("RGBA")
    page = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    content = b""
    for width, colours in SIZES:
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
    for name, figure in FIGURES.items():
        content, target = shrunk(arguments.results / figure), arguments.output / f"{name}.png"
        if not target.exists() or target.read_bytes() != content:
            with written_whole(target) as temporary:
                temporary.write_bytes(content)
        print(f"{target.name}: {len(content) / 1000:.0f} kB")


if __name__ == "__main__":
    main(parser.parse_args())
