"""What the site has beside the pages of this folder.

Files that stand elsewhere in the repository become pages as they are, and links to them lead there.
Each key of the configuration and each column of the outputs are listed at the end of their pages.
One page has the public names of the library, with their docstrings. The solution of the lesson is
the notebook that its test has executed.
"""

import os
import re
from pathlib import Path

import generate
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

import attnlag

ROOT = Path(__file__).parents[1]
# Files of the repository by their place in the site.
ELSEWHERE = {
    "README.md": "index.md",
    "CITATION.cff": "CITATION.cff",
    "benchmarks/architectures.md": "architectures.md",
    "benchmarks/evidence.md": "evidence.md",
    "benchmarks/scaling.md": "scaling_tables.md",
    "config/README.md": "configuration.md",
    "config/config.yaml": "config.yaml",
    "config/gpt2.yaml": "gpt2.yaml",
    "config/models.yaml": "models.yaml",
    "config/study.yaml": "study.yaml",
    "CHANGELOG.md": "changes.md",
    "LICENSE": "LICENSE.txt",
    "scripts/attnlag/report/explorer/page.glossary.md": "glossary.md",
}
SOLUTION = "lesson_solution.ipynb"
EXECUTED = ROOT / "build"
LINK = re.compile(r"\]\(([^()#:\s]+)((?:#[^()\s]*)?)\)")


# Before the plugin that reads notebooks.
@event_priority(50)
def on_files(files, config):
    solution = EXECUTED / SOLUTION
    if not solution.exists():
        raise PluginError(f"{solution}: found no file, expected what make test-lesson has executed")
    files.remove(files.get_file_from_path(SOLUTION))
    files.append(File(SOLUTION, str(EXECUTED), config.site_dir, config.use_directory_urls))
    for source, target in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        text += "\n" + generate.all_keys() if target == "configuration.md" else ""
        text = with_links(text, source, target) if target.endswith(".md") else text
        files.append(File.generated(config, target, content=text))
    files.append(File.generated(config, "library.md", content=library()))
    return files


def library():
    """Return the page of the library's public names."""
    parts = ["# The library", attnlag.__doc__.replace("::\n", ":\n")]
    for name in attnlag.__all__:
        parts.append(f"## {name}")
        parts.append(f"::: attnlag.study.{attnlag.PUBLIC[name]}.{name}")
    return "\n\n".join(parts) + "\n"


def on_post_page(output, page, config):
    """Refuse a page that a browser would fetch something for, and links that are no addresses."""
    if found := re.search(r"<(script|img|iframe|source)\b[^>]*\ssrc=\"?(https?:)?//", output):
        raise PluginError(f"{page.file.src_uri}: a browser would fetch {found[0]}")
    if found := re.search(r"<link\b(?=[^>]*(stylesheet|preconnect|preload))[^>]*//", output):
        raise PluginError(f"{page.file.src_uri}: a browser would fetch {found[0]}")
    for address in re.findall(r'href="(https?:[^"]*)"', output):
        if not re.fullmatch(r"https?://[\w.-]+\.\w+(/[\w.~%/#?=&+-]*)?", address):
            raise PluginError(f"{page.file.src_uri}: found {address}, expected an address")


def on_page_markdown(markdown, page, config, files):
    if page.file.src_uri == "outputs.md":
        markdown = generate.page_of_outputs(columns=True)
    return with_links(markdown, f"docs/{page.file.src_uri}", page.file.src_uri)


def with_links(text, source, target):
    """Return a page with its links to files of the repository as links within the site.

    Parameters
    ----------
    text : str
    source, target : str
        Where the page stands in the repository, and in the site.
    """

    def link(found):
        path, anchor = found.groups()
        inside = os.path.normpath(os.path.join(os.path.dirname(source), path))
        place = ELSEWHERE.get(inside) or (inside.startswith("docs/") and inside[5:])
        if not place:
            return found[0]
        return f"]({os.path.relpath(place, os.path.dirname(target) or '.')}{anchor})"

    return LINK.sub(link, text)
