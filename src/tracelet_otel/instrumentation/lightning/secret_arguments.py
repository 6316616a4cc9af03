"""Hides the secrets among the arguments of a `LightningCLI`: by their names, wherever they are nested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from tracelet_otel._support.redact import HIDDEN, is_secret, without_secrets

_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_TEXT: Final = "tag:yaml.org,2002:str"


def arguments_by_name(arguments: Any, secrets: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Arguments by name, without secrets.

    Args:
        arguments: nested mappings.
        secrets: known ones.

    Returns:
        Values by the names that the command line has for them, such as `model.init_args.lr`; lists stay one value. And
        the texts that were hidden since their names say that they are secret.
    """
    hidden = [value for name, value in _leaves(arguments, "") if isinstance(value, str) and is_secret(name, value)]
    known = [*secrets, *(line for text in hidden for line in text.splitlines())]

    def shown(value: Any) -> Any:
        if isinstance(value, str):
            return without_secrets(value, known, by_name=False)
        return without_secrets(str(value), known) if isinstance(value, (dict, list)) and value else value

    return {name: shown(value) for name, value in _named(_without_secrets(arguments, ""), "")}, hidden


def yaml_without_secrets(text: str) -> str:
    """A YAML document in which secrets are hidden by their names; all else stays as it is written.

    A value may be written in several ways: in quotes that double some characters, or folded over lines. So it is
    hidden where the parser of YAML has found it.

    Args:
        text: the document.
    """
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    spans = {} if root is None else dict(_secret_spans(root, "", set()))
    for start, end in sorted(spans.items(), reverse=True):
        written = text[start:end]
        # The value of a block ends with its line.
        rest = written[len(written.rstrip()) :]
        # In quotes: an asterisk begins an alias.
        text = f"{text[:start]}'{HIDDEN}'{rest}{text[end:]}"
    return text


def _secret_spans(node: Any, name: str, seen: set[int]) -> Iterator[tuple[int, int]]:
    """Where secrets begin and end, below a node of a YAML document."""
    if id(node) in seen:
        return  # an alias
    seen.add(id(node))
    if isinstance(node.value, str):
        value = node.value if node.tag == _TEXT else 0 if node.tag in _NUMBERS else None
        if is_secret(name, value):
            yield node.start_mark.index, node.end_mark.index
        return
    for one in node.value:
        if isinstance(one, tuple):
            key, inner = one
            yield from _secret_spans(inner, str(key.value), seen)
        else:
            yield from _secret_spans(one, name, seen)


def _without_secrets(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner, name) for inner in value]
    return HIDDEN if is_secret(name, value) else value


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Values that are in mappings and lists, each with the name of the mapping's entry that it is in."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, name)
    else:
        yield name, value


def _named(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and (value or not prefix):
        for name, inner in value.items():
            yield from _named(inner, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, value
