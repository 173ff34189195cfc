"""Prompts as data: templates, the words that stand for classes, and how their probabilities become an answer.

An answer is chosen by comparing the log-probabilities of a few words after the prompt, never by reading free text.
"""

import json
from dataclasses import asdict, dataclass

import numpy as np

from leaplm.evaluation import log_softmax
from leaplm.plain_json import read_json
from leaplm.prompting.scoring import continuation_log_probs

METHODS = ("sum", "mean", "prior", "calibrated")
CONTENT_FREE = ("N/A", "[MASK]", "...")  # texts that say nothing, for `calibrate`
MAX_PROMPT_CHARACTERS = 6000
PLACE = "{text}"


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt with one place for a text.

    item: asks about one text; holds `{text}` once and ends where the answer begins. Other braces stay as they are.
    instruction: stands once, before everything. lead: stands between an item and its answer. separator: between items.

    >>> PromptTemplate("Review: {text}\\nSentiment:", "Judge each review.").render("Fine {film}.", [("Bad.", "negative")])
    'Judge each review.\\n\\nReview: Bad.\\nSentiment: negative\\n\\nReview: Fine {film}.\\nSentiment:'
    """

    item: str
    instruction: str = ""
    lead: str = " "
    separator: str = "\n\n"

    def __post_init__(self):
        if self.item.count(PLACE) != 1:
            raise ValueError(f"the item {self.item!r} must hold {PLACE} exactly once")

    def fill(self, text):
        """The item with a text in its place. A text that itself holds `{text}` is left alone."""
        return self.item.replace(PLACE, text)

    def prefix(self, demonstrations=()):
        """What all prompts share: the instruction, then (text, word) pairs with their answers."""
        parts = [self.instruction] if self.instruction else []
        parts += [self.fill(text) + self.lead + word for text, word in demonstrations]
        return "".join(part + self.separator for part in parts)

    def render(self, text, demonstrations=()):
        """The whole prompt for one text."""
        return self.prefix(demonstrations) + self.fill(text)

    def split(self):
        """(shared, rest) of the item: shared ends with the last new line before the text, so tokens stay as they are."""
        cut = self.item.rfind("\n", 0, self.item.index(PLACE)) + 1
        return self.item[:cut], self.item[cut:]


@dataclass(frozen=True)
class Verbalizer:
    """The word that stands for each class, in the order of the classes (at least two, all different).

    >>> Verbalizer(("bad", "good")).words[1]
    'good'
    """

    words: tuple

    def __post_init__(self):
        object.__setattr__(self, "words", tuple(self.words))
        if len(self.words) < 2 or len(set(self.words)) < len(self.words) or not all(map(str.strip, self.words)):
            raise ValueError(f"words {self.words} must be at least two, all different, none empty")


def render_prompts(item, texts, words, instruction="", demonstrations=()):
    """One prompt for each text: the instruction, the demonstrations with their answers, then the item with the text.

    words: the word for each class. demonstrations: (text, class number) pairs. Parts are joined by an empty line.
    ValueError if the item does not hold `{text}` exactly once, or the words are not two or more, different, not empty.

    >>> render_prompts("Text: {text}\\nMood:", ["Nice"], ["sad", "glad"], demonstrations=[("Bad", 0)])
    ['Text: Bad\\nMood: sad\\n\\nText: Nice\\nMood:']
    """
    template, words = PromptTemplate(item, instruction), Verbalizer(words).words
    return [template.render(text, [(shown, words[int(label)]) for shown, label in demonstrations]) for text in texts]


def as_chat(template, tokenizer):
    """The same template inside the model's own chat form: instruction = system, item = user, answer = assistant."""
    turns = [{"role": "system", "content": template.instruction}] if template.instruction else []
    turns.append({"role": "user", "content": template.item})
    item = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return PromptTemplate(item, lead="", separator=tokenizer.eos_token + "\n")


def make_templates(names, subject="sentiment"):
    """Ten templates {name: PromptTemplate} that ask for the same thing in other words.

    names: the class names. subject: what they are about ("sentiment", "category", "topic").
    """
    choices = f"{', '.join(names[:-1])} or {names[-1]}"
    title = subject.capitalize()
    return {
        "label": PromptTemplate(f"Text: {PLACE}\n{title}:"),
        "review": PromptTemplate(f"Review: {PLACE}\n{title}:"),
        "sentence": PromptTemplate(f"{PLACE}\nThe {subject} of this text is"),
        "quoted": PromptTemplate(f'The {subject} of the text "{PLACE}" is'),
        "question": PromptTemplate(f"Text: {PLACE}\nQuestion: Is this text {choices}?\nAnswer:"),
        "question first": PromptTemplate(f"Is the following text {choices}?\nText: {PLACE}\nAnswer:"),
        "instruction": PromptTemplate(f"Text: {PLACE}\n{title}:", f"Say for each text whether it is {choices}."),
        "expert": PromptTemplate(f"Text: {PLACE}\nYour answer:",
                                 f"You are an expert reader. Answer with one word: {choices}."),
        "form": PromptTemplate(f"### Text\n{PLACE}\n\n### {title} ({choices})\n"),
        "overall": PromptTemplate(f"{PLACE}\nOverall, this is"),
    }


