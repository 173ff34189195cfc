"""Masked-language-model pretraining from the command line, on one process or many, on a CPU or on GPUs.

    python -m leaplm.pretraining.run --language hau --start minilm --steps 2000 --output-dir runs/minilm-hau
    accelerate launch --multi_gpu --num_processes 2 -m leaplm.pretraining.run --language hau --output-dir runs/minilm-hau

The result is a transformers folder (weights and tokenizer) that every loader of `leaplm.models` takes as a name. A run
that was killed goes on where it stopped when the same command is given again.
"""

import argparse
import json
import math
from pathlib import Path

import torch

from leaplm.data import DynamicPaddingCollator, group_texts, load_corpus, tokenize_texts
from leaplm.evaluation import log_frequencies, masked_lm_loss, unigram_entropy
from leaplm.locales import say
from leaplm.models import load_masked_lm, load_tokenizer, new_bert
from leaplm.pretraining.masking import MaskingCollator
from leaplm.runtime import set_seed
from leaplm.tokens.tokenization import train_wordpiece
from leaplm.training import TrainingConfig, train


def blocks(texts, tokenizer, block_size):
    """Texts as packed blocks of `block_size` tokens (rows with `input_ids`)."""
    ends = (tokenizer.cls_token_id, tokenizer.sep_token_id)
    return group_texts(tokenize_texts(texts, tokenizer), block_size, ends)


def start_model(start, texts, vocab_size=2048, **shape):
    """(model, tokenizer): a new small BERT with a tokenizer of its own for "new", else a pretrained encoder by name.

    Both begin with the output bias at the corpus's log-frequencies. `shape` (layers, width) is for "new" alone.
    """
    tokenizer = train_wordpiece(texts, vocab_size) if start == "new" else load_tokenizer(start)
    table = log_frequencies(tokenize_texts(texts, tokenizer), len(tokenizer), tokenizer.all_special_ids)
    if start == "new":
        return new_bert(tokenizer, **shape, log_frequencies=table), tokenizer
    return load_masked_lm(start, table), tokenizer


def pretrain(model, tokenizer, texts, validation, config, block_size=64, mask_rate=0.15):
    """Train `model` on packed `texts` and return its History; `validation` texts are scored as config.eval_steps says."""
    collate = MaskingCollator(tokenizer, DynamicPaddingCollator(tokenizer.pad_token_id), mask_rate)
    rows = blocks(validation, tokenizer, block_size) if len(validation) else None
    score = (lambda m: {"loss": masked_lm_loss(m, rows, collate)}) if rows else None
    return train(model, blocks(texts, tokenizer, block_size), collate, config, score)


def next_sentence_accuracy(model, rows, tokenizer, batch_size=64):
    """Share of pairs (rows of `tokens.tokenization.encode_pairs`) that the next-sentence head gets right; by chance 0.5."""
    collate, right = DynamicPaddingCollator(tokenizer.pad_token_id), 0
    model.eval()
    with torch.inference_mode():
        for i in range(0, len(rows), batch_size):
            batch = {name: tensor.to(model.device) for name, tensor in collate(rows[i : i + batch_size]).items()}
            answers = batch.pop("labels")
            right += int((model(**batch).seq_relationship_logits.argmax(-1) == answers).sum())
    return right / len(rows)


def save(model, tokenizer, folder, card):
    """Weights, tokenizer and a card (JSON) as a transformers folder."""
    folder = Path(folder)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "pretraining.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def parse(argv=None):
    parser = argparse.ArgumentParser(prog="leaplm.pretraining.run", description=__doc__.split("\n")[0])
    parser.add_argument("--language", default="eng", help="eng, an AfriSenti language, or a CSV file of yours")
    parser.add_argument("--start", default="minilm", help="'new', a course model, or a folder")
    parser.add_argument("--output-dir", required=True)
    parser.add_argument("--steps", type=int, default=1000, help="weight updates")
    parser.add_argument("--batch-size", type=int, default=32, help="blocks per update, over all processes")
    parser.add_argument("--block-size", type=int, default=64, help="tokens per block")
    parser.add_argument("--accumulate", type=int, default=1, help="cut each batch into so many parts, to save memory")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--mask-rate", type=float, default=0.15)
    parser.add_argument("--vocab-size", type=int, default=2048, help="for --start new")
    parser.add_argument("--layers", type=int, default=2, help="for --start new")
    parser.add_argument("--width", type=int, default=128, help="for --start new; a multiple of 64")
    parser.add_argument("--eval-steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def main(argv=None):
    asked = parse(argv)
    corpus = load_corpus(asked.language)
    texts, validation = corpus["train"]["text"][:], corpus["validation"]["text"][:]
    set_seed(asked.seed)
    shape = {"layers": asked.layers, "width": asked.width} if asked.start == "new" else {}
    model, tokenizer = start_model(asked.start, texts, asked.vocab_size, **shape)
    config = TrainingConfig(learning_rate=asked.learning_rate, batch_size=asked.batch_size, max_steps=asked.steps,
                            gradient_accumulation_steps=asked.accumulate, eval_steps=asked.eval_steps, seed=asked.seed,
                            output_dir=f"{asked.output_dir}/run")
    history = pretrain(model, tokenizer, texts, validation, config, asked.block_size, asked.mask_rate)
    rows = [blocks(part, tokenizer, asked.block_size) for part in (texts, validation)]
    unigram = unigram_entropy(*rows, len(tokenizer), tokenizer.all_special_ids)
    best = history.best()
    if is_main_process():
        save(model, tokenizer, asked.output_dir, {**vars(asked), "unigram_entropy": unigram, **history.to_dict()})
        print(say("validation loss {loss:.3f} nats per masked token after {updates} updates (perplexity {perplexity:.0f}; "
                  "unigram entropy {unigram:.3f}); saved in {folder}", loss=best["loss"], updates=best["step"],
                  perplexity=math.exp(best["loss"]), unigram=unigram, folder=asked.output_dir))  # fmt: skip


def is_main_process():
    from accelerate import PartialState

    return PartialState().is_main_process


if __name__ == "__main__":
    main()
