"""Checks of lab 11, inside the transformer. Inputs are fresh and random at each run; the whole model is held to
`transformers`, its parts to references of the library that tests hold to `transformers` too."""

import hashlib

import numpy as np
import torch
from leaplm import artifacts, assets, data
from leaplm.calibration import load_record, prediction_bound
from leaplm.grading import (
    NOTHING_CALLED,
    Contract,
    ListOf,
    Number,
    Numbers,
    Several,
    StudentError,
    Tensor,
    Text,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import probes, standing, tiny_models
from leaplm.grading.judge.remembered import scored_once
from leaplm.tokens import tokenization
from leaplm.transformer import decoder as ours
from leaplm.transformer import generation, language_model

CLOSE = 1e-4
PROBES, MODELS = "leaplm.grading.judge.probes:", "leaplm.grading.judge.tiny_models:"


def close(got, want, atol=CLOSE):
    want = want.detach().numpy() if isinstance(want, torch.Tensor) else want
    return np.shape(got) == np.shape(want) and bool(np.allclose(got, want, atol=atol, rtol=CLOSE))


def normal(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape).astype(np.float32))


MERGES = Contract("words count", ListOf(Several(Text(), Text())))


@check(points=2, contract=MERGES)
def learn_merges(student, rng):
    """Words of few letters: pairs that stand twice in a word, equal counts, runs of one letter, a pair that another piece
    ends with; at last more merges asked for than there are, and none."""
    for case in merge_cases(rng):
        got, want = student.call("learn_merges", *case), tokenization.learn_merges(*case)
        if not same_pairs(got, want):
            return 0, blame_merges(got, want)
    edges = [({"ana": 1, "n": 3}, 9), ({"ana": 1}, 0), ({"n": 3}, 2)]
    if not all(same_pairs(student.call("learn_merges", *case), tokenization.learn_merges(*case)) for case in edges):
        return 1, "right; but it should end where no pair is left, and give no merge when none is asked for"
    return 2, "the right pairs in the right order"


def merge_cases(rng):
    """Words with their frequencies, and how many merges to learn; each hard case is in one of them, whatever rng is."""
    k, a, n, o, i = rng.permutation(list("abɗƙn")).tolist()
    words = {"".join(rng.choice([k, a, n], size=size)): int(rng.integers(1, 9)) for size in rng.integers(3, 9, size=12)}
    words |= {k * 5: 9, a * 4: 4, o: 50, o * 2 + i * 2: 1}
    ties = {"cd": 2, "ab": 2, "ef": 2, "ba": 2}  # of equals neither the first met nor the last
    twice = {(k + a) * 2: 3, n + o: 5}  # k a stands at six places
    ends = {k + a + n: 3, k + a + o: 8, a + n: 7, i * 2: 1}  # once "ka" is a piece, its a is none
    run = {k * 3 + a: 4, k + a: 5, k * 2: 2}  # of k k k only the first two are joined
    return [(words, 8), (ties, 3), (twice, 3), (ends, 4), (run, 3)]


def same_pairs(got, want):
    return [tuple(pair) for pair in got] == want


def blame_merges(got, want):
    if len(got) != len(want):
        return "another number of merges is wanted: `count` of them"
    if tuple(got[0]) != want[0]:
        return "the first merge differs: a pair counts as often as its word occurs; of equals the first by `<` is taken"
    return "the first merge is right and a later one is not: is each pair joined at all its places, from the left?"


ATTENTION = Contract("queries keys values", Tensor("float", dims=4), gradient="queries keys values",
                     forbids="torch.nn.functional.*attention* torch.nn.MultiheadAttention")


