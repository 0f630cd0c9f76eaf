"""What the site has beside the pages of this folder.

Files that stand elsewhere in the repository become pages as they are, and links to them lead there.
Each key of the configuration and each column of the outputs are listed at the end of their pages. A
page of the library's reference is made for each module of ``scripts/attnlag``.
"""

import ast
import os
import re
from pathlib import Path

import generate
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

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
LINK = re.compile(r"\]\(([^()#:\s]+)((?:#[^()\s]*)?)\)")


LIBRARY = ROOT / "scripts/attnlag"
MODULES = sorted(path for path in LIBRARY.rglob("*.py") if path.name != "__init__.py")


def name_of(module):
    """Return the name of a module within the library."""
    return ".".join(module.relative_to(LIBRARY).with_suffix("").parts)


def on_config(config):
    packages = {}
    for name in map(name_of, MODULES):
        packages.setdefault(name.partition(".")[0], []).append(f"library/{name}.md")
    pages = [{package: files} for package, files in packages.items()]
    config.nav.append({"Library": ["library/index.md", *pages]})


def on_files(files, config):
    for source, target in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        text += "\n" + generate.all_keys() if target == "configuration.md" else ""
        text = with_links(text, source, target) if target.endswith(".md") else text
        files.append(File.generated(config, target, content=text))
    rows = ["# The library", "", library().strip(), "", "| module | what it is for |", "|---|---|"]
    for module in MODULES:
        title = (ast.get_docstring(ast.parse(module.read_text())) or "").split("\n\n")[0]
        name = name_of(module)
        rows.append(f"| [{name}]({name}.md) | {' '.join(title.split())} |")
        page = f"# {name}\n\n::: attnlag.{name}\n"
        files.append(File.generated(config, f"library/{name}.md", content=page))
    files.append(File.generated(config, "library/index.md", content="\n".join(rows) + "\n"))
    return files


def library():
    """Return what the library is, in the words of its own docstring."""
    return ast.get_docstring(ast.parse((ROOT / "scripts/attnlag/__init__.py").read_text())) or ""


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
