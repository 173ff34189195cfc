"""Bank of lab 13: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, np, nn, evaluation, transfer, copy, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: B006, F821, B905, B035


def variants(bank, check, template, usual, others):
    """One entry a variant: the template with one part of `usual` replaced."""
    for why, part in others.items():
        bank.cell(check, why, template.format(**{**usual, **part}))


# -- safe_pairs -------------------------------------------------------------------------------------------------------

SAFE = """
def safe_pairs(pairs, tested):
    def plain(sentence):
        return {plain}
    known = {known}
    return [{kept} for pair in pairs if {test}]
"""
USUAL = {"plain": '" ".join(sentence.lower().split())', "known": "{plain(sentence) for sentence in tested}", "kept": "pair",
         "test": "plain(pair[0]) not in known and plain(pair[1]) not in known"}
variants(wrong, "safe_pairs", SAFE, USUAL, {
    "looks at the English side only": {"test": "plain(pair[1]) not in known"},
    "looks at the text only": {"test": "plain(pair[0]) not in known"},
    "drops a pair only if both sides are tested": {"test": "plain(pair[0]) not in known or plain(pair[1]) not in known"},
    "letter case counts": {"plain": '" ".join(sentence.split())'},
    "white space counts": {"plain": "sentence.lower().strip()"},
    "a part of a tested sentence is a leak": {"test": "not any(plain(s) in k for s in pair for k in known)"},
    "a sentence that holds a tested one is a leak": {"test": "not any(k in plain(s) for s in pair for k in known)"},
    "keeps the leaks": {"test": "plain(pair[0]) in known or plain(pair[1]) in known"},
    "gives the English side only": {"kept": "pair[1]"},
    "gives the pairs in lower case": {"kept": "(plain(pair[0]), plain(pair[1]))"},
    "the tested sentences are not made plain": {"known": "set(tested)"},
})
variants(right, "safe_pairs", SAFE, USUAL, {
    "with casefold": {"plain": '" ".join(sentence.casefold().split())'},
    "the library's normalize": {"plain": "normalize(sentence)"},
    "sets that must not meet": {"test": "known.isdisjoint(map(plain, pair))"},
    "a list of tested sentences, lists as pairs": {"known": "[plain(some) for some in tested]", "kept": "list(pair)"},
})


@wrong("safe_pairs", "a set of pairs: order and copies are lost")
def as_set(pairs, tested):
    known = {normalize(sentence) for sentence in tested}
    return sorted({pair for pair in map(tuple, pairs) if not known & {normalize(side) for side in pair}})


@wrong("safe_pairs", "changes the caller's list while it loops")
def removes(pairs, tested):
    known = {normalize(sentence) for sentence in tested}
    for pair in list(pairs):
        if known & {normalize(side) for side in pair}:
            pairs.remove(pair)
    return pairs


@wrong("safe_pairs", "calls the library's function")
def librarys_pairs(pairs, tested):
    return transfer.safe_pairs(pairs, tested)


# -- character_pieces -------------------------------------------------------------------------------------------------

PIECES = """
def character_pieces(text, smallest, largest):
    pieces = []
    for word in {words}:
        word = {padded}
        for size in {sizes}:
            pieces += [word[i : i + size] for i in {places}]
            if {done}:
                break
    return {result}
