"""The studies of lab 15: `make calibrate LAB=lab15_instructions` runs them, the lab plots them, marks rest on `main`.

A seed draws four fifths of the packs of training rows, 48 of the pairs, their order, and the fresh weights. The adapter is
LoRA (rank 8) on the upper six of SmolLM2's layers: AdamW, 2 epochs with the rate 2e-3 on the answers, 1 epoch with the rate
5e-4 and beta 1 on the pairs. Answers are written to the first 40 test questions; without tuning, where they are long, to
the first 20. All of it is about ten minutes of one core.
"""

import functools
from pathlib import Path

import numpy as np
from leaplm import instructions, models
from leaplm.calibration import study
from leaplm.runtime import set_seed

HELDOUT = Path(__file__).with_name("heldout")
EPOCHS, RATE = 2, 2e-3
PREFERENCE_EPOCHS, PREFERENCE_RATE, BETA = 1, 5e-4, 1.0
PAIR_BATCHES = 24  # of two pairs each
WRITTEN = 40  # test questions that a tuned model answers
UNTUNED = 20  # test questions that the untuned model answers


@functools.cache
def loaded():
    return instructions.load_chat_model(), models.load_tokenizer("smollm2")


@functools.cache
def rows_of(language, part):
    if part == "heldout":
        return instructions.read_desks(HELDOUT / f"{language}.tsv", language)
    return instructions.load_general() if part == "general" else instructions.load_instructions(language)[part]


@functools.cache
def batches_of(language, part):
    return instructions.make_batches(*loaded(), rows_of(language, part))


@functools.cache
def pairs_of(part):
    return instructions.make_pair_batches(*loaded(), instructions.load_pairs()[part])


def bare_model():
    """The model without adapters."""
    model = loaded()[0]
    instructions.keep_adapters(model, 0)
    return model


def with_adapters(*states):
    """The model's AnswerModel with these adapters on top of each other."""
    model = bare_model()
    scorer = instructions.AnswerModel(model, instructions.layers_of(model))
    for state in states:
        scorer = instructions.add_adapter(model)
        newest = {name: value for name, value in scorer.state_dict().items() if "lora_" in name and ".base." not in name}
        for name, value in newest.items():
            value.copy_(state[name])
    return scorer


def newest_state(scorer):
    return {name: value.clone() for name, value in scorer.state_dict().items()
            if "lora_" in name and ".base." not in name}