# -- scores ---------------------------------------------------------------------------------------------------------------


def label_log_probs(model, tokenizer, prompts, labels, normalize="sum", prefix="", premise=None, batch_size=16):
    """One score for each prompt and label (n, c), in nats: how probable is the label as the next words?

    labels: c strings as they follow the prompt (mostly with a leading space).
    normalize: "sum", the log-probability of the whole label; "mean", the same per token, so that long labels are not
    at a disadvantage; "prior", the sum minus that after `premise`, a short text that says nothing about the item, so
    that frequent words have no advantage.
    Source of "prior": Holtzman et al., 2021, *Surface form competition* (domain-conditional PMI).
    """
    if normalize not in METHODS[:3]:
        raise ValueError(f"normalize={normalize!r}: use one of {', '.join(METHODS[:3])}")
    sums, tokens = continuation_log_probs(model, tokenizer, list(prompts), list(labels), prefix, batch_size)
    premise_sums = None
    if normalize == "prior":
        if not premise:
            raise ValueError('normalize="prior" needs a premise, such as "Sentiment:"')
        premise_sums = continuation_log_probs(model, tokenizer, [premise], list(labels))[0][0]
    return normalize_scores(sums, tokens, normalize, premise_sums)


def normalize_scores(sums, tokens, method, premise_sums=None):
    """"sum", "mean" or "prior" scores (n, c) from sums (n, c), token counts (n, c) and the premise's sums (c,)."""
    sums = np.asarray(sums, dtype=float)
    if method == "sum":
        return sums
    if method == "mean":
        return sums / np.asarray(tokens)
    if method == "prior":
        return sums - np.asarray(premise_sums)
    raise ValueError(f"method={method!r}: use sum, mean or prior")


def calibrate(log_probs, content_free_log_probs):
    """Contextual calibration: log-probabilities (n, c) with the model's bias towards some labels taken out.

    log_probs (n, c), content_free_log_probs (m, c): label scores after the texts and after texts that say nothing. Both
    are turned into probabilities over the c labels; the mean of the m content-free ones is the bias; each row is divided
    by it and scaled to add up to 1. Source: Zhao et al., 2021, *Calibrate before use*, section 5.

    >>> calibrate(np.log([[0.8, 0.2]]), np.log([[0.8, 0.2]])).round(3).tolist()
    [[-0.693, -0.693]]
    """
    bias = np.exp(log_softmax(content_free_log_probs)).mean(axis=0)
    return log_softmax(log_softmax(log_probs) - np.log(bias))


def class_scores(sums, tokens, method, premise_sums=None, empty_sums=None):
    """One of METHODS as scores (n, c), from the sums of log-probabilities of c words after n texts and after empty ones.

    sums, tokens (n, c): log p(word | text), and the number of tokens of each word. premise_sums (c,): after the premise,
    for "prior". empty_sums (m, c): after m texts that say nothing, for "calibrated". ValueError if `method` is unknown, or
    if what it needs is missing.

    >>> class_scores([[-2.0, -6.0]], [[1, 2]], "mean").tolist()
    [[-2.0, -3.0]]
    """
    needed = {"prior": premise_sums, "calibrated": empty_sums}.get(method, ())
    if needed is None:
        raise ValueError(f"method={method!r} needs {'premise_sums' if method == 'prior' else 'empty_sums'}")
    return calibrate(sums, empty_sums) if method == "calibrated" else \
        normalize_scores(sums, tokens, method, premise_sums)


def class_log_probs(model, tokenizer, texts, template, verbalizer, method="sum", demonstrations=(), batch_size=16):
    """Scores of the classes (n, c) for each text; one of METHODS. The prompt's shared part goes through the model once.

    "prior" takes the item's last line without the text as its premise; "calibrated" is `calibrate` on CONTENT_FREE.
    demonstrations: (text, word) pairs.
    """
    return score_methods(model, tokenizer, texts, template, verbalizer, (method,), demonstrations, batch_size)[method]


