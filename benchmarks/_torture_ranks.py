"""Kill -9 of one of two processes that share a stage's work."""

from _torture_chain import Chain
from _torture_lab import Lab
from _torture_seen import sentence

N_KILLS = 5
STAGES = ("embed", "kcenter_order", "pretrain_simclr", "train_budget@140")


def some_stages(lab: Lab) -> None:
    """Kill a random rank at random moments, in chains as of the stages."""
    for name in STAGES:
        with lab.row(f"one of two ranks of `{name}` killed (-9), {N_KILLS} times") as row:
            patient = lab.copy("ranks")
            patient.project.set_params({"ranks": 2})
            chain = Chain(patient, name, row, n_ranks=2)
            chain.kill(N_KILLS)
            chain.clear()
            done = patient.project.call("dvc", "repro", "--single-item", name)
            chain.n_continued += "continuing at step" in done.stdout + done.stderr
            row.same_bytes = done.returncode == 0 and patient.project.outs() == chain.expected
            if not row.same_bytes:
                row.lost = sentence(done.stdout + done.stderr, patient.root)
            row.seen = chain.seen()
