"""One simulation, or one image of it: each force call from a prediction to a verdict, and to a round if one is due."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Self
from weakref import WeakSet

from ase import Atoms

from ase_bmdal.common.errors import BaselineError, UntrustedError
from ase_bmdal.labelling.worker.checks import refusal_before
from ase_bmdal.learner.learner import Request
from ase_bmdal.learner.loops import Loop, Ticket
from ase_bmdal.learner.pool import Frame
from ase_bmdal.potential.evaluator import Evaluator, Prediction, refuse_if_not_finite
from ase_bmdal.run.events import Cause
from ase_bmdal.structures.labels import Label
from ase_bmdal.structures.structure_only import structure_only
from ase_bmdal.uncertainty.error_model import Bounds
from ase_bmdal.uncertainty.limits import ACCEPTED, Judgement, collision, judge
from ase_bmdal.walkers.bias import Bias
from ase_bmdal.walkers.guard import Guard
from ase_bmdal.walkers.stop import Deadline
from ase_bmdal.walkers.trigger import Trigger

GO_BACK = "Instead of dynamics.run(steps), calc.run(dynamics, steps) goes back to the last trusted state"


class Answer(NamedTuple):
    """What a force call is answered with.

    Attributes
    ----------
    label
        Energy, forces and, if fully periodic, stress, with the bias if there is one.
    bounds
        On their errors; None if they are not known.
    unbiased
        The same without the bias; None if there is none.
    """

    label: Label
    bounds: Bounds | None
    unbiased: Label | None = None


@dataclass
class Doubt:
    """A frame with whose forces a simulation goes on, although they may be wrong, until they are learned.

    Attributes
    ----------
    frame
        The frame.
    ticket
        For the batch that it is in.
    calls
        Force calls since.
    """

    frame: Atoms
    ticket: Ticket
    calls: int = 0


class Walker:
    """All that belongs to one simulation, or one image of it: neighbours, verdicts, bias, pool interval, name.

    Parameters
    ----------
    loop
        What it learns with, together with others.
    name
        Of the simulation; empty for none.

    Attributes
    ----------
    verdict
        On the newest frame.
    generation
        Potential of the newest answer.
    asked
        Potential that was asked last, whether or not its forces were rejected.
    trigger
        Frames it doubts.
    guards
        Simulations that can go back if forces are rejected.
    bound
        Largest bound on the error of a force, eV/Å, of the structure that was looked at last; None if it is not known.
    predicting
        Predicts with an evaluator, as `Evaluator.predict`.
    """

    def __init__(self, loop: Loop, name: str = "") -> None:
        self.loop, self.name = loop, name
        settings = loop.learner.settings
        self._evaluator, self._offered = Evaluator(), 0
        self.predicting: Callable[..., Prediction] = Evaluator.predict
        self._baseline = loop.baseline and loop.baseline.another()
        self.bias = Bias(settings.simulation.bias)
        self.deadline = Deadline(settings.simulation.max_wall_time)
        self.trigger = Trigger(settings.uncertainty, keep=settings.batch_size)
        self.verdict, self.guards = ACCEPTED.verdict, WeakSet[Guard]()
        self._n_beginnings = 0  # frames learned before one was accepted
        self.bound: float | None = None
        self._doubt: Doubt | None = None
        self.generation = self.asked = loop.learner.generation

    def twin(self, name: str | None = None) -> Self:
        """Another simulation, or another image of this one, that learns together with it.

        Parameters
        ----------
        name
            Of the other simulation; None for an image of this one.
        """
        other = type(self)(self.loop, self.name if name is None else name)
        other._evaluator, other.trigger = self._evaluator.empty(), self.trigger.twin()
        other.bias, other.deadline = self.bias, self.deadline
        return other

    def look(self) -> None:
        """Stop if the time is up, or SIGTERM came; raises `SimulationStopped`."""
        self.deadline.check()

    def predict(self, atoms: Atoms) -> Answer:
        """Answer a force call; learn first if there is nothing to predict with, or a round is due.

        Parameters
        ----------
        atoms
            Structure; must not change afterwards.

        Raises
        ------
        UntrustedError
            If forces are rejected, and cannot be learned or are no better after it; or for a guard to go back.
        BaselineError
            If the baseline gives no result.
        SimulationStopped
            If the time is up.
        Error
            As `Loop.prepare` and `Loop.round`.
        """
        if not any(held.is_stepping for held in self.guards):  # which look before each step
            self.look()
        self.loop.prepare(atoms, self.name)
        before = self.generation
        self._settle_doubt()
        answer, has_learned = self._answer(atoms)
        if not has_learned and self.loop.learner.can_learn:
            answer = self._collect(atoms, answer)
        if self.generation != before:
            for held in self.guards:
                held.surface_changed()
        return answer

    def judge(
        self, prediction: Prediction, bounds: Bounds | None, tolerance: float | None, *, must_answer: bool
    ) -> Judgement:
        """Whether to go on with a prediction, to have the frame labelled as well, or not to use it."""
        learner = self.loop.learner
        if not learner.settings.uncertainty.enabled:
            return ACCEPTED
        touching = collision(prediction.uncertainty.closest, learner.settings.labelling.closest_pair)
        if touching.verdict == "reject":
            return touching
        return judge(bounds, tolerance, learner.settings.uncertainty, must_answer=must_answer)

    @property
    def _begins(self) -> bool:
        """Whether no frame was accepted yet, so that there is nowhere to go back to, and not for too long."""
        limits = self.loop.learner.settings.uncertainty
        is_first = self.loop.learner.can_learn and self.trigger.last_accepted is None
        return is_first and self._n_beginnings <= limits.max_rewinds

    @property
    def is_trusted(self) -> bool:
        """Whether one may go back to the newest frame: it is accepted, and no forces before it are in doubt."""
        return self.verdict == "accept" and self._doubt is None

    def learn(self, required: Sequence[Frame], cause: Cause, reason: str) -> bool:
        """Call for a round; says whether there was one, and not just the one of another simulation."""
        self._doubt = None  # where it goes on from, or back to, is known then
        with self._calling(required, cause, reason) as request:
            return self.loop.round(request, self.asked, self.look)

    def _ask(self, required: Sequence[Frame], cause: Cause, reason: str) -> Ticket | None:
        """Call for a round that the simulation need not wait for; a ticket, if it did not."""
        with self._calling(required, cause, reason) as request:
            return self.loop.request(request, self.asked)

    @contextmanager
    def _calling(self, required: Sequence[Frame], cause: Cause, reason: str) -> Iterator[Request]:
        if not self.loop.learner.is_learning:
            reason = f"learning starts again: {reason}"
        try:
            yield Request(cause, reason, required, self.name)
        finally:  # frames that ended in an error would end in it again
            self.trigger.round_done()

    def required_frames(self) -> list[Frame]:
        """What to label before others where forces are rejected."""
        return [self._frame(atoms) for atoms in self.trigger.required()]

    def _frame(self, atoms: Atoms) -> Frame:
        return Frame(structure_only(atoms), self.name)

    def _answer(self, atoms: Atoms) -> tuple[Answer, bool]:
        """Predict; where that must not be followed and nobody can go back, learn first. Says whether it did.

        A simulation that begins there is answered after it, and learns each of its frames like this, a few at most.
        """
        has_learned = False
        while True:
            try:
                return self._evaluate(atoms, must_answer=has_learned and self._begins), has_learned
            except BaselineError:  # nothing that a label could mend
                raise
            except UntrustedError as error:
                if has_learned:
                    raise type(error)(
                        f"{error}; it has just been asked for a label and trained on what came"
                    ) from error
                if not self._begins and any(held.is_stepping for held in self.guards):
                    raise
                self._require_that_it_can_be_learned(atoms, error)
                self._n_beginnings += 1
                has_learned = self.learn([self._frame(atoms)], Cause.REJECTED, f"{error}")

    def _collect(self, atoms: Atoms, answer: Answer) -> Answer:
        """Take the frame for what it may teach, and learn if a round is due and none is being done."""
        learner = self.loop.learner
        self.trigger.note(atoms, self.verdict)
        self._offer(atoms)
        if self.loop.is_working:
            return answer
        if self._doubt is None and self.trigger.is_due(learner.n_rounds):
            ticket = self._ask([self._frame(atoms)], Cause.BOUND_EXCEEDED, self._reason)
            self._doubt = Doubt(atoms, ticket) if ticket else None
            if not self.loop.lead:
                self._settle_doubt()
            return self._answer(atoms)[0] if self._is_outdated else answer
        if learner.is_learning and learner.pool_is_full and self.loop.has_room:
            self._ask((), Cause.POOL_FULL, "the pool is full")
            return self._answer(atoms)[0] if self._is_outdated else answer
        return answer

    @property
    def _is_outdated(self) -> bool:
        """Whether there is another potential than that of the newest answer."""
        return self.asked != self.loop.learner.generation

    def _settle_doubt(self) -> None:
        """Wait for a doubt to be learned if the simulation went on for long enough; go back if it was right.

        Raises
        ------
        UntrustedError
            If the frame is rejected by the potential that knows it, for a guard to go back.
        """
        doubt = self._doubt
        if doubt is None:
            return
        doubt.calls += 1
        if doubt.calls > self.loop.lead:
            self.loop.wait(doubt.ticket, self.look)
        if doubt.ticket.is_learned:
            self._doubt = None
            self._go_back_if_rejected(doubt)

    def _go_back_if_rejected(self, doubt: Doubt) -> None:
        if not any(held.is_stepping for held in self.guards):
            return
        try:
            self._evaluate(doubt.frame, must_answer=self._begins)
        except UntrustedError as error:
            self.trigger.doubtful.append(doubt.frame)
            raise type(error)(
                f"{error}, in a frame {doubt.calls} force calls ago, from which it went on"
            ) from error

    def _offer(self, atoms: Atoms) -> None:
        learner = self.loop.learner
        if not learner.can_learn:
            return
        self._offered += 1
        if self._offered % learner.settings.simulation.pool_interval == 0:
            self.loop.offer(lambda: self._frame(atoms))

    def _require_that_it_can_be_learned(self, atoms: Atoms, error: UntrustedError) -> None:
        learner = self.loop.learner
        refusal, reason = refusal_before(atoms, learner.settings.labelling), learner.reason_to_finish
        if refusal:
            why = f"no reference could make sense of it ({refusal}); of a trial move, it is a rejection"
        elif not learner.can_learn:
            why = f"it would be learned, but {reason}; allow more, and start again with the same directory"
        else:
            return
        go_back = "" if self.guards else f". {GO_BACK}"
        raise type(error)(f"{error}; {why}{go_back}") from error

    def _evaluate(self, atoms: Atoms, *, must_answer: bool) -> Answer:
        learner = self.loop.learner
        current = learner.current
        if current is None:
            raise RuntimeError("expected a potential, the learner has none")
        self.asked, error_model = current.generation, current.error_model
        prediction = self.predicting(
            self._evaluator,
            current.potential,
            atoms,
            error_model.posterior if error_model else None,
            with_bias=bool(self.bias.strength) and learner.is_learning and error_model is not None,
        )
        bounds = error_model.bounds(prediction.uncertainty) if error_model else None
        self.bound = float(bounds.forces.max()) if bounds else None
        self.verdict, self._reason = self.judge(
            prediction, bounds, current.tolerance, must_answer=must_answer
        )
        if self.verdict == "reject":
            raise UntrustedError(self._reason)
        refuse_if_not_finite(prediction.label, atoms)
        label = prediction.label.plus(self._baseline.label(atoms)) if self._baseline else prediction.label
        self.generation = current.generation
        if prediction.bias_label is None:  # as when learning has ended
            return Answer(label, bounds, label if self.bias.strength else None)
        return Answer(self.bias(label, prediction.bias_label), bounds, label)
