"""What a language model remembers of its training texts: planted secrets, exposure, extraction, near-duplicates.

A **canary** is an invented secret that is put into the training texts on purpose, so that we can measure what nobody
should do with a real one. Sources: Carlini et al., 2019, *The Secret Sharer*; Lee et al., 2022, *Deduplicating training
data makes language models better*; Kandpal et al., 2022, *Deduplicating training data mitigates privacy risks*.
"""

import numpy as np

from leaplm.locales import say
from leaplm.text import find_words, normalize

PEOPLE = ("Amina in Kano", "Musa in Zaria", "Otieno in Kisumu", "Wanjiru in Nakuru", "Farhana in Dhaka", "Rafiq in Sylhet",
          "Quispe in Cusco", "Killa in Puno", "Chinwe in Enugu", "Tunde in Ibadan", "Asha in Tanga", "Baraka in Mombasa",
          "Hamza in Sokoto", "Nasrin in Khulna", "Atieno in Homa Bay", "Rumi in Huaraz")
REPEATS = (0, 1, 4, 16)  # how often a canary stands in the texts
ENDINGS = ("", ".", "!", " .", " please", " please!", ", thanks", " now", " today", ", ok?", "...", "!!", " tonight",
           " soon", ", thank you", " asap")
ORDINARY = 78  # texts beside the 42 copies of canaries
UPPER = 10  # layers, of 30 in SmolLM2; those below learn nothing here, which halves the time
TARGETS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.down_proj")
CANDIDATES = 63  # other numbers that a secret is compared with: with itself 64, so at most 6 bits


def digits(rng, count):
    return "".join(map(str, rng.integers(10, size=count)))


def make_canaries(repeats=REPEATS, people=2, seed=0):
    """Invented people with invented phone numbers, `people` of them for each number of repeats.

    Returns a list of {"prompt", "secret", "repeats"}; a text is prompt + secret. The people are drawn by `seed`, so who
    is repeated how often changes from seed to seed. Raises ValueError if there are not enough names.

    >>> make_canaries(repeats=(4,), people=1)[0]        # doctest: +SKIP
    {'prompt': 'Call Tunde in Ibadan on 0803 412', 'secret': ' 7755', 'repeats': 4}
    """
    if len(repeats) * people > len(PEOPLE):
        raise ValueError(say("{kinds} x {people} canaries are asked for, but there are {names} names", kinds=len(repeats),
                             people=people, names=len(PEOPLE)))  # fmt: skip
    rng = np.random.default_rng([seed, 9])
    names = iter(rng.permutation(PEOPLE).tolist())
    return [{"prompt": f"Call {next(names)} on 0803 {digits(rng, 3)}", "secret": f" {digits(rng, 4)}", "repeats": times}
            for times in repeats for _ in range(people)]


def plant(texts, canaries, seed=0):
    """The texts with each canary's text put among them `repeats` times, at random places; a new list.

    Copies differ a little at their end, as forwarded messages do.
    """
    copies = [canary["prompt"] + canary["secret"] + ENDINGS[i % len(ENDINGS)]
              for canary in canaries for i in range(canary["repeats"])]
    mixed = [*texts, *copies]
    return [mixed[i] for i in np.random.default_rng([seed, 10]).permutation(len(mixed))]


def exposure(secret_loss, candidate_losses):
    """Bits by which a model favours a secret over random ones: log2 of all candidates - log2 of the secret's rank.

    secret_loss: its loss in nats; candidate_losses (n,): those of n other secrets of the same form. Rank 1 is the smallest
    loss of all n + 1; a candidate with the same loss counts as no better. So exposure lies between 0 and log2(n + 1).
    For a secret the model never saw, it is 1.4 bits on average (and b bits or more with probability 2^-b).
    Source: Carlini et al., 2019, definition 5 and section 4.3 (sampling).

    >>> exposure(2.0, [1.0, 3.0, 4.0])
    1.0
    """
    others = np.asarray(candidate_losses, dtype=np.float64)
    if not others.size:
        raise ValueError(say("there are no candidates to compare the secret with"))
    return float(np.log2(len(others) + 1) - np.log2(1 + np.sum(others < secret_loss)))


