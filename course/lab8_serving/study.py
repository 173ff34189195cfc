"""The studies of lab 8: `make calibrate LAB=lab8_serving` runs them, the lab plots them, marks rest on `main`."""

import copy
import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from leaplm import artifacts
from leaplm.assets import store
from leaplm.calibration import right_and_wrong, study
from leaplm.compression import (
    NF4,
    TeacherCollator,
    distillation_objective,
    fake_quantize,
    finish_pruning,
    make_student,
    prune_model,
    quantize_dynamic,
    trim_embeddings,
    trim_tokenizer,
    used_pieces,
)
from leaplm.compression.checkpoint import load_compressed, save_compressed
from leaplm.compression.engine import load_classifier
from leaplm.compression.onnx import export_onnx, quantize_onnx
from leaplm.data import DynamicPaddingCollator, heldout_rows, load_sentiment, subsample, tokenize
from leaplm.evaluation import accuracy, evaluate, macro_f1, majority_baseline, predict_logits, tfidf_classifier
from leaplm.marking import marked_languages
from leaplm.models import load_sequence_classifier, load_tokenizer
from leaplm.runtime import set_seed
from leaplm.training import TrainingConfig, train

LABELLED, UNLABELLED, TEST_ROWS = 1000, 3000, 300
TEACHERS = 3  # seeds 3 and 4 of a student learn from the teachers 0 and 1
LENGTH = 64  # tokens, at most
LAYERS = (0, 2, 4)
collate = DynamicPaddingCollator(0)


@functools.cache
def sentiment(language):
    return load_sentiment(language)


def teacher_settings(language):
    """In a language that MiniLM has not read, its word vectors learn too, and faster (lab 2, section 13).

    Two epochs are enough for English and Hausa; after two in Swahili the model says little but "neutral" (macro-F1 0.34).
    """
    words = {} if language == "eng" else {"embedding_learning_rate": 1e-3}
    return {"learning_rate": 1e-4, "epochs": 2 if language in ("eng", "hau") else 4, **words}


@functools.cache
def teacher(language, seed):
    """A classifier as lab 8 trains it when there is none from lab 2; kept on disk between studies."""
    names = sentiment(language)["train"].features["label"].names
    reference = load_sequence_classifier(names)
    path = store() / "studies" / f"lab8-teacher-{language}-{seed}.safetensors"
    if not path.is_file():
        set_seed(seed)
        model = load_sequence_classifier(names, freeze="embeddings" if language == "eng" else None)
        rows = tokenize(subsample(sentiment(language)["train"], LABELLED, seed), load_tokenizer(), LENGTH)
        train(model, rows, collate, TrainingConfig(**teacher_settings(language), seed=seed, progress=False))
        artifacts.save_artifact(path, model, reference, {"language": language, "labels": names})
    return artifacts.apply_artifact(reference, artifacts.read_artifact(path)[1]).eval()


@functools.cache
def encoded(language, part):
    rows = heldout_rows(language) if part == "heldout" else subsample(sentiment(language)["test"], TEST_ROWS)
    return tokenize(rows, load_tokenizer(), LENGTH)


@functools.cache
def teacher_scores(language, seed):
    return scores(teacher(language, seed), encoded(language, "heldout"), "teacher_")


def scores(model, rows, prefix=""):
    found = evaluate(model, rows, collate)
    return {f"{prefix}{name}": found[name] for name in ("accuracy", "macro_f1", "loss")}


# -- the lab's own way ------------------------------------------------------------------------------------------------------


def texts_for(language, seed):
    """The texts that the student reads: the labelled ones, and others from the training part without their labels."""
    rows = sentiment(language)["train"]
    return subsample(rows, LABELLED, seed), rows.shuffle(seed=seed).select(range(min(UNLABELLED, len(rows))))


def distil(model, tokenizer, language, seed, student=None, soft=True, max_steps=150):
    """Train a student of three layers: from the teacher on texts without labels (soft), or from 1,000 labels alone."""
    labelled, plain = texts_for(language, seed)
    student = make_student(model, LAYERS) if student is None else student
    student.bert.embeddings.requires_grad_(False)
    config = TrainingConfig(learning_rate=3e-4, batch_size=16, max_steps=max_steps, seed=seed, progress=False)
    if not soft:
        train(student, tokenize(labelled, tokenizer, LENGTH), collate, config)
        return student
    plain = plain.select(range(min(16 * max_steps, len(plain))))  # as many as the updates will read
    answers = taught(language, seed, len(plain))
    rows = [{"input_ids": row["input_ids"], "label": int(logits.argmax()), "teacher_logits": logits}
            for row, logits in zip(tokenize(plain, tokenizer, LENGTH), answers, strict=True)]
    train(student, rows, TeacherCollator(collate), config, loss_fn=distillation_objective())
    return student


