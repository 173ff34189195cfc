"""What is saved is what changed; what cannot be loaded says why."""

import pytest
import torch
from leaplm.artifacts import apply_artifact, changed_tensors, read_artifact, save_artifact
from leaplm.data import DynamicPaddingCollator
from leaplm.evaluation import predict_logits
from leaplm.grading.judge.tiny_models import tiny_classifier
from safetensors.torch import save

ROWS = [{"input_ids": [5, 6, 7, 8]}, {"input_ids": [9, 10]}]


def trained():
    model = tiny_classifier(initializer_range=0.2)
    with torch.no_grad():
        model.classifier.weight.add_(0.5)
        model.bert.embeddings.word_embeddings.weight[[5, 9]] += 1
    return model


def test_round_trip_gives_the_same_scores(tmp_path):
    card = {"language": "hau", "seed": 3}
    size = save_artifact(tmp_path / "artifacts" / "a.safetensors", trained(), tiny_classifier(initializer_range=0.2), card)
    assert size == (tmp_path / "artifacts" / "a.safetensors").stat().st_size / 1e6
    read, tensors = read_artifact(tmp_path / "artifacts" / "a.safetensors")
    loaded = apply_artifact(tiny_classifier(initializer_range=0.2), tensors)
    got, want = (predict_logits(m, ROWS, DynamicPaddingCollator(0)) for m in (loaded, trained()))
    assert read == card and abs(got - want).max() < 0.01


def test_only_what_changed_is_stored():
    stored = changed_tensors(trained(), tiny_classifier(initializer_range=0.2))
    words = "bert.embeddings.word_embeddings.weight"
    assert set(stored) == {"classifier.weight", words, f"{words}::rows"}
    assert stored[f"{words}::rows"].tolist() == [5, 9] and stored[words].shape[0] == 2
    assert changed_tensors(tiny_classifier(), tiny_classifier()) == {}


@pytest.mark.parametrize("content", [b"", b"not a file of tensors", save({"a": torch.zeros(2)}),
                                     save({"a": torch.zeros(2)}, metadata={"leaplm_card": "[1]"})])
def test_files_that_are_no_artifact_are_refused(content):
    with pytest.raises(ValueError, match="artifact"):
        read_artifact(content)


@pytest.mark.parametrize("tensors, message", [
    ({"other": torch.zeros(2)}, "has not"),
    ({"classifier.bias": torch.zeros(3)}, "shape"),
    ({"classifier.bias": torch.tensor([0.0, float("inf")])}, "not finite"),
    ({"classifier.weight": torch.zeros(1, 16), "classifier.weight::rows": torch.tensor([7])}, "row numbers"),
    ({"classifier.weight": torch.zeros(2, 16), "classifier.weight::rows": torch.tensor([0])}, "shape"),
    ({"classifier.weight": torch.zeros(2, 16), "classifier.weight::rows": torch.tensor([0, 0])}, "each once"),
    ({"classifier.weight::rows": torch.tensor([0])}, "not the tensor that it belongs to"),
    ({"classifier.bias": torch.zeros(2, dtype=torch.complex64)}, "complex64"),
    ({"classifier.bias": torch.zeros(2).to(torch.float8_e4m3fn)}, "float8"),
    ({"classifier.bias": torch.zeros(2, dtype=torch.bool)}, "bool"),
    ({"classifier.weight": torch.zeros(2, 16), "classifier.weight::rows": torch.tensor([[0], [1]])}, "one dimension"),
    ({"classifier.weight": torch.zeros(1, 16), "classifier.weight::rows": torch.tensor([0.5])}, "row numbers"),
])
def test_tensors_that_do_not_fit_are_refused(tensors, message):
    with pytest.raises(ValueError, match=message):
        apply_artifact(tiny_classifier(), tensors)


def test_a_file_of_another_language_or_model_is_kept_under_another_name(tmp_path, capsys):
    path, model = tmp_path / "tuned-cpu.safetensors", torch.nn.Linear(2, 2)
    cards = [{"language": "eng"}, {"language": "eng", "seed": 3}, {"language": "my answers.csv"},
             {"language": "eng", "model": "small"}, {"language": "eng", "model": "large"}]
    for card in cards:
        save_artifact(path, model, None, card)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 3 and all(path.name in line for line in told)
    kept = {other.name: read_artifact(other)[0] for other in tmp_path.iterdir()}
    assert kept == {"tuned-cpu.safetensors": cards[4], "tuned-cpu-eng.safetensors": cards[1],
                    "tuned-cpu-my_answers_csv.safetensors": cards[2], "tuned-cpu-small.safetensors": cards[3]}
