"""The base class of sections of the configuration, and the types of values that their keys have.

A section is defined in ``settings.py`` of the package that uses it. It states each key once, with
type, default and meaning, and is the settings of the stages that see it.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError, core_schema

from attnlag.errors import shown

# Names that become folders and files. Some systems drop a dot at the end of a folder's name.
NAME_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?"

# A name must leave room in a file name for what is added to it (.NAME.parquet.8LETTERS.tmp).
LONGEST_NAME = 100
PACKAGE = rf"^{NAME_PATTERN}$"
VERSION = r"^[\w.!+]+$"
REPOSITORY = r"^[\w.-]+(/[\w.-]+)?$"
REVISION = r"^[^\s~^:?*\[\\]+$"
MODEL_FILE = r"(\.gguf(\.[\w-]+)?|(^|/)model\.safetensors)$"
SHA256 = r"^[0-9a-f]{64}$"
MODULE = r"^[A-Za-z_]\w*(\.\w+)*$"
MODULES = r"^[A-Za-z_]\w*(\.\w+)*([|+][A-Za-z_]\w*(\.\w+)*)*$"
DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"

# Descriptions of patterns for messages and documentation.
IN_WORDS = {
    PACKAGE: "the name of a Python package",
    VERSION: "one exact version, as in 0.1.2",
    REPOSITORY: "a repository, as in openai-community/gpt2",
    REVISION: "a commit, tag or branch",
    MODEL_FILE: "a path that ends in .gguf or is a model.safetensors",
    SHA256: "64 hexadecimal digits, lower case",
    MODULE: "a module's path, as in transformer.h",
    MODULES: "a module's path, as in self_attn, or several, as in self_attn|mamba",
    DEVICE: "auto, cpu, cuda or cuda:NUMBER",
}


def _checked_name(name: Any) -> Any:
    if not isinstance(name, str):
        raise ValueError(f"found the name {shown(name)}, expected text (quotes make it text)")
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValueError(
            f"the name {shown(name)} becomes a folder: expected letters, digits, '.', '_' and "
            "'-', beginning with a letter or a digit and not ending with a dot"
        )
    if len(name) > LONGEST_NAME:
        raise ValueError(
            f"the name has {len(name):,} characters and becomes a folder: expected at most "
            f"{LONGEST_NAME}"
        )
    return name


def _not_bool(value: Any) -> Any:
    # In Python, true is the number 1.
    if isinstance(value, bool):
        raise ValueError(f"found {str(value).lower()}, expected a number")
    return value


def truth(value: Any) -> Any:
    """Return True or False for these words, which the command line gives as text, or the value."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def one_or_more(value: Any) -> Any:
    """Return a single text as a list of one, and anything else as it is."""
    return [value] if isinstance(value, str) else value


def _distinct(values: list[Any]) -> list[Any]:
    repeated = next((value for value, times in Counter(values).items() if times > 1), None)
    if repeated is not None:
        raise ValueError(f"found {repeated} twice, expected each entry once")
    return values


@dataclass(frozen=True)
class OneOf:
    """A name from a catalogue, the counterpart of ``Literal`` for explicit names."""

    names: Sequence[str]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.literal_schema(list(self.names))

    def in_order(self) -> AfterValidator:
        """Return a validator that sorts a list of names, whose order does not matter."""
        return AfterValidator(lambda values: sorted(values, key=list(self.names).index))


NAMED: dict[str, Any] = {"propertyNames": {"pattern": PACKAGE}}
Name = Annotated[str, BeforeValidator(_checked_name)]
Text = Annotated[str, Field(min_length=1)]
NotBool = BeforeValidator(_not_bool)

# No text has more tokens; keys whose numbers take time or memory have lower bounds.
MAX_NUMBER = 1_000_000_000
Natural = Annotated[int, Field(ge=0, le=MAX_NUMBER), NotBool]
Positive = Annotated[int, Field(ge=1, le=MAX_NUMBER), NotBool]
AtLeastTwo = Annotated[int, Field(ge=2, le=MAX_NUMBER), NotBool]
# Parts or repetitions, each of which takes a job or a pass.
Parts = Annotated[int, Field(ge=1, le=100_000), NotBool]
# A distance between two tokens.
Lag = Annotated[int, Field(ge=1, le=10_000), NotBool]
# A positive factor or size.
Size = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False), NotBool]
# Seeds of NumPy's older generators, among those in use, have 32 bits.
Seed = Annotated[int, Field(ge=0, le=2**32 - 1), NotBool]
Distinct = AfterValidator(_distinct)


def _number_or_all(value: Any) -> Any:
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if value == "all":
        return value
    if isinstance(number, int) and number is not True and 0 < number <= MAX_NUMBER:
        return number
    raise ValueError(
        f"found {shown(value)}, expected a number of at least 1 and at most {MAX_NUMBER:,}, or all"
    )


def number_list_or_all(value: Any) -> Any:
    """Return a selection of layers, or raise ValueError."""
    if not isinstance(value, list):
        try:
            return _number_or_all(value)
        except ValueError:
            raise ValueError(
                f"found {shown(value)}, expected a number of layers, a list of layers, or all"
            ) from None
    if not value or not all(type(layer) is int and layer >= 0 for layer in value):
        raise ValueError(f"found {shown(value)}, expected a list of layers, as in [0, 15, 29]")
    return sorted(_distinct(value))


LayerList = Annotated[list[Natural], Field(min_length=1), Distinct, AfterValidator(sorted)]
NumberOrAll = Annotated[Positive | Literal["all"], BeforeValidator(_number_or_all)]

# A selection of layers: their number, a list, or all.
Layers = Annotated[Positive | list[Natural] | Literal["all"], BeforeValidator(number_list_or_all)]


def impossible(key: str, sentence: str) -> PydanticCustomError:
    """Return the error of a key that is incompatible with others of its section."""
    return PydanticCustomError("impossible", "{sentence}", {"key": key, "sentence": sentence})


class Section(BaseModel):
    """A mapping of the configuration; unknown keys are errors."""

    # A job builds the validators of the settings that it reads, and no others.
    model_config = ConfigDict(extra="forbid", defer_build=True)

    def changed(self, **values: Any) -> Self:
        """Return a copy with other values of some keys."""
        return self.model_copy(update=values)

    def default(self, *keys: str) -> Self:
        """Return a copy in which some keys, which change nothing, have their defaults."""
        return self.changed(**{key: type(self).model_fields[key].default for key in keys})

    @classmethod
    def null_switches_off(cls) -> list[str]:
        """Return the keys that may be null and are not by default."""
        keys: list[str] = []
        for key, field in cls.model_fields.items():
            if NoneType in get_args(field.annotation) and field.default is not None:
                keys.append(key)
        return keys

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, values: Any) -> Any:
        """Remove the keys without a value, so that they get their defaults.

        Null stays where it switches something off. It also stays, to be refused, in place of a
        section with such keys: it may be meant for these. The command line gives it as text.
        """
        if not isinstance(values, Mapping):
            return values
        stated = dict(values)
        off = cls.null_switches_off()
        for key, field in cls.model_fields.items():
            if field.is_required() or stated.get(key, "") not in (None, "null"):
                continue
            if key in off or getattr(field.annotation, "null_switches_off", list)():
                stated[key] = None
            else:
                del stated[key]
        return stated
