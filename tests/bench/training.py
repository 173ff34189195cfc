"""Training speed beside two usual ways, in one run: text tokens (not padding) per second, and accuracy.

    python tests/bench/training.py [--rows 512] [--rounds 3]

(a) a plain loop that pads every text to 128 tokens, as tutorials do; (b) the transformers Trainer with dynamic padding;
(c) leaplm.training.train. Same model, rows, batch size, learning rate, schedule and number of updates. The three take
turns, and the ratio is taken within each round, since machines get slower and faster.
"""

import argparse
import tempfile
import time

import numpy as np
import torch
from leaplm import data, evaluation, models, runtime, training
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments, get_linear_schedule_with_warmup

RATE, BATCH = 1e-4, 16


def plain_loop(model, dataset, tokenizer, seed):
    """Pad to 128, shuffle, loop."""
    batch = tokenizer(list(dataset["text"]), padding="max_length", truncation=True, max_length=128, return_tensors="pt")
    rows = torch.utils.data.TensorDataset(batch["input_ids"], batch["attention_mask"], torch.tensor(dataset["label"]))
    loader = torch.utils.data.DataLoader(rows, batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = get_linear_schedule_with_warmup(optimizer, len(loader) // 10, len(loader))
    model.train()
    for ids, mask, labels in loader:
        optimizer.zero_grad()
        model(ids, attention_mask=mask, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def transformers_trainer(model, dataset, tokenizer, seed):
    """Trainer with its defaults, apart from the settings that all three share."""
    rows = data.tokenize(dataset, tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(folder, num_train_epochs=1, per_device_train_batch_size=BATCH, learning_rate=RATE,
                                      warmup_steps=len(rows) // BATCH // 10, weight_decay=0.01, seed=seed, use_cpu=True,
                                      save_strategy="no", report_to=[], disable_tqdm=True, logging_strategy="no")
        Trainer(model, arguments, data_collator=DataCollatorWithPadding(tokenizer), train_dataset=rows).train()


def leaplm_train(model, dataset, tokenizer, seed):
    config = training.TrainingConfig(learning_rate=RATE, batch_size=BATCH, epochs=1, seed=seed, progress=False)
    training.train(model, data.tokenize(dataset, tokenizer), data.DynamicPaddingCollator(tokenizer.pad_token_id), config)


def run(method, train_set, test_rows, tokenizer, seed):
    """(text tokens per second, test accuracy) of one method from fresh weights."""
    runtime.set_seed(seed)
    model = models.load_sequence_classifier(["negative", "positive"])
    tokens = sum(len(row["input_ids"]) for row in data.tokenize(train_set, tokenizer))
    started = time.perf_counter()
    method(model, train_set, tokenizer, seed)
    seconds = time.perf_counter() - started
    collate = data.DynamicPaddingCollator(tokenizer.pad_token_id)
    return tokens / seconds, evaluation.evaluate(model, test_rows, collate)["accuracy"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    runtime.describe_runtime()
    tokenizer, sentences = models.load_tokenizer(), data.load_sentiment("eng")
    test_rows = data.tokenize(data.subsample(sentences["test"], 600), tokenizer)
    methods, results = (plain_loop, transformers_trainer, leaplm_train), []
    for seed in range(arguments.rounds):
        train_set = data.subsample(sentences["train"], arguments.rows, seed)
        results.append([run(method, train_set, test_rows, tokenizer, seed) for method in methods])
        print(f"round {seed + 1}: " + " · ".join(f"{m.__name__} {speed:.0f} tokens/s, accuracy {score:.3f}"
                                                for m, (speed, score) in zip(methods, results[-1], strict=True)), flush=True)
    speeds, scores = np.array(results).transpose(2, 0, 1)
    ratios = speeds[:, 2:] / speeds[:, :2]
    for i, method in enumerate(methods[:2]):
        print(f"leaplm_train / {method.__name__}: median {np.median(ratios[:, i]):.2f}x "
              f"({ratios[:, i].min():.2f} to {ratios[:, i].max():.2f}); accuracy "
              f"{scores[:, 2].mean():.3f} ± {scores[:, 2].std(ddof=1):.3f} against "
              f"{scores[:, i].mean():.3f} ± {scores[:, i].std(ddof=1):.3f}")


if __name__ == "__main__":
    main()
