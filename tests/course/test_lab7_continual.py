"""Lab 7: what it teaches is what the library does, and the library's streams and learners keep their promises."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from leaplm import continual, data
from leaplm.continual import heads, streams
from leaplm.grading.course import lab_file, load_module
from leaplm.grading.judge import probes, tiny_models
from leaplm.peft import lora
from leaplm.training import TrainingConfig, make_optimizer
from repo import ROOT
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
    model.classifier = probes.linear(16, classes, seed=1)  # the same weights, whatever ran before

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


def vector_rows(count, classes, seed=0):
    vectors = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return [{"vector": vector, "label": number % classes} for number, vector in enumerate(vectors)]


def test_lab7_head_is_the_librarys(lab7):
    theirs, ours = heads.HeadModel(5, 2), heads.HeadModel(5, 2)
    nn.init.normal_(theirs.classifier.weight)
    ours.load_state_dict(theirs.state_dict())
    lab7["grow_head"](theirs, 5)
    continual.grow_head(ours, 5)
    assert torch.equal(theirs.classifier.weight, ours.classifier.weight)
    assert torch.equal(theirs.classifier.bias, ours.classifier.bias) and len(theirs.classifier.bias) == 5


def test_lab7_buffer_is_the_librarys(lab7):
    buffers = [lab7["ReservoirBuffer"](6, 3), continual.ReservoirBuffer(6, 3)]
    for buffer in buffers:
        buffer.add(list(range(20)))
        buffer.add(list(range(20, 50)))
    assert buffers[0].rows == buffers[1].rows and buffers[0].seen == buffers[1].seen == 50


def test_lab7_batches_are_the_librarys(lab7):
    new, old = vector_rows(11, 3), vector_rows(5, 2, seed=1)
    for kept, count in ((old, 2), ([], 2), (old, 9)):
        theirs, ours = (function(new, kept, 4, count, np.random.default_rng(5))
                        for function in (lab7["mixed_epoch"], heads.mixed_epoch))
        assert len(theirs) == len(ours) == 3
        assert all(torch.equal(a, b) for pair in zip(theirs, ours, strict=True) for a, b in zip(*pair, strict=True))


def test_lab7_learns_and_runs_as_the_library(lab7):
    tasks = [{"name": name, "train": rows(20, seed), "test": rows(9, seed + 1), "places": places, "classes": places[-1] + 1}
             for seed, (name, places) in enumerate((("a", [0, 1]), ("b", [2, 3])))
             for rows in [lambda count, seed, places=places: [{**row, "label": places[row["label"]]}
                                                              for row in vector_rows(count, 2, seed)]]]
    found = []
    for learn_task, run_tasks, buffer in ((lab7["learn_task"], lab7["run_tasks"], lab7["ReservoirBuffer"](8)),
                                          (heads.learn_task, heads.run_tasks, continual.ReservoirBuffer(8))):
        torch.manual_seed(0)
        model, rng, losses = heads.HeadModel(6, 2), np.random.default_rng(0), []
        matrices = run_tasks(model, tasks, lambda model, task, learn=learn_task, buffer=buffer, rng=rng, losses=losses:
                             losses.extend(learn(model, task["train"], task["classes"], buffer, rng)))
        found.append((losses, *matrices, model.classifier.weight, [row["vector"] for row in buffer.rows]))
    (losses, *theirs, kept), (wanted, *ours, ours_kept) = found
    assert losses == wanted and all(torch.equal(a, b) for a, b in zip(theirs, ours, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(kept, ours_kept, strict=True)) and losses[0] > losses[4]


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
    assert naive.matrix[1, 0] <= 0.5 and replay.matrix[1, 0] > 0.9
    assert 0 < replay.stored < 0.001 and naive.stored == 0


def test_replay_of_a_head_holds_what_naive_training_loses():
    tasks, rows = [], {name: vector_rows(40, 2, seed) for seed, name in enumerate("ab")}
    for number, some in enumerate(rows.values()):
        for row in some:  # each task at a place of its own; in it one number decides between two classes
            row["vector"] = torch.tensor([3.0 * number, 3.0 - 3.0 * number, 0, 0, 0, 4.0 * row["label"] - 2.0])
            row["label"] += 2 * number
        tasks.append({"name": str(number), "train": some, "test": some[:9], "places": [2 * number, 2 * number + 1],
                      "classes": 2 * number + 2})
    for count in (0, 8):
        rng, buffer = np.random.default_rng(0), continual.ReservoirBuffer(20)

        def learn(model, task, count=count, rng=rng, buffer=buffer):
            heads.learn_task(model, task["train"], task["classes"], buffer, rng, 30, 0.05, num_replay=count)

        matrix, known = heads.run_tasks(heads.HeadModel(6, 2), tasks, learn)
        assert matrix[0, 0] == matrix[1, 1] == 1 and matrix[0, 1] == known[0, 1] == 0
        assert matrix[1, 0] == 1 if count else matrix[1, 0] < 1


def test_another_rule_of_what_to_keep_takes_the_reservoirs_place():
    class Newest(continual.ReservoirBuffer):
        def add(self, rows):
            self.rows = (self.rows + rows)[-self.capacity:]

    learner = streams.Replay(COLLATE, CONFIG, buffer=Newest(4))
    learner.remember(None, toy_tasks()[0])
    assert len(learner.buffer.rows) == 4 and isinstance(learner.buffer, Newest)


def test_vectors_of_a_stream_are_those_of_the_encoder():
    tasks, model = toy_tasks(), classifier()
    model.bert.pooler = None
    found = heads.vector_tasks(model, tasks, COLLATE)
    assert [(task["name"], task["places"], task["classes"]) for task in found] == [("t0", [0, 1], 2), ("t1", [2, 3], 4)]
    wanted = streams.text_vectors(model, tasks[1].test, COLLATE)
    assert all(torch.allclose(row["vector"], vector) for row, vector in zip(found[1]["test"], wanted, strict=True))
    assert [row["label"] for row in found[1]["test"]] == [row["label"] for row in tasks[1].test]


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
        assert len(set(names)) == 3 and names[0] == "movies" and names[-1] == data.NAMES[language]
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


@pytest.mark.parametrize("language", ["eng", "hau"])
def test_whoever_knows_of_a_text_its_task_alone_earns_nothing(assets_ready, needs_asset, monkeypatch, language):
    if language != "eng":
        needs_asset("afrisenti")
    checks = load_module(lab_file(ROOT, "lab7_continual", "checks.py"))
    tasks, rng = streams.heldout_stream(language), np.random.default_rng(2)
    rights = [np.array([row["label"] for row in task.test]) for task in tasks]
    guesses = [rng.permutation(right) for right in rights]
    some = [np.where(rng.random(len(right)) < 0.5, right, guess) for right, guess in zip(rights, guesses, strict=True)]
    answers = {"guesses": guesses, "two tasks, a little": [*some[:2], guesses[2] * 0], "all": rights}
    points = {}
    for what, said in answers.items():
        scores = np.eye(99)[np.concatenate(said)]
        monkeypatch.setattr(checks, "class_scores", lambda *_, scores=scores: scores)
        points[what] = checks.judge_stream(None, tasks, language)[0]
    assert points == {"guesses": 0, "two tasks, a little": 3, "all": 6}
