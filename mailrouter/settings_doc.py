"""docs/settings.md, written from the settings themselves: ``python -m mailrouter.settings_doc > docs/settings.md``.

A test compares the two, so that no setting is missing there and none is invented.
"""

import sys
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mailrouter.config import DEFAULTS, Section, Settings

HEAD = """# Settings

One TOML file, named by `--config FILE` or `MAILROUTER_CONFIG`. Without one the defaults below hold; they are
safe on a laptop. Each section is a table of the file; `[[imap]]` may stand several times, once for each account.

    [city]
    domains = ["stad.example"]

    [smtp]
    recipients = ["goteborg@stad.example"]

The environment overrides the file: `MAILROUTER_SMTP__LISTEN=0.0.0.0:25` sets `smtp.listen`; lists are written as
JSON. A secret belongs in a file of its own that a `..._file` setting names. Relative paths start at the folder the
program is started in; `rules` and `models` are those beside the program. A misspelt setting is an error.
`mailrouter check` says in sentences what is wrong, `mailrouter check --connect` also tries the servers.

This page is written by `python -m mailrouter.settings_doc`; change the descriptions in `mailrouter/config.py`.
"""


def page() -> str:
    """The whole page in Markdown."""
    plain = {name: field for name, field in Settings.model_fields.items() if _section(field) is None}
    parts = [HEAD, _table("At the top of the file", "Before the first section.", plain)]
    for name, field in Settings.model_fields.items():
        section = _section(field)
        if section is not None:
            title = f"[[{name}]]" if get_origin(field.annotation) is list else f"[{name}]"
            parts.append(_table(title, (section.__doc__ or "").partition("\n")[0], section.model_fields))
    return "\n".join(parts)


def _section(field: FieldInfo) -> type[Section] | None:
    """The section a setting of the top level is, or is a list of."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def _table(title: str, about: str, fields: dict[str, FieldInfo]) -> str:
    rows = [
        f"| `{name}` | {_kind(field)} | {_default(field)} | {field.description} |" for name, field in fields.items()
    ]
    lines = [f"## {title}", "", about, "", "| setting | kind | default | what it is for |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *rows, ""])


def _kind(field: FieldInfo) -> str:
    limits = {type(limit).__name__: limit for limit in field.metadata}
    least, most = (getattr(limits.get(name), name.lower(), None) for name in ("Ge", "Le"))
    above = getattr(limits.get("Gt"), "gt", None)
    said = _type_name(field.annotation)
    if above is not None:
        said += f", above {above}"
    if least is not None:
        said += f", {least} to {most}" if most is not None else f", {least} or more"
    elif most is not None:
        said += f", at most {most}"
    return said


def _type_name(kind: Any) -> str:
    names = {"str": "text", "int": "number", "float": "number", "bool": "true or false", "Path": "path"}
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return _type_name(next(part for part in inner if part is not type(None)))
    if origin is Annotated:
        return _type_name(inner[0])
    if origin in (list, dict):
        return f"{'list' if origin is list else 'table'} of {_type_name(inner[-1])}s"
    if origin is tuple:
        return f"{len(inner)} {_type_name(inner[0])}s"
    return names.get(kind.__name__, "text")


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None or value == "":
        return "none" if value is None else "empty"
    return f"`{_written(value)}`"


def _written(value: Any) -> str:
    """A value as the TOML file has it; a path beside the program without the place the program is at."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path) and value.is_absolute():
        return str(value.relative_to(DEFAULTS))
    if isinstance(value, list | tuple):
        return f"[{', '.join(_item(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_item(item)}' for key, item in value.items())} }}"
    return str(value)


def _item(item: object) -> str:
    return f'"{item}"' if isinstance(item, str) else str(item)


if __name__ == "__main__":
    sys.stdout.write(page())
