"""What a change reruns, on the real dvc.yaml and params.yaml, as DVC itself decides it.

The stages' commands are real too; what they run is a stand-in for the scripts.
"""

import pytest
from dvc.repo import Repo

from pipeline.stand_in import install_stand_in

BUDGETS = [5_000, 10_000, 20_000]
TRAINED = {f"train_budget@{budget}" for budget in BUDGETS}
COLLECTORS = {"class_histograms", "learning_curves"}
PRETRAINED = {"pretrain_moco", "pretrain_simclr"}
ORDERED = {"kcenter_order", "zero_shot_order"}
BASELINES = {"baseline_random", "baseline_coreset"}
BY_BUDGET = {"annotate"} | COLLECTORS


class Runner:
    """A project in which every stage is up to date, and what DVC then runs."""

    def __init__(self, project, log):
        self.project = project
        self.log = log

    def ran(self, *command: str, program: str = "dvc", **env: str) -> set[str]:
        """Run DVC and return the stages whose commands ran."""
        self.log.unlink(missing_ok=True)
        self.project.run(program, *command, RAN=str(self.log), **env)
        lines = self.log.read_text().split() if self.log.exists() else []
        assert len(lines) == len(set(lines)), lines
        return set(lines)


@pytest.fixture(scope="module")
def up_to_date(fresh_project, tmp_path_factory):
    project = fresh_project("experiments")
    project.set_params({"budgets": BUDGETS + BUDGETS[-1:] * 6})
    stand_in = tmp_path_factory.mktemp("stand_in")
    install_stand_in(project, stand_in)
    runner = Runner(project, stand_in / "ran")
    everything = {"download", "pretrain_moco", "pretrain_simclr", "embed", "kcenter_order"}
    everything |= {"zero_shot_order", "probe_curves", "annotate", "labels", "predict"}
    # Whatever dvc.lock says of the committed results: their data are not in this copy.
    assert runner.ran("repro", "--force") == everything | TRAINED | BASELINES | COLLECTORS
    project.commit()
    return runner


@pytest.fixture
def runner(up_to_date, tmp_path):
    return Runner(up_to_date.project.copy(tmp_path / "project"), tmp_path / "ran")


def test_a_no_op_runs_nothing(runner):
    assert runner.ran("repro") == set()
    assert runner.project.run("git", "status", "--porcelain") == ""


def test_another_of_the_budgets_reruns_the_collectors_and_annotate_alone(runner):
    assert runner.ran("exp", "run", "-S", "budget=10000") == BY_BUDGET


def test_a_budget_outside_the_list_is_trained_as_well(runner):
    assert runner.ran("exp", "run", "-S", "budget=12345") == {"train_budget@12345"} | BY_BUDGET
    # And back: the run cache still has what belonged to the first budget.
    assert runner.ran("exp", "run", "-S", "budget=20000") == set()
    assert runner.project.run("git", "status", "--porcelain", "metrics", "plots") == ""


@pytest.mark.parametrize(
    ("changed", "stages"),
    [
        (
            "profiles.laptop.simclr.temperature=0.3",
            {
                "pretrain_simclr",
                "embed",
                "kcenter_order",
                "zero_shot_order",
                "probe_curves",
                "predict",
            },
        ),
        ("+profiles.laptop.kcenter.n_initial=5", {"kcenter_order"}),
        ("defaults.kcenter.n_initial=5", {"kcenter_order"}),
        ("defaults.order.seed=5", {"zero_shot_order", "predict"}),
    ],
)
def test_a_param_before_the_orders_spares_what_does_not_use_them(runner, changed, stages):
    ran = runner.ran("exp", "run", "-S", changed)
    assert ran == stages | TRAINED | BY_BUDGET


def test_make_annotate_sees_that_the_folder_changed(runner):
    (runner.project.root / ".venv").mkdir()
    (runner.project.root / ".venv/installed").touch()
    annotate = ("annotate", "ROOT=photos", "BUDGET=500", "BIN=")
    before_picks = {"download", "pretrain_moco", "pretrain_simclr", "embed"}
    before_picks |= {"kcenter_order", "labels", "zero_shot_order", "predict"}
    for images, stages in (
        ("10 photos", before_picks | {"annotate"}),
        ("10 photos", {"download", "labels"}),
        ("11 photos", before_picks | {"annotate"}),
    ):
        assert runner.ran(*annotate, program="make", IMAGES=images) == stages


def test_a_classifier_param_leaves_pretraining_alone(runner):
    ran = runner.ran("exp", "run", "-S", "profiles.laptop.classifier.cutout_px=4")
    assert ran == TRAINED | BASELINES | COLLECTORS | {"predict", "annotate"}


def test_another_profile_s_param_reruns_nothing(runner):
    assert runner.ran("exp", "run", "-S", "profiles.gpu.classifier.width=8") == set()


def test_an_edited_module_makes_stale_what_lists_its_room_and_nothing_else(runner, monkeypatch):
    # In this process: what `dvc status` says, without its start.
    monkeypatch.chdir(runner.project.root)
    assert Repo().status() == {}
    expected = {
        "process/stage.py": set(),
        "methods/moco.py": {"pretrain_moco"},
        "report/curves.py": COLLECTORS | {"probe_curves"},
        "selfsup/pretrain.py": {
            "pretrain_moco",
            "pretrain_simclr",
            "embed",
            "probe_curves",
            "predict",
        },
        "sources/class_folders.py": {"download", "annotate", "labels", "predict"},
    }
    for module, stages in expected.items():
        file = runner.project.root / "src/zeroshot_al" / module
        before = file.read_text(encoding="utf-8")
        file.write_text(before + "# edited\n", encoding="utf-8")
        assert set(Repo().status()) == stages, module
        file.write_text(before, encoding="utf-8")