"""
USUAL = {"words": "text.split()", "padded": 'f" {word} "', "sizes": "range(smallest, largest + 1)",
         "places": "range(max(1, len(word) - size + 1))", "done": "size >= len(word)", "result": "pieces"}
variants(wrong, "character_pieces", PIECES, USUAL, {
    "no blanks around the words": {"padded": "word"},
    "a blank in front only": {"padded": 'f" {word}"'},
    "without the largest size": {"sizes": "range(smallest, largest)"},
    "only the largest size": {"sizes": "[largest]"},
    "the last place is forgotten": {"places": "range(max(1, len(word) - size))"},
    "a short word again for each size": {"done": "False"},
    "a short word not at all": {"places": "range(len(word) - size + 1)"},
    "pieces over two words": {"words": "[text]"},
    "each piece once": {"result": "sorted(set(pieces))"},
    "in lower case": {"result": "[piece.lower() for piece in pieces]"},
    "cut at other signs too": {"words": '__import__("re").findall(r"[a-z]+", text.lower())'},
    "a set": {"result": "set(pieces)"},
})
variants(right, "character_pieces", PIECES, USUAL, {
    "sorted": {"result": "sorted(pieces)"},
    "the padding joined": {"padded": '" " + word + " "'},
    "sizes from the largest down": {"sizes": "range(smallest, max(smallest, min(largest, len(word))) + 1)"},
    "the words from the end": {"words": "reversed(text.split())"},
})


@right("character_pieces", "scikit-learn's analyzer")
def by_sklearn(text, smallest, largest):
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(analyzer="char_wb", ngram_range=(smallest, largest), lowercase=False).build_analyzer()(text)


@wrong("character_pieces", "calls the library's function")
def librarys_pieces(text, smallest, largest):
    return transfer.character_pieces(text, smallest, largest)


# -- weigh_counts -----------------------------------------------------------------------------------------------------

WEIGH = """
def weigh_counts(counts, rarity):
    weighed = {weighed}
    return {result}
"""
USUAL = {"weighed": "torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0.0) * rarity",
         "result": "nn.functional.normalize(weighed, dim=1)"}
variants(wrong, "weigh_counts", WEIGH, USUAL, {
    "the counts as they are": {"weighed": "counts * rarity"},
    "ln(1 + count)": {"weighed": "torch.log1p(counts) * rarity"},
    "without the rarity": {"weighed": "torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0.0)"},
    "the logarithm of 0": {"weighed": "(1 + counts.log()) * rarity"},
    "1 where nothing occurs": {"weighed": "(1 + counts.clamp(min=1).log()) * rarity"},
    "the rarity before the logarithm": {"weighed": "torch.where(counts > 0, 1 + (counts * rarity).clamp(min=1).log(), 0.0)"},
    "divides by the rarity": {"weighed": "torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0.0) / rarity"},
    "logarithm to base 2": {"weighed": "torch.where(counts > 0, 1 + counts.clamp(min=1).log2(), 0.0) * rarity"},
    "not of length 1": {"result": "weighed"},
    "columns of length 1": {"result": "nn.functional.normalize(weighed, dim=0)"},
    "rows that sum to 1": {"result": "weighed / weighed.sum(dim=1, keepdim=True).clamp(min=1e-9)"},
    "divides by a length of 0": {"result": "weighed / weighed.norm(dim=1, keepdim=True)"},
    "changes the caller's counts": {
        "weighed": "counts.copy_(torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0.0)) * rarity"},
})
variants(right, "weigh_counts", WEIGH, USUAL, {
    "in NumPy": {"weighed": "np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * np.asarray(rarity)",
                 "result": "weighed / np.maximum(np.linalg.norm(weighed, axis=1, keepdims=True), 1e-12)"},
    "times a mask": {"weighed": "(counts > 0) * (1 + counts.clamp(min=1).log()) * rarity"},
    "the length by hand": {"result": "weighed / (weighed ** 2).sum(1, keepdim=True).sqrt().clamp(min=1e-12)"},
    "infinite numbers set to 0": {"weighed": "torch.nan_to_num(1 + counts.log(), neginf=0.0) * rarity"},
})
wrong.cell("weigh_counts", "calls the library's function", """
def weigh_counts(counts, rarity):
    return transfer.weigh_counts(counts, rarity)
""")

# -- fit_map ----------------------------------------------------------------------------------------------------------

RIDGE = """
def fit_map(features, vectors, penalty):
    mean, centre = {mean}, {centre}
    x, y = features - mean, vectors - centre
    weights = {weights}
    return {result}
