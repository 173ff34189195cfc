"""Smaller classifiers: pruning, 8-bit numbers, smaller vocabularies, students, ONNX, and the file that holds one whole."""

import copy

import numpy as np
import pytest
import torch
from leaplm import artifacts, compression, data, models
from leaplm.compression import checkpoint as compressed
from leaplm.compression import comparison as versions
from leaplm.compression import latency
from leaplm.compression.engine import make_forward
from leaplm.training import TrainingConfig, train
from torch import nn

LABELS = ["no", "yes"]
TEXTS = ["A surprisingly warm film.", "Dull and far too long", "Nobody in Kisumu would pay for this!"]


@pytest.fixture(scope="module")
def classifier(assets_ready):
    """Two layers of MiniLM with a random head."""
    torch.manual_seed(0)
    return compression.make_student(models.load_sequence_classifier(LABELS), (0, 3)).eval()


@pytest.fixture(scope="module")
def tokenizer(assets_ready):
    return models.load_tokenizer()


def logits(model, tokenizer, texts=TEXTS):
    rows = [{"input_ids": ids} for ids in tokenizer(list(texts))["input_ids"]]
    batch = data.DynamicPaddingCollator(tokenizer.pad_token_id)(rows)
    with torch.no_grad():
        return model(**batch).logits.numpy()


def test_magnitude_mask_is_torchs_pruning():
    layer = nn.Linear(7, 5)
    mask = compression.magnitude_mask(layer.weight, 0.4)
    nn.utils.prune.l1_unstructured(layer, "weight", amount=0.4)
    assert torch.equal(mask.float(), layer.weight_mask)


@pytest.mark.parametrize("scope", ["layer", "global", "random"])
def test_pruned_weights_stay_zero_in_training(classifier, scope):
    model = compression.prune_model(compression.make_student(classifier, (0,)), 0.6, scope)
    model.bert.embeddings.requires_grad_(False)
    rows = [{"input_ids": [101, 2000 + i, 102], "label": i % 2} for i in range(8)]
    train(model, rows, data.DynamicPaddingCollator(0), TrainingConfig(max_steps=2, batch_size=4, progress=False))
    model = compression.finish_pruning(model)
    assert compression.zero_share(model) == pytest.approx(0.6, abs=1e-3)
    assert set(model.state_dict()) < set(classifier.state_dict())


def test_quantized_numbers_are_near_and_never_overflow():
    weight = torch.randn(20, 50) * torch.logspace(-4, 3, 20)[:, None]
    weight[3] = 0
    numbers, scales = compression.quantize_int8(weight)
    assert numbers.dtype == torch.int8 and numbers.abs().max() == 127 and scales[3] == 1
    assert ((compression.dequantize(numbers, scales) - weight).abs() <= 0.5001 * scales[:, None]).all()


def test_fake_quantization_by_row_is_the_real_one(classifier):
    name = "bert.encoder.layer.0.output.dense.weight"
    model = compression.fake_quantize(copy.deepcopy(classifier))
    want = compression.dequantize(*compression.quantize_int8(classifier.get_parameter(name)))
    torch.testing.assert_close(model.get_parameter(name).detach(), want)


def test_trimming_changes_no_score_of_texts_that_were_counted(classifier, tokenizer):
    kept = compression.used_pieces(tokenizer, TEXTS)
    small, model = compression.trim_tokenizer(tokenizer, kept), compression.trim_embeddings(classifier, kept)
    assert len(small) == len(kept) < 500
    np.testing.assert_allclose(logits(model, small), logits(classifier, tokenizer), atol=1e-5)
    [whole], [pieces] = tokenizer(["surprising"])["input_ids"], small(["surprising"])["input_ids"]
    assert len(pieces) > len(whole) and small.unk_token_id not in pieces, "a piece that is gone is cut into letters"
    assert small.decode(pieces, skip_special_tokens=True) == "surprising"


def test_special_pieces_must_be_kept(tokenizer):
    with pytest.raises(ValueError, match="must be kept"):
        compression.trim_tokenizer(tokenizer, [0, 5, 2000])


