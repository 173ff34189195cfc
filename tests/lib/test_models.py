"""The classifier and the masked LM agree with transformers' own parts."""

import pytest
import torch
from leaplm import models
from leaplm.assets import AssetMissing
from leaplm.runtime import set_seed
from transformers import AutoModelForCausalLM, BertConfig, BertForMaskedLM


def test_mean_pool_ignores_padding():
    hidden, mask = torch.randn(3, 5, 4), torch.tensor([[1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    want = torch.stack([h[m.bool()].mean(0) for h, m in zip(hidden, mask, strict=True)])
    assert torch.allclose(models.mean_pool(hidden, mask), want, atol=1e-6)


def test_masked_positions_lm_has_the_loss_and_gradients_of_bert():
    config = BertConfig(vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    ours, theirs = models.MaskedPositionsLM(config).eval(), BertForMaskedLM(config).eval()
    theirs.load_state_dict(ours.state_dict())
    ids, labels = torch.randint(60, (4, 9)), torch.full((4, 9), -100)
    labels[:, 3], labels[2, 7] = 5, 6
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    for model in (ours, theirs):
        model(**batch).loss.backward()
    assert torch.allclose(ours(**batch).loss, theirs(**batch).loss, atol=1e-6)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-6)


def test_classifier_on_minilm(assets_ready):
    set_seed(0)
    model = models.load_sequence_classifier(["no", "yes"])
    encoder, tokenizer = models.load_encoder(), models.load_tokenizer()
    batch = tokenizer(["a good film", "bad"], padding=True, return_tensors="pt")
    model.eval()
    with torch.no_grad():
        got = model(batch["input_ids"], batch["attention_mask"], labels=torch.tensor([1, 0]))
        hidden = encoder(batch["input_ids"], batch["attention_mask"]).last_hidden_state
        want = model.classifier(models.mean_pool(hidden, batch["attention_mask"]))
    assert torch.allclose(got.logits, want, atol=1e-5)
    assert torch.isclose(got.loss, torch.nn.functional.cross_entropy(want, torch.tensor([1, 0])), atol=1e-5)
    assert model.config.id2label == {0: "no", 1: "yes"}


def test_masked_lm_on_minilm_starts_from_its_embeddings(assets_ready):
    model = models.load_masked_lm()
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    encoder = models.load_encoder()
    assert torch.equal(model.bert.encoder.layer[0].output.dense.weight, encoder.encoder.layer[0].output.dense.weight)


def test_language_model_loaded_by_tensor_is_the_one_of_transformers(assets_ready):
    state = torch.random.get_rng_state()
    ours = models.load_causal_lm("smollm2")
    assert torch.equal(state, torch.random.get_rng_state())
    theirs = AutoModelForCausalLM.from_pretrained(assets_ready("smollm2"), dtype=torch.float32).eval()
    assert ours.get_input_embeddings().weight is ours.get_output_embeddings().weight
    for (name, a), (_, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    ids = torch.arange(100, 120)[None]
    with torch.no_grad():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id", "do_sample", "max_length"):
        assert getattr(ours.generation_config, name) == getattr(theirs.generation_config, name)


def test_frozen_parts_and_random_weights(assets_ready):
    whole = models.count_parameters(models.load_sequence_classifier(["a", "b"]))
    assert models.count_parameters(models.load_sequence_classifier(["a", "b"], freeze="encoder")) == 2 * 384 + 2
    halved = models.load_sequence_classifier(["a", "b"], freeze="embeddings")
    assert models.count_parameters(halved) < whole / 2 < models.count_parameters(halved, trainable=False)
    fresh = models.load_sequence_classifier(["a", "b"], init="random")
    assert models.count_parameters(fresh) == whole
    words = [model.bert.embeddings.word_embeddings.weight for model in (fresh, halved)]
    assert not torch.equal(*words)
    for bad in ({"init": "zero"}, {"freeze": "half"}):
        with pytest.raises(ValueError, match="use"):
            models.load_sequence_classifier(["a"], **bad)


@pytest.fixture
def multilingual(tmp_path, monkeypatch):
    """A tiny encoder of the kind of AfroXLMR in an otherwise empty store, and its weights."""
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

    monkeypatch.setenv("LEAPLM_HOME", str(tmp_path))
    torch.manual_seed(0)
    config = XLMRobertaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                              intermediate_size=32, max_position_embeddings=40)
    whole = XLMRobertaForMaskedLM(config)
    whole.save_pretrained(tmp_path / "afro-xlmr")
    return whole


def test_a_multilingual_encoder_is_used_where_it_was_fetched(multilingual):
    words = multilingual.get_input_embeddings().weight
    assert torch.equal(models.load_encoder("afro-xlmr").get_input_embeddings().weight, words)
    classifier = models.load_sequence_classifier(["no", "yes"], "afro-xlmr", freeze="embeddings").eval()
    assert torch.equal(classifier.bert.get_input_embeddings().weight, words)
    ids = torch.tensor([[0, 7, 8, 2, 1], [0, 9, 10, 11, 2]])
    mask = (ids != 1).long()
    hidden = multilingual.eval().roberta(ids, attention_mask=mask).last_hidden_state
    found = classifier(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(found, classifier.classifier(models.mean_pool(hidden, mask)))


def test_a_model_that_was_not_fetched_says_how_to_get_it(multilingual):
    with pytest.raises(AssetMissing, match="hf download intfloat/multilingual-e5-small"):
        models.load_encoder("multilingual-e5")


def test_on_a_gpu_a_known_model_comes_from_the_hub(monkeypatch, multilingual):
    monkeypatch.setattr(models, "scale", lambda: "gpu")
    assert models.model_folder("afriberta") == "castorini/afriberta_base"
    assert models.model_folder("afro-xlmr").name == "afro-xlmr"  # what is here is not downloaded
