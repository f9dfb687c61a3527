import numpy as np
import pytest
import tensorflow as tf
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT

from ase_bmdal.common.errors import TrainingError
from ase_bmdal.common.randomness import stream
from ase_bmdal.potential.adam import adamw, compiled_steps, initial_state
from ase_bmdal.potential.dataset import Dataset, capacity, stacked, stacks
from ase_bmdal.potential.fit import fit
from ase_bmdal.potential.gmnn import Committee
from ase_bmdal.potential.loss import compiled_losses, loss_terms
from ase_bmdal.potential.network import initial_parameters
from ase_bmdal.potential.regression import fit_reference, rebase, scale_of_forces
from ase_bmdal.potential.settings import Descent, LearningRates, ModelSettings, TrainingSettings
from ase_bmdal.potential.training import split, train
from ase_bmdal.structures.batch import BatchShape
from ase_bmdal.structures.labels import Label, label_of, labels_of
from tests.builders import random_model, rattled

pytestmark = pytest.mark.usefixtures("not_compiled")  # but for those that ask for `compiled`
TINY = ModelSettings(hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5)
DOUBLE = ModelSettings(hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5, dtype="float64")


def cell(seed, by=0.1, symbols="Cu4"):
    atoms = Atoms(
        symbols,
        scaled_positions=[[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
        cell=[3.6] * 3,
        pbc=True,
    )
    atoms.rattle(by, seed=seed)
    atoms.set_cell(atoms.cell * (1 + 0.02 * np.sin(seed)), scale_atoms=True)
    return atoms


def labelled(atoms, *properties):
    atoms = atoms.copy()
    atoms.calc = EMT()
    wanted = properties or ("energy", "forces", *(["stress"] if atoms.pbc.all() else []))
    return Label(**{name: atoms.calc.get_property(name, atoms) for name in wanted}).attach(atoms)


def crystals(n, *properties, first=0):
    return [labelled(cell(seed), *properties) for seed in range(first, first + n)]


def water(n):
    return [labelled(rattled(molecule("H2O"), seed)) for seed in range(n)]


def same(a, b, tolerance=0.0):
    for one, other in zip(a.members, b.members, strict=True):
        for name, values in one.parameters.items():
            np.testing.assert_allclose(values, other.parameters[name], atol=tolerance, rtol=tolerance)


class TestLoss:
    def test_equals_the_formula(self):
        structures = [
            *crystals(2),
            *water(2),
            labelled(cell(5), "energy"),
            labelled(cell(6), "energy", "forces"),
        ]
        model = random_model([1, 8, 29], hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5)
        how = TrainingSettings(energy_weight=0.7, force_weight=3.0, stress_weight=0.3)
        reference = fit_reference(structures, [label.energy for label in labels_of(structures)])
        rebased = rebase(model, reference, model.parameters)
        data = Dataset(structures, labels_of(structures), reference, model.settings, how)
        found = np.empty(len(structures))
        for minibatch in data.minibatches(4):
            run = compiled_losses(model.settings, minibatch.arrays.shape, True)
            values = run(rebased.tensors, *minibatch.tensors())
            found[minibatch.members] = values[: len(minibatch.members)]
        np.testing.assert_allclose(found, [self.formula(model, atoms) for atoms in structures], rtol=1e-8)

    def formula(self, model, atoms):
        [predicted], label = model.predict([atoms]), label_of(atoms)
        loss = 0.7 * (predicted.energy - label.energy) ** 2
        if label.forces is not None:
            loss += 3.0 / 3 * ((predicted.forces - label.forces) ** 2).sum()
        if label.stress is not None:
            error = (predicted.stress - label.stress) * atoms.get_volume()
            loss += 0.3 * ((error[:3] ** 2).sum() + 2 * (error[3:] ** 2).sum())
        return loss


class TestRegression:
    def test_finds_the_energies_of_free_atoms(self):
        structures = [Atoms("HO"), Atoms("H2O"), Atoms("H2")]
        reference = fit_reference(structures, [-3.0, -4.0, -2.0])
        np.testing.assert_allclose(reference.atomic_energies, [-1, -2])
        assert reference.of(Atoms("H2O2")) == pytest.approx(-6)
        assert (reference.elements, reference.energy_scale) == ((1, 8), 0.01)

    def test_one_composition_has_the_solution_of_least_norm(self):
        reference = fit_reference([Atoms("H2O")] * 4, [-10.0] * 4)
        np.testing.assert_allclose(reference.atomic_energies, [-4, -2])

    def test_the_scale_is_the_residual_per_atom(self):
        reference = fit_reference([Atoms("H2")] * 2, [-1.0, 1.0])
        assert reference.energy_scale == pytest.approx(0.5)

    def test_a_large_cell_says_no_more_of_an_atom_than_a_small_one(self):
        structures, strained = [Atoms("Cu"), Atoms("Cu2"), Atoms("Cu100")], [-3.0, -6.0, -270.0]
        assert fit_reference(structures, strained).atomic_energies == pytest.approx([-2.9])

    def test_the_scale_comes_from_the_forces_where_there_are_any(self):
        labels = [Label(0.0, np.full((2, 3), 3.0)), Label(0.0), Label(0.0, np.full((1, 3), 6.0))]
        assert scale_of_forces(labels, 0.2) == pytest.approx(0.2 * np.sqrt((6 * 9 + 3 * 36) / 9))
        assert fit_reference([Atoms("H2")] * 2, [-1.0, 1.0], force_scale=0.3).energy_scale == 0.3
        assert scale_of_forces(labels, None) is None
        assert scale_of_forces([Label(0.0)], 0.2) is None
        assert scale_of_forces([Label(0.0, np.zeros((1, 3)))], 0.2) is None

    def test_known_elements_keep_a_place(self):
        reference = fit_reference([Atoms("O2")], [-4.0], known_elements=(1, 29))
        assert reference.elements == (1, 8, 29)
        np.testing.assert_allclose(reference.atomic_energies, [0, -2, 0])

    def test_rebase_predicts_the_same(self):
        structures = [*crystals(2), cell(3)]
        model = random_model([29], hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5)
        reference = fit_reference([Atoms("AuCu"), Atoms("H")], [5.0, 3.0], model.elements)
        fresh = initial_parameters(model.settings, 3, stream(0, "fresh"))
        rebased = rebase(model, reference, fresh)
        assert rebased.elements == (1, 29, 79)
        for one, other in zip(model.predict(structures), rebased.predict(structures), strict=True):
            assert one.energy == pytest.approx(other.energy, abs=1e-9)
            np.testing.assert_allclose(one.forces, other.forces, atol=1e-9)


class TestSteps:
    """Several steps in one call, whatever shapes the minibatches have."""

    def data(self):
        large = labelled(cell(5).repeat((3, 1, 1)), "energy", "forces")
        structures = [*crystals(4), *water(3), large]
        model = random_model([1, 8, 29], hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5)
        reference = fit_reference(structures, [label.energy for label in labels_of(structures)])
        data = Dataset(structures, labels_of(structures), reference, model.settings, TrainingSettings())
        return model, data

    def test_equal_steps_one_by_one(self):
        model, data = self.data()
        stack = max(stacks(data.minibatches(1)), key=len)
        descent, n = Descent(weight_decay=0.1, energy_delay=3.0), len(stack)
        fractions = np.linspace(1.0, 0.2, capacity(stack[0].arrays.shape))
        parameters = {name: model.tensors[name] for name in model.parameters}
        fixed = {name: model.tensors[name] for name in model.tensors if name not in parameters}
        run = compiled_steps(model.settings, stack[0].arrays.shape, descent, True)
        done, values = run(initial_state(parameters), fractions, np.int32(n), fixed, *stacked(stack))
        state = initial_state(parameters)
        for index, minibatch in enumerate(stack):
            arrays, targets = minibatch.tensors()
            with tf.GradientTape() as tape:
                tape.watch(state.parameters)
                terms = loss_terms({**state.parameters, **fixed}, arrays, targets, model.settings, True)
                energy, force, virial = map(tf.reduce_mean, terms)
                total = force + (energy + virial) / (1 + 9 * fractions[index] ** 2)
            np.testing.assert_allclose(values[index], sum(terms), rtol=1e-8)
            state = adamw(state, tape.gradient(total, state.parameters), descent, fractions[index])
        assert n < len(fractions)
        assert done.step == state.step == n
        for name, value in state.parameters.items():
            np.testing.assert_allclose(done.parameters[name], value, rtol=1e-8, atol=1e-12)

    def test_every_minibatch_stands_in_one_stack_of_its_shape(self):
        _, data = self.data()
        found = list(stacks(minibatch for _ in range(9) for minibatch in data.minibatches(1)))
        assert len({stack[0].arrays.shape for stack in found}) > 1
        assert all(each.arrays.shape == stack[0].arrays.shape for stack in found for each in stack)
        assert all(len(stack) <= capacity(stack[0].arrays.shape) for stack in found)
        members = sorted(int(each.members[0]) for stack in found for each in stack)
        assert members == sorted(9 * list(range(8)))

    def test_fewer_structures_than_a_batch_holds_are_padded_and_learned_as_they_are(self):
        """So that each label more of a run that begins is no other shape, which is compiled anew."""
        alone, padded = (
            train(crystals(5), architecture=DOUBLE, training=TrainingSettings(epochs=3, batch_size=size))
            for size in (5, 32)
        )
        same(alone, padded, 1e-8)
        shapes = set()
        for n in range(9, 17):
            structures, labels = crystals(n), labels_of(crystals(n))
            reference = fit_reference(structures, [label.energy for label in labels])
            data = Dataset(structures, labels, reference, DOUBLE, TrainingSettings())
            shapes |= {each.arrays.shape.structures for each in data.minibatches(32)}
        assert shapes == {16}

    def test_a_stack_of_large_batches_stays_small(self):
        assert capacity(BatchShape(64, 20, 2)) == 16
        assert capacity(BatchShape(4096, 160, 32)) == 1


@pytest.mark.parametrize(
    ("n", "epochs"), [(1, 1000), (20, 1000), (50, 800), (100, 400), (134, 300), (1000, 300), (10**5, 300)]
)
def test_few_structures_are_used_more_often(n, epochs):
    assert TrainingSettings().epochs_for(n) == epochs
    assert TrainingSettings(epochs=7).epochs_for(n) == 7


class TestAdamW:
    def n_clipped(self, n_steps, spikes, rtol):
        """Compare with NumPy; gives how many gradients were clipped."""
        rng = np.random.default_rng(0)
        x = {"W1": rng.normal(size=3), "beta": rng.normal(size=2), "shift": rng.normal(size=2)}
        rates, decays = {"W1": 0.1, "beta": 0.03, "shift": 0.2}, {"W1": 0.4, "beta": 0.4, "shift": 0.0}
        descent = Descent(
            rates=LearningRates(network=0.2, beta=0.06, shift=0.4),
            weight_decay=0.4,
            clip_norm=0.8,
            clip_after=15,
        )
        state = initial_state({name: tf.constant(value) for name, value in x.items()})
        mean, square = ({name: np.zeros_like(value) for name, value in x.items()} for _ in range(2))
        n_clipped = 0
        for step in range(1, n_steps + 1):
            gradients = {name: rng.normal(size=value.shape) for name, value in x.items()}
            if step in spikes:
                gradients["W1"] *= 1000.0
            state = adamw(
                state, {name: tf.constant(value) for name, value in gradients.items()}, descent, 0.5
            )
            for name, gradient in gradients.items():
                longest = 0.8 * np.sqrt(np.sum(square[name]) / max(1 - 0.999 ** (step - 1), 0.001))
                too_long = step > 15 and np.linalg.norm(gradient) > longest
                g = gradient * longest / np.linalg.norm(gradient) if too_long else gradient
                n_clipped += too_long
                mean[name] = 0.9 * mean[name] + 0.1 * g
                square[name] = 0.999 * square[name] + 0.001 * g**2
                size = rates[name] * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                downhill = size * mean[name] / (np.sqrt(square[name]) + 1e-7)
                x[name] = x[name] - downhill - rates[name] * decays[name] * x[name]
        for name, value in x.items():
            np.testing.assert_allclose(state.parameters[name], value, rtol=rtol)
        return n_clipped

    def test_equals_numpy(self):
        # The number of steps is float32, in which 1 - 0.999^n has a relative error of 1e-5.
        assert self.n_clipped(n_steps=5, spikes=(), rtol=1e-4) == 0

    def test_long_gradients_are_clipped(self):
        assert self.n_clipped(n_steps=40, spikes=(10, 30), rtol=1e-4) > 0

    def test_one_structure_with_huge_forces_does_not_spoil_the_network(self):
        rng = np.random.default_rng(1)
        state = initial_state({"w": tf.constant(rng.normal(size=50))})
        before = None
        for step in range(310):
            gradient = rng.normal(size=50) * (1e4 if step == 300 else 1.0)
            if step == 300:
                before = state.parameters["w"]
            state = adamw(
                state, {"w": tf.constant(gradient)}, Descent(rates=LearningRates(network=0.01)), 1.0
            )
        moved = np.linalg.norm(state.parameters["w"] - before) / np.sqrt(50)
        assert moved < 10 * 0.01

    def test_groups_have_their_rates(self):
        rates = LearningRates(network=1.0, beta=2.0, shift=3.0, scale=4.0)
        assert [rates.of(name) for name in ("w1", "b0", "beta", "shift", "scale")] == [1, 1, 2, 3, 4]


class TestTrain:
    def test_same_seed_same_potential(self):
        data = crystals(5)
        models = [train(data, architecture=TINY, epochs=2, seed=seed) for seed in (0, 0, 1)]
        same(models[0], models[1])
        assert not np.array_equal(models[0].parameters["beta"], models[2].parameters["beta"])

    def test_large_energies_cost_no_accuracy(self):
        data = crystals(4)
        heavy = [
            Label(label.energy + 1e5, label.forces, label.stress).attach(atoms)
            for atoms, label in zip(data, labels_of(data), strict=True)
        ]
        low, high = (train(each, architecture=TINY, epochs=3) for each in (data, heavy))
        for one, other in zip(low.predict(data), high.predict(data), strict=True):
            assert other.energy - 1e5 == pytest.approx(one.energy, abs=1e-4)
            np.testing.assert_allclose(one.forces, other.forces, atol=1e-4)

    def test_goes_on_from_a_model(self):
        data = crystals(4)
        first = train(data, architecture=TINY, epochs=2)
        still = train(
            data,
            model=first,
            training=TrainingSettings(epochs=1, rates=LearningRates(network=0, beta=0, shift=0, scale=0)),
        )
        pairs = list(zip(first.predict(data), still.predict(data), labels_of(data), strict=True))
        for before, after, _ in pairs:
            np.testing.assert_allclose(before.forces, after.forces, atol=1e-5)
        # Nothing but the mean of the energies, which is that of the labels.
        assert np.ptp([after.energy - before.energy for before, after, _ in pairs]) < 1e-4
        assert np.mean([after.energy - label.energy for _, after, label in pairs]) == pytest.approx(
            0, abs=1e-4
        )
        more = train([*data, *water(2)], model=first, epochs=1)
        assert more.elements == (1, 8, 29)
        assert more.settings == TINY

    def test_a_model_and_a_request_that_contradict_it(self):
        data = crystals(2)
        first = train(data, architecture=TINY, epochs=1)
        with pytest.raises(ValueError, match="architecture of the model to go on from"):
            train(data, model=first, cutoff=4.0)
        with pytest.raises(ValueError, match="a model of 3 networks to go on from, got one of 1"):
            train(data, model=first, n_models=3)

    def test_a_committee(self):
        committee = train(crystals(3), architecture=TINY, epochs=1, n_models=2)
        assert isinstance(committee, Committee)
        one, other = committee.members
        assert not np.array_equal(one.parameters["beta"], other.parameters["beta"])
        again = train(crystals(3), model=committee, epochs=1)
        assert len(again.members) == 2

    def test_energies_alone(self):
        data = [*crystals(3, "energy"), labelled(rattled(molecule("H2O")), "energy")]
        epochs = []
        model = train(data, architecture=TINY, epochs=2, on_epoch=epochs.append)
        assert np.isfinite(model.predict(data)[0].forces).all()
        assert [(epoch.number, epoch.of, epoch.valid_loss) for epoch in epochs] == [
            (1, 2, None),
            (2, 2, None),
        ]

    def test_any_mixture(self):
        data = [
            *crystals(2),
            *crystals(2, "energy", first=2),
            *crystals(2, "energy", "forces", first=4),
            *water(3),
        ]
        model = train(data, architecture=TINY, epochs=1)
        assert model.elements == (1, 8, 29)
        assert [label.stress is not None for label in model.predict(data)] == [True] * 6 + [False] * 3

    @pytest.mark.parametrize(
        ("n", "valid", "n_valid"), [(10, 0.04, 1), (10, 0.3, 3), (4, 0.9, 3), (1, 0.5, 0), (10, 0, 0)]
    )
    def test_a_fraction_holds_out_one_at_least_and_not_all(self, n, valid, n_valid):
        train_set, valid_set = split(crystals(n), valid, 0)
        assert (len(train_set), len(valid_set)) == (n - n_valid, n_valid)

    def test_a_part_is_held_out(self):
        data, epochs = crystals(10), []
        model = train(data, valid=0.3, architecture=TINY, epochs=3, on_epoch=epochs.append)
        assert [epoch.valid_loss > 0 for epoch in epochs] == [True] * 3
        assert model.elements == (29,)
        with pytest.raises(ValueError, match=r"fraction of structures for validation in \[0, 1\), got 1"):
            train(data, valid=1.0, architecture=TINY, epochs=1)

    def test_what_is_held_out_is_not_trained_on(self):
        data, absurd = crystals(4), Label(1e6, np.zeros((4, 3))).attach(cell(9))
        with_it, without = (
            train(data, valid=valid, architecture=TINY, epochs=1) for valid in ([absurd], None)
        )
        same(with_it, without)

    def test_the_best_epoch_is_kept(self):
        data, valid, seen = crystals(4), crystals(2, first=10), []
        model = train(
            data, valid=valid, architecture=DOUBLE, on_epoch=seen.append,
            training=TrainingSettings(epochs=6, rates=LearningRates(network=0.5, beta=0.2)),
        )  # fmt: skip
        how, labels = TrainingSettings(), labels_of(valid)
        reference = fit_reference(data, [label.energy for label in labels_of(data)])
        held_out = Dataset(valid, labels, reference, DOUBLE, how)
        [minibatch] = held_out.minibatches(32)
        run = compiled_losses(DOUBLE, minibatch.arrays.shape, True)
        loss = run(model.tensors, *minibatch.tensors()).numpy()[: len(minibatch.members)].mean()
        assert loss == pytest.approx(min(epoch.valid_loss for epoch in seen), rel=1e-6)

    def test_labels_must_be_there_and_be_numbers(self):
        data = crystals(3)
        data[1].calc.results["forces"][0, 0] = np.nan
        with pytest.raises(ValueError, match="structure 1: expected finite forces of Cu4"):
            train(data, architecture=TINY, epochs=1)
        with pytest.raises(ValueError, match="structure 2: expected a labelled structure"):
            train([*crystals(2), cell(0)], architecture=TINY, epochs=1)
        with pytest.raises(ValueError, match="got none"):
            train([], architecture=TINY)

    def test_a_loss_that_is_not_a_number_names_the_structure(self):
        data = crystals(3)
        data[2].calc.results["forces"][:] = 1e25  # its square is infinite in float32
        with pytest.raises(
            TrainingError, match=r"the loss of training structure, epoch 1, .* structures \[.*2"
        ):
            train(data, architecture=TINY, epochs=1)

    def test_fit_changes_nothing_it_was_given(self):
        data = crystals(3)
        start = train(data, architecture=TINY, epochs=1)
        before = {name: value.copy() for name, value in start.parameters.items()}
        labels = labels_of(data)
        reference = fit_reference(data, [label.energy for label in labels])
        how = TrainingSettings(epochs=1)
        fit(start, Dataset(data, labels, reference, TINY, how), None, how, np.random.default_rng(0))
        for name, value in start.parameters.items():
            np.testing.assert_array_equal(value, before[name])


def test_learns_clearly_more_than_the_mean(compiled):
    data, test = crystals(24), crystals(8, first=50)
    model = train(data, architecture=TINY, epochs=60)
    predicted, labels = model.predict(test), labels_of(test)
    forces = np.array([label.forces for label in labels])
    errors = np.array([each.forces for each in predicted]) - forces
    assert np.abs(errors).mean() < 0.25 * np.abs(forces).mean()
    energies = np.array([label.energy for label in labels])
    wrong = np.array([each.energy for each in predicted]) - energies
    assert np.abs(wrong).mean() < 0.5 * np.abs(energies - energies.mean()).mean()
