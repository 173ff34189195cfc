"""Lab 15: what it teaches is what the library does."""

import contextlib
import re

import numpy as np
import pytest
import torch
from leaplm import instructions
from leaplm.grading.judge import probes
from leaplm.grading.judge.banks import load_bank
from leaplm.grading.judge.tiny_models import chat_tokenizer
from repo import ROOT
from solved import solved_lab

lab15 = solved_lab("lab15_instructions")
RNG = np.random.default_rng(0)
LETTERS = 300  # the first pieces of SmolLM2's vocabulary: what a chat needs, and all single bytes


def test_lab15_makes_rows_and_packs_as_the_library(lab15):
    words = ["a", "b", "c"]
    tokenizer = chat_tokenizer(words)
    said = [[" ".join(RNG.choice(words, int(n))) for n in RNG.integers(1, 6, 3)] for _ in range(9)]
    rows = [lab15["chat_row"](tokenizer, *some) for some in said]
    assert rows == [instructions.chat_row(tokenizer, *some) for some in said]
    packs = lab15["pack_rows"](rows, 40)
    assert packs == instructions.pack_rows(rows, 40)
    segments = instructions.pad_packs(packs)["segments"]
    assert torch.equal(lab15["packed_mask"](segments), instructions.packed_mask(segments))


def test_lab15_measures_as_the_library(lab15):
    texts = [" ".join(RNG.choice(["Store:", "hoes.", "Refused", "ba", "aba"], int(n))) for n in RNG.integers(0, 6, 40)]
    answers, references = texts[:20], texts[20:]
    assert [lab15["chrf"](*pair) for pair in zip(answers, references, strict=True)] == pytest.approx(
        [instructions.chrf(*pair) for pair in zip(answers, references, strict=True)])
    for until in (None, ":"):
        assert lab15["exact_match"](answers, references, until) == instructions.exact_match(answers, references, until)
    refuse = (RNG.random(20) < 0.5).tolist()
    assert lab15["refusal_rates"](answers, refuse) == instructions.refusal_rates(answers, refuse)
    asked = probes.leaning_judge(3), [f"question {i}" for i in range(20)], answers, references
    assert lab15["judge_both"](*asked) == instructions.judge_both(*asked)
    wins, gaps = RNG.choice([0, 0.5, 1], 20), RNG.normal(2, 5, 20)
    assert lab15["length_controlled"](wins, gaps) == pytest.approx(instructions.length_controlled(wins, gaps), abs=1e-3)


def test_lab15_learns_as_the_library(lab15):
    logits, labels = torch.randn(3, 5, 7), torch.randint(0, 7, (3, 5))
    labels[0, :3] = -100
    torch.testing.assert_close(lab15["answer_log_probs"](logits, labels), instructions.answer_log_probs(logits, labels))
    four = torch.randn(4, 6) * 9
    torch.testing.assert_close(lab15["dpo_loss"](*four, 0.3), instructions.dpo_loss(*four, 0.3))
    batches = [{"vectors": torch.randn(1, 6, 4), "position_ids": torch.arange(6)[None],
                "segments": torch.tensor([[0, 0, 0, 1, 1, 1]]), "labels": torch.tensor([[-100, 1, 2, -100, -100, 3]])}
               for _ in range(3)]
    found = []
    for part in (lab15, vars(instructions)):
        model = probes.modal_scorer(4, 1)
        losses = part["train_answers"](model, batches, 3, 0.1)
        losses += part["train_preferences"](model, [tuple(batches[:2]), tuple(batches[1:])], 0.5, 2, 0.1)
        found.append(losses + [float(model.adapter.detach().sum())])
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def cell(kind, name):
    """The code of a cell of the lab, by its check or its name."""
    source = (ROOT / "course" / "lab15_instructions" / "lab.py").read_text(encoding="utf-8")
    return re.split(r"^# %%.*$", source.split(f'# %% {kind}="{name}"')[1].split("\n", 1)[1], maxsplit=1, flags=re.M)[0]


@pytest.fixture
def begun(lab15, needs_asset, monkeypatch):
    """The solved lab's names with its model of two layers, and an adapter on it."""
    needs_asset("smollm2")
    monkeypatch.setenv("LEAPLM_SCALE", "tiny")
    space = {**lab15, "LANGUAGE": "eng", "SEED": 0, "pairs": instructions.load_pairs()}
    for name in ("load", "model", "batches"):
        exec(cell("locked", name), space)
    return space


def answer_in_letters(space):
    """Answers of one letter, and a vocabulary of no more: the whole one would be asked at each step of each answer's try."""
    head = space["model"].lm_head
    head.weight = torch.nn.Parameter(head.weight[:LETTERS].clone(), requires_grad=False)
    space["train"] = [{**row, "answer": row["answer"][0]} for row in space["train"]]
    space["pairs"] = {"train": [{**pair, "chosen": "a", "rejected": "b"} for pair in space["pairs"]["train"]]}


@pytest.mark.parametrize("name", ["train_answers", "train_preferences"])
def test_a_right_answer_passes_behind_a_wrong_one(begun, name):
    """Wrong ones of the bank change the weights before the cell fails; the next try must not see it."""
    def adapters():
        return {key: value.clone() for key, value in instructions.AnswerModel(begun["model"], 1).state_dict().items()
                if "lora_" in key}

    answer_in_letters(begun)
    before, failed = adapters(), 0
    for answer in load_bank("lab15_instructions", ROOT):
        if answer.check == name and answer.source and not answer.right:
            space = dict(begun)
            exec(answer.source, space)
            with contextlib.suppress(Exception):
                exec(cell("check", name), space)
                continue
            failed += 1
    assert failed >= 3
    assert all(torch.equal(value, before[key]) for key, value in adapters().items())
    exec(cell("check", name), dict(begun))


def test_the_cells_that_add_an_adapter_may_run_again(begun):
    for name in ("batches", "batches", "second_adapter", "second_adapter", "batches", "second_adapter"):
        exec(cell("locked", name), begun)
    state = instructions.AdapterState(begun["scorer"]).state_dict()
    assert {key.count(".base.") for key in state} == {0, 1}
