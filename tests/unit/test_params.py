import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from dvc.utils.hydra import apply_overrides

from refusals import refusal
from zeroshot_al.base.params import Experiment, load_experiment, load_ranks, load_section

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "params.yaml"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("[!L]*.md")), ROOT / "docs/LABELS.md"]
DOCUMENTED = sorted(
    {
        key
        for page in PAGES
        for key in re.findall(r"-S '?([+\w.]+)=", page.read_text(encoding="utf-8"))
    }
)


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
    names: tuple[str, ...] | None
    sizes: tuple[int, ...]
    schedule: Schedule


GOOD = {
    "lr": 0.06,
    "n_steps": 20,
    "augment": True,
    "kind": "moco",
    "root": None,
    "names": None,
    "sizes": [1, 2],
    "schedule": {"warmup_epochs": 3},
}
TOP = {"profile": "demo", "budget": 20, "budgets": [10, 20], "seeds": [0, 1], "rule": "kcenter"}
EXPECTED = Section(0.06, 20, True, "moco", None, None, (1, 2), Schedule(3))


@pytest.fixture
def write(tmp_path):
    """Write a params.yaml of `a`'s defaults and overrides, and of changed keys at the top."""

    def _write(override=None, defaults=GOOD, drop=(), top=None):
        sections = {"a": {} if override is None else override}
        document = TOP | {"defaults": {"a": defaults}, "profiles": {"demo": sections, "laptop": {}}}
        document = {
            key: value for key, value in (document | (top or {})).items() if key not in drop
        }
        path = tmp_path / "params.yaml"
        path.write_text(json.dumps(document))
        return path

    return _write


def without(key):
    return {name: value for name, value in GOOD.items() if name != key}


def test_good_values_arrive_with_their_types_and_stay(write):
    # Stated by the defaults or by the profile.
    for path in (write(), write(GOOD, {})):
        assert load_experiment(path) == Experiment("demo", 20, (10, 20), (0, 1), "kcenter")
        assert load_section("a", Section, path) == EXPECTED
    with pytest.raises(AttributeError):
        load_section("a", Section, path).lr = 1.0
    lr = load_section("a", Section, write({"lr": 1})).lr
    assert (lr, type(lr)) == (1.0, float)


def test_a_profile_says_what_differs_from_the_defaults(write):
    section = load_section("a", Section, write({"schedule": {"warmup_epochs": 2}, "root": "x"}))
    assert (section.schedule, section.root, section.lr) == (Schedule(2), "x", 0.06)
    # A list replaces a list, and null a value.
    path = write({"names": ["b"], "root": None}, GOOD | {"names": ["a", "c"], "root": "x"})
    section = load_section("a", Section, path)
    assert (section.names, section.root) == (("b",), None)


def test_a_shared_section_holds_where_the_own_says_nothing(write):
    shared = {"lr": 0.5, "n_steps": 7, "schedule": {"warmup_epochs": 9}}
    defaults = {"all": shared, "a": without("lr") | {"schedule": {}}}
    profile = {"all": {"n_steps": 8, "sizes": [3]}, "a": {"sizes": [4]}}
    path = write(top={"defaults": defaults, "profiles": {"demo": profile}})
    section = load_section("a", Section, path, shared="all")
    # Own defaults before shared ones, a profile's word before both, and its own before its shared.
    assert (section.lr, section.n_steps, section.sizes) == (0.5, 8, (4,))
    assert section.schedule == Schedule(9)
    missing = write(top={"profiles": {"demo": {"a": {}}}})
    assert "missing key 'all' in profiles.demo" in refusal(
        load_section, "a", Section, missing, shared="all"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"lr": "fast"}, "lr 'fast' of profiles.demo.a"),
        ({"lr": True}, "lr True of profiles.demo.a"),
        ({"lr": None}, "lr None of profiles.demo.a"),
        ({"n_steps": 20.0}, "n_steps 20.0 of profiles.demo.a"),
        ({"n_steps": True}, "n_steps True of profiles.demo.a"),
        ({"augment": 1}, "augment 1 of profiles.demo.a"),
        ({"root": 5}, "root 5 of profiles.demo.a"),
        ({"sizes": 4}, "sizes 4 of profiles.demo.a"),
        ({"sizes": [1, "x"]}, "sizes 'x' of profiles.demo.a"),
        ({"kind": "byol"}, "kind 'byol' of profiles.demo.a"),
        ({"schedule": 3}, "must hold the keys warmup_epochs"),
        ({"schedule": None}, "schedule in profiles.demo.a of"),
        ({"schedule": {"warmup": 1}}, "unknown key 'warmup' in schedule in profiles.demo.a of"),
        ({"n_step": 1}, "unknown key 'n_step' in profiles.demo.a"),
        ({"n_stpes": 1}, "did you mean 'n_steps'?"),
        ({"zzz": 1}, "known are augment, kind, lr,"),
        ([], "profiles.demo.a of"),
    ],
)
def test_a_wrong_value_or_key_is_reported(write, override, message):
    assert message in refusal(load_section, "a", Section, write(override))