"""
DUAL = "x.T @ torch.linalg.solve(x @ x.T + penalty * torch.eye(len(x), dtype=x.dtype), y)"
BELOW = "torch.cat([x, penalty**0.5 * torch.eye(x.shape[1], dtype=x.dtype)])"
USUAL = {"mean": "features.mean(dim=0)", "centre": "vectors.mean(dim=0)",
         "weights": DUAL,
         "result": "weights, centre - mean @ weights"}
variants(wrong, "fit_map", RIDGE, USUAL, {
    "no centring of the features": {"mean": "torch.zeros_like(features[0])"},
    "no centring at all": {"mean": "torch.zeros_like(features[0])", "centre": "torch.zeros_like(vectors[0])"},
    "the mean over the wrong dimension": {"centre": "vectors.mean()"},
    "the bias without the features' mean": {"result": "weights, centre"},
    "the bias with a plus": {"result": "weights, centre + mean @ weights"},
    "the penalty times n": {"weights": DUAL.replace("penalty", "len(x) * penalty")},
    "the penalty squared": {"weights": DUAL.replace("penalty", "penalty**2")},
    "the penalty on all entries": {"weights": "x.T @ torch.linalg.solve(x @ x.T + penalty, y)"},
    "no penalty": {"weights": "torch.linalg.pinv(x) @ y"},
    "the weights transposed": {"result": "weights.T, centre - mean @ weights"},
    "bias and weights exchanged": {"result": "centre - mean @ weights, weights"},
    "whole numbers": {"result": "weights.round(), centre - mean @ weights"},
})
variants(right, "fit_map", RIDGE, USUAL, {
    "the primal form": {"weights": "torch.linalg.solve(x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y)"},
    "with the inverse": {"weights": "x.T @ torch.inverse(x @ x.T + penalty * torch.eye(len(x), dtype=x.dtype)) @ y"},
    "as rows below the data": {"weights": f"torch.linalg.lstsq({BELOW}, torch.cat([y, y.new_zeros(x.shape[1], y.shape[1])]))"
                                          ".solution"},
    "NumPy at the end": {"result": "weights.numpy(), (centre - mean @ weights).numpy()"},
})
variants(wrong, "fit_map", "def fit_map(features, vectors, penalty):\n{body}\n", {}, {
    "calls the library's function": {"body": "    return transfer.fit_map(features, vectors, penalty)"},
})
right.cell("fit_map", "scikit-learn's Ridge", """
def fit_map(features, vectors, penalty):
    from sklearn.linear_model import Ridge

    found = Ridge(alpha=penalty).fit(features, vectors)
    return found.coef_.reshape(vectors.shape[1], -1).T, np.atleast_1d(found.intercept_)
""")

# -- choose_penalty ---------------------------------------------------------------------------------------------------

CHOOSE = """
def choose_penalty(features, vectors, dev_features, dev_vectors, penalties):
    def score(penalty):
        weights, bias = {fit}
        return {score}
    return {result}
"""
USUAL = {"fit": "fit_map(features, vectors, penalty)", "result": "max(penalties, key=score)",
         "score": "nn.functional.cosine_similarity(dev_features @ weights + bias, dev_vectors, dim=1).mean()"}
variants(wrong, "choose_penalty", CHOOSE, USUAL, {
    "measured on the training sentences": {
        "score": "nn.functional.cosine_similarity(features @ weights + bias, vectors, dim=1).mean()"},
    "fitted on the development sentences": {"fit": "fit_map(dev_features, dev_vectors, penalty)"},
    "the smallest squared error": {"score": "-((dev_features @ weights + bias - dev_vectors) ** 2).mean()"},
    "the worst": {"result": "min(penalties, key=score)"},
    "the place of the best": {"result": "int(np.argmax([float(score(p)) for p in penalties]))"},
    "the best score": {"result": "max(float(score(p)) for p in penalties)"},
    "the smallest penalty": {"result": "min(penalties)"},
    "the largest penalty": {"result": "max(penalties)"},
    "the first penalty": {"result": "penalties[0]"},
    "the largest dot product": {"score": "((dev_features @ weights + bias) * dev_vectors).sum(dim=1).mean()"},
})
variants(right, "choose_penalty", CHOOSE, USUAL, {
    "the library's map and cosine": {"fit": "transfer.fit_map(features, vectors, penalty)",
                                     "score": "transfer.mean_cosine(dev_features.numpy() @ weights + bias, dev_vectors)"},
    "the sum of the cosines": {"score": "nn.functional.cosine_similarity(dev_features @ weights + bias, dev_vectors).sum()"},
    "by argmax": {"result": "penalties[int(torch.stack([score(p) for p in penalties]).argmax())]"},
    "by sorting": {"result": "sorted(penalties, key=score)[-1]"},
})
wrong.cell("choose_penalty", "calls the library's function", """
def choose_penalty(features, vectors, dev_features, dev_vectors, penalties):
    return transfer.choose_penalty(*map(np.asarray, (features, vectors, dev_features, dev_vectors)), penalties)
