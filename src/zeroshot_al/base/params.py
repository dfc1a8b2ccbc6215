"""params.yaml, read strictly into frozen dataclasses: unknown and missing keys are errors.

`defaults` holds every key, a profile what differs; together they must be exactly what is declared.
The file is YAML 1.2, which DVC's `-S` writes: `1e-05` is a number there, and `no` a word.

Each library module declares the dataclass of its own section; this file knows none of them, so
that a new option of one stage does not make the others stale.
"""

import dataclasses
import difflib
import functools
import types
import typing
from dataclasses import dataclass, replace
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from zeroshot_al.base.errors import InputError

T = typing.TypeVar("T")
Rule = typing.Literal["zero_shot", "kcenter"]

_NOT_OF_THE_EXPERIMENT = ("defaults", "profiles", "ranks")


@dataclass(frozen=True)
class Experiment:
    """The keys at the top of params.yaml, which every profile shares."""

    profile: str
    budget: int
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    rule: Rule


def load_experiment(path: str | Path = "params.yaml") -> Experiment:
    """Read and check the profile's name, budgets, seeds and rule; raise an `InputError`.

    A budget that stands there twice counts once: dvc.yaml names nine, and a run may want fewer.
    """
    document = _read(path)
    experiment = build(
        Experiment,
        {key: value for key, value in document.items() if key not in _NOT_OF_THE_EXPERIMENT},
        str(path),
    )
    _active_profile(document, path)
    if list(experiment.budgets) != sorted(experiment.budgets) or not experiment.budgets:
        raise InputError(f"budgets {list(experiment.budgets)} must increase; sort them in {path}")
    for budget in (experiment.budget, *experiment.budgets):
        if budget <= 0:
            raise InputError(f"budget {budget} must be at least 1; raise it in {path}")
    if len(set(experiment.seeds)) != len(experiment.seeds) or not experiment.seeds:
        raise InputError(f"seeds {list(experiment.seeds)} must be distinct; change them in {path}")
    if min(experiment.seeds) < 0:
        raise InputError(f"seed {min(experiment.seeds)} must not be negative; change it in {path}")
    return replace(experiment, budgets=tuple(dict.fromkeys(experiment.budgets)))


def load_ranks(path: str | Path = "params.yaml") -> int:
    """Read the number of processes that share a stage's work on this machine.

    Apart from `Experiment`: a matter of the machine, which makes no result stale.
    """
    document = _read(path)
    if "ranks" not in document:
        raise InputError(f"missing key 'ranks' in {path}; add it, 1 is a plain process")
    ranks = _convert(int, document["ranks"], "ranks", str(path))
    if ranks < 1:
        raise InputError(f"ranks {ranks} must be at least 1; raise it in {path}")
    return ranks


def load_section(
    section: str, cls: type[T], path: str | Path = "params.yaml", *, shared: str | None = None
) -> T:
    """Read one section of the active profile, over its defaults, into its dataclass.

    Parameters
    ----------
    section, cls, path
        The section's name, its dataclass and params.yaml.
    shared
        Another section, whose keys hold where this one does not state them. A profile's word
        counts before the defaults', in either section.

    Raises
    ------
    InputError
        If the profile or a key is unknown, missing or of the wrong type.
    """
    document = _read(path)
    profile, sections = _active_profile(document, path)
    names = [name for name in (shared, section) if name is not None]
    # Each profile names every section, be it as {}: DVC tracks none that is not there.
    for name in names:
        if not isinstance(sections, dict) or name not in sections:
            raise InputError(f"missing key {name!r} in profiles.{profile} of {path}; add it")
    defaults = document.get("defaults")
    if not isinstance(defaults, dict):
        raise InputError(f"defaults of {path} must hold the sections; restore them from git")
    _check_known(set(defaults), sections, f"profiles.{profile} of {path}")
    layers = [held.get(name, {}) for held in (defaults, sections) for name in names]
    values = functools.reduce(merge, layers)
    return build(cls, values, f"profiles.{profile}.{section} of {path}")


def merge(default: object, override: object) -> object:
    """Lay an override over a default: keys of dicts one by one, anything else replaces it."""
    if not isinstance(default, dict) or not isinstance(override, dict):
        return override
    return default | {
        key: merge(default[key], value) if key in default else value
        for key, value in override.items()
    }


def _active_profile(document: dict, path: str | Path) -> tuple[str, object]:
    profile, profiles = document.get("profile"), document.get("profiles")
    if not isinstance(profiles, dict) or not profiles:
        raise InputError(f"profiles of {path} must hold one profile at least; restore it from git")
    if not isinstance(profile, str) or profile not in profiles:
        raise InputError(
            f"profile {profile!r} does not exist; choose {_one_of(profiles)} in {path}"
        )
    return profile, profiles[profile]


def read_yaml(text: str) -> object:
    """Read YAML 1.2, as DVC writes it."""
    return YAML(typ="safe", pure=True).load(text)


def _read(path: str | Path) -> dict:
    try:
        document = read_yaml(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run from the repository's root") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise InputError(f"{path} must hold keys and values; restore it from git")
    return document


def _check_keys(expected: set[str], found: object, where: str) -> None:
    if not isinstance(found, dict):
        raise InputError(f"{where} must hold the keys {_one_of(expected, 'and')}")
    _check_known(expected, found, where)
    missing = sorted(expected - set(found))
    if missing:
        raise InputError(f"missing key {missing[0]!r} in {where}; add it")


def _check_known(expected: set[str], found: dict, where: str) -> None:
    for key in found:
        if key not in expected:
            close = difflib.get_close_matches(str(key), expected, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {_one_of(expected)}"
            raise InputError(f"unknown key {key!r} in {where}; {hint}")


def build(cls: type[T], values: object, where: str) -> T:
    """Make a dataclass of what YAML or JSON holds: exactly its keys, of exactly its types."""
    types_by_name = typing.get_type_hints(cls)
    _check_keys(set(types_by_name), values, where)
    return cls(
        **{name: _convert(kind, values[name], name, where) for name, kind in types_by_name.items()}
    )


def _convert(kind: object, value: object, name: str, where: str) -> object:
    """Accept exactly the declared type, and an int for a float."""
    origin = typing.get_origin(kind)
    if origin is tuple:
        item = typing.get_args(kind)[0]
        if isinstance(value, list):
            return tuple(_convert(item, element, name, where) for element in value)
    elif origin is typing.Literal:
        if value in typing.get_args(kind):
            return value
        raise InputError(f"{name} {value!r} of {where} must be {_one_of(typing.get_args(kind))}")
    elif origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _convert(typing.get_args(kind)[0], value, name, where)
    elif dataclasses.is_dataclass(kind):
        return build(kind, value, f"{name} in {where}")
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif type(value) is kind:
        return value
    expected = getattr(kind, "__name__", str(kind))
    raise InputError(
        f"{name} {value!r} of {where} is of the type {type(value).__name__}; give it as {expected}"
    )


def _one_of(names: typing.Iterable, word: str = "or") -> str:
    *first, last = sorted(map(str, names)) or [""]
    return f"{', '.join(first)} {word} {last}" if first else last
