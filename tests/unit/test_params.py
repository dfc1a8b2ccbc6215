import json
from dataclasses import dataclass
from typing import Literal

import pytest
from dvc.utils.hydra import apply_overrides

from refusals import refusal
from zeroshot_al.base.params import Experiment, load_experiment, load_ranks, load_section


@dataclass(frozen=True)
class Schedule:
    warmup_epochs: int


@dataclass(frozen=True)
class Section:
    lr: float
    n_steps: int
    augment: bool
    kind: Literal["moco", "simclr"]
    root: str | None
    sizes: tuple[int, ...]
    schedule: Schedule


GOOD = {
    "lr": 0.06,
    "n_steps": 20,
    "augment": True,
    "kind": "moco",
    "root": None,
    "sizes": [1, 2],
    "schedule": {"warmup_epochs": 3},
}
TOP = {"profile": "demo", "budget": 20, "budgets": [10, 20], "seeds": [0, 1]}


@pytest.fixture
def write(tmp_path):
    """Write a params.yaml out of changed top-level keys and a changed section `moco`."""

    def _write(top=None, section=None, drop=()):
        sections = {"moco": GOOD | (section or {})}
        document = (
            TOP
            | {"defaults": {"moco": {}}, "profiles": {"demo": sections, "laptop": sections}}
            | (top or {})
        )
        for key in drop:
            document.pop(key, None)
            sections["moco"].pop(key, None)
        path = tmp_path / "params.yaml"
        path.write_text(json.dumps(document))
        return path

    return _write


def test_good_values_arrive_with_their_types(write):
    path = write()
    assert load_experiment(path) == Experiment("demo", 20, (10, 20), (0, 1))
    assert load_section("moco", Section, path) == Section(
        0.06, 20, True, "moco", None, (1, 2), Schedule(3)
    )


def test_an_int_serves_as_a_float_and_becomes_one(write):
    lr = load_section("moco", Section, write(section={"lr": 1})).lr
    assert lr == 1.0
    assert type(lr) is float


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"lr": "fast"}, "lr 'fast' of profiles.demo.moco"),
        ({"lr": True}, "lr True of profiles.demo.moco"),
        ({"lr": None}, "lr None of profiles.demo.moco"),
        ({"n_steps": 20.0}, "n_steps 20.0 of profiles.demo.moco"),
        ({"n_steps": True}, "n_steps True of profiles.demo.moco"),
        ({"augment": 1}, "augment 1 of profiles.demo.moco"),
        ({"root": 5}, "root 5 of profiles.demo.moco"),
        ({"sizes": 4}, "sizes 4 of profiles.demo.moco"),
        ({"sizes": [1, "x"]}, "sizes 'x' of profiles.demo.moco"),
        ({"kind": "byol"}, "kind 'byol' of profiles.demo.moco"),
        ({"schedule": 3}, "must hold the keys warmup_epochs"),
        ({"schedule": {}}, "missing key 'warmup_epochs'"),
        ({"n_step": 1}, "unknown key 'n_step' in profiles.demo.moco"),
    ],
)
def test_a_mistyped_value_is_told(write, section, told):
    path = write(section=section)
    assert told in refusal(load_section, "moco", Section, path)


def test_the_likely_name_is_suggested(write):
    assert "did you mean 'n_steps'?" in refusal(
        load_section, "moco", Section, write(section={"n_stpes": 1})
    )
    assert "known are augment, kind, lr," in refusal(
        load_section, "moco", Section, write(section={"zzz": 1})
    )
    assert "did you mean 'seeds'?" in refusal(load_experiment, write({"sedes": [1]}))


@pytest.mark.parametrize("key", sorted(GOOD))
def test_a_missing_key_of_a_section_is_told(write, key):
    path = write(drop=[key])
    assert f"missing key {key!r} in profiles.demo.moco" in refusal(
        load_section, "moco", Section, path
    )


@pytest.mark.parametrize("key", sorted(TOP))
def test_a_missing_key_at_the_top_is_told(write, key):
    assert f"missing key {key!r} in" in refusal(load_experiment, write(drop=[key]))


def test_an_unknown_profile_is_told_with_the_known_ones(write):
    told = refusal(load_section, "moco", Section, write({"profile": "desktop"}))
    assert told.startswith("profile 'desktop' does not exist; choose demo or laptop in ")


@pytest.mark.parametrize("sections", [{"mocco": {}}, None])
def test_a_missing_section_is_told(write, sections):
    path = write(top={"profiles": {"demo": sections}})
    assert "missing key 'moco' in profiles.demo" in refusal(load_section, "moco", Section, path)


@pytest.mark.parametrize(
    ("top", "told"),
    [
        ({"budget": 0}, "budget 0 must be at least 1"),
        ({"budget": -5}, "budget -5 must be at least 1"),
        ({"budget": "many"}, "budget 'many'"),
        ({"budget": 12.5}, "budget 12.5"),
        ({"budgets": [0, 10]}, "budget 0 must be at least 1"),
        ({"budgets": [20, 10]}, "budgets [20, 10] must increase strictly"),
        ({"budgets": [10, 10]}, "budgets [10, 10] must increase strictly"),
        ({"budgets": []}, "budgets [] must increase strictly"),
        ({"budgets": 10}, "budgets 10"),
        ({"seeds": [0, 0]}, "seeds [0, 0] must be distinct"),
        ({"seeds": []}, "seeds [] must be distinct"),
        ({"seeds": [3, -1]}, "seed -1 must not be negative"),
        ({"seeds": [0.5]}, "seeds 0.5"),
    ],
)
def test_wrong_budgets_and_seeds_are_told(write, top, told):
    assert told in refusal(load_experiment, write(top))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("profile: [demo\n", "is not YAML"),
        ("- demo\n", "must hold keys and values"),
        ("", "must hold keys and values"),
    ],
)
def test_a_file_that_is_no_params_file_is_told(tmp_path, text, told):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    assert told in refusal(load_experiment, path)
    assert told in refusal(load_section, "moco", Section, path)


