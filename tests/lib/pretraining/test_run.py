"""Pretraining: heads equal transformers' own, losses have the right zero, two processes equal one, a kill loses nothing."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from leaplm import evaluation, models, training
from leaplm.data import DynamicPaddingCollator, sentence_pairs
from leaplm.grading.judge.tiny_models import tiny_tokenizer
from leaplm.pretraining import masking
from leaplm.pretraining import run as pretrain
from leaplm.tokens import tokenization
from transformers import BertForMaskedLM, BertForPreTraining

WORDS = ["ruwa", "gida", "kasuwa", "mota", "yaro", "hanya", "littafi", "abinci", "makaranta", "rana"]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer(WORDS)


@pytest.fixture(scope="module")
def texts():
    """A text has words of the first or of the second half of the list: its other words tell which."""
    rng = np.random.default_rng(0)
    return [" ".join(WORDS[5 * int(half) + i] for i in rng.integers(5, size=8)) for half in rng.integers(2, size=300)]


def collator(tokenizer, rate=0.15):
    return masking.MaskingCollator(tokenizer, DynamicPaddingCollator(tokenizer.pad_token_id), rate)


def test_masked_positions_give_the_loss_and_gradient_of_bert(tokenizer, texts):
    torch.manual_seed(0)
    ours = models.new_bert(tokenizer, layers=1, width=64)
    theirs = BertForMaskedLM(ours.config).eval()
    theirs.load_state_dict(ours.state_dict())
    batch = collator(tokenizer)(pretrain.tokenize_texts(texts[:8], tokenizer))
    losses = [ours(**batch).loss, theirs(**batch).loss]
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-5)
    for loss in losses:
        loss.backward()
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert all(torch.allclose(a.grad, b.grad, atol=1e-6) for a, b in pairs if a.grad is not None)


def test_both_heads_give_the_loss_of_bert(tokenizer, texts):
    torch.manual_seed(0)
    ours = models.new_bert(tokenizer, layers=1, width=64, next_sentence=True)
    theirs = BertForPreTraining(ours.config).eval()
    theirs.load_state_dict(ours.state_dict())
    rows = tokenization.encode_pairs(sentence_pairs(texts[:20]), tokenizer)
    batch = collator(tokenizer)(rows)
    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids", "labels", "next_sentence_label"}
    assert ours(**batch).loss.item() == pytest.approx(theirs(**batch).loss.item(), abs=1e-5)


def test_the_output_bias_starts_at_the_unigram_entropy(tokenizer, texts):
    rows = pretrain.blocks(texts, tokenizer, 32)
    table = evaluation.log_frequencies(rows, len(tokenizer), tokenizer.all_special_ids)
    model = models.new_bert(tokenizer, layers=1, width=64, log_frequencies=table)
    unigram = evaluation.unigram_entropy(rows, rows, len(tokenizer), tokenizer.all_special_ids)
    assert unigram == pytest.approx(np.log(len(WORDS)), abs=0.02)
    assert evaluation.masked_lm_loss(model, rows, collator(tokenizer)) == pytest.approx(unigram, abs=0.1)


def test_it_learns_what_context_tells(tokenizer, texts):
    torch.manual_seed(0)
    model = models.new_bert(tokenizer, layers=2, width=64)
    config = training.TrainingConfig(learning_rate=3e-3, max_steps=200, batch_size=32, eval_steps=100, progress=False)
    history = pretrain.pretrain(model, tokenizer, texts, texts[:50], config, block_size=10)
    # Log 5, the best there is, is 1.61; without context it is log 10, which is 2.30.
    assert history.best()["loss"] < 1.85
    known, mixed = "ruwa gida kasuwa mota yaro ruwa gida", "ruwa gida kasuwa rana yaro ruwa gida"
    assert evaluation.pseudo_perplexity(model, tokenizer, [known]) < evaluation.pseudo_perplexity(model, tokenizer, [mixed])


class Uniform(torch.nn.Module):
    """Every token is as likely as any other."""

    device = torch.device("cpu")

    def __init__(self, vocab_size):
        super().__init__()
        self.vocab_size = vocab_size

    def forward(self, input_ids, labels):
        return type("Output", (), {"logits": torch.zeros(int((labels != -100).sum()), self.vocab_size)})


def test_pseudo_perplexity_of_a_uniform_model_is_the_vocabulary(tokenizer, texts):
    model = Uniform(len(tokenizer))
    assert evaluation.pseudo_perplexity(model, tokenizer, texts[:3]) == pytest.approx(len(tokenizer))
    losses = evaluation.masked_word_losses(model, tokenizer, texts[:5], words=3)
    assert losses.tolist() == pytest.approx([np.log(len(tokenizer))] * 15)


def test_pseudo_perplexity_is_the_definition(tokenizer, texts):
    torch.manual_seed(1)
    model = models.new_bert(tokenizer, layers=1, width=64).eval()
    ids = tokenizer(texts[0], return_tensors="pt")["input_ids"]
    total = 0
    for i in range(1, ids.shape[1] - 1):
        hidden = ids.clone()
        hidden[0, i] = tokenizer.mask_token_id
        total -= model(hidden).logits[0, i].log_softmax(-1)[ids[0, i]].item()
    want = np.exp(total / (ids.shape[1] - 2))
    assert evaluation.pseudo_perplexity(model, tokenizer, [texts[0]]) == pytest.approx(want, rel=1e-4)


def test_masks_do_not_depend_on_how_a_batch_is_cut(tokenizer, texts):
    """Gradient accumulation sees the same masks as the whole batch, so the weights end equal."""
    found = []
    for parts in (1, 4):
        torch.manual_seed(0)
        model = models.new_bert(tokenizer, layers=1, width=64)
        config = training.TrainingConfig(learning_rate=1e-3, max_steps=6, batch_size=16, progress=False,
                                         gradient_accumulation_steps=parts)
        history = pretrain.pretrain(model, tokenizer, texts, [], config, block_size=32)
        found.append([row["loss"] for row in history.train])
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_a_batch_without_a_hidden_token_does_no_harm(tokenizer, texts):
    model = models.new_bert(tokenizer, layers=1, width=64)
    config = training.TrainingConfig(max_steps=3, batch_size=4, progress=False)
    history = pretrain.pretrain(model, tokenizer, texts, [], config, block_size=16, mask_rate=0.0)
    assert [row["loss"] for row in history.train] == [0, 0, 0]
    assert all(torch.isfinite(weights).all() for weights in model.parameters())


OPTIONS = ["--language", "hadisai.csv", "--start", "new", "--layers", "1", "--width", "64", "--vocab-size", "60",
           "--steps", "60", "--learning-rate", "5e-3", "--batch-size", "8", "--block-size", "16", "--eval-steps", "20"]


def test_two_processes_equal_one_at_the_same_global_batch(texts, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEAPLM_SCALE", "cpu")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    lines = [f'{text} {i},{"good" if i % 2 else "bad"}' for i, text in enumerate(texts)]
    (tmp_path / "hadisai.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    pretrain.main([*OPTIONS, "--output-dir", "one"])  # as in a process of its own, but PyTorch is imported already
    said = capfd.readouterr().out
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--mixed_precision",
              "no", "--main_process_port", "0", "-m", "leaplm.pretraining.run"]
    done = subprocess.run([*launch, *OPTIONS, "--output-dir", "two"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    one, two = (json.loads((tmp_path / name / "pretraining.json").read_text()) for name in ("one", "two"))
    assert [row["loss"] for row in one["train"]] == pytest.approx([row["loss"] for row in two["train"]], abs=2e-4)
    assert [row["loss"] for row in one["validation"]] == pytest.approx([row["loss"] for row in two["validation"]], abs=2e-3)
    assert one["tokens"] == two["tokens"]
    assert one["validation"][-1]["loss"] < one["unigram_entropy"] - 0.1
    assert "nats per masked token" in said
    assert models.load_masked_lm(str(tmp_path / "two")).config.hidden_size == 64
