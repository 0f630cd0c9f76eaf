"""What a program of ``scripts/`` needs, in words: its rule, its files and its settings."""

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from attnlag.pipeline.outputs import OUTPUTS
from attnlag.section import Section


def described(program: Any) -> str:
    """Return what a program does, given its module, and what its job has to hold."""
    source = inspect.getsource(program)
    lines = [inspect.getdoc(program) or "", ""]
    rule = _rule(program.__name__, Path(program.__file__).parents[1] / "workflow/rules")
    if rule:
        # The path of the log has all wildcards.
        (log,) = re.findall(r"^    log:\n(.*)$", rule, re.MULTILINE)
        names = re.findall(r"\{(\w+)\}", log)
        files, *_ = rule.partition("\n    log:\n")
        lines += [files, f"names: {', '.join(names) or 'none'}"]
    else:
        lines.append("rule: those that name it in `job_params`")
    options = dict.fromkeys(re.findall(r"\bjob\.options\.(\w+)", source))
    if options:
        lines.append(f"options: {', '.join(options)}")
    lines += _files(source)
    settings = program.main.__annotations__.get("settings")
    if settings is None:
        lines.append("settings: none")
    elif issubclass(settings, Section):
        lines += ["settings:", *_settings(settings)]
    else:
        lines.append("settings: those that STAGES (pipeline/stages.py) states for its rule")
    return "\n".join(lines)


def _rule(name: str, folder: Path) -> str:
    """Return the text of the rule of a name in a folder of rules, "" if there is none."""
    for path in sorted(folder.glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        found = re.search(rf"^use rule \w+ as {name} with:\n(?:(?: .*)?\n)*", text, re.MULTILINE)
        if found:
            return found[0].rstrip()
    return ""


def _files(source: str) -> list[str]:
    """Return lines with the meanings of the files that a program reads, and of those it writes.

    A file that docs/outputs.md does not describe stands in the rule alone.
    """
    read = dict.fromkeys(re.findall(r"\bjob\.input\.(\w+)", source))
    written = dict.fromkeys(re.findall(r"\bjob\.output\.(\w+)", source))
    what_it_reads = {}
    for name in read:
        # A program that has a name twice makes one table of those of shards.
        what_it_reads[name] = _meaning(name, sharded=True if name in written else None)
    what_it_writes = {}
    for name in written:
        what_it_writes[name] = _meaning(name, sharded=False if name in read else None)
    return [
        *_titled("what it reads, as docs/outputs.md describes it:", what_it_reads),
        *_titled("what it writes, likewise:", what_it_writes),
    ]


def _titled(title: str, meanings: Mapping[str, str]) -> list[str]:
    """Return a title and a line for each file with a meaning; nothing if there is none."""
    lines = [f"  {name}: {meaning}" for name, meaning in meanings.items() if meaning]
    return [title, *lines] if lines else []


def _meaning(name: str, *, sharded: bool | None) -> str:
    """Return what the tables are that rules call by a name, "" if no table or folder has it.

    They are those of shards, or those of none; with None both.
    """
    meanings: dict[str, None] = {}
    for output in OUTPUTS:
        path = Path(output.path)
        is_sharded = path.stem == "{shard}"
        if sharded is not None and is_sharded != sharded:
            continue
        stem = path.parent.name if is_sharded else path.stem
        is_table = path.suffix in (".parquet", ".csv") and "untrained" not in output.path
        if stem == name and is_table:
            meanings[re.split(": a row|; ", output.meaning)[0]] = None
    return "; or ".join(meanings)


def _settings(settings: type[Section], indent: str = "  ") -> Iterator[str]:
    """Yield a line for each of some settings with its meaning; those of a section follow it."""
    for name, key in settings.model_fields.items():
        meaning = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", key.description or "")  # no links
        yield f"{indent}{name}: {meaning}".rstrip()
        for kind in (key.annotation, *get_args(key.annotation)):
            if inspect.isclass(kind) and issubclass(kind, Section):
                yield from _settings(kind, f"{indent}  ")
