"""A generative model that answers in a fixed form: rows to train on, loss on the answer only, and a strict score."""

import numpy as np
import torch
from torch import nn

from leaplm.data import DynamicPaddingCollator
from leaplm.locales import say
from leaplm.pretraining.masking import IGNORE_INDEX

MAX_TEXT_TOKENS = 40


def instruction(names):
    """The sentence that says what to do: 'Answer with one lower-case word: negative or positive.'"""
    return f"Answer with one lower-case word: {', '.join(names[:-1])} or {names[-1]}."


def make_prompts(dataset, tokenizer, names):
    """One prompt a row (list of strings): the model's own chat form, with the instruction as its system message.

    Texts are cut at MAX_TEXT_TOKENS tokens, so that memory stays small.
    """
    cut = tokenizer(dataset["text"][:], truncation=True, max_length=MAX_TEXT_TOKENS)["input_ids"]
    return [tokenizer.apply_chat_template([{"role": "system", "content": instruction(names)},
                                           {"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)
            for text in tokenizer.batch_decode(cut, skip_special_tokens=True)]


def make_answer_rows(dataset, tokenizer, names):
    """Rows to train on: `input_ids` of prompt, answer and end token; `answer_tokens`, how many at the end are the answer.

    The answer is the class's name, exactly as in `names`.
    """
    rows = []
    for prompt, label in zip(make_prompts(dataset, tokenizer, names), dataset["label"], strict=True):
        question = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        answer = tokenizer(names[label], add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        rows.append({"input_ids": question + answer, "answer_tokens": len(answer)})
    return rows


class AnswerCollator:
    """Pad rows of `make_answer_rows`; labels (batch, tokens) hold the answer's tokens, IGNORE_INDEX elsewhere."""

    def __init__(self, pad_token_id):
        self.pad = DynamicPaddingCollator(pad_token_id)

    def __call__(self, rows):
        batch = self.pad([{"input_ids": row["input_ids"]} for row in rows])
        labels = torch.full_like(batch["input_ids"], IGNORE_INDEX)
        for i, row in enumerate(rows):
            end = len(row["input_ids"])
            start = end - row["answer_tokens"]
            labels[i, start:end] = batch["input_ids"][i, start:end]
        return {**batch, "labels": labels}


def answer_loss(model, batch):
    """Mean surprise (nats per token) at the answer's tokens, and their number: a `loss_fn` for `training.train`.

    The vocabulary layer is computed at these positions only; for SmolLM2 that saves a fifth of the work.
    """
    hidden = model.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    targets = batch["labels"][:, 1:]
    chosen = targets != IGNORE_INDEX
    logits = model.lm_head(hidden.last_hidden_state[:, :-1][chosen])
    return nn.functional.cross_entropy(logits.float(), targets[chosen]), int(chosen.sum())


def generate_answers(model, tokenizer, prompts, max_new_tokens=8, batch_size=8):
    """What the model writes after each prompt, word by word the most probable (list of strings, white space kept)."""
    was_training, device, answers = model.training, next(model.parameters()).device, []
    model.eval()
    order = np.argsort([len(prompt) for prompt in prompts], kind="stable")
    for i in range(0, len(order), batch_size):
        batch = tokenizer([prompts[j] for j in order[i : i + batch_size]], add_special_tokens=False, padding=True,
                          padding_side="left", return_tensors="pt").to(device)
        with torch.inference_mode():
            ids = model.generate(**batch, max_new_tokens=max_new_tokens, do_sample=False,
                                 pad_token_id=tokenizer.pad_token_id)
        answers += tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1]:], skip_special_tokens=True)
    model.train(was_training)
    return [answers[j] for j in np.argsort(order, kind="stable")]


def score_answers(answers, labels, names):
    """Share of answers that are exactly one of `names`, and share that are the right one; both in [0, 1].

    An answer in any other form ("Positive.", "I think it is positive") counts as wrong in both.

    >>> score_answers(["positive", "Positive.", "negative"], [1, 1, 1], ["negative", "positive"])
    (0.6666666666666666, 0.3333333333333333)
    """
    if not answers:
        raise ValueError(say("there are no answers to score"))
    formed = [answer in names for answer in answers]
    right = [answer == names[label] for answer, label in zip(answers, labels, strict=True)]
    return float(np.mean(formed)), float(np.mean(right))