def taught(language, seed, count):
    """The teacher's logits (count, classes) on a seed's texts; kept on disk, since several students learn from them."""
    path = store() / "studies" / f"lab8-taught-{language}-{seed}-{count}.npy"
    if not path.is_file():
        rows = tokenize(texts_for(language, seed)[1].select(range(count)), load_tokenizer(), LENGTH)
        np.save(path, predict_logits(teacher(language, seed % TEACHERS), rows, collate))
    return np.load(path)


@study([{"language": language} for language in marked_languages("lab8_serving")], seeds=range(5))
def main(seed, language):
    """Teacher, smaller vocabulary, student, 8 bits: the score after each step, and that of the file on the grader's rows."""
    big, heldout = teacher(language, seed % TEACHERS), heldout_rows(language)
    set_seed(seed)
    kept = used_pieces(load_tokenizer(), list(sentiment(language)["train"]["text"]))
    tokenizer = trim_tokenizer(load_tokenizer(), kept)
    trimmed = trim_embeddings(big, kept)
    student = distil(trimmed, tokenizer, language, seed)
    rows = tokenize(heldout, tokenizer, LENGTH)
    found = teacher_scores(language, seed % TEACHERS) | scores(student, rows, "student_")
    with tempfile.TemporaryDirectory() as folder:
        card = {"language": language, "labels": sentiment(language)["train"].features["label"].names}
        found["megabytes"] = save_compressed(path := Path(folder) / "model.safetensors", student, kept, card)
        _, model, tokenizer = load_compressed(path)
    found |= scores(model, tokenize(heldout, tokenizer, LENGTH), "heldout_")
    return {**found, "pieces": len(kept), **baselines(language, seed, heldout)}


def baselines(language, seed, test):
    rows, found = subsample(sentiment(language)["train"], LABELLED, seed), {}
    ways = {"majority": majority_baseline(rows["label"], test["label"])}
    ways["tfidf"] = tfidf_classifier().fit(list(rows["text"]), list(rows["label"])).predict(list(test["text"]))
    for name, predictions in ways.items():
        found[f"{name}_accuracy"] = accuracy(test["label"], predictions)
        found[f"{name}_macro_f1"] = macro_f1(test["label"], predictions)
    return found


# -- one method at a time, in English ---------------------------------------------------------------------------------------


@study([{"student": name} for name in ("soft labels", "1,000 labels alone", "soft labels, random start")], seeds=range(3))
def students(seed, student):
    """What does the teacher bring, and what the start from its layers? Same shape, same number of updates."""
    big = teacher("eng", seed)
    set_seed(seed)
    start = make_student(big, LAYERS)
    if "random" in student:
        start.bert.encoder.apply(start._init_weights)
        start.classifier.apply(start._init_weights)
    model = distil(big, load_tokenizer(), "eng", seed, start, soft="soft" in student)
    return scores(model, encoded("eng", "test"))


@study([{"share": share, "scope": scope} for share in (0.3, 0.5, 0.7, 0.9) for scope in ("layer", "random")],
       seeds=range(3))
def pruning(seed, share, scope):
    """Accuracy after weights were set to 0; after the pruning by layer also with 20 more updates on the 1,000 labels."""
    model = finish_pruning(prune_model(copy.deepcopy(teacher("eng", seed)), share, scope, seed))
    found = scores(model, encoded("eng", "test"))
    if scope == "layer":
        found |= scores(recover(copy.deepcopy(teacher("eng", seed)), share, seed), encoded("eng", "test"), "recovered_")
    return found


def recover(model, share, seed):
    prune_model(model, share)
    model.bert.embeddings.requires_grad_(False)
    rows = tokenize(subsample(sentiment("eng")["train"], LABELLED, seed), load_tokenizer(), LENGTH)
    train(model, rows, collate, TrainingConfig(learning_rate=1e-4, max_steps=20, seed=seed, progress=False))
    return finish_pruning(model)


@study([{"numbers": name} for name in ("32-bit", "8-bit, a scale a row", "8-bit, one scale", "4-bit, a scale a row",
                                       "4-bit, one scale")], seeds=range(3))