@check(points=3, contract=ATTENTION)
def attention(student, rng):
    """As many keys as queries; then more keys; one query; one token alone. Scores far from 0, an odd width."""
    def call(t, s, d=5):
        queries, keys, values = 2 * normal(rng, 2, 3, t, d), 2 * normal(rng, 2, 3, s, d), normal(rng, 2, 3, s, d)
        got = as_array(student.call("attention", queries, keys, values), (2, 3, t, d), "attention")
        return close(got, ours.attention(queries, keys, values)), got, (queries, keys, values)

    right, got, given = call(6, 6)
    if not right:
        return 0, blame_attention(got, *given)
    if not all(call(*sizes)[0] for sizes in ((2, 7), (1, 5), (4, 5))):
        return 1, "right where each token has a query; with fewer queries than keys they are those of the last tokens"
    if not all(call(*sizes)[0] for sizes in ((1, 1), (3, 3, 16))):
        return 2, "right but for one token alone, or for another width: d is the last dimension of the queries"
    return 3, "each token sees itself and all before, in the right shares"


def blame_attention(got, queries, keys, values):
    scores = queries @ keys.transpose(-1, -2)
    scaled = scores / queries.shape[-1] ** 0.5
    if close(got, scaled.softmax(-1) @ values):
        return "each token also sees those that come after it: give them the score minus infinity before the softmax"
    if close(got, scores.masked_fill(torch.ones(6, 6).triu(1).bool(), float("-inf")).softmax(-1) @ values):
        return "the scores are not divided by the root of d"
    if close(got, scaled.softmax(-1).tril() @ values):
        return "the later tokens are cut after the softmax, so the shares do not sum to 1: cut before it"
    return "other numbers: scores, minus infinity for later tokens, softmax over the keys, mixture of the values"


@check(points=2, contract=Contract("x positions theta", Tensor("float", dims=4), gradient="x"))
def rotate(student, rng):
    """Positions that do not begin at 0, with gaps; two thetas; the smallest width."""
    for width, theta in ((8, 50.0), (6, 10_000.0), (2, 100.0)):
        x, positions = normal(rng, 2, 3, 5, width), np.sort(rng.choice(np.arange(1, 300), size=5, replace=False))
        got = as_array(student.call("rotate", x, positions, theta), tuple(x.shape), "rotate")
        want = ours.rotate(x, torch.from_numpy(positions), theta)
        if not close(got, want, 1e-3):
            return 0, blame_rotation(got, x, positions, theta)
    return 2, "each pair is turned by its angle"


def blame_rotation(got, x, positions, theta):
    order = torch.arange(x.shape[-1]).view(2, -1).T.flatten()  # 0, d/2, 1, d/2 + 1, ...
    apart = torch.cat([x[..., ::2], x[..., 1::2]], dim=-1)
    if close(got, ours.rotate(apart, torch.from_numpy(positions), theta)[..., order], 1e-3):
        return "neighbours are paired: number i belongs to number i + d/2"
    if close(got, ours.rotate(x, -torch.from_numpy(positions), theta), 1e-3):
        return "the pairs turn the other way: look at the signs of the sines"
    if close(got, ours.rotate(x, torch.arange(5), theta), 1e-3):
        return "the angles grow with the place in x; they should grow with `positions`"
    return "other numbers: pair i turns by position * theta ** (-2 i / d)"


PARTS = {
    "rms_norm": Contract("x weight eps", Tensor("float"), gradient="x weight",
                         forbids="torch.nn.functional.rms_norm torch.rms_norm torch.nn.RMSNorm"),
    "self_attention": Contract("x weights shape cache", Several(Tensor("float", dims=3), Several(Tensor(), Tensor())),
                               gradient="x"),
    "feed_forward": Contract("x weights", Tensor("float"), gradient="x"),
    "block": Contract("x weights shape cache", Several(Tensor("float", dims=3), Several(Tensor(), Tensor())), gradient="x"),
}  # fmt: skip


@check(points=3, contract=PARTS)
def block(student, rng):
    """Norm and feed-forward (one point), attention with grouped heads and a cache (one), their sum (one)."""
    wrong = [told for judge in (judge_norm, judge_attention) if (told := told_by(judge, student, rng))]
    if told := told_by(judge_block, student, rng, bool(wrong)):
        wrong.append(told)
    if wrong:
        return 3 - len(wrong), "; ".join(wrong)
    return 3, "norm, heads, cache and the two additions are right"


