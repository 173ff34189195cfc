"""The studies of lab 6: `make calibrate LAB=lab6_overfitting` runs them, the lab plots them, marks rest on `main`.

All rows of a seed have the same 100 training, 100 validation and 300 test texts, so differences are judged seed by seed.
Seconds are processor time of this process (set OMP_NUM_THREADS=1), without the loading of a model and the test.
"""

import functools
import tempfile
import time

import numpy as np
import torch
from leaplm import data, evaluation, fewshot, models
from leaplm.calibration import study
from leaplm.overfitting import data_parallel, memory
from leaplm.overfitting import regularization as reg
from leaplm.peft.lora import inject_lora, train_word_embeddings
from leaplm.runtime import set_seed
from leaplm.training import TrainingConfig, classification_loss, train

LABELS, TEST_ROWS = 100, 300
EPOCHS, BATCH, RATE = 5, 8, 1e-4
DELETE, EPSILON, DROPOUT, DECAY, LORA_RATE = 0.2, 0.1, 0.3, 10.0, 1e-3
# For a language that MiniLM has not read, its word vectors learn too and faster (lab 2, section 13), and for longer.
OTHER = {"freeze": None, "embedding_learning_rate": 1e-3, "epochs": 8, "lora_rate": 3e-3}


@functools.cache
def tokenizer():
    return models.load_tokenizer()


