"""Lab 7: what it teaches is what the library does, and the library's streams and learners keep their promises."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from leaplm import continual, data
from leaplm.continual import streams
from leaplm.grading.judge import probes, tiny_models
from leaplm.peft import lora
from leaplm.training import TrainingConfig, make_optimizer
from solved import solved_lab
from torch import nn

lab7 = solved_lab("lab7_continual")
COLLATE = data.DynamicPaddingCollator(0)
CONFIG = TrainingConfig(learning_rate=1e-2, epochs=5, batch_size=8, progress=False)


def classifier(classes=2):
    """A tiny BERT classifier whose head grows and whose encoder is called as in the course's own model."""
    model = tiny_models.tiny_classifier(num_labels=classes, initializer_range=0.2)
    model.bert.pooler = None
    forward = model.bert.forward
    model.classifier = nn.Linear(16, classes)

    def whole(input_ids, attention_mask=None, labels=None):
        logits = model.classifier(forward(input_ids, attention_mask=attention_mask).last_hidden_state.mean(dim=1))
        return SimpleNamespace(logits=logits, loss=None if labels is None else nn.functional.cross_entropy(logits, labels))

    model.forward = whole
    return model


def toy_tasks():
    """Two tasks; in each, one of two words decides between two classes, and the words of the tasks differ."""
    tasks = []
    for number, words in enumerate(((10, 11), (20, 21))):
        rows = [{"input_ids": [2, words[i % 2], words[i % 2], 3], "label": 2 * number + i % 2} for i in range(32)]
        places = [2 * number, 2 * number + 1]
        tasks.append(streams.Task(f"t{number}", [f"{number}: a", f"{number}: b"], places, 2 * number + 2, rows, rows[:8]))
    return tasks


# -- the lab's answers are the library's ------------------------------------------------------------------------------


def test_lab7_scores_as_the_library(lab7):
    matrix = torch.rand(4, 4)
    assert lab7["stream_scores"](matrix) == pytest.approx(continual.stream_scores(matrix), abs=1e-5)


def test_lab7_head_is_the_librarys(lab7):
    head = nn.Linear(5, 2)
    theirs, ours = lab7["extend_head"](head, 3), continual.extend_head(head, 3)
    assert torch.equal(theirs.weight, ours.weight) and torch.equal(theirs.bias, ours.bias)


def test_lab7_reservoir_is_the_librarys(lab7):
    slots = [[f(n, 4, rng) for n in range(200)] for f, rng in
             ((lab7["reservoir_slot"], np.random.default_rng(3)), (continual.reservoir_slot, np.random.default_rng(3)))]
    assert slots[0] == slots[1]


def test_lab7_batch_is_the_librarys(lab7):
    new, old = [{"label": n} for n in range(3)], [{"label": n} for n in range(10, 20)]
    drawn = []
    for function in (lab7["mixed_batch"], continual.mixed_batch):
        torch.manual_seed(5)
        drawn.append(function(new, old, 4))
    assert drawn[0] == drawn[1]


def test_lab7_fisher_and_penalty_are_the_librarys(lab7):
    model = tiny_models.tiny_classifier(initializer_range=0.5, dropout=0.3)
    probes.freeze(model, "embeddings")
    rows = [{"input_ids": [5 + i, 9, 7 + i], "label": i % 2} for i in range(5)]
    ours = continual.fisher_diagonal(model, rows, COLLATE)
    theirs = lab7["fisher_diagonal"](copy.deepcopy(model), [COLLATE([row]) for row in rows])
    assert set(ours) == set(theirs) and all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in ours)
    assert model.training
    old = {name: tensor + 0.1 for name, tensor in lora.get_adapter(model).items()}
    old["classifier.weight"], ours["classifier.weight"] = old["classifier.weight"][:1], ours["classifier.weight"][:1]
    assert torch.allclose(lab7["ewc_penalty"](model, old, ours, 3.0), continual.ewc_penalty(model, old, ours, 3.0))


def test_lab7_routes_as_the_library(lab7):
    vectors, centroids = torch.randn(20, 6), torch.randn(3, 6) * torch.tensor([[1.0], [5.0], [30.0]])
    assert torch.equal(lab7["route"](vectors, centroids), continual.route(vectors, centroids))


# -- the library's promises -------------------------------------------------------------------------------------------


def test_a_matrix_that_is_none_is_refused():
    with pytest.raises(ValueError, match="row and a column for each"):
        continual.forgetting([[0.5, 0.5]])