@functools.cache
def tuned_on_answers(language, seed):
    """The state of an adapter that learned from four fifths of the packs."""
    batches = batches_of(language, "train")
    order = np.random.default_rng(seed).permutation(len(batches))[: len(batches) * 4 // 5]
    bare_model()
    set_seed(seed)
    scorer = instructions.add_adapter(loaded()[0])
    instructions.train_answers(scorer, [batches[i] for i in order], EPOCHS, RATE)
    return newest_state(scorer)


@functools.cache
def tuned_on_preferences(language, seed, beta=BETA):
    """The state of a second adapter, on top of the first."""
    order = np.random.default_rng(seed).permutation(len(pairs_of("train")))[:PAIR_BATCHES]
    with_adapters(tuned_on_answers(language, seed))
    set_seed(seed)
    scorer = instructions.add_adapter(loaded()[0])
    instructions.train_preferences(scorer, [pairs_of("train")[i] for i in order], beta, PREFERENCE_EPOCHS, PREFERENCE_RATE)
    return newest_state(scorer)


def states_of(language, seed, beta):
    """The adapters of a way: none, the one of answers, or both."""
    if beta is None:
        return (tuned_on_answers(language, seed),)
    return tuned_on_answers(language, seed), tuned_on_preferences(language, seed, beta)


@study([{"language": language} for language in instructions.LANGUAGES], seeds=range(5))
def main(seed, language):
    """What is handed in, both adapters, on the grader's questions; beside it the untuned model. All pairs are English."""
    held_out = batches_of(language, "heldout")
    untuned = instructions.token_log_prob(with_adapters(), held_out)
    tuned = instructions.token_log_prob(with_adapters(*states_of(language, seed, BETA)), held_out)
    return {"untuned_log_prob": untuned, "heldout_log_prob": tuned}


@study([{"beta": beta} for beta in (0.1, 0.3, 1.0, 3.0)], seeds=range(5))
def chosen_beta(seed, beta):
    """What BETA was chosen by: English questions that are neither trained on nor in the test."""
    with_adapters(*states_of("eng", seed, beta))
    return measured("eng", instructions.write_answers(*loaded(), rows_of("eng", "dev"), batch_size=14), "dev")


WAYS = ("as it is", "few-shot", "nearest answer", "tuned on answers", "and on preferences")


@functools.cache
def written(language, seed, way):
    """Answers to the test questions."""
    rows, train = rows_of(language, "test"), rows_of(language, "train")
    if way == "nearest answer":
        return instructions.nearest_answers(train, rows[:WRITTEN])
    if way in WAYS[:2]:
        with_adapters()
        shown = [train[i] for i in np.random.default_rng(seed).permutation(len(train))[:3]] if way == "few-shot" else ()
        return instructions.write_answers(*loaded(), rows[:UNTUNED], shown, batch_size=10)
    with_adapters(*states_of(language, seed, None if way == WAYS[3] else BETA))
    return instructions.write_answers(*loaded(), rows[:WRITTEN], batch_size=20)


def measured(language, answers, part="test"):
    references = [row["answer"] for row in rows_of(language, part)[: len(answers)]]
    found = instructions.describe_answers(answers, references)
    return {name.replace(" ", "_").replace("chrF", "chrf"): value for name, value in found.items()}


def safety_rates():
    """Refused and over-refused of the model as it is."""
    rows = instructions.load_safety()
    answers = instructions.write_answers(*loaded(), rows, batch_size=20)
    return instructions.refusal_rates(answers, [row["refuse"] for row in rows])


@study([{"language": "eng", "way": way} for way in WAYS[:3]], seeds=[0])
def untuned(seed, language, way):
    """Each way without tuning on the test questions; for the few-shot one, one draw of three training rows."""
    return measured(language, written(language, seed, way))


@study([{"language": "eng", "way": way} for way in WAYS[3:]], seeds=range(5))
def ways(seed, language, way):
    """The tuned model on the test questions."""
    return measured(language, written(language, seed, way))


@study([{"way": way} for way in WAYS[3:]], seeds=range(5))
def safety(seed, way):
    """The safety set, in English."""
    with_adapters(*states_of("eng", seed, None if way == WAYS[3] else BETA))
    return safety_rates()


SETTINGS = {"answers only": None, "beta 1": BETA, "beta 0.1": 0.1}


@study([{"setting": setting} for setting in SETTINGS], seeds=range(5))
def betas(seed, setting):
    """Preferences with other values of beta: the answers, the pairs of the test, and what is forgotten."""
    beta = SETTINGS[setting]
    scorer = with_adapters(*states_of("eng", seed, beta))
    untouched = {"accuracy": 0.5, "chosen": 0.0, "rejected": 0.0}
    pairs = instructions.measure_pairs(scorer, pairs_of("test")) if beta else untouched
    if beta in (None, BETA):
        answers = written("eng", seed, WAYS[3] if beta is None else WAYS[4])
    else:
        answers = instructions.write_answers(*loaded(), rows_of("eng", "test")[:WRITTEN], batch_size=20)
    return {**measured("eng", answers), "pair_accuracy": pairs["accuracy"], "chosen": pairs["chosen"],
            "rejected": pairs["rejected"], "general": instructions.token_log_prob(scorer, batches_of("eng", "general"))}


@study([{}], seeds=[0])
def facts(seed):
    """The untuned model on everyday questions."""
    return {"general_untuned": instructions.token_log_prob(with_adapters(), batches_of("eng", "general"))}