def told_by(judge, *given):
    """What a judge of some functions says; a function that fails costs the points of its own part only."""
    try:
        return judge(*given)
    except StudentError as error:
        return str(error)


def judge_norm(student, rng):
    """What is wrong with `rms_norm` or `feed_forward`; None if nothing."""
    for shape, eps in (((2, 4, 6), 0.5), ((7,), 1e-5), ((3, 5), 0.1)):
        x, weight = 0.7 * normal(rng, *shape) + 1, normal(rng, shape[-1])
        got = as_array(student.call("rms_norm", x, weight, eps), shape, "rms_norm")
        if not close(got, ours.rms_norm(x, weight, eps)):
            return "`rms_norm` differs: x / root(mean of x² + eps) * weight, over the last dimension, the mean not taken off"
    weights = {"gate": normal(rng, 9, 6), "up": normal(rng, 9, 6), "down": normal(rng, 6, 9)}
    for shape in ((2, 4, 6), (6,)):
        x = normal(rng, *shape)
        got = as_array(student.call("feed_forward", x, weights), shape, "feed_forward")
        if not close(got, ours.feed_forward(x, weights)):
            return "`feed_forward` differs: down(silu(gate(x)) * up(x))"
    return None


SHAPES = ((6, 2), (3, 3))  # heads, heads of keys and values


def judge_attention(student, rng):
    """What is wrong with `self_attention`; None if nothing."""
    for heads, kv_heads in SHAPES:
        weights, shape = tiny_models.llama_weights(int(rng.integers(10**6)), heads=heads, kv_heads=kv_heads, blocks=1)
        part, x = weights["blocks"][0], normal(rng, 2, 7, 6 * heads)
        got, cache = student.call("self_attention", x, part, shape)
        want, _ = ours.self_attention(x, part, shape)
        if not close(as_array(got, tuple(x.shape), "self_attention"), want):
            if heads == kv_heads:
                return "`self_attention` differs where each head has its own key"
            return "`self_attention` differs: heads, turned queries and keys, which head shares which key, output matrix?"
        _, before = ours.self_attention(x[:, :4], part, shape)
        got, longer = student.call("self_attention", x[:, 4:], part, shape, before)
        want, cache = ours.self_attention(x[:, 4:], part, shape, before)
        if not close(as_array(got, (2, 3, 6 * heads), "self_attention"), want):
            return "`self_attention` differs with a cache: positions that go on, old keys and values before the new ones?"
        if not all(close(as_array(mine, None, "the cache"), theirs) for mine, theirs in zip(longer, cache, strict=True)):
            return "the cache differs: the pair (turned keys, values) of all tokens so far, for kv_heads heads"
    return None


def judge_block(student, rng, own_parts=False):
    """What is wrong with the sum, on a model whose norms have other weights than 1; None if nothing.

    own_parts: the answer's other functions are not right, so its sum of what they give is right too.
    """
    eps = float(rng.choice([0.01, 0.1]))
    weights, shape = tiny_models.llama_weights(int(rng.integers(10**6)), heads=6, kv_heads=2, blocks=1, eps=eps)
    part, x = weights["blocks"][0], normal(rng, 2, 5, 36)
    _, before = ours.block(x[:, :3], part, shape)
    for given in ((x[:, :3], part, shape), (x[:, 3:], part, shape, before)):
        got = as_array(student.call("block", *given)[0], tuple(given[0].shape), "block")
        if not close(got, ours.block(*given)[0]) and not (own_parts and is_own_sum(student, got, *given)):
            return "`block` differs: x + attention(norm(x)), then that + feed_forward(norm(that)), each with its own norm"
    return None


def is_own_sum(student, got, x, part, shape, cache=None):
    """Whether a block's output is the sum of what the answer's own parts give, and they give something."""
    def norm(stream, name):
        return as_float(student.call("rms_norm", stream, part[name], shape["eps"]))

    middle = x + as_float(student.call("self_attention", norm(x, "attention_norm"), part, shape, cache)[0])
    want = middle + as_float(student.call("feed_forward", norm(middle, "feed_norm"), part))
    return close(got, want, 1e-3) and not (close(x, middle) or close(middle, want))