@pytest.mark.parametrize("key", sorted(GOOD))
def test_a_missing_key_of_a_section_is_reported(write, key):
    told = refusal(load_section, "a", Section, write(defaults=without(key)))
    assert f"missing key {key!r} in profiles.demo.a of" in told
    emptied = write(defaults=GOOD | {"schedule": {}})
    assert "missing key 'warmup_epochs'" in refusal(load_section, "a", Section, emptied)


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ({"profile": "desktop"}, "profile 'desktop' does not exist; choose demo or laptop in "),
        ({"profiles": {"demo": {"aa": {}}}}, "missing key 'a' in profiles.demo"),
        ({"profiles": {"demo": None}}, "missing key 'a' in profiles.demo"),
        ({"profiles": {"demo": {"a": None}}}, "profiles.demo.a of"),
        (
            {"profiles": {"demo": {"a": {}, "aa": {}}}},
            r"unknown key 'aa' in profiles.demo of .*; did you mean 'a'\?",
        ),
        ({"defaults": None}, "defaults of .* must hold the sections"),
    ],
)
def test_a_section_that_is_not_there_is_reported(write, top, message):
    assert re.match(f".*{message}", refusal(load_section, "a", Section, write(top=top)))


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ({"sedes": [1]}, "did you mean 'seeds'?"),
        ({"budget": 0}, "budget 0 must be at least 1"),
        ({"budget": -5}, "budget -5 must be at least 1"),
        ({"budget": "many"}, "budget 'many'"),
        ({"budget": 12.5}, "budget 12.5"),
        ({"budgets": [0, 10]}, "budget 0 must be at least 1"),
        ({"budgets": [20, 10]}, "budgets [20, 10] must increase"),
        ({"budgets": []}, "budgets [] must increase"),
        ({"budgets": 10}, "budgets 10"),
        ({"seeds": [0, 0]}, "seeds [0, 0] must be distinct"),
        ({"seeds": []}, "seeds [] must be distinct"),
        ({"seeds": [3, -1]}, "seed -1 must not be negative"),
        ({"seeds": [0.5]}, "seeds 0.5"),
        ({"rule": "random"}, "rule 'random' of"),
    ],
)
def test_wrong_keys_at_the_top_are_reported(write, top, message):
    assert message in refusal(load_experiment, write(top=top))


def test_a_repeated_budget_counts_once(write):
    assert load_experiment(write(top={"budgets": [10, 20, 20, 20]})).budgets == (10, 20)