def test_a_student_of_all_layers_is_the_teacher(classifier, tokenizer):
    np.testing.assert_array_equal(logits(compression.make_student(classifier, (0, 1)), tokenizer),
                                  logits(classifier, tokenizer))
    with pytest.raises(ValueError, match="from 0 to 1"):
        compression.make_student(classifier, (0, 2))


def test_distillation_moves_a_student_to_its_teacher(classifier, tokenizer):
    collate, teacher = data.DynamicPaddingCollator(0), copy.deepcopy(classifier)
    teacher.classifier.weight.data *= 20  # one with opinions
    rows = [{"input_ids": ids} for ids in tokenizer(TEXTS * 4)["input_ids"]]
    rows = compression.with_teacher(rows, teacher, collate)
    assert [row["label"] for row in rows[:3]] == logits(teacher, tokenizer).argmax(1).tolist()
    student = compression.make_student(teacher, (0, 1))
    student.bert.requires_grad_(False)
    student.classifier.reset_parameters()
    objective, batch = compression.distillation_objective(weight=1.0), compression.TeacherCollator(collate)(rows)
    before = objective(student.eval(), batch)[0].item()
    train(student, rows, compression.TeacherCollator(collate), loss_fn=objective,
          config=TrainingConfig(learning_rate=0.03, max_steps=20, batch_size=12, progress=False))
    assert objective(student.eval(), batch)[0].item() < before / 2


# -- the file ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(classifier, tokenizer, tmp_path_factory):
    kept = compression.used_pieces(tokenizer, TEXTS)
    model, path = compression.trim_embeddings(classifier, kept), tmp_path_factory.mktemp("saved") / "m.safetensors"
    size = compressed.save_compressed(path, model, kept, {"labels": LABELS, "language": "eng"})
    return path, size, model


def test_a_compressed_file_comes_back_nearly_the_same(saved):
    path, size, model = saved
    card, loaded, small = compressed.load_compressed(path.read_bytes())
    assert card["layers"] == 2 and card["language"] == "eng" and size < 4
    assert np.abs(logits(loaded, small) - logits(model, small)).max() < 0.05


def edited(path, **changes):
    """The file's bytes with some tensors or card entries replaced (None: left out)."""
    import json

    from safetensors.torch import save

    card, tensors = artifacts.read_artifact(path)
    for name, value in changes.items():
        target = card if name in ("layers", "labels") else tensors
        target.pop(name.replace("__", "."), None)
        if value is not None:
            target[name.replace("__", ".")] = value
    return save(tensors, metadata={artifacts.CARD: json.dumps(card)})


@pytest.mark.parametrize(("changes", "told"), [
    ({"layers": 3}, "lacks"), ({"layers": True}, "how many layers"), ({"layers": 10**6}, "how many layers"),
    ({"labels": ["one"]}, "two different words"), ({"vocabulary": None}, "should hold `vocabulary`"),
    ({"vocabulary": torch.tensor([3, 2])}, "in order"), ({"vocabulary": torch.tensor([0, 10**6])}, "in order"),
    ({"vocabulary": torch.arange(50)}, "must be kept|has shape"), ({"stranger": torch.zeros(1)}, "stranger"),
    ({"classifier__bias": torch.zeros(9)}, "has shape"), ({"classifier__bias": torch.tensor([0.0, float("nan")])}, "finite"),
    ({"classifier__weight": torch.zeros(2, 384, dtype=torch.int16)}, "8-bit"),
])
def test_a_damaged_file_is_refused_in_words(saved, changes, told):
    with pytest.raises(ValueError, match=told):
        compressed.load_compressed(edited(saved[0], **changes))


def test_not_a_file_of_ours():
    with pytest.raises(ValueError, match="not an artifact"):
        compressed.load_compressed(b"\x00" * 100)


# -- outside of PyTorch, and speed ------------------------------------------------------------------------------------------