""")

# -- paired_gain ------------------------------------------------------------------------------------------------------

PAIRED = """
def paired_gain(labels, first, second, rounds, seed):
    labels, first, second = (np.asarray(numbers) for numbers in (labels, first, second))
    rng, found, n = {rng}, [], len(labels)
    for _ in range(rounds):
        rows = {rows}
        found.append({difference})
    low, high = {ends}
    return {result}
"""
DIFFERENCE = "evaluation.macro_f1(labels[rows], second[rows]) - evaluation.macro_f1(labels[rows], first[rows])"
GAIN = "evaluation.macro_f1(labels, second) - evaluation.macro_f1(labels, first)"
USUAL = {"rng": "np.random.default_rng(seed)", "rows": "rng.integers(0, n, n)", "difference": DIFFERENCE,
         "ends": "np.quantile(found, [0.025, 0.975])", "result": f'{{"gain": {GAIN}, "low": low, "high": high}}'}
variants(wrong, "paired_gain", PAIRED, USUAL, {
    "first minus second": {"result": '{"gain": -(' + GAIN + '), "low": -high, "high": -low}'},
    "other texts for each": {"rows": "(rng.integers(0, n, n), rng.integers(0, n, n))",
                             "difference": "evaluation.macro_f1(labels[rows[0]], second[rows[0]]) - "
                                           "evaluation.macro_f1(labels[rows[1]], first[rows[1]])"},
    "draws without replacement: no spread": {"rows": "rng.permutation(n)"},
    "draws half of the texts": {"rows": "rng.integers(0, n, n // 2)"},
    "accuracy": {"difference": "np.mean(labels[rows] == second[rows]) - np.mean(labels[rows] == first[rows])",
                 "result": '{"gain": np.mean(labels == second) - np.mean(labels == first), "low": low, "high": high}'},
    "the smallest and the largest": {"ends": "min(found), max(found)"},
    "a 50 % interval": {"ends": "np.quantile(found, [0.25, 0.75])"},
    "the standard error of the mean over rounds": {"ends": "np.mean(found) - np.std(found) / rounds**0.5, "
                                                           "np.mean(found) + np.std(found) / rounds**0.5"},
    "low and high exchanged": {"ends": "np.quantile(found, [0.975, 0.025])"},
    "no seed": {"rng": "np.random.default_rng()"},
    "one seed for all": {"rng": "np.random.default_rng(0)"},
    "the absolute difference": {"difference": f"abs({DIFFERENCE})",
                                "result": f'{{"gain": abs({GAIN}), "low": low, "high": high}}'},
    "three numbers, no dict": {"result": f"({GAIN}, low, high)"},
})
variants(right, "paired_gain", PAIRED, USUAL, {
    "rows by choice": {"rows": "rng.choice(n, n)"},
    "the old generator": {"rng": "np.random.RandomState(seed)", "rows": "rng.randint(0, n, size=n)"},
    "percentiles": {"ends": "np.percentile(found, 2.5), np.percentile(found, 97.5)"},
    "Python's random": {"rng": '__import__("random").Random(seed)', "rows": "[rng.randrange(n) for _ in range(n)]"},
})
wrong.cell("paired_gain", "calls the library's function", """
def paired_gain(labels, first, second, rounds, seed):
    return transfer.paired_gain(labels, first, second, rounds, seed)
""")

# -- SentenceStudent --------------------------------------------------------------------------------------------------

STUDENT = """
class SentenceStudent(nn.Module):
    def __init__(self, vocabulary, width, outputs):
        super().__init__()
        self.embeddings = {embeddings}
        self.projection = {projection}

    def forward(self, ids):
        real = {real}
        mean = {mean}
        return {result}