def test_growing_keeps_what_the_model_says_of_old_classes():
    model = classifier()
    batch = COLLATE(toy_tasks()[0].train[:4])
    before = model.eval()(batch["input_ids"]).logits
    after = continual.grow_head(model, 5)(batch["input_ids"]).logits
    assert torch.allclose(after[:, :2], before, atol=1e-6) and not after[:, 2:].any()  # another width, another order of sums


def test_the_buffer_keeps_every_row_equally_often():
    kept = np.zeros(30)
    for seed in range(400):
        buffer = continual.ReservoirBuffer(6, seed)
        buffer.add(range(20))
        buffer.add(range(20, 30))
        assert len(set(buffer.rows)) == 6
        kept[buffer.rows] += 1
    assert np.abs(kept / 400 - 0.2).max() < 5 * np.sqrt(0.2 * 0.8 / 400)


def test_replay_remembers_what_plain_fine_tuning_forgets():
    tasks = toy_tasks()
    naive = streams.run_stream(classifier(), tasks, streams.Learner(COLLATE, CONFIG))
    replay = streams.run_stream(classifier(), tasks, streams.Replay(COLLATE, CONFIG, capacity=20, num_replay=8))
    assert naive.matrix[1, 1] == replay.matrix[1, 1] == 1
    assert naive.matrix[1, 0] < 0.1 and replay.matrix[1, 0] > 0.9
    assert 0 < replay.stored < 0.001 and naive.stored == 0


def test_strong_springs_hold_important_weights():
    tasks, moved = toy_tasks(), {}
    for strength in (0.0, 1e6):
        model, learner = classifier(), streams.EWC(COLLATE, CONFIG, strength=strength, fisher_rows=16)
        streams.run_stream(model, tasks[:1] + tasks[:1], learner)
        before, fisher = learner.old, learner.fisher
        learner.learn(model, tasks[1])
        moved[strength] = continual.ewc_penalty(model, before, fisher, 1.0).item()
    assert moved[1e6] < 0.1 * moved[0.0]


def test_a_known_task_is_not_forgotten_with_weights_of_its_own():
    tasks = toy_tasks()
    result = streams.run_stream(lora.inject_lora(classifier()), tasks, streams.PerTask(COLLATE, CONFIG))
    assert result.known[1, 0] == result.known[0, 0] and result.known[0, 1] == 0
    assert result.stored > 0


def test_a_learned_first_task_is_not_trained_again():
    tasks, model = toy_tasks(), classifier()
    streams.Learner(COLLATE, CONFIG).learn(model, tasks[0])
    before = copy.deepcopy(model.state_dict())
    result = streams.run_stream(model, tasks[:1] * 2, streams.Replay(COLLATE, CONFIG), trained=2)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert result.matrix.min() == 1


def test_streams_end_with_the_new_task(tmp_path):
    assert [name for name, _, _ in streams.stream_of("eng")] == ["movies", "products", "tweets"]
    for language in ("hau", "swa", "yor"):
        names = [name for name, _, _ in streams.stream_of(language)]
        assert len(set(names)) == 3 and names[0] == "movies" and names[-1] == language
    assert streams.stream_of("mine.csv")[-1] == ("own", "mine.csv", "all")


def test_classes_of_a_stream(assets_ready):
    own = streams.load_stream("eng", 12, 8)
    assert [task.places for task in own] == [[0, 1], [2, 3], [4, 5]]
    assert streams.all_classes(own)[2] == "products: negative"
    shared = streams.load_stream("eng", 12, 8, own_classes=False)
    assert [task.places for task in shared] == [[0, 1]] * 3 and shared[2].head_size == 2
    assert {row["label"] for row in own[2].train} == {4, 5}


def test_held_out_texts_are_in_no_stream(assets_ready):
    tasks = streams.load_stream("eng", 10**6, 10**6)
    seen = {data.normalize(row["text"]) for task in tasks for row in task.train + task.test}
    held = [data.normalize(row["text"]) for task in streams.heldout_stream("eng") for row in task.test]
    assert len(held) == 900 and seen.isdisjoint(held)


def test_the_head_can_learn_faster():
    model = classifier()
    groups = make_optimizer(model, TrainingConfig(learning_rate=1e-4, head_learning_rate=5e-3)).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {rates[id(p)] for p in model.classifier.parameters()} == {5e-3}
    assert {rates[id(p)] for p in model.bert.parameters()} == {1e-4}