def as_float(array):
    return torch.from_numpy(np.float32(as_array(array)))


DECODER = Contract("ids weights shape caches", Several(Tensor("float", dims=3), ListOf(Several(Tensor(), Tensor()))))


@check(points=3, contract=DECODER)
def decoder(student, rng):
    """Random models of `transformers`, made fresh, with grouped heads; a text in pieces; a block of SmolLM2's weights."""
    for heads, kv_heads in rng.permutation(SHAPES).tolist():
        settings = {"seed": int(rng.integers(10**6)), "heads": heads, "kv_heads": kv_heads,
                    "blocks": int(rng.integers(2, 4)), "theta": float(rng.choice([20.0, 10_000.0])),
                    "eps": float(rng.uniform(1.0, 3.0))}
        ids = rng.integers(40, size=(2, 9))
        want, (weights, shape) = logits_of(ids, settings), tiny_models.llama_weights(**settings)
        got, caches = student.call("decoder", ids, weights, shape)
        if not close(as_array(got, want.shape, "the logits"), want, 1e-3) or len(caches) != settings["blocks"]:
            return 0, "other logits than transformers gives, or not one cache a block: embedding, every block, norm, head"
        if not in_pieces(student, ids, weights, shape, want):
            return 1, "right for a whole text; in pieces, each block should get its own cache, and the longer ones come back"
    if not real_weights(student, rng):
        return 1, "right for random models; with the weights of a real one the logits differ"
    return 3, "the logits are those of transformers"


def logits_of(ids, settings):
    with torch.no_grad():
        return tiny_models.tiny_llama(**settings)(torch.from_numpy(ids)).logits.numpy()


def in_pieces(student, ids, weights, shape, want):
    """Whether three pieces of a text give the logits of the whole; the caches in between are the student's own."""
    caches, found = None, []
    for piece in (ids[:, :4], ids[:, 4:5], ids[:, 5:]):
        logits, caches = student.call("decoder", piece, weights, shape, as_tensors(caches))
        found.append(as_array(logits, None, "the logits"))
    return close(np.concatenate(found, axis=1), want, 1e-3)


def as_tensors(caches):
    """Caches as they came back, ready to be given again; StudentError if they are none."""
    if caches is None:
        return None
    if not all(isinstance(cache, list) and len(cache) == 2 for cache in caches):
        raise StudentError("unexpected", "each cache should be a pair: keys and values.")
    return [tuple(torch.from_numpy(np.float32(as_array(part, None, "a cache"))) for part in cache) for cache in caches]


def real_weights(student, rng):
    """Whether SmolLM2's first block comes out right; True where the model is not on this machine."""
    ids = rng.integers(500, size=(1, 12))
    try:
        weights, shape = ours.first_blocks(), ours.first_shape()
    except assets.AssetMissing:
        return True
    got, _ = student.call("decoder", ids, student.build("leaplm.transformer.decoder:first_blocks"), shape)
    want, _ = ours.decoder(torch.from_numpy(ids), weights, shape)
    return close(as_array(got, tuple(want.shape), "the logits"), want, 1e-3)


PICKED = Contract("logits temperature top_k top_p", Numbers("float", dims=1))


@check(points=2, contract=PICKED)
def next_token_probabilities(student, rng):
    """Each setting alone, all together where the order matters, filters that cut nothing or all but one."""
    logits, few = 2 * normal(rng, 30), torch.from_numpy(np.log(rng.permutation([0.4, 0.3, 0.2, 0.1]), dtype=np.float32))
    alone = [(logits, 0.5), (logits, 3.0), (logits, 1.0, 4), (logits, 1.0, None, 0.6), (few, 1.0, None, 0.75)]
    both = [(few, 1.0, 2, 0.55), (few, 0.4, 3, 0.72), (logits, 2.0, 7, 0.5), (few, 1.0, 1, 0.9), (few, 1.0, 9, 0.999),
            (logits, 1.0, None, 0.001), (logits,)]
    wrong = [case for case in (*alone, *both) if not close(
        as_array(student.call("next_token_probabilities", *case), (len(case[0]),), "the probabilities"),
        generation.next_token_probabilities(*case))]
    if not wrong:
        return 2, "the right tokens stay, with the right probabilities"
    if any(case is wrong[0] for case in alone):
        return 0, "other probabilities: logits / temperature; only so many stay; what stays sums to 1, in the old order"
    return 1, "each setting alone is right; together: temperature, then top-k, then top-p on what is left, one always stays"


