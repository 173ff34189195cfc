"""The studies of lab 16: `make calibrate LAB=lab16_small_machines` runs them, the lab plots them, marks rest on `main`.

A seed draws four fifths of the training texts. The number of pieces and the bits were chosen on validation texts of English
and Hausa; test texts are seen in `sizes`, `drift`, `set_anew` and `known` alone, and the grader's in `main` alone. Times are
of one core, the ways in turns. `engines` needs llama.cpp: the extra `llama`.
"""

import functools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from leaplm import data, evaluation, marking, models, small_machines
from leaplm.calibration import study
from leaplm.small_machines import llama_cpp, rounded, sharding

PIECES, WINDOW, RATE = 20_000, 100, 0.01
torch.set_num_threads(1)


@functools.cache
def sentences(language):
    return data.load_sentiment(language)


@functools.cache
def new_kind(language):
    return small_machines.load_new_kind(language)


def drawn(language, seed):
    train = sentences(language)["train"]
    return data.subsample(train, len(train) * 4 // 5, seed)


@functools.lru_cache(maxsize=2)
def fitted(language, seed):
    """The Predictor with all pieces."""
    train = drawn(language, seed)
    return small_machines.fit_predictor(train["text"], train["label"], train.features["label"].names, language)


def saved(predictor, bits):
    """(the Predictor as it is read from a file, the size of the file in MB)."""
    with tempfile.TemporaryDirectory() as folder:
        megabytes = small_machines.save_predictor(path := Path(folder) / "p", predictor, bits)
        return small_machines.load_predictor(path), megabytes


def hits(predictor, rows):
    return (predictor.predict(rows["text"]).argmax(axis=1) == np.array(rows["label"])).astype(float)


# Not Nigerian Pidgin: our runs there have 0.39, which guessing may have, so that no level would tell anything.
@study([{"language": language} for language in marking.marked_languages("lab16_small_machines")], seeds=range(5))
def main(seed, language):
    """What is handed in: 20,000 pieces, 4 bits, on the grader's texts."""
    predictor, megabytes = saved(small_machines.keep_pieces(fitted(language, seed), PIECES), 4)
    rows = data.heldout_rows(language)
    found, labels = predictor.predict(rows["text"]).argmax(axis=1), np.array(rows["label"])
    return {"heldout_macro_f1": evaluation.macro_f1(labels, found), "heldout_accuracy": evaluation.accuracy(labels, found),
            "majority_accuracy": float(np.bincount(labels).max() / len(labels)), "megabytes": megabytes}


SHAPES = [{"pieces": "all", "bits": 32}, {"pieces": PIECES, "bits": 32}, {"pieces": PIECES, "bits": 4},
          {"pieces": 5000, "bits": 4}, {"pieces": 1000, "bits": 4}]


@study([{"language": language, **shape} for language in ("eng", "hau", "swa") for shape in SHAPES], seeds=range(5))
def sizes(seed, language, pieces, bits):
    """Test texts: accuracy, size, and what is lost against all pieces in 32 bits on the same texts."""
    whole, rows = fitted(language, seed), sentences(language)["test"]
    small, megabytes = saved(whole if pieces == "all" else small_machines.keep_pieces(whole, pieces), bits)
    right, before = hits(small, rows), hits(whole, rows)
    low, high = evaluation.seeds_and_texts_interval([right - before])
    return {"accuracy": right.mean(), "megabytes": megabytes, "change": float((right - before).mean()), "change_low": low,
            "change_high": high, "pieces_kept": len(small.pieces)}


# -- a language model in 4 bits -------------------------------------------------------------------------------------------

WAYS = {"NF4, groups of 32": (32, small_machines.NF4), "even steps, groups of 32": (32, small_machines.EVEN),
        "NF4, a scale a row": (None, small_machines.NF4)}  # fmt: skip


GGUF = {"Q4_0, as in GGUF": "Q4_0"}


@functools.cache
def texts():
    return data.load_corpus("eng")["validation"].shuffle(seed=0)["text"][:30]


@functools.cache
def tokenizer():
    return models.load_tokenizer("smollm2")


@functools.cache
def usual_bits():
    return rounded.sentence_bits(models.load_causal_lm(), tokenizer(), texts())


@study([{"numbers": name} for name in (*WAYS, *GGUF)], seeds=[0])
def rounding(seed, numbers):
    """Bits per byte of SmolLM2 on English reviews and tweets when the matrices of its layers are rounded."""
    before, lengths = usual_bits()
    if numbers in GGUF:
        model, size = rounded.round_as_gguf(models.load_causal_lm(), GGUF[numbers]), 32
    else:
        size, values = WAYS[numbers]
        model = rounded.round_layers(models.load_causal_lm(), size, values)
    bits, _ = rounded.sentence_bits(model, tokenizer(), texts())
    return {"usual": before.sum() / lengths.sum(), "bits_per_byte": bits.sum() / lengths.sum(), "texts": len(bits),
            **rounded.bits_change(before, bits, lengths), "megabytes": rounded.megabytes(model, size)}


# -- other weeks ----------------------------------------------------------------------------------------------------------

WATCHED = {"confidence": lambda predictor, text: float(predictor.predict([text]).max()),
           "known pieces": lambda predictor, text: predictor.known_share(text)}  # fmt: skip
SHARES = (0.0, 0.1, 0.2, 0.4)


@functools.cache
def numbers_of(language, watched):
    """A number for each validation, test and new text of a predictor of seed 0."""
    predictor = small_machines.keep_pieces(fitted(language, 0), PIECES)
    kinds = sentences(language)["validation"], sentences(language)["test"], new_kind(language)["test"]
    return [np.array([WATCHED[watched](predictor, text) for text in rows["text"]]) for rows in kinds]


@study([{"language": language, "watched": watched, "share": share} for language in ("eng", "hau", "swa")
        for watched in WATCHED for share in SHARES], seeds=range(3))
def drift(seed, language, watched, share):
    """How many of 100 windows of 100 texts give an alarm, at a level for 1 % false ones, and by fixed limits of the PSI."""
    reference, usual, new = numbers_of(language, watched)
    level = small_machines.alarm_level(reference, WINDOW, RATE, 1000, seed)
    windows = small_machines.mixed_stream(len(usual), len(new), [share] * 100, WINDOW, seed)
    found = [np.array([(usual if kind == "usual" else new)[row] for kind, row in window]) for window in windows]
    stability = np.array([small_machines.population_stability(reference, window) for window in found])
    alarms = [small_machines.ks_distance(reference, window) > level for window in found]
    return {"level": level, "alarms": float(np.mean(alarms)), "psi_above_0.1": float((stability > 0.1).mean()),
            "psi_above_0.25": float((stability > 0.25).mean())}


@study([{"language": "hau", "watched": watched, "share": share} for watched in WATCHED for share in SHARES], seeds=range(3))
def set_anew(seed, language, watched, share):
    """The same alarms in Hausa where the level is set on one half of the test texts, and the usual ones are of the other."""
    _, usual, new = numbers_of(language, watched)
    order = np.random.default_rng(seed).permutation(len(usual))
    reference, rest = usual[order[: len(usual) // 2]], usual[order[len(usual) // 2 :]]
    level = small_machines.alarm_level(reference, WINDOW, RATE, 1000, seed)
    windows = small_machines.mixed_stream(len(rest), len(new), [share] * 100, WINDOW, seed)
    found = [np.array([(rest if kind == "usual" else new)[row] for kind, row in window]) for window in windows]
    alarms = [small_machines.ks_distance(reference, window) > level for window in found]
    return {"level": level, "alarms": float(np.mean(alarms))}


@study([{"language": language} for language in ("eng", "hau", "swa")], seeds=[0])
def known(seed, language):
    """Mean share of known pieces of validation, test and new texts."""
    validation, usual, new = numbers_of(language, "known pieces")
    return {"validation": validation.mean(), "test": usual.mean(), "new": new.mean()}


# -- fewer passes ---------------------------------------------------------------------------------------------------------

REWRITE = ("Correct the spelling of this message and write it again: ",
           ["Dear clinic, my appointmnt is on Monday at nine in Kisumu. Please tell docter Achieng that I come with my son.",
            "The bus from Nairobi to Mombasa leavs at six in the evning from the stage near the market, and costs 1200 bob.",
            "We sell maize flour, beans, cooking oil, salt, suger, soap and matches at the shop behind the moske in Kano."])
FREE = ("", ["Write three sentences about the rain in Nairobi.", "Explain to a child why the sky is blue.",
             "Give advice to a farmer whose maize has yellow leaves."])
TASKS = {"write again": REWRITE, "write freely": FREE}


@study([{"task": task, "most": 4} for task in TASKS], seeds=range(2))
def drafting(seed, task, most):
    """Passes with drafts from the text so far, and whether the text is that of greedy decoding; a seed is a message."""
    begin, messages = TASKS[task]
    content = [{"role": "user", "content": begin + messages[seed]}]
    prompt = list(tokenizer().apply_chat_template(content, add_generation_prompt=True)["input_ids"])
    ways = {"plain": small_machines.no_draft, "draft": functools.partial(small_machines.find_draft, most=most)}
    written, passes = {}, {}
    for way, draft in ways.items():
        best = small_machines.CachedModel(language_model())
        written[way], passes[way] = small_machines.speculative_decode(best, prompt, length_of(task, seed), draft)
    return {"tokens": len(written["plain"]), "passes": passes["draft"], "same": written["plain"] == written["draft"],
            "tokens_a_pass": len(written["plain"]) / passes["draft"]}


@functools.cache
def language_model():
    return models.load_causal_lm()


@functools.cache
def length_of(task, seed, longest=40):
    """How many tokens greedy decoding writes until it ends, 40 at most."""
    begin, messages = TASKS[task]
    content = [{"role": "user", "content": begin + messages[seed]}]
    prompt = list(tokenizer().apply_chat_template(content, add_generation_prompt=True)["input_ids"])
    best = small_machines.CachedModel(language_model())
    written, _ = small_machines.speculative_decode(best, prompt, longest, small_machines.find_draft)
    return written.index(tokenizer().eos_token_id) + 1 if tokenizer().eos_token_id in written else longest


# -- what it costs --------------------------------------------------------------------------------------------------------


@study([{"way": way} for way in ("TF-IDF in 4 bits", "MiniLM", "SmolLM2 with a prompt")], seeds=range(3))
def answering(seed, way):
    """Seconds of one answer on one core: 20 texts, mean and the interval of the mean."""
    rows = list(sentences("eng")["test"]["text"])[20 * seed : 20 * seed + 20]
    call = answering_calls()[way]
    call(rows[0])
    seconds = []
    for text in rows:
        started = time.perf_counter()
        call(text)
        seconds.append(time.perf_counter() - started)
    low, high = evaluation.seeds_and_texts_interval([seconds])
    return {"seconds": float(np.mean(seconds)), "low": low, "high": high}


@functools.cache
def answering_calls():
    predictor, _ = saved(small_machines.keep_pieces(fitted("eng", 0), PIECES), 4)
    encoder, pieces = models.load_sequence_classifier(["negative", "positive"]).eval(), models.load_tokenizer()

    def encode(text):
        with torch.inference_mode():
            return encoder(**{k: v for k, v in pieces(text, return_tensors="pt", truncation=True).items()
                              if k != "token_type_ids"}).logits

    def prompted(text):
        with torch.inference_mode():
            ids = tokenizer()(f"Text: {text}\nSentiment:", return_tensors="pt")["input_ids"]
            return language_model()(ids, logits_to_keep=1).logits

    return {"TF-IDF in 4 bits": lambda text: predictor.predict([text]), "MiniLM": encode, "SmolLM2 with a prompt": prompted}


@study([{"way": way} for way in ("PyTorch, 32 bits", "llama.cpp, Q8_0", "llama.cpp, Q4_0")], seeds=range(3))
def engines(seed, way):
    """Tokens a second that SmolLM2 writes on one core, 40 of them behind a short prompt, and the size of its file."""
    prompt = "Write three sentences about the rain in Nairobi. The rain"
    if way.startswith("PyTorch"):
        ids = tokenizer()(prompt)["input_ids"]
        best = small_machines.CachedModel(language_model())
        best(ids)
        started = time.perf_counter()
        small_machines.speculative_decode(best, ids, 40, small_machines.no_draft)
        size = sum(p.numel() * p.element_size() for p in language_model().parameters()) / 1e6
        return {"tokens_a_second": 40 / (time.perf_counter() - started), "megabytes": size}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        size = small_machines.write_gguf(language_model(), tokenizer(), path, way[-4:])
        with llama_cpp.running(path, threads=1) as write:
            _, speed = write(prompt, 40)
    return {"tokens_a_second": speed, "megabytes": size}


@study([{"parts": 2}], seeds=[0])
def shards(seed, parts):
    """SmolLM2 in two processes: the largest difference of its scores, and the memory of the second."""
    ids = torch.tensor([tokenizer()(texts()[0])["input_ids"]])
    with torch.inference_mode():
        want = language_model()(ids).logits
    folder = models.model_folder("smollm2")
    first = sharding.Part(folder, 0, 15)
    with sharding.Distant(folder, 15, 30) as second:
        got = second.forward(first.forward(ids))
        memory = second.memory_mb
    whole = sum(p.numel() * p.element_size() for p in language_model().parameters()) / 1e6
    return {"difference": float((got - want).abs().max()), "same_best": bool((got.argmax(-1) == want.argmax(-1)).all()),
            "weights_mb": first.megabytes(), "whole_mb": whole, "second_process_mb": memory}


MEASURE = """
import psutil
{load}
predict({text!r})
print(psutil.Process().memory_info().rss / 1e6)
"""
LOADS = {
    "TF-IDF in 4 bits": "from leaplm.small_machines import load_predictor\n"
                        "made = load_predictor({path!r})\npredict = lambda text: made.predict([text])",
    "scikit-learn": "import pickle\nmade = pickle.load(open({pickled!r}, 'rb'))\n"
                    "predict = lambda text: made.predict([text])",
    "MiniLM": "from leaplm import models\nimport torch\nmade = models.load_sequence_classifier(['a', 'b']).eval()\n"
              "words = models.load_tokenizer()\npredict = lambda text: made(words(text, return_tensors='pt')['input_ids'])",
}  # fmt: skip


@study([{"way": way} for way in LOADS], seeds=range(3))
def memory(seed, way):
    """Memory in MB of a fresh process that loads a model and answers once."""
    import pickle

    train = drawn("eng", 0)
    with tempfile.TemporaryDirectory() as folder:
        path, pickled = Path(folder) / "p", Path(folder) / "pipeline"
        small_machines.save_predictor(path, small_machines.keep_pieces(fitted("eng", 0), PIECES), 4)
        if way == "scikit-learn":
            pipeline = evaluation.tfidf_classifier("characters").fit(list(train["text"]), list(train["label"]))
            pickled.write_bytes(pickle.dumps(pipeline))
        code = MEASURE.format(load=LOADS[way].format(path=str(path), pickled=str(pickled)), text="Very good soap.")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
        size = path if way.startswith("TF") else pickled if way == "scikit-learn" else None
        return {"memory_mb": float(done.stdout.split()[-1]), "file_mb": size.stat().st_size / 1e6 if size else float("nan")}


@study([{"way": "TF-IDF in 4 bits"}], seeds=range(3))
def serving(seed, way):
    """Memory in MB of `leaplm serve` after it has answered once."""
    from leaplm.serve import load, process

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p"
        small_machines.save_predictor(path, small_machines.keep_pieces(fitted("eng", 0), PIECES), 4)
        with process.running(path) as service:
            found = load.closed_loop(service.address, ["Very good soap."], users=1, seconds=1).summary()
            return {"memory_mb": service.memory_mb(), "answers_a_second": found["accepted_per_second"]}
