"""Changes to a recipe, from a YAML file and from `--set`: typed by the recipe's own fields, unknown keys refused."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_origin

from repsr_deploy.errors import UsageError
from repsr_train.config import Recipe, key_types, plain

NETWORK = "network"
TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def assign(base: Recipe, assignments: Sequence[str]) -> Recipe:
    """Apply `key=value` texts; keys of the network are written `network.expansion=3`.

    Raises:
        UsageError: no assignment, an unknown key, or a value of another type or out of range.
    """
    values: dict[str, str] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {assignment}: expected KEY=VALUE, such as lr=1e-3")
        values[key.strip()] = text.strip()
    return _changed(base, values, "--set")


def read_config(base: Recipe, path: Path) -> Recipe:
    """Apply a YAML file: the keys of the recipe, those of the network in a mapping `network`.

    Raises:
        UsageError: unreadable, no YAML, no mapping, an unknown key, or a value of another type or out of range.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}; expected a YAML file with keys of the recipe"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds {type(values).__name__}; expected a mapping such as `lr: 1e-3`")
    return _changed(base, _flat(values), str(path))


def _flat(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Nested mappings as `network.expansion`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = (
            {f"{key}.{name}": item for name, item in value.items()} if isinstance(value, dict) else {str(key): value}
        )
        flat |= inner
    return flat


def _changed(base: Recipe, values: Mapping[str, Any], origin: str) -> Recipe:
    kinds = {key: kind for key, kind in key_types(Recipe).items() if key != NETWORK}
    kinds |= {f"{NETWORK}.{key}": kind for key, kind in key_types(type(base.network)).items()}
    changes: dict[str, Any] = {}
    for key, raw in values.items():
        if key not in kinds:
            raise UsageError(f"{origin}: unknown key {key!r}; {_near(key, list(kinds))}")
        changes[key] = _converted(kinds[key], raw, f"{origin}: {key}")
    prefix = f"{NETWORK}."
    network = {key.removeprefix(prefix): value for key, value in changes.items() if key.startswith(prefix)}
    own = {key: value for key, value in changes.items() if not key.startswith(prefix)}
    if network.get("family", base.network.family) != base.network.family:
        raise UsageError(
            f"{origin}: network.family is {network['family']!r}, but the recipe trains {base.network.family!r}; "
            "choose a recipe by its name"
        )
    return replace(base, network=replace(base.network, **network), **own)


def _near(key: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1, cutoff=0.5)
    return f"did you mean {matches[0]!r}?" if matches else f"the keys are {', '.join(known)}"


def _converted(kind: Any, raw: Any, where: str) -> Any:
    """A value of type `kind` from text (a command line) or from what YAML made of it."""
    if get_origin(kind) is tuple:
        item_kind, *others = get_args(kind)
        items = [item for item in raw.split(",") if item] if isinstance(raw, str) else raw
        if not isinstance(items, list) or (others != [...] and len(items) != 1 + len(others)):
            raise UsageError(f"{where} is {plain(raw)!r}; expected {_tuple_words(others)}")
        return tuple(_converted(item_kind, item, where) for item in items)
    read, words = _READERS.get(kind, (str, "text"))  # what is left is text: choices are checked by the recipe
    try:
        return read(raw)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where} is {plain(raw)!r}; expected {words}") from error


def _tuple_words(others: Sequence[Any]) -> str:
    return "numbers such as 0.5,0.8" if others == [...] else f"{1 + len(others)} numbers such as 0.9,0.99"


def _truth(raw: Any) -> bool:
    if isinstance(raw, str) and raw.lower() in TRUTH:
        return TRUTH[raw.lower()]
    if isinstance(raw, bool):
        return raw
    raise ValueError


def _whole(raw: Any) -> int:
    """Also 1e6, and what YAML reads as 1000000.0."""
    number = _number(raw)
    if not number.is_integer():
        raise ValueError
    return int(number)


def _number(raw: Any) -> float:
    """Also text: YAML 1.1 takes 1e-3 for text, because it has no point."""
    if isinstance(raw, bool):
        raise TypeError
    return float(raw)


_READERS: dict[Any, tuple[Callable[[Any], Any], str]] = {
    bool: (_truth, "true or false"),
    int: (_whole, "a whole number"),
    float: (_number, "a number"),
}
