"""Speed of scoring labels after k demonstrations, beside the plain loop, in one run: items per second, same numbers.

    python tests/bench/scoring.py [--rows 24] [--shots 8] [--rounds 3]

(a) the plain loop: the whole prompt again for every text and label, all logits; (b) prompting.scoring: the demonstrations
once, each text once with all its labels. Same texts, labels (of 1 and of 2 tokens) and model (SmolLM2-135M). The two
take turns, and the ratio is taken within each round. Goal: at least 4 times, largest difference at most 1e-4 nats.
"""

import argparse
import time

import numpy as np
from leaplm import assets, data, models, runtime
from leaplm.prompting import scoring

LABELS = [" terrible", " bad", " average", " good", " wonderful"]
LONG_LABELS = [" very bad", " quite bad", " so so", " quite good", " very good"]


def demonstration(row):
    return f"Review: {row['text']}\nOpinion:{LABELS[4 * row['label']]}\n\n"


def timed(function, *arguments):
    started = time.perf_counter()
    sums, _ = function(*arguments)
    return sums, time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    assets.fetch(["smollm2", "vader"])
    runtime.describe_runtime()
    model, tokenizer = models.load_causal_lm(), models.load_tokenizer("smollm2")
    sentences = data.load_sentiment("eng")
    for name, labels in (("labels of 1 token", LABELS), ("labels of 2 tokens", LONG_LABELS)):
        ratios, differences = [], []
        for seed in range(arguments.rounds):
            demonstrations = data.sample_few_shot(sentences["train"], max(1, arguments.shots // 2), seed)
            prefix = "".join(demonstration(row) for row in demonstrations)
            rows = data.subsample(sentences["test"], arguments.rows, seed)
            prompts = [f"Review: {text}\nOpinion:" for text in rows["text"]]
            ours, fast = timed(scoring.continuation_log_probs, model, tokenizer, prompts, labels, prefix)
            theirs, slow = timed(scoring.continuation_log_probs_naive, model, tokenizer, prompts, labels, prefix)
            ratios.append(slow / fast)
            differences.append(np.abs(ours - theirs).max())
            print(f"{name}, round {seed + 1}: {len(demonstrations)} demonstrations, plain loop {len(rows) / slow:.2f} "
                  f"texts/s, leaplm {len(rows) / fast:.2f}, largest difference {differences[-1]:.1e} nats", flush=True)
        print(f"leaplm / plain loop, {name}: median {np.median(ratios):.1f}x ({min(ratios):.1f} to {max(ratios):.1f}); "
              f"largest difference {max(differences):.1e} nats")


if __name__ == "__main__":
    main()