def score_methods(model, tokenizer, texts, template, verbalizer, methods=METHODS, demonstrations=(), batch_size=16):
    """{method: scores (n, c)} of several methods from one pass over the texts."""
    if unknown := set(methods) - set(METHODS):
        raise ValueError(f"method {unknown.pop()!r} is not known. Use one of: {', '.join(METHODS)}.")
    shared, rest = template.split()
    prefix, labels = template.prefix(demonstrations) + shared, [template.lead + word for word in verbalizer.words]
    empty = list(CONTENT_FREE) if "calibrated" in methods else []
    prompts = [rest.replace(PLACE, text) for text in [*texts, *empty]]
    sums, tokens = continuation_log_probs(model, tokenizer, prompts, labels, prefix, batch_size)
    n, bare = len(sums) - len(empty), None
    if "prior" in methods:
        bare = continuation_log_probs(model, tokenizer, [premise_of(template)], labels)[0][0]
    return {method: class_scores(sums[:n], tokens[:n], method, bare, sums[n:]) for method in methods}


def premise_of(template):
    """What stands between the text and the answer: the question without the text ("Sentiment:")."""
    return template.item.partition(PLACE)[2].strip(' "') or "Answer:"


def predict_zero_shot(model, tokenizer, texts, template, verbalizer, method="sum", batch_size=16):
    """Class numbers (n,) by the template alone, without any example."""
    return class_log_probs(model, tokenizer, texts, template, verbalizer, method, (), batch_size).argmax(-1)


def predict_few_shot(model, tokenizer, texts, template, verbalizer, demonstrations, method="sum", batch_size=16):
    """Class numbers (n,) after demonstrations: (text, class number) pairs, which stand before each text with answers."""
    pairs = [(text, verbalizer.words[int(label)]) for text, label in demonstrations]
    return class_log_probs(model, tokenizer, texts, template, verbalizer, method, pairs, batch_size).argmax(-1)


# -- several templates ----------------------------------------------------------------------------------------------------


def template_spread(log_probs, labels):
    """(mean, sample standard deviation) over templates of the accuracy. log_probs (t, n, c), labels (n,)."""
    accuracies = (np.asarray(log_probs).argmax(-1) == np.asarray(labels)).mean(axis=1)
    return float(accuracies.mean()), float(accuracies.std(ddof=1))


def ensemble(log_probs):
    """Class numbers (n,): each template's scores (t, n, c) become probabilities over the classes; their mean decides."""
    return np.exp(log_softmax(log_probs)).mean(axis=0).argmax(-1)


# -- texts ----------------------------------------------------------------------------------------------------------------


def shorten(texts, tokenizer, max_tokens=48):
    """Texts cut at `max_tokens` tokens, with white space (new lines too) made single spaces."""
    texts = [" ".join(text.split()) for text in texts]
    cut = tokenizer(texts, truncation=True, max_length=max_tokens, add_special_tokens=False)["input_ids"]
    # A cut inside a letter of several bytes leaves a replacement character.
    return [text if len(ids) < max_tokens else tokenizer.decode(ids, skip_special_tokens=True).rstrip("\ufffd")
            for text, ids in zip(texts, cut, strict=True)]


def count_tokens(tokenizer, texts):
    """Number of tokens of each text (n,), without special tokens."""
    return np.array([len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]])


# -- prompt files ---------------------------------------------------------------------------------------------------------


def prompt_file(template, verbalizer, method, labels, language, demonstrations=(), **card):
    """A prompt as JSON text: everything that is needed to ask again, and what it was measured to do (`card`)."""
    content = {"template": asdict(template), "words": list(verbalizer.words), "method": method, "labels": list(labels),
               "language": language, "demonstrations": [list(pair) for pair in demonstrations], "card": card}
    return json.dumps(content, indent=1, ensure_ascii=False)


def read_prompt_file(content):
    """The dict of a prompt file (bytes or str) with `template` and `verbalizer` as objects. ValueError if it is not one."""
    try:
        found = read_json(content)
        template, words = PromptTemplate(**found["template"]), Verbalizer(found["words"])
        pairs = [(text, word) for text, word in found.get("demonstrations", [])]
        method, labels, language = found["method"], list(found["labels"]), found["language"]
        size = len(template.render("", pairs)) + sum(map(len, words.words))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"this is not a prompt file: `{type(error).__name__}: {error}`") from None
    if not all(isinstance(part, str) for part in (*asdict(template).values(), *words.words, *labels, language)):
        raise ValueError("template, words, labels and language of a prompt file must be texts")
    if method not in METHODS:
        raise ValueError(f"method {method!r} is not known. Use one of: {', '.join(METHODS)}.")
    if len(words.words) != len(labels):
        raise ValueError(f"{len(words.words)} words for {len(labels)} classes")
    if size > MAX_PROMPT_CHARACTERS:
        raise ValueError(f"the prompt has {size} characters; at most {MAX_PROMPT_CHARACTERS} are allowed")
    return {"template": template, "verbalizer": words, "method": method, "labels": labels, "language": language,
            "demonstrations": pairs}