@pytest.mark.parametrize("key", TOP)
def test_a_missing_key_at_the_top_is_reported(write, key):
    assert f"missing key {key!r} in" in refusal(load_experiment, write(drop=[key]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profile: [demo\n", "is not YAML"),
        ("- demo\n", "must hold keys and values"),
        ("", "must hold keys and values"),
        (None, "run from the repository's root"),
    ],
)
def test_a_file_that_is_no_params_file_is_reported(tmp_path, text, message):
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text)
    assert message in refusal(load_experiment, path)
    assert message in refusal(load_section, "a", Section, path)


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ({"ranks": 0}, "ranks 0 must be at least 1"),
        ({"ranks": -2}, "ranks -2"),
        ({"ranks": 1.5}, "ranks 1.5"),
        ({"ranks": None}, "ranks None"),
        ({}, "missing key 'ranks'"),
    ],
)
def test_ranks_are_read_apart_from_the_experiment(write, top, message):
    assert message in refusal(load_ranks, write(top=top))
    path = write(top={"ranks": 4})
    assert load_ranks(path) == 4
    assert load_experiment(path) == Experiment("demo", 20, (10, 20), (0, 1), "kcenter")


NUMBERS = ["1e-05", "3e-05", "5e-05", "0.00001", "0.00003", "1.5e-7", "1E-5", "1e+30", ".5", "5."]
NUMBERS += ["2", "0", "-0.0", "0.1", "5e-324", *(f"-1e{n}" for n in range(-308, 309, 28))]
# What YAML 1.1 has other ideas of.
WORDS = ["yes", "no", "on", "Off", "y", "n", "12:30", "1:2:3", "2024-05-01"]
QUOTED = [*NUMBERS, "007", "0o17", "0x1f", "1_000", "true", "False", "null", "~", "", " a ", ".inf"]
QUOTED += [".nan", "-", "- a", "?", ": ", "a: b", "#", "a #b", "&a", "*a", "!a", "%a", "@a", "`a`"]
QUOTED += ["<<", "=", "{a: 1}", "[1, 2]", "|", ">", '"a"', "日本", "---", "x" * 300]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((f"lr={text}", float(text)) for text in NUMBERS),
        *((f"n_steps={count}", count) for count in (12, -1, 0, 123456789, 2**31, 2**63, 10**25)),
        *((f"root={text}", text) for text in WORDS),
        *((f"root='{text}'", text) for text in (*WORDS, *QUOTED)),
        ("root=null", None),
        ('root="/my photos, of \'24/a: b #c"', "/my photos, of '24/a: b #c"),
        ('names=["yes","no"]', ("yes", "no")),
        ("names=[yes,no,12:30]", ("yes", "no", "12:30")),
        ("names=null", None),
        ("schedule.warmup_epochs=7", Schedule(7)),
    ],
)
@pytest.mark.parametrize("holder", ["profiles.demo.a", "+profiles.demo.a", "defaults.a"])
def test_a_value_set_by_dvc_is_read_back(write, option, value, holder):
    # A key that stands in the defaults alone takes a plus.
    path = write(GOOD) if holder == "profiles.demo.a" else write()
    apply_overrides(path, [f"{holder}.{option}"])
    key = re.split(r"[.=]", option)[0]
    assert getattr(load_section("a", Section, path), key) == value


def test_dvc_changes_one_line_of_params_yaml_and_keeps_its_comments(tmp_path):
    path = tmp_path / "params.yaml"
    text = PARAMS.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    apply_overrides(path, ["profiles.laptop.moco.learning_rate=0.25"])
    # DVC also writes null as nothing.
    before, after = (re.sub(r": null$", ":", t, flags=re.M) for t in (text, path.read_text()))
    changed = set(after.splitlines()) - set(before.splitlines())
    assert len(after.splitlines()) == len(before.splitlines())
    assert changed == {"    moco: {active: false, epochs: 16, learning_rate: 0.25}"}


@pytest.mark.parametrize("key", DOCUMENTED)
def test_a_documented_option_has_a_plus_where_it_needs_one(tmp_path, key):
    path = tmp_path / "params.yaml"
    shutil.copy(PARAMS, path)
    apply_overrides(path, [f"{key}=1"])