def test_onnx_gives_pytorchs_scores_for_any_batch(classifier, tokenizer):
    pytest.importorskip("onnxruntime")
    model = compression.make_student(classifier, (0,))
    made = versions.onnx_versions(model, tokenizer, LABELS)
    for texts in (TEXTS[:1], TEXTS, TEXTS[:2] * 9):
        want = versions.version(model, tokenizer, LABELS).predict(texts)
        np.testing.assert_allclose(made["ONNX"][0].predict(texts), want, atol=1e-5)
        np.testing.assert_allclose(made["ONNX 8-bit"][0].predict(texts), want, atol=0.05)
    assert made["ONNX 8-bit"][1] < 0.3 * made["ONNX"][1]


def test_dynamic_quantization_leaves_the_model_alone(classifier, tokenizer):
    before = logits(classifier, tokenizer)
    engine = versions.version(classifier, tokenizer, LABELS, "torch-int8")
    assert np.abs(engine.predict(TEXTS) - versions.version(classifier, tokenizer, LABELS).predict(TEXTS)).max() < 0.05
    np.testing.assert_array_equal(logits(classifier, tokenizer), before)


def test_versions_are_scored_in_the_order_of_the_texts(classifier, tokenizer):
    engine = versions.version(classifier, tokenizer, LABELS)
    texts = [text * n for n in (1, 7, 3) for text in TEXTS]
    alone = [int(engine.predict([text]).argmax()) for text in texts]
    assert versions.predict_all(engine, texts, batch_size=4).tolist() == alone
    table = versions.score_versions({"a": engine}, texts, alone)
    assert table.accuracy["a"] == 1 and versions.score_versions({"a": None}, texts, alone, table).accuracy["a"] == 1
    assert callable(make_forward(classifier, "torch"))


def test_timing_takes_turns():
    said = []
    seconds = latency.time_in_turns({"a": lambda: said.append("a"), "b": lambda: said.append("b")}, rounds=3, warmup=1)
    assert said == ["a", "b"] * 4 and all(len(s) == 3 for s in seconds.values())


def test_percentiles_are_values_that_occurred():
    values = np.random.default_rng(0).exponential(size=101)
    assert latency.percentile(values, 95) == np.percentile(values, 95, method="inverted_cdf")
    with pytest.raises(ValueError, match="equally long"):
        latency.latency_summary([1.0], [])


def test_groups_of_four_bits_are_finer_than_rows(classifier):
    """A scale for each 32 numbers is never coarser than one for the whole row; NF4 has 16 values a group, the ends exact."""
    weight, errors = classifier.bert.encoder.layer[0].output.dense.weight, {}
    ways = {"row": {"levels": 7}, "group": {"levels": 7, "group": 32}, "nf4": {"group": 32, "table": compression.NF4}}
    for name, way in ways.items():
        rounded = compression.fake_quantize(copy.deepcopy(classifier), **way).bert.encoder.layer[0].output.dense.weight
        assert rounded.shape == weight.shape
        errors[name] = float((rounded - weight).detach().square().mean())
    assert errors["nf4"] < errors["group"] < errors["row"]
    some = torch.nn.Linear(50, 4, bias=False)  # 50 is no multiple of 32: the last group is shorter
    largest = some.weight.detach()[:, 32:].abs().amax(dim=1)
    compression.fake_quantize(some, group=32, table=compression.NF4)
    assert torch.allclose(some.weight.detach()[:, 32:].abs().amax(dim=1), largest)
    assert all(len(set(row[:32].tolist())) <= 16 for row in some.weight.detach())


def test_versions_are_compared_text_by_text():
    """One version is wrong on the first 20 texts, where the first is right: the change is theirs, its interval below 0."""
    texts = [f"text {i}" for i in range(40)]

    class Fixed:
        def __init__(self, answers):
            self.answers = dict(zip(texts, answers, strict=True))

        def predict(self, some):
            return np.eye(2)[[self.answers[text] for text in some]]

    labels = [i % 2 for i in range(len(texts))]
    flipped = [1 - label if i < len(texts) // 2 else label for i, label in enumerate(labels)]
    table = versions.score_versions({"first": Fixed(labels), "second": Fixed(flipped)}, texts, labels)
    assert table.change["first"] == table["change low"]["first"] == 0
    assert table.change["second"] == pytest.approx(-(len(texts) // 2) / len(texts)) and table["change high"]["second"] < 0
