"""dvc.yaml says what the scripts do: names, order, dependencies, params."""

import ast
import importlib.machinery
import json
import sys
from pathlib import Path

import pytest

import kcenter_order
from pipeline.first_party import SRC, first_party_files
from zeroshot_al.base.params import load_experiment, load_ranks, load_section, read_yaml
from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.embedding.probe import EmbedParams
from zeroshot_al.gallery.annotation import AnnotateParams
from zeroshot_al.labels.labelling import LabelsParams
from zeroshot_al.methods.moco import MocoParams
from zeroshot_al.methods.simclr import SimclrParams
from zeroshot_al.orders import OrderParams
from zeroshot_al.probing.pools import ProbeParams
from zeroshot_al.selfsup.encoders import EncoderParams
from zeroshot_al.selfsup.pretrain import PretrainParams
from zeroshot_al.sources.params import DataParams

ROOT = SRC.parent
SCRIPTS = sorted(SRC.glob("*.py"))
STAGES = read_yaml((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
OUTS = ("outs", "metrics", "plots")
PROCESS = "src/zeroshot_al/process/"
EXPERIMENT_KEYS = {"profile", "budget", "budgets", "seeds", "rule"}
PROFILES = ("demo", "folder", "gpu", "laptop", "paper")
SECTION_CLASSES = {
    "data": DataParams,
    "encoder": EncoderParams,
    "moco": MocoParams,
    "simclr": SimclrParams,
    "embed": EmbedParams,
    "kcenter": kcenter_order.KcenterParams,
    "probe": ProbeParams,
    "order": OrderParams,
    "annotate": AnnotateParams,
    "labels": LabelsParams,
    "classifier": ClassifierParams,
}


def stage_of(name: str) -> dict:
    """Return a stage's entry, of a `foreach` what stands under `do`."""
    return STAGES[name].get("do", STAGES[name])


def outs_of(name: str, kind: str) -> dict[str, dict]:
    """Return the paths under outs, metrics or plots with their options."""
    entries = stage_of(name).get(kind, [])
    return {
        path: options
        for entry in entries
        for path, options in (entry.items() if isinstance(entry, dict) else [(entry, {})])
    }


def test_the_stages_are_these_in_this_order(fresh_project):
    listed = fresh_project("list").run("dvc", "stage", "list", "--name-only").split()
    assert listed == [
        "download",
        "pretrain_moco",
        "pretrain_simclr",
        "embed",
        "kcenter_order",
        "labels",
        "zero_shot_order",
        "probe_curves",
        "predict",
        "annotate",
        *(f"train_budget@{budget}" for budget in range(5000, 25001, 2500)),
        "baseline_random",
        "baseline_coreset",
        "class_histograms",
        "learning_curves",
    ]


def test_scripts_and_stages_have_the_same_names():
    assert sorted(STAGES) == [script.stem for script in SCRIPTS]


@pytest.mark.parametrize("name", STAGES)
def test_each_stage_runs_its_script_and_says_what_for(name):
    assert stage_of(name)["cmd"].split()[:2] == ["python", f"src/{name}.py"]
    assert len(stage_of(name)["desc"]) > 20


@pytest.mark.parametrize("name", STAGES)
def test_deps_hold_the_first_party_imports_and_each_holds_one(name):
    deps = [dep for dep in stage_of(name)["deps"] if dep.startswith("src")]
    files = {f for f in first_party_files(SRC / f"{name}.py") if not f.startswith(PROCESS)}
    held = {dep: {f for f in files if f == dep or f.startswith(f"{dep}/")} for dep in deps}
    assert set().union(*held.values()) == files
    assert all(held.values())


@pytest.mark.parametrize("name", STAGES)
def test_params_tracked_are_the_params_read(name):
    tree = ast.parse((SRC / f"{name}.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    sections = {
        f"{holder}.{name.value}"
        for call in calls
        if getattr(call.func, "id", None) == "load_section"
        for name in (call.args[0], *(keyword.value for keyword in call.keywords))
        for holder in ("defaults", "profiles.${profile}")
    }
    # `load_experiment().budget`, or `experiment.budget` after `experiment = load_experiment()`.
    names = {
        node.targets[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and getattr(getattr(node.value, "func", None), "id", None) == "load_experiment"
    }
    keys = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (
            getattr(node.value, "id", None) in names
            or getattr(getattr(node.value, "func", None), "id", None) == "load_experiment"
        )
    }
    assert keys <= EXPERIMENT_KEYS
    if name == "download":
        keys.remove("budget")  # compared with the pool, which does not depend on it
    assert set(stage_of(name)["params"]) == sections | keys


def test_the_number_of_ranks_makes_no_stage_stale():
    assert load_ranks(ROOT / "params.yaml") == 1
    assert all("ranks" not in stage_of(name)["params"] for name in STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_what_git_keeps_leaves_the_run_cache_on(name):
    # DVC turns the run cache off for a stage with `cache: false` among its outs, or with persist.
    assert all(options == {} for options in outs_of(name, "outs").values())
    for kind in ("metrics", "plots"):
        for path, options in outs_of(name, kind).items():
            assert options["cache"] is False, path
            assert "persist" not in options, path


def test_every_plot_template_is_there():
    own = {file.stem for file in (ROOT / ".dvc/plots").glob("*.json")}
    used = {
        options["template"]
        for name in STAGES
        for options in outs_of(name, "plots").values()
        if "template" in options
    }
    assert own <= used <= own | {"linear"}


def test_no_collector_depends_on_a_directory_of_another_budget():
    for name in ("class_histograms", "learning_curves"):
        data = [dep for dep in stage_of(name)["deps"] if not dep.startswith("src/")]
        # A directory that is one stage's out is emptied before it runs: nothing is left over.
        whole = {path for stage in STAGES for kind in OUTS for path in outs_of(stage, kind)}
        assert all(Path(dep).suffix in (".csv", ".json") or dep in whole for dep in data)


def test_baselines_do_not_depend_on_the_one_budget():
    for name in ("baseline_random", "baseline_coreset"):
        assert "budget" not in stage_of(name)["params"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_stage_scripts_are_thin_and_documented(script):
    text = script.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    docstring = ast.get_docstring(ast.parse(text))
    for heading in ("Reads ", "Writes ", "Params ", "Paper "):
        assert heading in docstring


def test_no_name_in_src_shadows_a_module():
    elsewhere = [
        entry for entry in sys.path if entry and ROOT not in [Path(entry), Path(entry).parent]
    ]
    for path in SRC.iterdir():
        if path.suffix == ".py" or (path / "__init__.py").exists():
            assert path.stem not in sys.stdlib_module_names
            assert importlib.machinery.PathFinder.find_spec(path.stem, elsewhere) is None


@pytest.mark.parametrize("section", SECTION_CLASSES)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_loads(profile, section, tmp_path):
    document = read_yaml((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert set(document["profiles"]) == set(PROFILES)
    sections = {*SECTION_CLASSES, "pretrain"}
    assert set(document["profiles"][profile]) == sections == set(document["defaults"])
    params = tmp_path / "params.yaml"
    params.write_text(json.dumps(document | {"profile": profile}), encoding="utf-8")
    assert load_experiment(params).profile == profile
    cls = SECTION_CLASSES[section]
    load_section(
        section, cls, params, shared="pretrain" if issubclass(cls, PretrainParams) else None
    )


def test_the_default_is_the_paper_experiment_at_laptop_scale():
    experiment = load_experiment(ROOT / "params.yaml")
    assert experiment.profile == "laptop"
    assert experiment.budget == 20_000
    assert list(experiment.budgets) == list(range(5_000, 25_001, 2_500))
