"""The studies of lab 4: `make calibrate LAB=lab4_prompting` runs them, the lab plots them, the mark rests on `main`."""

import functools

import numpy as np
from leaplm import prompting
from leaplm.calibration import study
from leaplm.data import MARKED, SIB200, DynamicPaddingCollator, heldout_rows, load_sentiment, load_topics, subsample
from leaplm.evaluation import accuracy, macro_f1
from leaplm.models import load_causal_lm, load_tokenizer
from leaplm.peft import instruction_tuning as answers
from leaplm.peft import soft_prompts
from leaplm.prompting.templates import Verbalizer, make_templates, score_methods
from leaplm.runtime import set_seed
from leaplm.training import TrainingConfig, train

LANGUAGES = ("eng", "hau", "swa")
ROWS = {"eng": 50, "hau": 30, "swa": 30}  # labelled texts on which templates are compared; others for each seed
TEST_ROWS, HELDOUT_ROWS = 100, 150
FEW = ("label", "sentence", "instruction")  # templates tried where texts have twice as many tokens
START = "Say for each text whether it is negative or positive."
WORDS = (("negative", "positive"), ("bad", "good"), ("terrible", "great"), ("boring", "wonderful"), ("no", "yes"))


@functools.cache
def model():
    return load_causal_lm()


@functools.cache
def tokenizer(name="smollm2"):
    return load_tokenizer(name)


@functools.cache
def sentiment(language):
    return load_sentiment(language)


def names(language):
    return sentiment(language)["train"].features["label"].names


def part_of(dataset, size, seed):
    """(texts, labels): the rows number seed * size and following in a fixed random order, so that seeds do not overlap."""
    numbers = np.arange(seed * size, (seed + 1) * size) % len(dataset)  # a small file begins again
    rows = dataset.shuffle(seed=0).select(np.unique(numbers))
    return prompting.shorten(rows["text"], tokenizer()), np.array(rows["label"])


def templates_of(language):
    found = make_templates(names(language))
    return found if language == "eng" else {name: found[name] for name in FEW}


@functools.cache
def template_scores(language, template, seed):
    """{method: scores (n, c)} of one template on the seed's rows, and their labels."""
    texts, labels = part_of(sentiment(language)["validation"], ROWS.get(language, 30), seed)
    chosen = templates_of(language)[template]
    return score_methods(model(), tokenizer(), texts, chosen, Verbalizer(names(language))), labels


def score(labels, predictions, prefix=""):
    return {f"{prefix}accuracy": accuracy(labels, predictions), f"{prefix}macro_f1": macro_f1(labels, predictions)}


@study([{"language": language, "template": template} for language in LANGUAGES
        for template in (make_templates(("negative", "positive")) if language == "eng" else FEW)], seeds=range(5))
def templates(seed, language, template):
    """Every template on the same rows, its scores normalised in four ways."""
    found, labels = template_scores(language, template, seed)
    measures = {"share_of_last_class": float((found["sum"].argmax(-1) == found["sum"].shape[1] - 1).mean())}
    for method, scores in found.items():
        measures |= score(labels, scores.argmax(-1), f"{method}_")
    return measures


def candidates(language, seed):
    """{(template, method): macro-F1 on the seed's rows}."""
    return {(template, method): macro_f1(labels, scores.argmax(-1)) for template in templates_of(language)
            for found, labels in [template_scores(language, template, seed)] for method, scores in found.items()}


@functools.cache
def on_rows(language, template, part):
    """{method: scores} and labels of a template on the test or the grader's rows."""
    rows = subsample(heldout_rows(language), HELDOUT_ROWS) if part == "heldout" else \
        subsample(sentiment(language)["test"], TEST_ROWS)
    texts = prompting.shorten(rows["text"], tokenizer())
    found = score_methods(model(), tokenizer(), texts, templates_of(language)[template], Verbalizer(names(language)))
    return found, np.array(rows["label"])


