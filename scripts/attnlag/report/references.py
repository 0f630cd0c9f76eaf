"""References in BibTeX: attnlag itself, and the methods that a study may use."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def references(citation: Mapping[str, Any]) -> str:
    """Return attnlag, as CITATION.cff describes it, and all methods, as BibTeX."""
    released = str(citation["date-released"])
    authors = [f"{{{author['name']}}}" for author in citation["authors"]]
    fields = {
        "author": " and ".join(authors),
        "title": f"{{{citation['title']}}}",
        "note": f"Software, version {citation['version']}, {released}",
        "year": released[:4],
    }
    if "url" in citation:
        fields["howpublished"] = rf"\url{{{citation['url']}}}"
    lines = ["@misc{attnlag,"]
    for name, value in fields.items():
        lines.append(f"  {name} = {{{value}}},")
    attnlag = "\n".join([*lines, "}\n"])
    methods = Path(__file__).with_suffix(".bib").read_text(encoding="utf-8")
    return f"{attnlag}\n{methods}"
