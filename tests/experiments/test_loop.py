"""The loop: all methods, resumed after any kill, results guarded."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ase_bmdal import COMBINATIONS, Acquisition, RunFolderError, TrainingSettings
from ase_bmdal_experiments.loop import Learning, StepDone, run_benchmark
from ase_bmdal_experiments.split import make_split
from tests.experiments.small import ARCHITECTURE, frames, settings

ROOT = Path(__file__).parent.parent.parent
RND, LCMD = (Acquisition.parse(name) for name in ("MAXDIAG + RND", "LCMD + FEAT(RP)"))
TWO_STEPS = settings(final=6)

KILLED = """
import os, signal, sys
from pathlib import Path
from ase_bmdal import Acquisition
from ase_bmdal_experiments.loop import run_benchmark
from tests.experiments.small import frames, settings

seen = 0

def listen(event):
    global seen
    seen += type(event).__name__ == "Learning"
    if seen == 7:
        os.kill(os.getpid(), signal.SIGKILL)

methods = [Acquisition.parse("MAXDIAG + RND"), Acquisition.parse("LCMD + FEAT(RP)")]
run_benchmark(settings(warm_epochs=2), frames(), None, methods, [3], Path(sys.argv[1]), listen)
"""


class Ended(BaseException):
    """What ends a run where it stands."""


def lines(folder):
    """Everything but the seconds, by file."""
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.name] = [{k: v for k, v in each.items() if k != "seconds"} for each in records]
    return found


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmark") / "results"
    events = []
    run_benchmark(settings(), frames(), None, [RND, LCMD], [3], out, events.append)
    return out, events


@pytest.fixture(scope="module")
def every_method(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmark") / "every"
    run_benchmark(TWO_STEPS, frames(), None, [Acquisition.parse(n) for n in COMBINATIONS], [0], out)
    return out


def test_files_and_events(uninterrupted):
    out, events = uninterrupted
    assert sorted(lines(out)) == ["lcmd-feat-rp-seed-3.jsonl", "maxdiag-rnd-seed-3.jsonl"]
    done = [event for event in events if isinstance(event, StepDone)]
    assert [(each.done, each.of) for each in done] == [(n, 6) for n in range(1, 7)]
    assert done[-1].seconds_left == 0 < done[0].seconds_left
    epochs = [event for event in events if isinstance(event, Learning)]
    assert len(epochs) == 3 * (1 + 2 * 2)  # the first potential is trained once for both methods
    assert (epochs[-1].n_train, epochs[-1].epoch, epochs[-1].of) == (8, 3, 3)


def test_records(uninterrupted):
    split = make_split(settings(), 40, None, 3)
    for records in lines(uninterrupted[0]).values():
        known = split.initial.tolist()
        for record, size in zip(records, (4, 6, 8), strict=True):
            assert record["n_train"] == size == len(known)
            assert record["n_pool"] == 22 + 4 - size
            assert (record["n_valid"], record["n_test"], record["seed"]) == (4, 10, 3)
            assert set(record["errors"]["forces"]) == {"mae", "rmse", "maxe", "maxe_component"}
            assert set(record["picked"]) <= set(split.pool.tolist()) - set(known)
            known += record["picked"]
        assert records[-1]["picked"] == []


@pytest.fixture(scope="module")
def uninterrupted_warm(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmark") / "warm"
    events = []
    run_benchmark(settings(warm_epochs=2), frames(), None, [RND, LCMD], [3], out, events.append)
    return out, events


@pytest.mark.parametrize(
    ("kind", "count", "warm_epochs"),
    [(Learning, 2, None), (Learning, 5, None), (StepDone, 4, None), (Learning, 7, 2), (StepDone, 5, 2)],
)
def test_goes_on_wherever_it_ended(uninterrupted, uninterrupted_warm, tmp_path, kind, count, warm_epochs):
    seen = []

    def listen(event):
        seen.extend([event] * isinstance(event, kind))
        if len(seen) == count:
            raise Ended

    with pytest.raises(Ended):
        run_benchmark(
            settings(warm_epochs=warm_epochs), frames(), None, [RND, LCMD], [3], tmp_path / "results", listen
        )
    n_before = expect_it_goes_on(
        tmp_path / "results", warm_epochs, uninterrupted_warm if warm_epochs else uninterrupted
    )
    if kind is StepDone:
        assert n_before == count


def test_goes_on_after_a_kill(uninterrupted_warm, tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "results")]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert killed.returncode == -9, killed.stderr
    expect_it_goes_on(tmp_path / "results", 2, uninterrupted_warm)


def expect_it_goes_on(folder, warm_epochs, uninterrupted):
    """What is there is not computed again, and the results are those of a run without a break; gives what was there."""
    n_before, steps = sum(map(len, lines(folder).values())), []
    run_benchmark(
        settings(warm_epochs=warm_epochs), frames(), None, [RND, LCMD], [3], folder,
        lambda event: steps.append(event) if isinstance(event, StepDone) else None,
    )  # fmt: skip
    assert len(steps) == 6 - n_before
    assert lines(folder) == lines(uninterrupted[0])
    return n_before


def test_a_warm_curve_begins_like_one_from_scratch_and_goes_on_for_fewer_epochs(
    uninterrupted, uninterrupted_warm
):
    cold, warm = lines(uninterrupted[0]), lines(uninterrupted_warm[0])
    for name, records in warm.items():
        assert records[0]["errors"] == cold[name][0]["errors"]
        assert records[1]["errors"] != cold[name][1]["errors"]
    epochs = [event for event in uninterrupted_warm[1] if isinstance(event, Learning)]
    assert [each.of for each in epochs] == 3 * [3] + 8 * [2]


def test_a_warm_curve_is_not_continued_without_its_last_potential(uninterrupted_warm, tmp_path):
    out = tmp_path / "warm"
    shutil.copytree(uninterrupted_warm[0], out, ignore=shutil.ignore_patterns("lcmd-*.npz"))
    path = out / "lcmd-feat-rp-seed-3.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(
        RunFolderError, match=r"expected the potential of step 1 in .*lcmd-feat-rp-seed-3\.npz"
    ):
        run_benchmark(settings(warm_epochs=2), frames(), None, [LCMD], [3], out)


def test_nothing_is_computed_twice(uninterrupted):
    out, _ = uninterrupted
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    events = []
    run_benchmark(settings(), frames(), None, [LCMD, RND, LCMD], [3, 3], out, events.append)
    assert events == []
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_all_methods_begin_alike(every_method):
    found = lines(every_method)
    assert len(found) == 15
    first = {records[0]["method"]: records[0] for records in found.values()}
    assert sorted(first) == sorted(COMBINATIONS)
    for kind in ("QBC", ""):
        errors = [r["errors"] for m, r in first.items() if ("QBC" in m) == bool(kind)]
        assert all(each == errors[0] for each in errors)
    assert all(len(set(records[0]["picked"])) == 2 for records in found.values())
    assert sorted(p.name for p in (every_method / "models").iterdir()) == [
        "first-1-seed-0.npz",
        "first-3-seed-0.npz",
    ]


def test_a_committee_is_judged_by_its_members_and_by_their_mean(every_method):
    for records in lines(every_method).values():
        for record in records:
            mean = record["errors_of_mean"]
            if "QBC" not in record["method"]:
                assert mean is None
                continue
            for quantity in ("energy", "forces"):
                assert mean[quantity]["rmse"] <= record["errors"][quantity]["rmse"]  # Jensen


def test_correlations_of_all_methods(every_method):
    for records in lines(every_method).values():
        for record in records:
            found = record["correlation"]
            if record["method"] == str(RND):
                assert found is None
                continue
            assert -1 <= found["pearson"] <= 1
            assert ("pearson_root" in found) == ("GP" in record["method"])
            if record["method"] == "MAXDIAG + AE(F)":
                assert found["pearson"] == pytest.approx(1)
            assert record["n_models"] == (3 if "QBC" in record["method"] else 1)


@pytest.mark.usefixtures("not_compiled")
def test_energies_only(tmp_path):
    how = settings(final=6, forces=False)
    methods = [Acquisition.parse(name) for name in ("MAXDIAG + AE(E)", "MAXDIST + GP(LL)")]
    run_benchmark(how, frames(forces=False), None, methods, [0], tmp_path)
    for records in lines(tmp_path).values():
        assert [set(record["errors"]) for record in records] == [{"energy"}] * 2
    assert records[0]["method"] == "MAXDIST + GP(LL)"
    assert lines(tmp_path)["maxdiag-ae-e-seed-0.jsonl"][0]["correlation"]["pearson"] == pytest.approx(1)


@pytest.mark.usefixtures("not_compiled")
def test_a_test_set_of_its_own(uninterrupted, tmp_path):
    how = settings(initial=4, final=4, test=None, test_data="more water")
    run_benchmark(how, frames(20), frames(5), [RND], [0], tmp_path)
    (records,) = lines(tmp_path).values()
    assert (records[0]["n_test"], records[0]["n_pool"]) == (5, 12)


def test_refuses_methods_without_their_labels(tmp_path):
    ae = Acquisition.parse("MAXDIAG + AE(F)")
    with pytest.raises(ValueError, match=r"MAXDIAG \+ AE\(F\) compares with forces"):
        run_benchmark(settings(forces=False), frames(forces=False), None, [ae], [0], tmp_path)
    with pytest.raises(ValueError, match="expected forces in the test file, got energies only"):
        run_benchmark(settings(), frames(), frames(5, forces=False), [RND], [0], tmp_path)
    with pytest.raises(ValueError, match="at least one method and one seed"):
        run_benchmark(settings(), frames(), None, [], [0], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"batch": 4}, "batch: .* were made with 2, got 4"),
        ({"data": "wine"}, "data: .* water, got wine"),
        ({"architecture": replace(ARCHITECTURE, cutoff=4.5)}, r"architecture\.cutoff: .* 4\.0, got 4\.5"),
        ({"training": TrainingSettings(epochs=3, batch_size=1)}, r"training\.batch_size: .* 2, got 1"),
    ],
)
def test_refuses_results_of_another_setting(uninterrupted, changes, text):
    out, _ = uninterrupted
    before = lines(out)
    with pytest.raises(RunFolderError, match=text):
        run_benchmark(settings(**changes), frames(), None, [RND], [4], out)
    assert lines(out) == before