"""
USUAL = {"embeddings": "nn.Embedding(vocabulary, width)", "projection": "nn.Linear(width, outputs)",
         "real": "(ids != 0).unsqueeze(-1).float()", "result": "self.projection(mean)",
         "mean": "(self.embeddings(ids) * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)"}
variants(wrong, "sentence_student", STUDENT, USUAL, {
    "padding in the mean": {"mean": "self.embeddings(ids).mean(dim=1)"},
    "padding in the number, not in the sum": {"mean": "(self.embeddings(ids) * real).mean(dim=1)"},
    "the sum": {"mean": "(self.embeddings(ids) * real).sum(dim=1)"},
    "the first piece": {"mean": "self.embeddings(ids)[:, 0]"},
    "the largest numbers": {"mean": "(self.embeddings(ids) * real).amax(dim=1)"},
    "divides by 0": {"mean": "(self.embeddings(ids) * real).sum(dim=1) / real.sum(dim=1)"},
    "no projection": {"result": "mean"},
    "a projection without bias": {"projection": "nn.Linear(width, outputs, bias=False)"},
    "relu after it": {"result": "self.projection(mean).relu()"},
    "the embeddings do not learn": {
        "mean": "(self.embeddings(ids).detach() * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)"},
    "relies on a row of zeros for padding": {
        "embeddings": "nn.Embedding(vocabulary, width, padding_idx=0)",
        "mean": "self.embeddings(ids).sum(dim=1) / real.sum(dim=1).clamp(min=1)"},
    "piece 1 is left out too": {"real": "(ids > 1).unsqueeze(-1).float()"},
    "gives NumPy": {"result": "self.projection(mean).detach().numpy()"},
})
variants(right, "sentence_student", STUDENT, USUAL, {
    "einsum": {"mean": 'torch.einsum("btw,bt->bw", self.embeddings(ids), real[..., 0]) / real.sum(dim=1).clamp(min=1)'},
    "masked fill": {"mean": "self.embeddings(ids).masked_fill(ids[..., None] == 0, 0).sum(1) / real.sum(1).clamp(min=1)"},
    "the library's pooling, with a floor": {
        "mean": "(self.embeddings(ids) * real).sum(1) / torch.maximum(real.sum(1), torch.ones_like(real.sum(1)))"},
    "projects first": {"result": "nn.functional.linear(mean, self.projection.weight, self.projection.bias)"},
})
wrong.cell("sentence_student", "the library's class", """
class SentenceStudent(transfer.SentenceStudent):
    pass
""")

# -- distil -----------------------------------------------------------------------------------------------------------

DISTIL = """
def distil(student, batches, dev_batch, epochs, learning_rate):
    optimizer = {optimizer}
    cosines, best = [], None
    for _ in range(epochs):
        {train}
        for ids, vectors in {batches}:
            loss = {loss}
            {clear}
            loss.backward()
            optimizer.step()
        {evaluate}
        with torch.no_grad():
            cosines.append({cosine})
        if {better}:
            best = {keep}
    {load}
    return {result}