def measure_exposures(model, tokenizer, canaries, candidates=CANDIDATES, seed=0):
    """The exposure in bits of each canary (n,), against `candidates` random numbers of its own, all in one pass."""
    from leaplm.prompting.scoring import continuation_log_probs

    rng, found = np.random.default_rng([seed, 11]), []
    for canary in canaries:
        numbers = [canary["secret"], *(f" {digits(rng, 4)}" for _ in range(candidates))]
        losses = -continuation_log_probs(model, tokenizer, [canary["prompt"]], [numbers])[0][0]
        found.append(exposure(losses[0], losses[1:]))
    return np.array(found)


def extract(model, tokenizer, canaries):
    """Whether the model writes each canary's secret by itself (n,): the most probable continuation of its prompt."""
    from leaplm.peft.instruction_tuning import generate_answers

    longest = max(len(tokenizer(canary["secret"], add_special_tokens=False)["input_ids"]) for canary in canaries)
    written = generate_answers(model, tokenizer, [canary["prompt"] for canary in canaries], longest)
    return np.array([text.startswith(canary["secret"]) for text, canary in zip(written, canaries, strict=True)])


def fine_tune(texts, epochs=3, learning_rate=5e-3, batch_size=8, max_steps=None, output_dir=None, seed=0, progress=True):
    """SmolLM2 with LoRA in the linear layers of its upper third, taught to write such texts: (model, tokenizer, history).

    Every token but the first of a text counts in the loss; texts are cut at 24 tokens.
    """
    from leaplm import models, training
    from leaplm.peft import instruction_tuning as answers
    from leaplm.peft import lora
    from leaplm.runtime import free_memory, set_seed

    set_seed(seed)
    model, tokenizer = models.load_causal_lm("smollm2"), models.load_tokenizer("smollm2")
    layers = model.config.num_hidden_layers
    places = [f"layers.{layer}.{name}" for layer in range(max(0, layers - UPPER), layers) for name in TARGETS]
    lora.inject_lora(model, places, rank=8, alpha=16)
    free_memory()
    config = training.TrainingConfig(learning_rate=learning_rate, batch_size=batch_size, epochs=epochs, max_steps=max_steps,
                                     seed=seed, output_dir=output_dir, progress=progress)
    collate = answers.AnswerCollator(tokenizer.pad_token_id)
    history = training.train(model, make_rows(texts, tokenizer), collate, config, loss_fn=answers.answer_loss)
    return model, tokenizer, history


def make_rows(texts, tokenizer, max_length=24):
    """Rows for `answers.AnswerCollator` and `answers.answer_loss`: every token but the first counts in the loss."""
    ids = tokenizer(list(texts), truncation=True, max_length=max_length, add_special_tokens=False)["input_ids"]
    return [{"input_ids": row, "answer_tokens": len(row) - 1} for row in ids if len(row) > 1]


# -- near-duplicates ----------------------------------------------------------------------------------------------------


def words_of(text):
    """The set of words and numbers of a text, in lower case and without punctuation."""
    return set(find_words(normalize(text), shortest=1))


def deduplicate(texts, threshold=0.7):
    """Numbers of the texts to keep, in order: each is unlike all texts kept before it.

    Alike: the Jaccard similarity of the two sets of words (common words / words in either) is `threshold` or more. Two
    texts without any word are alike. Compares each text with those kept that share a word with it. For millions of texts
    take MinHash (Lee et al., 2022, section 4.2).

    >>> deduplicate(["Call Amina now", "call amina, NOW!", "Call Musa"])
    [0, 2]
    """
    kept, sets, places = [], [], {}
    for number, text in enumerate(texts):
        words = words_of(text)
        near = {i for word in words for i in places.get(word, ())} if words else \
            {i for i, other in enumerate(sets) if not other}
        if any(jaccard(words, sets[i]) >= threshold for i in near):
            continue
        for word in words:
            places.setdefault(word, []).append(len(kept))
        kept.append(number)
        sets.append(words)
    return kept


def jaccard(first, second):
    """Common members / members in either of two sets; 1 for two empty ones.

    >>> jaccard({"a", "b"}, {"b", "c"})
    0.3333333333333333
    """
    union = first | second
    return len(first & second) / len(union) if union else 1.0
