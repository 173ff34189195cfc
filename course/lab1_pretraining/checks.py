"""Checks of lab 1, pretraining. Inputs are fresh and random at each run; references are computed here."""

import numpy as np
import torch
from leaplm import artifacts, data, evaluation, marking, models
from leaplm.calibration import prediction_bound
from leaplm.grading import (
    FREE,
    NOTHING_CALLED,
    Bool,
    Contract,
    Either,
    ListOf,
    Number,
    Numbers,
    Record,
    Seeded,
    Several,
    Tensor,
    Text,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import probes, standing, tiny_models
from leaplm.pretraining import masking
from leaplm.pretraining import run as pretrain
from leaplm.tokens import tokenization

CLOSE = 1e-4
PROBES, MODELS = "leaplm.grading.judge.probes:", "leaplm.grading.judge.tiny_models:"


def close(got, want):
    return bool(np.allclose(got, want, atol=CLOSE, rtol=CLOSE))


@check(points=2, contract=Contract("token_lists texts", Number()))
def fertility(student, rng):
    """Words with marks and signs, between blanks, tabs and line ends; pieces of words; some texts occur twice, one has
    no word; then one text alone."""
    words = ["ƙasa,", "don't", "ọkọ̀", "2,048", "mai-kyau", "kwana?", "—"]
    texts = [" ".join(rng.choice(words, size=n)) for n in rng.permutation([1, 3, 9, 20])]
    texts = [text.replace(" ", "\t", 1) for text in texts] + [f" {texts[0]}  \n{texts[1]} ", texts[2], texts[2]]
    tokens = [rng.choice(["piece", "##piece"], size=rng.integers(len(text.split()), 40)).tolist() for text in texts]
    texts, tokens = [*texts, " \n"], [*tokens, []]
    got = as_number(student.call("fertility", tokens, texts), "fertility")
    alone = as_number(student.call("fertility", tokens[4:5], texts[4:5]), "fertility")
    want = sum(map(len, tokens)) / sum(len(text.split()) for text in texts)
    if np.isclose(got, want) and np.isclose(alone, len(tokens[4]) / len(texts[4].split())):
        return 2, "all tokens over all words"
    if close(got, np.mean([len(t) / len(text.split()) for t, text in zip(tokens, texts, strict=True) if text.split()])):
        return 0, "this is the mean of the texts' own ratios: a short text must not weigh as much as a long one"
    return 0, "the ratio differs: all tokens of all texts over all their words, and words are what any white space separates"


MASK = Contract("input_ids special_tokens_mask mask_token_id vocab_size mask_rate",
                Several(Tensor("int", dims=2), Tensor("int64", dims=2)), random=FREE,
                own="leaplm.pretraining.masking.MaskingCollator")


@check(points=4, contract=MASK)
def mask_tokens(student, rng):
    """Statistics over 60,000 tokens; each tolerance is over five standard deviations wide."""
    ids = rng.integers(400, size=(300, 200))  # the other ids of the vocabulary are in no text
    special = (rng.random(ids.shape) < 0.1).astype(np.int64)
    rate = float(rng.uniform(0.25, 0.35))
    inputs, labels = call_mask_tokens(student, ids, special, 900, rate)
    again = call_mask_tokens(student, ids, special, 900, rate)[1]
    chosen, share = labels != -100, (labels != -100).sum() / (special == 0).sum()
    if problem := misplaced(inputs, labels, ids, special):
        return 0, problem
    if abs(share - rate) > 0.015:
        return 1, f"{share:.1%} of the tokens are chosen, {rate:.1%} were asked for"
    if np.array_equal(labels, again):
        return 1, "the same tokens are chosen at every call: is there a seed fixed inside?"
    points, told = judge_shares(inputs[chosen], ids[chosen])
    if points < 4:
        return points, told
    if not independent(inputs, ids, chosen, rate):
        return 1, "each token should have throws of its own, whatever its place and its neighbours"
    return judge_edges(student, rng, rate, told)


def call_mask_tokens(student, ids, special, *settings):
    result = student.call("mask_tokens", ids, special, 4, *settings)
    return [as_array(part, ids.shape, name) for part, name in zip(result, ("inputs", "labels"), strict=True)]


def misplaced(inputs, labels, ids, special):
    """What is wrong with the places that are chosen or changed, in words, or None."""
    chosen = labels != -100
    if not np.array_equal(labels[chosen], ids[chosen]):
        return "labels should hold the original token where it is chosen and -100 elsewhere"
    if (chosen & (special == 1)).any():
        return "special tokens are chosen: they must stay as they are"
    if not np.array_equal(inputs[~chosen], ids[~chosen]):
        return "tokens that are not chosen were changed"
    return None


def judge_shares(inputs, original):
    masked, same = inputs == 4, inputs == original
    random = inputs[~masked & ~same]
    told = f"of the chosen {masked.mean():.0%} [MASK], {same.mean():.0%} unchanged, {len(random) / len(inputs):.0%} random"
    if abs(masked.mean() - 0.8) > 0.02 or abs(same.mean() - 0.1) > 0.016 or abs(len(random) / len(inputs) - 0.1) > 0.016:
        return 1, f"{told}; it should be 80 %, 10 % and 10 %"
    if len(np.unique(random)) < 600 or random.max() < 800:
        return 2, "the random tokens should come from the whole vocabulary, a new one for each place"
    return 4, told


def independent(inputs, ids, chosen, rate):
    """Whether halves of the batch have the same shares, and neighbours agree as often as chance lets them."""
    kinds = np.where(inputs == 4, 1, np.where(inputs == ids, 2, 3))
    halves = [(slice(150), slice(None)), (slice(150, None), slice(None)), (slice(None), slice(100)),
              (slice(None), slice(100, None))]  # fmt: skip
    even = all(abs(chosen[half].mean() - 0.9 * rate) < 0.02 and abs((kinds[half][chosen[half]] == 1).mean() - 0.8) < 0.03
               for half in halves)
    pairs = [(c[:-1] & c[1:], k[:-1] == k[1:]) for c, k in ((chosen, kinds), (chosen.T, kinds.T))]
    return even and all(abs(both.mean() - (0.9 * rate) ** 2) < 0.025 and abs(same[both].mean() - 0.66) < 0.06
                        for both, same in pairs)


def judge_edges(student, rng, rate, told):
    """A small vocabulary at the rate that is the default, whose ends must occur; then the rates 0 and 1."""
    ids, none = rng.integers(5, 8, size=(300, 200)), np.zeros((300, 200), dtype=np.int64)
    inputs, labels = call_mask_tokens(student, ids, none, 12)
    if problem := misplaced(inputs, labels, ids, none):
        return 1, problem
    chosen = labels != -100
    if abs(chosen.mean() - 0.15) > 0.01:
        return 2, "without a mask_rate 15 % of the tokens should be chosen"
    random = np.bincount(inputs[chosen & (inputs != 4) & (inputs != ids)], minlength=12)
    expected, seen = 0.1 * chosen.sum() / 12, random[[0, 1, 2, 3, 8, 9, 10, 11]]
    if len(random) > 12 or np.abs(seen - expected).max() > 6 * expected**0.5:
        return 2, "the random ids should go from 0 to vocab_size - 1, each as likely as the others"
    small, special = rng.integers(5, 900, size=(1, 7)), np.array([[1, 0, 0, 0, 0, 0, 1]])
    nothing, everything = (call_mask_tokens(student, small, special, 900, rate)[1] != -100 for rate in (0.0, 1.0))
    if nothing.any() or not np.array_equal(everything, special == 0):
        return 3, "with mask_rate 0 no token should be chosen, with 1 every one that is not special"
    return 4, told


@check(points=3, contract=Contract("hidden labels head", Tensor("float", dims=0)))
def masked_lm_loss(student, rng):
    """Tokens 0 and the last one are tokens like any other; one place alone, and none; unlikely tokens; the gradients."""
    width, vocabulary, seed = 6, 30, int(rng.integers(10**6))
    hidden = rng.normal(size=(4, 9, width)).astype(np.float32)
    labels = np.where(rng.random((4, 9)) < 0.3, rng.integers(vocabulary, size=(4, 9)), -100)
    labels[0, :3], labels[3] = [3, 0, vocabulary - 1], -100
    one = np.where(np.arange(36).reshape(4, 9) == rng.integers(36), 7, -100)
    head = student.build(f"{PROBES}counting_decoder", width, vocabulary, seed)
    ours = probes.counting_decoder(width, vocabulary, seed)
    got = [as_number(student.call("masked_lm_loss", hidden, some, head), "masked_lm_loss") for some in (labels, one)]
    rows = student.read(head, f"{PROBES}rows_scored")
    far = 15 * hidden  # losses of 20 nats and more, which a small number added to a probability would hide
    got.append(as_number(student.call("masked_lm_loss", far, labels, head), "masked_lm_loss"))
    if not close(got, [reference_loss(torch.from_numpy(vectors), some, ours).item()
                       for vectors, some in ((hidden, labels), (hidden, one), (far, labels))]):
        return 0, "the loss differs: the mean over the hidden places, nothing else"
    if not flows_back(student, hidden, labels, head, ours):
        return 1, "the right number; but nothing can learn from it: no gradient, or a wrong one, reaches `hidden` and `head`"
    if rows > (labels != -100).sum() + 1:
        return 1, "the right number; but the head scored places that are not hidden, and that is most of the work"
    nothing = student.call("masked_lm_loss", hidden, np.full((4, 9), -100), head)
    if not close(as_array(nothing, (), "masked_lm_loss"), 0):
        return 2, "right; but when nothing is hidden the loss should be 0, not 'not a number'"
    return 3, "the hidden places alone are scored, and their mean is right"


def reference_loss(hidden, labels, head):
    labels = torch.from_numpy(labels)
    return torch.nn.functional.cross_entropy(head(hidden[labels != -100]), labels[labels != -100])


def flows_back(student, hidden, labels, head, ours):
    function = student.get("masked_lm_loss")
    got = student.read(function, f"{PROBES}gradients_of_call", hidden, labels, head)
    want = probes.gradients_of_call(lambda hidden, _, head: reference_loss(hidden, labels, head),
                                    torch.from_numpy(hidden), None, ours)
    return all(name in got and close(got[name], value) for name, value in want.items())


@check(points=2, contract=Contract("train_ids test_ids vocab_size", Number(), own="leaplm.evaluation.log_frequencies"))
def unigram_entropy(student, rng):
    """Tokens that were never seen; then a vocabulary with ids that are in neither text, and one token to test."""
    size = 40
    train = rng.choice(size - 5, p=np.arange(1, size - 4) / np.arange(1, size - 4).sum(), size=500)
    test = rng.integers(size, size=300)
    train[:9], test[:9] = 0, 0  # a token like any other
    cases = [(train, test, size), (train, test[:1], size + 20), (train[:3], np.array([0, size - 1, 0]), size)]
    got = [as_number(student.call("unigram_entropy", *case), "unigram_entropy") for case in cases]
    want = [reference_entropy(*case) for case in cases]
    if close(got, want):
        return 2, "training counts plus one, mean over the test tokens, in nats"
    if close(got[0], want[0]):
        return 1, "right where every id occurs; add 1 to each of vocab_size counts, also for ids that are in no text"
    in_bits = close(got[0], want[0] / np.log(2))
    hint = "is it in bits?" if in_bits else "count the training tokens, add 1 to each of vocab_size counts"
    return 0, f"the entropy differs: {hint}"


def reference_entropy(train, test, size):
    counts = np.bincount(train, minlength=size) + 1
    return -np.log(counts / counts.sum())[test].mean()


BLOCKS = Contract("rows block_size cls_id", ListOf(Record({"input_ids": Numbers("int", dims=1)})),
                  own="leaplm.pretraining.run.blocks")


@check(points=3, contract=BLOCKS)
def group_texts(student, rng):
    """Blocks of several lengths, one that fills the last block exactly; [CLS] has any number, inside of a text too."""
    cls = int(rng.integers(5, 50))
    for block in (int(rng.integers(4, 9)), 200, 2, None):
        rows = [{"input_ids": [cls, *rng.integers(5, 50, size=n).tolist(), 2]} for n in rng.integers(1, 15, size=6)]
        rows += [{"input_ids": [cls, cls, 2]}, rows[0], {"input_ids": [cls, 2]}]
        line = [token for row in rows for token in row["input_ids"][1:]]
        block = block or len(line) + 1
        want = [[cls, *line[i : i + block - 1]] for i in range(0, len(line), block - 1)]
        got = student.call("group_texts", rows, block, cls)
        made = [as_array(row["input_ids"], (None,), "a block").tolist() for row in got]
        if made != want:
            return blame_blocks(made, want, block)
    return 3, "no token is lost, and no block is longer than it may be"


def blame_blocks(made, want, block):
    if made == [b for b in want if len(b) == block]:
        return 1, "right but for the last block: when it is shorter it should be kept"
    if any(len(b) > block for b in made):
        return 0, f"a block has {max(map(len, made))} tokens, at most {block} were asked for ([CLS] takes one place)"
    return 0, "the blocks differ: drop each text's first token, keep its [SEP], begin each block with [CLS]"


PERPLEXITY = Contract("model input_ids mask_token_id", Number(), mode="any", forward="eval, no_grad",
                      own="leaplm.evaluation.token_log_probs")


@check(points=3, contract=PERPLEXITY)
def pseudo_perplexity(student, rng):
    """A tiny BERT with dropout, in training mode at first; a sentence that repeats tokens, and one of a single token."""
    settings = {"seed": int(rng.integers(10**6)), "dropout": 0.5}
    word = int(rng.integers(5, 40))
    ids = np.array([2, *rng.permutation([0, word, word, word, *rng.integers(5, 40, size=6)]), 3])
    want = [reference_perplexity(settings, some) for some in (ids, ids[[0, 1, -1]])]
    got = []
    for some in (ids, ids[[0, 1, -1]]):
        model = student.build(f"{MODELS}tiny_masked_lm", **settings)
        got.append(as_number(student.call("pseudo_perplexity", model, some, 4), "pseudo_perplexity"))
    if np.allclose(got, want, rtol=1e-3):
        return 3, "each token hidden in turn, exp of the mean"
    if np.allclose(got, np.log(want), rtol=1e-3):
        return 1, "this is the mean loss in nats; the perplexity is its exp"
    return 0, "the perplexity differs: one hidden place a copy, [CLS] and [SEP] left out, no dropout, the mean before exp"


def reference_perplexity(settings, ids):
    model = FullLogits(tiny_models.tiny_masked_lm(**settings).eval())
    return float(np.exp(-evaluation.token_log_probs(model, ids.tolist(), [[i] for i in range(1, len(ids) - 1)], 4).mean()))


class FullLogits:
    """A transformers masked LM with the interface of ours: logits at the hidden places only."""

    device, training = torch.device("cpu"), False

    def __init__(self, model):
        self.model = model

    def eval(self):
        return self

    def train(self, mode):
        return self

    def __call__(self, input_ids, labels):
        return type("Output", (), {"logits": self.model(input_ids).logits[labels != -100]})


TRIPLES = ListOf(Several(Text(), Text(), Either(Bool(), Number(whole=True))))
PAIRS = Contract("parts seed", TRIPLES, random=Seeded(1), own="leaplm.data.sentence_pairs")


@check(points=3, contract=PAIRS)
def next_sentence_pairs(student, rng):
    """35 texts with six seeds, then the smallest sizes, then texts of which some begin or end alike."""
    names = [f"{a}{b}" for a in "abcdefg" for b in "rstuv"]
    parts = [(name, name.upper()) for name in rng.permutation(names).tolist()]
    seeds = rng.choice(10**6, size=6, replace=False)
    runs = [student.call("next_sentence_pairs", parts, int(seed)) for seed in seeds]
    few = [(some, student.call("next_sentence_pairs", some, 1)) for some in (parts[:4], parts[:5])]
    if problem := next(filter(None, (blame_pairs(*run) for run in [*((parts, pairs) for pairs in runs), *few])), None):
        return problem
    alike = [(first[0], second) for first, second in parts[:20]] + [(first, "END") for first, _ in parts[20:]]
    pairs = student.call("next_sentence_pairs", alike, 1)
    if any(sorted(p[i] for p in pairs) != sorted(part[i] for part in alike) for i in (0, 1)):
        return 2, "right, but texts get lost where two begin or end alike: go by their places, not by their words"
    if any(pair[2] and tuple(pair[:2]) not in alike for pair in pairs) or sum(p[2] == 0 for p in pairs) != len(alike) // 2:
        return 2, "right, but some labels are wrong where two texts begin or end alike: go by their places"
    if len({tuple(sorted(p[0] for p in pairs if not p[2])) for pairs in runs}) < len(runs):
        return 2, "right pairs; but different seeds should choose different texts to swap"
    return 3, "half of the texts keep their second part, each part is used once, and the labels are true"


def blame_pairs(parts, pairs):
    """(points, what is wrong) with the pairs of texts that all differ, or None."""
    firsts, own = sorted(first for first, _ in parts), dict(parts)
    if sorted(p[0] for p in pairs) != firsts:
        return 0, "each first part should occur exactly once"
    if any((own[p[0]] == p[1]) != bool(p[2]) or p[2] not in (0, 1) for p in pairs):
        return 0, "is_next should be 1 exactly when the second part is the text's own (also when chance gives it back)"
    kept = sum(bool(p[2]) for p in pairs)
    if kept != len(parts) - len(parts) // 2:
        return 1, "other than half of the texts swap: len(parts) // 2 of them should"
    if len({p[1] for p in pairs}) < len(parts):
        return 2, "right labels; but some second parts are used twice, others never"
    return None


@check(points=6, seconds=120, contract=NOTHING_CALLED)
def pretrained(student, rng):
    """The small model on held-out texts: full points from the calibrated gain over the frequencies."""
    content = first_artifact(student, ("pretrained-gpu.safetensors", "pretrained-cpu.safetensors"))
    try:
        card, tensors = artifacts.read_artifact(content)
        language = card.get("language")
        texts = list(data.heldout_rows(language)["text"])
        corpus = list(data.load_corpus(data.marked_language(language))["train"]["text"])
        tokenizer = read_tokenizer(card.get("vocabulary"), corpus)
        model = artifacts.apply_artifact(models.new_bert(tokenizer, *shape_of(card)), tensors)
    except (ValueError, KeyError, TypeError) as error:
        return 0, f"the artifact cannot be used: {error}"
    return judge_gain(heldout_gain(model, tokenizer, corpus, texts), language)


def read_tokenizer(vocabulary, corpus):
    """The tokenizer in the card. It must be the course's but for a few pieces: other pieces would make the task easier."""
    if not isinstance(vocabulary, list) or not all(isinstance(piece, str) for piece in vocabulary):
        raise ValueError("its card has no vocabulary")
    ours = set(tokenization.train_wordpiece(corpus, 2048).get_vocab())
    if len(ours & set(vocabulary)) < 0.95 * max(len(ours), len(vocabulary)):
        raise ValueError("its vocabulary is not the one of section 2")
    return tokenization.wordpiece_from(vocabulary)


def shape_of(card):
    layers, width = int(card.get("layers", 0)), int(card.get("width", 0))
    if not (1 <= layers <= 12 and 64 <= width <= 768 and width % 64 == 0):
        raise ValueError(f"{layers} layers of width {width}: 1 to 12 layers, width 64 to 768 in steps of 64, are possible")
    return layers, width


def heldout_gain(model, tokenizer, corpus, texts):
    """Nats per hidden token below the unigram entropy."""
    collate = masking.MaskingCollator(tokenizer, data.DynamicPaddingCollator(tokenizer.pad_token_id))
    blocks = [pretrain.blocks(part, tokenizer, 64) for part in (corpus, texts)]
    unigram = evaluation.unigram_entropy(*blocks, len(tokenizer), tokenizer.all_special_ids)
    return unigram - evaluation.masked_lm_loss(model, blocks[1], collate)


def judge_gain(gain, language):
    record = marking.runs("lab1_pretraining", language)
    if not len(record):
        return 0, f"there is no record for language {language!r} yet: `leaplm add-language` makes one"
    # Another processor moves a run no further than another seed does (two seeds with SSE alone: by 0.002 and 0.004 nats).
    wanted = prediction_bound(record.heldout_gain)
    standing.note("gain in nats", gain, wanted, record.heldout_gain)
    told = f"{gain:.3f} nats per hidden token below the unigram entropy, on held-out texts"
    if gain >= wanted:
        return 6, f"{told}; at least {wanted:.3f} were wanted"
    if gain >= wanted / 2:
        return 3, f"{told}: more than half of the {wanted:.3f} that were wanted"
    return 0, f"{told}: less than half of the {wanted:.3f} that were wanted"