@study([{"language": language} for language in MARKED], seeds=range(5))
def main(seed, language):
    """The lab's own procedure: choose template and method on a few labelled texts, then test; and an ensemble of all."""
    scores = candidates(language, seed)
    template, method = max(scores, key=scores.get)
    measures = {"template": template, "method": method, "chosen_macro_f1": scores[template, method]}
    for part in ("test", "heldout"):
        found, labels = on_rows(language, template, part)
        measures |= score(labels, found[method].argmax(-1), f"{part}_")
    for way in ("sum", "calibrated"):
        tables = [template_scores(language, name, seed) for name in templates_of(language)]
        stack, labels = np.stack([found[way] for found, _ in tables]), tables[0][1]
        measures |= score(labels, prompting.ensemble(stack), f"ensemble_{way}_")
        measures[f"mean_{way}_accuracy"], measures[f"sd_{way}_accuracy"] = prompting.template_spread(stack, labels)
    return measures


@study([{"words": " / ".join(words)} for words in WORDS], seeds=range(3))
def verbalizers(seed, words):
    """One template, English, other words for the same two classes."""
    texts, labels = part_of(sentiment("eng")["validation"], 60, seed)
    found = score_methods(model(), tokenizer(), texts, templates_of("eng")["overall"], Verbalizer(words.split(" / ")))
    return {method: accuracy(labels, scores.argmax(-1)) for method, scores in found.items()}


@study([{"prompt": prompt, "answer": answer} for prompt in ("plain", "chat") for answer in ("chosen", "free")],
       seeds=range(3))
def chat(seed, prompt, answer):
    """Plain or chat form; the word chosen by its log-probability, or eight tokens written freely and read strictly."""
    texts, labels = part_of(sentiment("eng")["validation"], 40, seed)
    template = templates_of("eng")["instruction"]
    if prompt == "chat":
        template = prompting.as_chat(template, tokenizer())
    if answer == "chosen":
        found = prompting.predict_zero_shot(model(), tokenizer(), texts, template, Verbalizer(names("eng")))
        return {"accuracy": accuracy(labels, found), "formed": 1.0}
    written = answers.generate_answers(model(), tokenizer(), [template.render(text) for text in texts])
    formed, right = answers.score_answers([prompting.first_word(text) for text in written], labels.tolist(), names("eng"))
    return {"accuracy": right, "formed": formed}


@study([{"defence": defence} for defence in prompting.DEFENCES], seeds=range(3))
def injection(seed, defence):
    """Share of answers that a sentence hidden in the text turns, by kind of attack and defence."""
    texts, labels = part_of(sentiment("eng")["validation"], 40, seed)
    return prompting.attack_all(model(), tokenizer(), texts, labels, templates_of("eng")["label"], Verbalizer(names("eng")),
                                defence)


@study([{"start": start, "updates": updates} for start in ("text", "random") for updates in (20, 80)], seeds=range(3))
def soft(seed, start, updates):
    """Ten learned vectors, batches of four, tested on the rows of `main`."""
    set_seed(seed)
    data, template = sentiment("eng"), templates_of("eng")["label"]
    words = soft_prompts.first_tokens(Verbalizer(names("eng")), template, tokenizer())
    tuned = soft_prompts.add_soft_prompt(load_causal_lm(), START if start == "text" else None)

    def rows(part):
        return soft_prompts.make_rows(prompting.shorten(part["text"], tokenizer()), part["label"], template, tokenizer())

    config = TrainingConfig(learning_rate=soft_prompts.LEARNING_RATE, batch_size=4, max_steps=updates, epochs=100,
                            weight_decay=0.0, seed=seed, progress=False)
    train_rows, test = rows(subsample(data["train"], 4 * updates, seed)), subsample(data["test"], TEST_ROWS)
    train(tuned, train_rows, DynamicPaddingCollator(0), config, loss_fn=soft_prompts.soft_prompt_loss(words))
    return score(np.array(test["label"]), soft_prompts.predict(tuned, rows(test), words, 0))


@study([{"language": language} for language in SIB200], seeds=range(3))
def tokens(seed, language):
    """Tokens of the same 100 sentences (another hundred for each seed) in each language, for two tokenizers."""
    def count(name, which):
        rows = load_topics(which)["train"].select(range(100 * seed, 100 * seed + 100))
        return float(prompting.count_tokens(tokenizer(name), rows["text"]).mean())

    counts = {name: (count(name, language), count(name, "eng")) for name in ("smollm2", "minilm")}
    return {f"{name}_tokens": here for name, (here, _) in counts.items()} | \
        {f"{name}_times": here / english for name, (here, english) in counts.items()}