@functools.cache
def texts(language, seed):
    """The seed's training, validation and test texts, and the 200 texts of the row that trains on both."""
    found = data.load_sentiment(language)
    both = data.subsample(found["train"], 2 * LABELS, seed)
    first = data.subsample(both, len(both) // 2, seed)  # LABELS, but in a small file
    known = set(first["text"])
    rest = both.filter(lambda row: row["text"] not in known)
    return {"train": first, "validation": rest, "both": both, "test": data.subsample(found["test"], TEST_ROWS, seed)}


def collate(rows):
    return data.DynamicPaddingCollator(tokenizer().pad_token_id)(rows)


def tokenize(dataset):
    return reg.with_texts(data.tokenize(dataset, tokenizer()), dataset)


def make_model(language, names, seed, remedy):
    set_seed(seed)
    model = models.load_sequence_classifier(names, freeze="embeddings" if language == "eng" else OTHER["freeze"])
    if "LoRA" in remedy:
        inject_lora(model)
        if language != "eng":
            train_word_embeddings(model)
    return reg.set_dropout(model, DROPOUT if remedy == "dropout" else 0.0)


def epochs(language):
    return EPOCHS if language == "eng" else OTHER["epochs"]


def fine_tune(language, remedy, seed, rows, names, evaluate=None, init=0):
    """One training with one remedy (or the recipe), all else as in "no remedy"; `init` draws another head and order."""
    model = make_model(language, names, seed + 1000 * init, remedy)
    english = language == "eng"
    lora_rate = LORA_RATE if english else OTHER["lora_rate"]
    config = TrainingConfig(
        learning_rate=lora_rate if "LoRA" in remedy else RATE, batch_size=BATCH, epochs=epochs(language), progress=False,
        weight_decay=DECAY if remedy == "weight decay" else 0.0, seed=seed + 1000 * init,
        embedding_learning_rate=None if english else OTHER["embedding_learning_rate"])
    collator = reg.AugmentingCollator(tokenizer(), collate, DELETE) if "words deleted" in remedy else collate
    loss = reg.adversarial_loss(EPSILON) if remedy == "adversarial (FGM)" else classification_loss
    started = time.process_time()
    train(model, rows, collator, config, evaluate, loss)
    return model, round(time.process_time() - started, 1)


def logits(model, dataset):
    return evaluation.predict_logits(model, tokenize(dataset), collate)


def score(dataset, scores):
    """Accuracy, macro-F1 and loss (nats per text) of class scores or log-probabilities."""
    labels = np.array(dataset["label"])
    logs = evaluation.log_softmax(scores)
    return {"accuracy": evaluation.accuracy(labels, scores.argmax(-1)),
            "macro_f1": evaluation.macro_f1(labels, scores.argmax(-1)),
            "loss": float(-logs[np.arange(len(labels)), labels].mean())}


def names_of(dataset):
    return dataset.features["label"].names


@functools.lru_cache(maxsize=2)
def plain_run(language, seed):
    """One run without remedy, looked at after each epoch: it is the rows "no remedy" and "early stopping", and a curve.

    Returns the logits of the last epoch, those of the kept one, the validation losses, and the seconds of each row.
    """
    some, curve, last, looking = texts(language, seed), [], {}, []
    validation = tokenize(some["validation"])

    def look(model):
        started = time.process_time()
        curve.append(evaluation.evaluate(model, validation, collate)["loss"])
        looking.append(time.process_time() - started)
        if len(curve) == epochs(language):
            started = time.process_time()
            last.update(test=logits(model, some["test"]), train=logits(model, some["train"]))
            looking.append(time.process_time() - started)
        return {"loss": curve[-1]}

    model, seconds = fine_tune(language, "", seed, tokenize(some["train"]), names_of(some["train"]), look)
    kept = {"test": logits(model, some["test"]), "train": logits(model, some["train"])}
    training = round(seconds - sum(looking), 1)
    return last, kept, curve, (training, round(training + sum(looking[:epochs(language)]), 1))


def all_scores(some, found, seconds):
    """Test scores, and those on the training texts with `train_` before them."""
    on_train = score(some["train"], found["train"])
    return {**score(some["test"], found["test"]), **{f"train_{k}": v for k, v in on_train.items()}, "seconds": seconds}


def without_training(some, remedy):
    """Scores of the rows that do not train the encoder, on test and training texts."""
    both, started = {}, time.process_time()
    if remedy == "majority class":
        shares = np.bincount(some["train"]["label"], minlength=len(names_of(some["train"]))) / LABELS
        both = {part: np.tile(np.log(shares), (len(some[part]), 1)) for part in ("test", "train")}
    elif remedy.startswith("TF-IDF"):
        model = evaluation.tfidf_classifier(remedy.split()[-1])
        model.fit(list(some["train"]["text"]), list(some["train"]["label"]))
        seconds = round(time.process_time() - started, 1)
        both = {part: model.predict_log_proba(list(some[part]["text"])) for part in ("test", "train")}
        return all_scores(some, both, seconds)
    else:
        encoder = models.load_encoder()
        started = time.process_time()
        vectors = {"train": fewshot.embed(encoder, tokenizer(), some["train"]["text"])}
        weight, bias = fewshot.fit_head(vectors["train"], some["train"]["label"])
        seconds = round(time.process_time() - started, 1)
        vectors["test"] = fewshot.embed(encoder, tokenizer(), some["test"]["text"])
        return all_scores(some, {part: v @ weight.T + bias for part, v in vectors.items()}, seconds)
    return all_scores(some, both, 0.0)


def ensemble(language, seed, some, members=3):
    """The mean of the probabilities of three trainings on the same texts with other heads and another order."""
    last, _, _, (seconds, _) = plain_run(language, seed)
    found = {part: [last[part]] for part in ("test", "train")}
    for init in range(1, members):
        model, spent = fine_tune(language, "", seed, tokenize(some["train"]), names_of(some["train"]), init=init)
        seconds += spent
        for part, members_logits in found.items():
            members_logits.append(logits(model, some[part]))
    alone = [score(some["test"], one)["accuracy"] for one in found["test"]]
    return {**all_scores(some, {part: np.log(reg.ensemble_probabilities(found[part])) for part in found}, seconds),
            "members_accuracy": float(np.mean(alone))}


BASELINES = ("majority class", "TF-IDF words", "TF-IDF characters", "frozen encoder + head")
RECIPE = "words deleted"
REMEDIES = ("no remedy", "early stopping", "weight decay", "dropout", "words deleted", "adversarial (FGM)", "LoRA",
            "ensemble of 3", "200 labels, none for validation")
FEWER = ("no remedy", "early stopping")


@study([{"language": "eng", "remedy": remedy} for remedy in BASELINES + REMEDIES], seeds=range(5))
def remedies(seed, language, remedy):
    """100 labels, one thing changed a row; all rows of a seed see the same texts."""
    some = texts(language, seed)
    if remedy in BASELINES:
        return without_training(some, remedy)
    if remedy in ("no remedy", "early stopping"):
        last, kept, curve, seconds = plain_run(language, seed)
        found = all_scores(some, *((last, seconds[0]) if remedy == "no remedy" else (kept, seconds[1])))
        return {**found, "validation_losses": curve, "kept_epoch": int(np.argmin(curve)) + 1}
    if remedy == "ensemble of 3":
        return ensemble(language, seed, some)
    rows = tokenize(some["both" if remedy.startswith("200") else "train"])
    model, seconds = fine_tune(language, remedy, seed, rows, names_of(some["train"]))
    return all_scores(some, {part: logits(model, some[part]) for part in ("test", "train")}, seconds)


@study([{"language": "eng"}], seeds=range(5))
def temperature(seed, language):
    """No remedy, its scores divided by one number that the validation texts choose: the loss before and after."""
    some = texts(language, seed)
    model, _ = fine_tune(language, "", seed, tokenize(some["train"]), names_of(some["train"]))
    on_test, on_validation = logits(model, some["test"]), logits(model, some["validation"])
    found = reg.fit_temperature(on_validation, some["validation"]["label"])
    return {"temperature": found, **score(some["test"], on_test / found),
            **{f"before_{k}": v for k, v in score(some["test"], on_test).items()}}


@study([{"language": language, "remedy": remedy} for language in ("hau", "swa") for remedy in BASELINES + FEWER],
       seeds=range(3))
def other_languages(seed, language, remedy):
    """The same for languages that MiniLM has not read; its word vectors learn, ten times as fast."""
    return remedies(seed, language, remedy)


@study([{"language": language, "recipe": RECIPE} for language in data.MARKED], seeds=range(5))
def main(seed, language, recipe):
    """What is handed in: the lab's own recipe, scored on the seed's test texts and on the grader's rows."""
    some = texts(language, seed)
    model, seconds = fine_tune(language, recipe, seed, tokenize(some["train"]), names_of(some["train"]))
    heldout = data.heldout_rows(language)
    found = all_scores(some, {part: logits(model, some[part]) for part in ("test", "train")}, seconds)
    on_heldout = {f"heldout_{k}": v for k, v in score(heldout, logits(model, heldout)).items()}
    return {**found, **on_heldout, "epochs": epochs(language)}


# -- the memory of an update ----------------------------------------------------------------------------------------------


def random_batch(texts, tokens):
    return {"input_ids": torch.randint(1000, 20000, (texts, tokens)), "labels": torch.arange(texts) % 2,
            "attention_mask": torch.ones(texts, tokens, dtype=torch.long)}


WAYS = [("32 x 64", way, settings) for way, settings in memory.WAYS.items()] + [
    ("32 x 64", "bf16", {"precision": "bf16"}), ("2 x 32", "one batch", {}), ("2 x 32", "bf16", {"precision": "bf16"}),
    ("2 x 32", "fp16", {"precision": "fp16"})]


@functools.lru_cache(maxsize=1)
def exact_gradient(seed, batch):
    """A model, a random batch "texts x tokens", and its gradient in one piece and 32 bits."""
    set_seed(seed)
    model = reg.set_dropout(models.load_sequence_classifier(["no", "yes"], freeze="embeddings"), 0.0)
    some = random_batch(*map(int, batch.split(" x ")))
    memory.measure_gradient(model, some)
    return model, some, memory.flat_gradient(model)


@study([{"batch": batch, "way": way} for batch, way, _ in WAYS], seeds=range(3))
def hardware(seed, batch, way):
    """The gradient of one batch (texts x tokens), got in different ways: memory, seconds by the clock, and its error.

    MiniLM without dropout, word embeddings frozen. `difference`: the largest one, over the largest number of the gradient.
    """
    model, some, exact = exact_gradient(seed, batch)
    found = memory.measure_gradient(model, some, **next(kept for b, w, kept in WAYS if (b, w) == (batch, way)))
    difference = (memory.flat_gradient(model) - exact).abs().max() / exact.abs().max()
    return {**found, "difference": float(difference)}


@study([{"processes": processes} for processes in (1, 2)], seeds=range(3))
def processes(seed, processes):
    """Three updates of 32 texts of 64 tokens in one and in two processes with a core each: what the first one reports."""
    set_seed(seed)
    ids = random_batch(96, 64)["input_ids"].tolist()
    rows = [{"input_ids": row, "label": i % 2} for i, row in enumerate(ids)]
    config = TrainingConfig(learning_rate=RATE, batch_size=32, max_steps=3, progress=False, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        found = data_parallel.train_in_processes(rows, ["no", "yes"], config, folder, processes)
    first = found[0]
    return {"losses": first["losses"], "checksum": first["checksum"], "peak_mb": first["peak_mb"],
            "seconds_an_update": first["seconds"] / 3}