"""
COSINE = "nn.functional.cosine_similarity(student(dev_batch[0]), dev_batch[1], dim=1)"
USUAL = {"optimizer": "torch.optim.AdamW(student.parameters(), lr=learning_rate)", "train": "student.train()",
         "batches": "batches", "loss": "(1 - nn.functional.cosine_similarity(student(ids), vectors, dim=1)).mean()",
         "clear": "optimizer.zero_grad()", "evaluate": "student.eval()", "cosine": f"float({COSINE}.mean())",
         "better": "cosines[-1] == max(cosines)", "keep": "copy.deepcopy(student.state_dict())",
         "load": "student.load_state_dict(best)", "result": "cosines"}
variants(wrong, "distil", DISTIL, USUAL, {
    "the last epoch stays": {"load": "pass"},
    "the best weights are no copy": {"keep": "student.state_dict()"},
    "a shallow copy": {"keep": "dict(student.state_dict())"},
    "gradients add up": {"clear": "pass"},
    "plain gradient descent": {"optimizer": "torch.optim.SGD(student.parameters(), lr=learning_rate)"},
    "Adam's own rate": {"optimizer": "torch.optim.AdamW(student.parameters())"},
    "squared error": {"loss": "((student(ids) - vectors) ** 2).mean()"},
    "the cosine is made smaller": {"loss": "nn.functional.cosine_similarity(student(ids), vectors, dim=1).mean()"},
    "always in evaluation mode": {"train": "student.eval()"},
    "measured in training mode": {"evaluate": "pass"},
    "the smallest cosine is kept": {"better": "cosines[-1] == min(cosines)"},
    "the training cosine is kept": {"cosine": "1 - float(loss)"},
    "the sum over the rows": {"cosine": f"float({COSINE}.sum())"},
    "only the first batch": {"batches": "batches[:1]"},
    "batches from the end": {"batches": "batches[::-1]"},
    "one number": {"result": "max(cosines)"},
})
variants(right, "distil", DISTIL, USUAL, {
    "clones": {"keep": "{k: v.clone() for k, v in student.state_dict().items()}"},
    "minus the cosine as the loss": {"loss": "-nn.functional.cosine_similarity(student(ids), vectors, dim=-1).mean()"},
    "clears with the model": {"clear": "student.zero_grad()"},
    "better by comparison": {"better": "len(cosines) == 1 or cosines[-1] > max(cosines[:-1])"},
})
wrong.cell("distil", "calls the library's function", """
def distil(student, batches, dev_batch, epochs, learning_rate):
    return transfer.distil(student, batches, dev_batch, epochs, learning_rate)
""")

# -- transferred_classifier (the artifact) ----------------------------------------------------------------------------


@wrong.artifact("transferred_classifier", "the file is cut off")
def cut_off(trained):
    return {name: content[: len(content) // 2] for name, content in trained.items()}


@wrong.artifact("transferred_classifier", "the topics in another order")
def flipped_head(trained):
    return {name: changed(content, "head.weight", lambda t: t.flip(0)) for name, content in trained.items()}


@wrong.artifact("transferred_classifier", "a map that was never learned")
def no_map(trained):
    return {name: changed(content, "map.weight", lambda t: t * 0) for name, content in trained.items()}


@wrong.artifact("transferred_classifier", "no rarity in the file")
def no_rarity(trained):
    return {name: changed(content, "rarity", None) for name, content in trained.items()}


@wrong.artifact("transferred_classifier", "a map of another language")
def of_another_language(trained):
    return {name: changed(content, "rarity", lambda t: t, language="amh") for name, content in trained.items()}


@wrong.artifact("transferred_classifier", "translations of one's own, for which there are no held-out sentences")
def own_file(trained):
    return {name: changed(content, "rarity", lambda t: t, language="my.csv") for name, content in trained.items()}


@wrong.artifact("transferred_classifier", "trained at scale tiny only")
def tiny_only(trained):
    return {"transfer-tiny.safetensors": content for content in trained.values()}


@right.artifact("transferred_classifier", "saved in 32 bits, from a GPU")
def from_gpu(trained):
    return {"transfer-gpu.safetensors": changed(content, "map.weight", lambda t: t.float()) for content in trained.values()}


@right.artifact("transferred_classifier", "twice the map: the same directions")
def doubled(trained):
    return {name: changed(changed(content, "map.weight", lambda t: 2 * t), "map.bias", lambda t: 2 * t)
            for name, content in trained.items()}


@right.artifact("transferred_classifier", "the rarity in another unit: rows have length 1 all the same")
def other_unit(trained):
    return {name: changed(content, "rarity", lambda t: t / 4) for name, content in trained.items()}


@right.artifact("transferred_classifier", "a head that is surer of itself")
def surer(trained):
    return {name: changed(changed(content, "head.weight", lambda t: 3 * t), "head.bias", lambda t: 3 * t)
            for name, content in trained.items()}


def changed(content, part, change, **card_changes):
    """An artifact's bytes again, one tensor changed (None: left out), and its card too."""
    import json

    from leaplm.artifacts import CARD, read_artifact
    from safetensors.torch import save

    card, tensors = read_artifact(content)
    value = tensors.pop(part)
    if change is not None:
        tensors[part] = change(value).contiguous()
    return save(tensors, metadata={CARD: json.dumps({**card, **card_changes})})
