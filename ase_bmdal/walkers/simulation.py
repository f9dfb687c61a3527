"""A guarded simulation from its start to its end: it goes back where it leaves known ground, and ends in good order."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ase.optimize.optimize import Optimizer

from ase_bmdal.common.errors import BaselineError, SimulationStopped, UntrustedError
from ase_bmdal.run.events import Cause, Rewound, SimulationEnded
from ase_bmdal.uncertainty.calibrate import observed_coverage
from ase_bmdal.walkers.guard import Guard, guard
from ase_bmdal.walkers.stop import explained
from ase_bmdal.walkers.together import Conductor
from ase_bmdal.walkers.walker import Walker


def guarded(dyn: Any, walkers: Sequence[Walker]) -> Guard:
    """Undo steps of a simulation that leave known ground, until the guard that is returned is released.

    Parameters
    ----------
    dyn
        ASE dynamics or optimizer.
    walkers
        Those of its images, at least one, which learn together.
    """
    loop = walkers[0].loop
    held = guard(
        dyn,
        recover=lambda error: _recover(error, walkers),
        is_trusted=lambda: all(walker.is_trusted for walker in walkers),
        surface=lambda: loop.learner.generation,
        report=lambda *how: loop.report(Rewound(*how)),
        look=walkers[0].look,
        max_rewinds=loop.learner.settings.uncertainty.max_rewinds,
    )
    for walker in walkers:
        walker.guards.add(held)
    return held


def run(dyn: Any, walkers: Sequence[Walker], steps: int, **how: Any) -> bool:
    """Run a simulation or a relaxation under guard; see `OnTheFlyCalculator.run`.

    Raises
    ------
    UntrustedError
        If going back did not help; says what was tried.
    KeyboardInterrupt
        If Ctrl-C came; shown as a sentence that says what is kept and how to go on.
    """
    with walkers[0].deadline.catching_sigterm(walkers[0].loop.stop):
        return _run(dyn, walkers, steps, **how)


def run_together(simulations: Sequence[tuple[Any, Sequence[Walker]]], steps: int, **how: Any) -> list[bool]:
    """Run several simulations in turns, each with its walkers; see `run`.

    What else `run` takes, as `fmax`, is for the optimizers among them.

    Raises
    ------
    Error
        As `run`. The others go on after an `UntrustedError`, which is raised at their ends; any other ends them.
    """
    everyone = [walker for _, walkers in simulations for walker in walkers]
    conductor = Conductor(everyone[0].loop)
    relaxed = [dyn for dyn, _ in simulations if isinstance(dyn, Optimizer)]
    runs = [
        partial(_run, dyn, walkers, steps, **({} if relaxed and dyn not in relaxed else how))
        for dyn, walkers in simulations
    ]
    with (
        everyone[0].deadline.catching_sigterm(everyone[0].loop.stop),
        conductor.conducting(everyone),
    ):
        return conductor.run(runs)


def _run(dyn: Any, walkers: Sequence[Walker], steps: int, **how: Any) -> bool:
    loop, held = walkers[0].loop, guarded(dyn, walkers)
    reason = "all steps are done"
    try:
        is_converged = held.run(steps, **how)
        if isinstance(dyn, Optimizer) and is_converged:
            reason = _converged(dyn.fmax, [walker.bound for walker in walkers])
        return is_converged
    except SimulationStopped as stop:
        reason = str(stop)
        return False
    except KeyboardInterrupt:
        reason = "interrupted"
        raise explained(
            f"Interrupted after step {dyn.nsteps}: all labels and the newest potential are kept in "
            f"{loop.learner.directory}, and the same script or command goes on from there."
        ) from None
    except UntrustedError as error:
        reason = f"stopped after step {dyn.nsteps}: {error}{_set_back(held, walkers[0])}"
        if loop.learner.can_learn:
            raise
        return False
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        raise
    finally:
        held.release()
        loop.gather()
        loop.report(_end(reason, held, walkers[0]))


def _converged(fmax: float | None, bounds: Sequence[float | None]) -> str:
    """In words; that forces are small says little where they may be wrong by more."""
    below = f"converged to forces of {fmax:g} eV/Å" if fmax else "converged"
    bound = max((each for each in bounds if each is not None), default=0.0)
    if bound <= (fmax or 0.0):
        return below
    return (
        f"{below} that may be wrong by {bound:.2g} eV/Å: have the reference check them, or more labelled by a smaller "
        "UncertaintyLimits(force_tolerance=...)"
    )


def _recover(error: UntrustedError, walkers: Sequence[Walker]) -> None:
    """Learn from the frames on the way to one that is rejected; no label mends a baseline that fails."""
    if isinstance(error, BaselineError):
        return
    learner = walkers[0].loop.learner
    if not learner.can_learn:
        raise type(error)(f"{error}; {learner.reason_to_finish}") from error
    required = [frame for walker in walkers for frame in walker.required_frames()]
    if not (required or learner.has_frames):
        raise error
    rejected = max(walkers, key=lambda walker: walker.asked)  # others may not have seen its potential yet
    rejected.learn(required, Cause.REJECTED, f"{error}")
    for walker in walkers:
        walker.trigger.round_done()


def _set_back(held: Guard, walker: Walker) -> str:
    """Put a simulation into its last trusted state and keep that; in words."""
    learner, step = walker.loop.learner, held.set_back()
    if step is None or learner.is_closed:
        return ""
    path = learner.keep_last_trusted(held.frames)
    return f". It is set back to step {step}, its last trusted state, which is kept in {path}"


def _end(reason: str, held: Guard, walker: Walker) -> SimulationEnded:
    dataset = walker.loop.learner.dataset
    last = dataset.next_round - 1
    errors, coverage = dataset.errors_before_training(last), observed_coverage(dataset.of_round(last))
    force_mae = errors.force_mae if errors else None
    return SimulationEnded(reason, held.dyn.nsteps, held.rewinds, len(dataset.done), force_mae, coverage)