WRITTEN = Contract("step prompt_ids count pick", Numbers("int", dims=1))


@check(points=2, contract=WRITTEN)
def generate(student, rng):
    """The most probable token, and the second; a prompt of one token; one new token and none."""
    most = 0
    for prompt, count, rank in ((6, 5, 0), (1, 7, 1), (4, 1, 0), (3, 0, 0)):
        seed, ids = int(rng.integers(10**6)), rng.integers(40, size=prompt).tolist()
        step, pick = student.build(f"{MODELS}counting_step", seed), student.build(f"{MODELS}rank_picker", rank)
        got = as_array(student.call("generate", step, ids, count, pick), None, "generate")
        want = generation.generate(tiny_models.counting_step(seed), ids, count, tiny_models.rank_picker(rank))
        if got.tolist() != want:
            return 0, "other tokens: `count` new ones without the prompt, each picked by the scores after the last token"
        most = max(most, student.read(step, f"{MODELS}tokens_seen") - (prompt + count - 1 if count else prompt))
    if most > 0:
        return 1, f"the right tokens; but {most} tokens too many went through the model: each once, the last one not at all"
    return 2, "the right tokens, and each went through the model once"


LEARNING = {
    "next_token_loss": Contract("logits ids", Tensor("float", dims=0), gradient="logits"),
    "training_step": Contract("model ids optimizer", Number(), changes="model optimizer", mode="train",
                              forward="train, grad", leaves="gradients"),
}


@check(points=3, contract=LEARNING)
def next_token_loss(student, rng):
    """The loss (two points) on texts in which tokens stand twice, of two tokens too; two updates (one point)."""
    for rows, tokens in ((3, 7), (1, 2), (4, 4)):
        logits, ids = 4 * normal(rng, rows, tokens, 9), rng.integers(9, size=(rows, tokens))
        ids[0, 0] = ids[-1, -1] = 0
        got = as_number(student.call("next_token_loss", logits, ids), "the loss")
        if not np.isclose(got, float(language_model.next_token_loss(logits, torch.from_numpy(ids))), rtol=CLOSE):
            return 0, blame_loss(got, logits, torch.from_numpy(ids))
    if told := judge_steps(student, rng):
        return 2, f"the loss is right; `training_step` is not: {told}"
    return 3, "the loss of the next token, and an update that follows it"


def blame_loss(got, logits, ids):
    same = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())
    if np.isclose(got, float(same), rtol=CLOSE):
        return "the scores are compared with the token that was just read: those after token i are for token i + 1"
    return "the loss differs: the mean over all tokens that have a next one, in nats, the scores shifted by one"


def judge_steps(student, rng):
    """What is wrong after two updates with gradients that have to be cut, and small ones that must not; None if nothing."""
    for spread, size in ((0.5, (3, 8)), (0.02, (8, 30))):  # of many tokens the mean gradient is small
        settings = {"seed": int(rng.integers(10**6)), "initializer_range": spread}
        model, mine = student.build(f"{MODELS}tiny_causal_lm", **settings), tiny_models.tiny_causal_lm(**settings)
        optimizer, own = student.build(f"{PROBES}sgd", model, lr=0.3), probes.sgd(mine, lr=0.3)
        student.read(model, f"{PROBES}leave_gradients")
        for number in range(2):
            ids = rng.integers(40, size=size)
            got = as_number(student.call("training_step", model, ids, optimizer), "the loss")
            want = language_model.training_step(mine, torch.from_numpy(ids), own)
            if number == 0 and not np.isclose(got, want, rtol=1e-3):
                return "it should return the loss before the update"
        weights = student.read(model, f"{PROBES}state_dict")
        if not all(close(weights[name], value) for name, value in probes.state_dict(mine).items()):
            return "the weights after two steps differ (old gradients, norm cut to 1 and never made larger, one update?)"
    return None