def test_a_missing_file_is_told(tmp_path):
    assert "run from the repository's root" in refusal(load_experiment, tmp_path / "params.yaml")


def test_the_sections_are_frozen(write):
    section = load_section("moco", Section, write())
    with pytest.raises(AttributeError):
        section.lr = 1.0


def test_ranks_are_read_apart_from_the_experiment(write):
    path = write(top={"ranks": 4})
    assert load_ranks(path) == 4
    assert load_experiment(path) == load_experiment(write())


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "ranks 0 must be at least 1"), (-2, "ranks -2"), (1.5, "ranks 1.5"), (None, "ranks None")],
)
def test_ranks_below_one_are_refused(write, value, told):
    assert told in refusal(load_ranks, write(top={"ranks": value}))


def test_missing_ranks_are_told(write):
    assert "missing key 'ranks'" in refusal(load_ranks, write())


@dataclass(frozen=True)
class Values:
    number: float
    count: int
    text: str | None
    names: tuple[str, ...] | None
    views: Schedule


VALUES = {"number": 0.1, "count": 3, "text": None, "names": None, "views": {"warmup_epochs": 1}}


@pytest.fixture
def layered(tmp_path):
    """Write a params.yaml of defaults and of a profile's overrides, and return its path."""

    def _layered(override, defaults=VALUES):
        path = tmp_path / "params.yaml"
        document = TOP | {"defaults": {"a": defaults}, "profiles": {"demo": {"a": override}}}
        path.write_text(json.dumps(document))
        return path

    return _layered


def test_a_profile_says_what_differs_from_the_defaults(layered):
    assert load_section("a", Values, layered({})) == Values(0.1, 3, None, None, Schedule(1))
    override = {"views": {"warmup_epochs": 2}, "text": "x", "names": ["a"]}
    assert load_section("a", Values, layered(override)) == Values(0.1, 3, "x", ("a",), Schedule(2))
    # A list replaces a list, and null a value.
    path = layered({"names": ["b"], "text": None}, VALUES | {"names": ["a", "c"], "text": "x"})
    assert load_section("a", Values, path) == Values(0.1, 3, None, ("b",), Schedule(1))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ({"numbr": 1}, "unknown key 'numbr' in profiles.demo.a of"),
        ({"views": {"warmup": 1}}, "unknown key 'warmup' in views in profiles.demo.a of"),
        ({"views": None}, "views in profiles.demo.a of"),
        (None, "profiles.demo.a of"),
    ],
)
def test_an_override_is_checked_as_strictly(layered, override, told):
    assert told in refusal(load_section, "a", Values, layered(override))


def test_a_key_in_neither_is_missing(layered):
    defaults = {key: value for key, value in VALUES.items() if key != "count"}
    told = refusal(load_section, "a", Values, layered({}, defaults))
    assert "missing key 'count' in profiles.demo.a of" in told


def test_a_section_that_the_defaults_lack_is_told(tmp_path, write):
    profiles = {"demo": {"moco": GOOD, "mocco": {}}}
    told = refusal(load_section, "moco", Section, write({"profiles": profiles}))
    assert "unknown key 'mocco' in profiles.demo of" in told
    assert "did you mean 'moco'?" in told
    assert "defaults of" in refusal(load_section, "moco", Section, write({"defaults": None}))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((f"number={text}", float(text)) for text in ("1e-05", "3e-05", "0.00001", "1e30")),
        ("number=2", 2.0),
        ("count=12", 12),
        ("count=-1", -1),
        *((f"text={text}", text) for text in ("yes", "no", "on", "Off", "y", "12:30", "1:2:3")),
        ("text=2024-05-01", "2024-05-01"),
        ("text='1e-05'", "1e-05"),
        ("text='007'", "007"),
        ("text='true'", "true"),
        ("text='null'", "null"),
        ("text='~'", "~"),
        ("text=null", None),
        ('text="/my photos, of \'24/a: b #c"', "/my photos, of '24/a: b #c"),
        ('names=["yes","no"]', ("yes", "no")),
        ("names=[yes,no,12:30]", ("yes", "no", "12:30")),
        ("names=null", None),
    ],
)
@pytest.mark.parametrize("holder", ["profiles.demo.a", "defaults.a"])
def test_a_value_set_by_dvc_is_read_back(layered, option, value, holder):
    path = layered({}) if holder.startswith("defaults") else layered(VALUES)
    apply_overrides(path, [f"{holder}.{option}"])
    assert getattr(load_section("a", Values, path), option.partition("=")[0]) == value


def test_a_key_of_the_defaults_alone_takes_a_plus(layered):
    path = layered({})
    apply_overrides(path, ["+profiles.demo.a.views.warmup_epochs=7"])
    assert load_section("a", Values, path).views == Schedule(7)