def rounding(seed, numbers):
    """The price of fewer bits alone, by hand on the weights; activations stay 32-bit."""
    model = copy.deepcopy(teacher("eng", seed))
    if numbers != "32-bit":
        fake_quantize(model, 127 if numbers.startswith("8") else 7, per_row="row" in numbers)
    return scores(model, encoded("eng", "test"))


WAYS = {"32-bit": None, "8-bit, a scale a row": {}, "8-bit, activations too": None, "4-bit, a scale a row": {"levels": 7},
        "4-bit, groups of 32": {"levels": 7, "group": 32}, "4-bit, groups of 32, NF4": {"group": 32, "table": NF4}}


@study([{"numbers": name} for name in WAYS], seeds=range(3))
def rounding_paired(seed, numbers):
    """The same on up to 1,200 test texts, each right (1) or wrong (0), so that ways are compared text by text."""
    model = copy.deepcopy(teacher("eng", seed))
    if numbers == "8-bit, activations too":
        model = quantize_dynamic(model)
    elif WAYS[numbers] is not None:
        fake_quantize(model, **WAYS[numbers])
    rows = tokenize(subsample(sentiment("eng")["test"], 1200), load_tokenizer(), LENGTH)
    labels, predictions = [row["label"] for row in rows], predict_logits(model, rows, collate).argmax(-1)
    return {"accuracy": accuracy(labels, predictions), "right": right_and_wrong(labels, predictions)}


# -- memory of a fresh program ----------------------------------------------------------------------------------------------

PYTORCH = """
from leaplm.compression.engine import load_engine
engine = load_engine({path!r}, {engine!r}, threads=1)
answer = engine.predict
"""
ONNX = """
import numpy as np, onnxruntime, tokenizers
tokenizer = tokenizers.Tokenizer.from_file({tokenizer!r})
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession({path!r}, options, providers=["CPUExecutionProvider"])
def answer(texts):
    ids = np.array([tokenizer.encode(texts[0]).ids])
    return session.run(None, {{"input_ids": ids, "attention_mask": np.ones_like(ids)}})
"""
ASK = """
for text in open({texts!r}).read().splitlines():
    answer([text])
# Not ru_maxrss: it begins at the memory of the program that started this one. Linux.
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak) * 1024 / 1e6)
"""
VERSIONS = {"PyTorch, 32-bit": ("teacher", "torch"), "PyTorch, 8-bit": ("teacher", "torch-int8"),
            "student, PyTorch": ("student", "torch"), "teacher, ONNX": ("teacher", "onnx"),
            "teacher, ONNX 8-bit": ("teacher", "onnx-int8"), "student, ONNX": ("student", "onnx"),
            "student, ONNX 8-bit": ("student", "onnx-int8")}


@functools.cache
def files(folder):
    """{"teacher": (artifact, tokenizer), "student": ...} and a file of texts, made once; English, seed 0."""
    folder, names = Path(folder), sentiment("eng")["train"].features["label"].names
    card, big = {"language": "eng", "labels": names}, teacher("eng", 0)
    kept = used_pieces(load_tokenizer(), list(sentiment("eng")["train"]["text"]))
    artifacts.save_artifact(folder / "teacher", big, load_sequence_classifier(names), card)
    save_compressed(folder / "student", make_student(trim_embeddings(big, kept), LAYERS), kept, card)
    load_tokenizer().backend_tokenizer.save(str(folder / "teacher.json"))
    trim_tokenizer(load_tokenizer(), kept).backend_tokenizer.save(str(folder / "student.json"))
    (folder / "texts").write_text("\n".join(" ".join(text.split()) for text in sentiment("eng")["test"]["text"][:20]))
    return folder


@functools.cache
def scratch():
    return tempfile.TemporaryDirectory()


@study([{"version": name} for name in VERSIONS], seeds=range(3))
def memory(seed, version):
    """Peak memory of a fresh program that loads one version and answers 20 texts, one by one; ONNX without PyTorch."""
    folder = files(scratch().name)
    name, engine = VERSIONS[version]
    path, code = str(folder / name), PYTORCH
    if engine.startswith("onnx"):
        path, code = onnx_file(folder, name, engine == "onnx-int8"), ONNX
    code = code.format(path=path, engine=engine, tokenizer=str(folder / f"{name}.json"))
    code += ASK.format(texts=str(folder / "texts"))
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {"peak_mb": float(found)}


@functools.cache
def onnx_file(folder, name, int8):
    path = folder / f"{name}.onnx"
    if int8:
        quantize_onnx(onnx_file(folder, name, False), path := folder / f"{name}-int8.onnx")
    else:
        export_onnx(load_classifier(folder / name)[1], path)
    return str(path)