@check(points=2, contract=Contract("losses texts", Number(), arrays="numpy"))
def bits_per_byte(student, rng):
    """Texts with letters of one to four bytes, of very different lengths; one alone; a list of arrays."""
    texts = ["ƙasa", "ọjà", "Kisumu ni mji", "ab c", "አዲስ", "🙂", " \n"]
    texts = [text * int(n) for text, n in zip(rng.permutation(texts), rng.integers(1, 6, size=7), strict=True)]
    losses = [rng.exponential(2.0, size=int(n)).tolist() for n in rng.integers(1, 30, size=7)]
    cases = [(losses, texts), (losses[:1], texts[:1]), ([np.array(some) for some in losses[2:5]], texts[2:5])]
    got = [as_number(student.call("bits_per_byte", *case), "bits_per_byte") for case in cases]
    if np.allclose(got, [language_model.bits_per_byte(*case) for case in cases], rtol=CLOSE):
        return 2, "all bits over all bytes"
    return 0, blame_bits(got[0], losses, texts)


def blame_bits(got, losses, texts):
    nats, size = sum(map(sum, losses)), sum(len(text.encode()) for text in texts)
    if np.isclose(got, nats / size, rtol=CLOSE):
        return "these are nats: divide by log 2"
    if np.isclose(got, nats / np.log(2) / sum(map(len, texts)), rtol=CLOSE):
        return "this is per letter: some letters have two bytes and more, `len(text.encode())` counts them"
    return "the number differs: one sum of all bits, one of all bytes, one division"


@check(points=4, seconds=60, contract=NOTHING_CALLED)
def causal_model(student, rng):
    """The saved model on held-out texts, in bits per byte, which no choice of tokenizer can flatter."""
    content = first_artifact(student, ("causal-gpu.safetensors", "causal-cpu.safetensors"))
    try:
        card, tensors = artifacts.read_artifact(content)
        language = card.get("language")
        texts = list(data.heldout_rows(language)["text"])
        model, tokenizer = language_model.model_of(card)
        model = artifacts.apply_artifact(model, tensors)
        if missing := set(dict(model.named_parameters())) - set(tensors):
            return 0, f"the artifact lacks {len(missing)} tensors of its model"
    except (ValueError, KeyError, TypeError) as error:
        return 0, f"the artifact cannot be used: {error}"
    if not tokenization.is_lossless(tokenizer, texts):
        return 0, "its tokenizer loses a part of the texts"
    return judge_bits(model, tokenizer, texts, language)


def judge_bits(model, tokenizer, texts, language):
    record = load_record("lab11_transformer", "main", language=language)
    if len(record) < 2:
        return 0, f"there is no calibrated threshold for language {language!r}: train on eng, hau or swa"
    line = language_model.token_line(texts, tokenizer)  # what the model reads depends on its card, too
    bits = scored_once(model, f"lab 11 {language} {hashlib.sha256(line.tobytes()).hexdigest()}",
                       lambda: language_model.line_bits_per_byte(language_model.token_losses(model, line), texts))
    runs = record.heldout_bpb
    most, half = -prediction_bound(-runs), (record.unigram_heldout_bpb.mean() + runs.mean()) / 2
    standing.note("bits per byte", bits, most, runs, higher_is_better=False)
    told = f"{bits:.3f} bits per byte on held-out texts"
    if bits <= most:
        return 4, f"{told}; at most {most:.3f} were wanted"
    if bits <= half:
        return 2, f"{told}: half of the way from a unigram model, and {most:.3f} were wanted"
    return 0, f"{told}: {most:.3f} were wanted, and {half:.3f} for half of the points"
