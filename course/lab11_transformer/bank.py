"""Bank of lab 11: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, np, linear, Counter, ours, ...). Many wrong
answers differ from a right one in one place: `change` makes them from it.
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905, B006


def change(source, *pairs):
    """A source with some of its pieces replaced; each piece must be there."""
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in source, old
        source = source.replace(old, new)
    return source


# -- learn_merges -----------------------------------------------------------------------------------------------------

MERGES = """
def learn_merges(words, count):
    pieces, merges = {word: list(word) for word in words}, []
    for _ in range(count):
        pairs = {}
        for word, parts in pieces.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] = pairs.get(pair, 0) + words[word]
        if not pairs:
            break
        best = sorted(pairs, key=lambda pair: (-pairs[pair], pair))[0]
        merges.append(best)
        for word, parts in pieces.items():
            joined = []
            i = 0
            while i < len(parts):
                if i + 1 < len(parts) and (parts[i], parts[i + 1]) == best:
                    joined.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    joined.append(parts[i])
                    i += 1
            pieces[word] = joined
    return merges
"""
right.cell("learn_merges", "with a plain dict and sorted", MERGES)
right.cell("learn_merges", "pairs as lists", change(MERGES, "merges.append(best)", "merges.append(list(best))"))


@right("learn_merges", "words as tuples in a Counter that shrinks")
def tuples(words, count):
    corpus, merges = Counter({tuple(word): times for word, times in words.items()}), []
    while len(merges) < count:
        pairs = Counter()
        for parts, times in corpus.items():
            for i in range(len(parts) - 1):
                pairs[parts[i], parts[i + 1]] += times
        if not pairs:
            return merges
        most = max(pairs.values())
        a, b = min(pair for pair in pairs if pairs[pair] == most)
        merges.append((a, b))
        fresh = Counter()
        for parts, times in corpus.items():
            row = []
            for part in parts:
                if row and row[-1] == (a, 0) and part == b:
                    row[-1] = (a + b, 1)
                else:
                    row.append((part, 0))
            fresh[tuple(part for part, _ in row)] += times
        corpus = fresh
    return merges


@right("learn_merges", "deletes in a copy of the list")
def deletes(words, count):
    rows, merges = [(list(word), times) for word, times in words.items()], []
    while len(merges) < count:
        pairs = Counter()
        for parts, times in rows:
            for pair in zip(parts, parts[1:]):
                pairs[pair] += times
        if len(pairs) == 0:
            break
        best = min(pairs.items(), key=lambda item: (-item[1], item[0]))[0]
        merges += [best]
        for parts, _ in rows:
            i = 0
            while i < len(parts) - 1:
                if (parts[i], parts[i + 1]) == best:
                    parts[i : i + 2] = ["".join(best)]
                i += 1
    return merges


wrong.cell("learn_merges", "a pair counts once a word, whatever its frequency", change(MERGES, "+ words[word]", "+ 1"))
wrong.cell("learn_merges", "of equals the last one", change(MERGES, "(-pairs[pair], pair))[0]", "(pairs[pair], pair))[-1]"))
wrong.cell("learn_merges", "of equals the one met first", change(MERGES, "(-pairs[pair], pair)", "-pairs[pair]"))
wrong.cell(
    "learn_merges", "joins the first place of a word only", change(MERGES, "== best:", "== best and len(joined) == i:")
)
wrong.cell("learn_merges", "never joins", change(MERGES, "pieces[word] = joined", "pass"))
wrong.cell(
    "learn_merges", "joined pieces instead of pairs", change(MERGES, "merges.append(best)", "merges.append(''.join(best))")
)
wrong.cell("learn_merges", "fails where no pair is left", change(MERGES, "        if not pairs:\n            break\n", ""))
wrong.cell("learn_merges", "one merge too many", change(MERGES, "range(count)", "range(count + 1)"))
wrong.cell(
    "learn_merges",
    "a pair counts once in each word",
    change(MERGES, "in zip(parts, parts[1:])", "in set(zip(parts, parts[1:]))"),
)
wrong.cell(
    "learn_merges",
    "takes the words out of the caller's dict",
    change(MERGES, "    return merges", "    words.clear()\n    return merges"),
)


@wrong("learn_merges", "joins in a text of pieces, where the end of a longer piece counts as a piece")
def in_a_text(words, count):
    rows, merges = {word: " ".join(word) for word in words}, []
    for _ in range(count):
        pairs = Counter()
        for word, row in rows.items():
            parts = row.split(" ")
            for pair in zip(parts, parts[1:]):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        rows = {word: row.replace(" ".join(best), "".join(best)) for word, row in rows.items()}
    return merges


@wrong("learn_merges", "the library's")
def librarys_merges(words, count):
    return tokenization.learn_merges(words, count)


# -- attention --------------------------------------------------------------------------------------------------------

ATTENTION = """
def attention(queries, keys, values):
    t, s, d = queries.shape[2], keys.shape[2], queries.shape[3]
    scores = torch.einsum("bhtd,bhsd->bhts", queries, keys) / d ** 0.5
    later = torch.arange(s)[None, :] > torch.arange(s - t, s)[:, None]
    scores = scores.masked_fill(later, -torch.inf)
    shares = torch.softmax(scores, dim=-1)
    return shares @ values
"""
right.cell("attention", "with einsum and a comparison of places", ATTENTION)
right.cell("attention", "minus ten to the 9 instead of infinity", change(ATTENTION, "-torch.inf", "-1e9"))
right.cell(
    "attention", "divides the queries first", change(ATTENTION, "queries, keys) / d ** 0.5", "queries * d ** -0.5, keys)")
)
right.cell(
    "attention",
    "exp and sum by hand, after taking the largest off",
    change(
        ATTENTION,
        "torch.softmax(scores, dim=-1)",
        "(scores - scores.max(-1, keepdim=True).values).exp()\n    shares = shares / shares.sum(-1, keepdim=True)",
    ),
)


@right("attention", "one query after the other")
def looped(queries, keys, values):
    t, s = queries.shape[2], keys.shape[2]
    rows = []
    for i in range(t):
        seen = s - t + i + 1
        scores = (queries[:, :, i : i + 1] * keys[:, :, :seen]).sum(-1) / queries.shape[-1] ** 0.5
        rows.append((scores.softmax(-1)[..., None] * values[:, :, :seen]).sum(2))
    return torch.stack(rows, dim=2)


wrong.cell("attention", "not causal", change(ATTENTION, "scores.masked_fill(later, -torch.inf)", "scores"))
wrong.cell("attention", "not divided by the root of d", change(ATTENTION, " / d ** 0.5", ""))
wrong.cell("attention", "divided by d", change(ATTENTION, "/ d ** 0.5", "/ d"))
wrong.cell(
    "attention",
    "cuts after the softmax",
    change(
        ATTENTION,
        "    scores = scores.masked_fill(later, -torch.inf)\n",
        "",
        "dim=-1)",
        "dim=-1).masked_fill(later, 0)",
    ),
)
wrong.cell(
    "attention", "fewer queries count as the first tokens", change(ATTENTION, "torch.arange(s - t, s)", "torch.arange(t)")
)
wrong.cell("attention", "a token does not see itself", change(ATTENTION, "] > torch", "] >= torch", "-torch.inf", "-1e9"))
wrong.cell("attention", "the softmax goes over the queries", change(ATTENTION, "dim=-1", "dim=-2"))
wrong.cell("attention", "puts 0 instead of minus infinity", change(ATTENTION, "-torch.inf", "0.0"))
wrong.cell("attention", "no gradient comes back", change(ATTENTION, "return shares", "return shares.detach()"))
wrong.cell(
    "attention",
    "divides the caller's queries in place",
    change(
        ATTENTION,
        "    scores = torch",
        "    queries = queries.detach()\n    queries /= d ** 0.5\n    scores = torch",
        "keys) / d ** 0.5",
        "keys)",
    ),
)
wrong.cell("attention", "the root of another width", change(ATTENTION, "/ d **", "/ (queries.shape[1] * d) **"))


@wrong("attention", "torch's own")
def torchs_attention(queries, keys, values):
    t, s = queries.shape[2], keys.shape[2]
    seen = torch.ones(t, s, dtype=torch.bool).tril(s - t)
    return torch.nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)


@wrong("attention", "the library's")
def librarys_attention(queries, keys, values):
    return ours.attention(queries, keys, values)


# -- rotate -----------------------------------------------------------------------------------------------------------

ROTATE = """
def rotate(x, positions, theta):
    d = x.shape[-1]
    i = torch.arange(0, d, 2).float()
    angles = positions.float()[:, None] / theta ** (i / d)
    cos, sin = torch.cos(angles), torch.sin(angles)
    cos, sin = torch.cat([cos, cos], dim=-1), torch.cat([sin, sin], dim=-1)
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin
"""
right.cell("rotate", "as transformers writes it", ROTATE)
right.cell(
    "rotate",
    "with torch.outer",
    change(
        ROTATE, "positions.float()[:, None] / theta ** (i / d)", "torch.outer(positions.float(), 1.0 / (theta ** (i / d)))"
    ),
)


@right("rotate", "with complex numbers")
def by_complex(x, positions, theta):
    half = x.shape[-1] // 2
    angles = positions[:, None] * theta ** (-torch.arange(half) / half)
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], dim=-1)


@right("rotate", "pair by pair")
def pair_by_pair(x, positions, theta):
    d = x.shape[-1]
    columns = [None] * d
    for i in range(d // 2):
        alpha = positions * theta ** (-2 * i / d)
        columns[i] = x[..., i] * alpha.cos() - x[..., i + d // 2] * alpha.sin()
        columns[i + d // 2] = x[..., i] * alpha.sin() + x[..., i + d // 2] * alpha.cos()
    return torch.stack(columns, dim=-1)


wrong.cell("rotate", "turns the other way", change(ROTATE, "[-b, a]", "[b, -a]"))
wrong.cell("rotate", "no sign", change(ROTATE, "[-b, a]", "[b, a]"))
wrong.cell(
    "rotate",
    "angles by the place, not by positions",
    change(ROTATE, "positions.float()[:, None]", "torch.arange(x.shape[-2]).float()[:, None]"),
)
wrong.cell("rotate", "all pairs turn equally fast", change(ROTATE, "/ theta ** (i / d)", "/ theta ** (0 * i)"))
wrong.cell("rotate", "the exponent is half of what it should be", change(ROTATE, "(i / d)", "(i / 2 / d)"))
wrong.cell("rotate", "theta is always 10,000", change(ROTATE, "theta **", "10_000 **"))
wrong.cell(
    "rotate", "not turned at all", change(ROTATE, "return x * cos + torch.cat([-b, a], dim=-1) * sin", "return x.clone()")
)
wrong.cell(
    "rotate",
    "no gradient comes back",
    change(ROTATE, "return x", "x, a, b = x.detach(), a.detach(), b.detach()\n    return x"),
)
wrong.cell(
    "rotate",
    "an array instead of a tensor",
    change(
        ROTATE,
        "return x * cos + torch.cat([-b, a], dim=-1) * sin",
        "x, a, b = x.detach(), a.detach(), b.detach()\n    return (x * cos + torch.cat([-b, a], dim=-1) * sin).numpy()",
    ),
)


@wrong("rotate", "pairs neighbours")
def neighbours(x, positions, theta):
    half = x.shape[-1] // 2
    angles = positions[:, None] * theta ** (-torch.arange(half) / half)
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], dim=-1).flatten(-2)


@wrong("rotate", "the library's")
def librarys_rotation(x, positions, theta):
    return ours.rotate(x, positions, theta)


# -- block ------------------------------------------------------------------------------------------------------------

NORM = """
def rms_norm(x, weight, eps):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * weight
"""
SELF = """
def self_attention(x, weights, shape, cache=None):
    b, t, _ = x.shape
    H, K = shape["heads"], shape["kv_heads"]
    q = (x @ weights["query"].T).view(b, t, H, -1).transpose(1, 2)
    k = (x @ weights["key"].T).view(b, t, K, -1).transpose(1, 2)
    v = (x @ weights["value"].T).view(b, t, K, -1).transpose(1, 2)
    start = cache[0].shape[2] if cache else 0
    places = torch.arange(start, start + t)
    q, k = rotate(q, places, shape["theta"]), rotate(k, places, shape["theta"])
    if cache:
        k = torch.cat((cache[0], k), 2)
        v = torch.cat((cache[1], v), 2)
    owner = torch.arange(H) // (H // K)
    y = attention(q, k[:, owner], v[:, owner])
    y = y.transpose(1, 2).reshape(b, t, -1)
    return y @ weights["output"].T, (k, v)
"""
FEED = """
def feed_forward(x, weights):
    g = x @ weights["gate"].T
    return (g * torch.sigmoid(g) * (x @ weights["up"].T)) @ weights["down"].T
"""
BLOCK = """
def block(x, weights, shape, cache=None):
    y, cache = self_attention(rms_norm(x, weights["attention_norm"], shape["eps"]), weights, shape, cache)
    h = x + y
    z = feed_forward(rms_norm(h, weights["feed_norm"], shape["eps"]), weights)
    return h + z, cache
"""
WHOLE = NORM + SELF + FEED + BLOCK
right.cell("block", "products with transposed matrices, silu by hand", WHOLE)
right.cell(
    "block",
    "the library's attention and rotation, as allowed here",
    change(WHOLE, "= attention(", "= ours.attention(", "rotate(q", "ours.rotate(q", "rotate(k", "ours.rotate(k"),
)
right.cell("block", "the cache as a list", change(WHOLE, ", (k, v)", ", [k, v]"))
right.cell(
    "block",
    "einsum, and heads expanded",
    change(
        WHOLE,
        'x @ weights["query"].T',
        'torch.einsum("btw,ow->bto", x, weights["query"])',
        "k[:, owner], v[:, owner]",
        "k[:, :, None].expand(-1, -1, H // K, -1, -1).flatten(1, 2), "
        "v[:, :, None].expand(-1, -1, H // K, -1, -1).flatten(1, 2)",
    ),
)
right.cell(
    "block",
    "the norm by its length",
    change(WHOLE, "(x * x).mean(-1, keepdim=True)", "x.norm(dim=-1, keepdim=True) ** 2 / x.shape[-1]"),
)

for why, *pairs in (
    ("takes the mean off, as layer norm does", "return x * torch", "x = x - x.mean(-1, keepdim=True)\n    return x * torch"),
    ("no weight in the norm", "+ eps) * weight", "+ eps)"),
    (
        "eps outside of the root",
        "x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps)",
        "x / ((x * x).mean(-1, keepdim=True).sqrt() + eps)",
    ),
    ("the sum of squares, not their mean", ".mean(-1", ".sum(-1"),
    ("the mean over everything", ".mean(-1, keepdim=True)", ".mean()"),
    ("heads take turns", "torch.arange(H) // (H // K)", "torch.arange(H) % K"),
    ("positions begin at 0 after a cache", "start = cache[0].shape[2] if cache else 0", "start = 0"),
    ("the cache comes after the new keys", "(cache[0], k), 2", "(k, cache[0]), 2", "(cache[1], v), 2", "(v, cache[1]), 2"),
    (
        "values are turned too",
        "rotate(k, places",
        "rotate(k, places",
        "    if cache:\n",
        "    v = rotate(v, places, shape['theta'])\n    if cache:\n",
    ),
    ("adds to the caller's stream in place", "h = x + y", "x += y\n    h = x"),
    ("queries are not turned", 'q, k = rotate(q, places, shape["theta"]), rotate', "k = rotate"),
    ("only the new keys come back", ", (k, v)", ", (k[:, :, start:], v[:, :, start:])"),
    ("the cache holds the repeated heads", ", (k, v)", ", (k[:, owner], v[:, owner])"),
    ("no output matrix", ' @ weights["output"].T', "[:, :, : x.shape[2]]"),
    ("heads are not put side by side", "y.transpose(1, 2).reshape", "y.reshape"),
    ("the heads are cut before the tokens", ".view(b, t, H, -1).transpose(1, 2)", ".view(b, H, t, -1)"),
    (
        "gate and up are exchanged",
        'weights["gate"]',
        'weights["UP"]',
        'weights["up"]',
        'weights["gate"]',
        'weights["UP"]',
        'weights["up"]',
    ),
    ("relu instead of silu", "g * torch.sigmoid(g)", "torch.relu(g)"),
    ("no residual around attention", "h = x + y", "h = y"),
    ("no residual around the feed-forward part", "return h + z", "return z"),
    ("the feed-forward part reads x of before", "rms_norm(h,", "rms_norm(x,"),
    (
        "the norm comes after",
        'feed_forward(rms_norm(h, weights["feed_norm"], shape["eps"]), weights)',
        'rms_norm(feed_forward(h, weights), weights["feed_norm"], shape["eps"])',
    ),
    ("the same norm twice", "feed_norm", "attention_norm"),
    (
        "both parts read the same x",
        "return h + z",
        "return x + y + feed_forward(rms_norm(x, weights['feed_norm'], shape['eps']), weights)",
    ),
    (
        "no gradient comes back from the feed-forward part",
        "def feed_forward(x, weights):\n",
        "def feed_forward(x, weights):\n    x = x.detach()\n",
    ),
    ("adds to the caller's stream in place", "h = x + y", "x.data += y.data; h = x"),
    ("forgets to return the cache", "return h + z, cache", "return h + z"),
):
    wrong.cell("block", why, change(WHOLE, *pairs))

wrong.cell("block", "the library's block", WHOLE + "\nblock = ours.block\n")
wrong.cell(
    "block",
    "the library's attention of a block",
    WHOLE + "\ndef self_attention(*given): return ours.self_attention(*given)\n",
)
wrong.cell(
    "block",
    "torch's own norm",
    WHOLE + "\ndef rms_norm(x, weight, eps):\n    return torch.nn.functional.rms_norm(x, weight.shape, weight, eps)\n",
)

# -- decoder ----------------------------------------------------------------------------------------------------------

DECODER = """
def decoder(ids, weights, shape, caches=None):
    x = torch.nn.functional.embedding(ids, weights["embedding"])
    caches = caches or [None] * len(weights["blocks"])
    new = []
    for w, c in zip(weights["blocks"], caches):
        x, c = block(x, w, shape, c)
        new.append(c)
    x = rms_norm(x, weights["norm"], shape["eps"])
    return x @ weights["head"].T, new
"""
right.cell("decoder", "with zip and torch's embedding", DECODER)
right.cell(
    "decoder",
    "the library's block, as allowed here",
    change(DECODER, "= block(", "= ours.block(", "= rms_norm(", "= ours.rms_norm("),
)
right.cell("decoder", "a tuple of caches", change(DECODER, "T, new", "T, tuple(new)"))
right.cell(
    "decoder",
    "one-hot vectors instead of looking up",
    change(
        DECODER,
        'torch.nn.functional.embedding(ids, weights["embedding"])',
        'torch.nn.functional.one_hot(ids, len(weights["embedding"])).float() @ weights["embedding"]',
    ),
)

for why, *pairs in (
    ("no last norm", 'x = rms_norm(x, weights["norm"], shape["eps"])', "pass"),
    ("the embedding instead of the head", 'weights["head"]', 'weights["embedding"]'),
    ("the first block again and again", "block(x, w,", 'block(x, weights["blocks"][0],'),
    ("leaves the last block out", 'zip(weights["blocks"], caches)', 'zip(weights["blocks"][:-1], caches)'),
    ("no caches are used", "shape, c)\n", "shape)\n"),
    ("all blocks get the first cache", "shape, c)\n", "shape, caches[0])\n"),
    ("returns the old caches", "T, new", "T, caches"),
    ("the embedding is scaled", '["embedding"])', '["embedding"]) * weights["embedding"].shape[1] ** 0.5'),
    ("the scores of the last token only", 'x @ weights["head"].T', 'x[:, -1:] @ weights["head"].T'),
    ("probabilities instead of scores", 'x @ weights["head"].T', '(x @ weights["head"].T).softmax(-1)'),
    ("eps is always 1e-5", 'shape["eps"]', "1e-5"),
    ("returns the logits alone", "T, new", "T"),
):
    wrong.cell("decoder", why, change(DECODER, *pairs))
wrong.cell("decoder", "the library's", "decoder = lambda *given: ours.decoder(*given)\n")

# -- next_token_probabilities -------------------------------------------------------------------------------------------

PICK = """
def next_token_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    z = logits / temperature
    if top_k is not None:
        least = torch.sort(z, descending=True).values[min(top_k, len(z)) - 1]
        z = torch.where(z < least, -torch.inf, z)
    p = torch.softmax(z, dim=0)
    if top_p is not None:
        order = torch.argsort(p, descending=True)
        total, keep = 0.0, []
        for i in order.tolist():
            keep.append(i)
            total += float(p[i])
            if total >= top_p:
                break
        kept = torch.zeros_like(p)
        kept[keep] = p[keep]
        p = kept / kept.sum()
    return p
"""
right.cell("next_token_probabilities", "minus infinity for top-k, a loop for top-p", PICK)
right.cell("next_token_probabilities", "a list of numbers", change(PICK, "    return p\n", "    return p.tolist()\n"))


@right("next_token_probabilities", "in numpy")
def in_numpy(logits, temperature=1.0, top_k=None, top_p=None):
    z = np.asarray(logits, dtype=float) / temperature
    p = np.exp(z - z.max())
    p /= p.sum()
    order = np.argsort(-p)
    if top_k is not None:
        p[order[top_k:]] = 0
        p /= p.sum()
    if top_p is not None:
        enough = np.searchsorted(np.cumsum(p[order]), top_p) + 1
        p[order[enough:]] = 0
        p /= p.sum()
    return p


@right("next_token_probabilities", "with topk")
def with_topk(logits, temperature=1.0, top_k=None, top_p=None):
    values, places = (logits / temperature).topk(min(top_k or len(logits), len(logits)))
    p = values.softmax(0)
    if top_p is not None:
        keep = torch.cat([torch.tensor([True]), p.cumsum(0)[:-1] < top_p])
        p = p * keep / (p * keep).sum()
    whole = torch.zeros(len(logits))
    whole[places] = p
    return whole


for why, *pairs in (
    ("multiplies by the temperature", "logits / temperature", "logits * temperature"),
    ("no temperature", "logits / temperature", "logits"),
    (
        "one too few stay at top-p",
        "            keep.append(i)\n            total += float(p[i])\n"
        "            if total >= top_p:\n                break\n",
        "            total += float(p[i])\n            if total >= top_p:\n"
        "                break\n            keep.append(i)\n",
    ),
    ("does not sum to 1 after top-p", "kept / kept.sum()", "kept"),
    ("top-k keeps one more", "top_k, len(z)) - 1", "top_k + 1, len(z)) - 1"),
    ("fails where top-k is more than there are", "min(top_k, len(z))", "top_k"),
    ("0 instead of minus infinity", "-torch.inf", "0.0"),
    ("top-p takes the least probable", "argsort(p, descending=True)", "argsort(p)"),
    ("sorted probabilities", "    return p\n", "    return p.sort(descending=True).values\n"),
    ("top-p is a threshold for each", "total >= top_p", "float(p[i]) < 1 - top_p"),
    (
        "the temperature comes after top-p",
        "z = logits / temperature",
        "z = logits",
        "    return p\n",
        "    p = p ** (1 / temperature)\n    return p / p.sum()\n",
    ),
    ("divides the caller's scores", "z = logits / temperature", "logits /= temperature\n    z = logits"),
):
    wrong.cell("next_token_probabilities", why, change(PICK, *pairs))


@wrong("next_token_probabilities", "top-p before top-k")
def other_order(logits, temperature=1.0, top_k=None, top_p=None):
    p = (logits / temperature).softmax(0)
    ranked, order = p.sort(descending=True)
    if top_p is not None:
        ranked = ranked * (ranked.cumsum(0) - ranked < top_p)
    if top_k is not None:
        ranked = ranked * (torch.arange(len(p)) < top_k)
    return torch.zeros_like(p).scatter(0, order, ranked / ranked.sum())


@wrong("next_token_probabilities", "the library's")
def librarys_choice(*given):
    return generation.next_token_probabilities(*given)


# -- generate -----------------------------------------------------------------------------------------------------------

GENERATE = """
def generate(step, prompt_ids, count, pick):
    new = []
    if count == 0:
        return new
    with torch.no_grad():
        scores, caches = step(torch.tensor(prompt_ids).unsqueeze(0), None)
        new.append(int(pick(scores[0, -1])))
        for _ in range(count - 1):
            scores, caches = step(torch.tensor([[new[-1]]]), caches)
            new.append(int(pick(scores[0, -1])))
    return new
"""
right.cell("generate", "the prompt first, then a loop", GENERATE)
right.cell("generate", "with gradients on", change(GENERATE, "with torch.no_grad():", "if True:"))
right.cell("generate", "an array", change(GENERATE, "    return new\n", "    return np.array(new, dtype=int)\n"))
right.cell(
    "generate",
    "the prompt token by token",
    change(
        GENERATE,
        "scores, caches = step(torch.tensor(prompt_ids).unsqueeze(0), None)",
        "caches = None\n        for token in prompt_ids:\n"
        "            scores, caches = step(torch.tensor([[token]]), caches)",
    ),
)

for why, *pairs in (
    ("with the prompt", "    return new\n", "    return list(prompt_ids) + new\n"),
    ("picks by the first token's scores", "pick(scores[0, -1])", "pick(scores[0, 0])"),
    ("always the most probable", "pick(scores[0, -1])", "scores[0, -1].argmax()"),
    ("forgets the caches", "[[new[-1]]]), caches)", "[[new[-1]]]), None)"),
    ("one token too few", "range(count - 1)", "range(count - 2)"),
    ("reads the last new token too", "    return new\n", "    step(torch.tensor([[new[-1]]]), caches)\n    return new\n"),
    (
        "sends the whole text each time",
        "step(torch.tensor([[new[-1]]]), caches)",
        "step(torch.tensor([list(prompt_ids) + new]), None)",
    ),
    ("sends the whole text on top of the cache", "[[new[-1]]]", "[list(prompt_ids) + new]"),
    (
        "reads the last token of the prompt again",
        "        new.append(int(pick(scores[0, -1])))\n        for",
        "        scores, caches = step(torch.tensor([prompt_ids[-1:]]), "
        "caches)\n        new.append(int(pick(scores[0, -1])))\n        for",
    ),
    ("gives probabilities to pick backwards", "pick(scores[0, -1])", "pick(-scores[0, -1])"),
    ("one new token more than asked where none is", "    if count == 0:\n        return new\n", ""),
    ("adds to the caller's prompt", "    return new\n", "    prompt_ids.extend(new)\n    return new\n"),
):
    wrong.cell("generate", why, change(GENERATE, *pairs))
wrong.cell("generate", "the library's", "generate = lambda *given: generation.generate(*given)\n")

# -- next_token_loss ------------------------------------------------------------------------------------------------------

LOSS = """
def next_token_loss(logits, ids):
    log_p = logits[:, :-1].log_softmax(dim=-1)
    return -log_p.gather(2, ids[:, 1:, None]).mean()
"""
STEP = """
def training_step(model, ids, optimizer):
    model.train()
    loss = next_token_loss(model(ids).logits, ids)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    optimizer.step()
    return float(loss.detach())
"""
right.cell("next_token_loss", "gather, zero_grad later", LOSS + STEP)
right.cell(
    "next_token_loss",
    "the library's loss in the step",
    LOSS + change(STEP, "= next_token_loss", "= language_model.next_token_loss"),
)
right.cell(
    "next_token_loss",
    "the classes in dimension 1",
    change(
        LOSS + STEP,
        "-log_p.gather(2, ids[:, 1:, None]).mean()",
        "nn_loss(log_p.transpose(1, 2), ids[:, 1:])",
        "def next_token_loss",
        "nn_loss = torch.nn.functional.nll_loss\n\ndef next_token_loss",
    ),
)
right.cell(
    "next_token_loss",
    "cuts the gradient by hand",
    LOSS
    + change(
        STEP,
        "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)",
        "norm = sum(float((p.grad ** 2).sum()) for p in model.parameters()) ** 0.5\n"
        "    for p in model.parameters():\n        p.grad *= min(1.0, 1.0 / norm)",
    ),
)

for why, *pairs in (
    ("no shift", "[:, :-1]", "", "ids[:, 1:, None]", "ids[:, :, None]"),
    ("shifted the other way", "logits[:, :-1]", "logits[:, 1:]", "ids[:, 1:, None]", "ids[:, :-1, None]"),
    ("shifted by two", "logits[:, :-1]", "logits[:, :-2]", "ids[:, 1:, None]", "ids[:, 2:, None]"),
    ("the sum, not the mean", ".mean()", ".sum()"),
    ("in bits", ".mean()", ".mean() / np.log(2)"),
    ("the sign is forgotten", "return -log_p", "return log_p"),
    ("no logarithm", "return -log_p", "return -log_p.exp()"),
    (
        "token 0 counts as padding",
        "return -log_p.gather(2, ids[:, 1:, None]).mean()",
        "return -log_p.gather(2, ids[:, 1:, None])[ids[:, 1:, None] != 0].mean()",
    ),
    ("a number that nothing learns from", ".mean()", ".mean().detach()"),
    ("no zero_grad", "    optimizer.zero_grad()\n", ""),
    (
        "clears the gradients after backward",
        "    optimizer.zero_grad()\n    loss.backward()\n",
        "    loss.backward()\n    optimizer.zero_grad()\n",
    ),
    ("no cut of the gradient", "    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)\n", ""),
    (
        "cuts each weight's gradient alone",
        "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)",
        "[torch.nn.utils.clip_grad_norm_(p, 1.0) for p in model.parameters()]",
    ),
    (
        "cuts before backward",
        "    loss.backward()\n    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)\n",
        "    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)\n    loss.backward()\n",
    ),
    (
        "always makes the norm 1",
        "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)",
        "norm = sum(float((p.grad ** 2).sum()) for p in model.parameters()) ** 0.5\n"
        "    for p in model.parameters():\n        p.grad /= norm",
    ),
    ("stays in evaluation mode", "model.train()", "model.eval()"),
    ("never changes the weights", "    optimizer.step()\n", ""),
    ("changes them twice", "    optimizer.step()\n", "    optimizer.step()\n    optimizer.step()\n"),
    ("returns the tensor with its graph", "float(loss.detach())", "loss"),
    ("returns the loss after the update", "float(loss.detach())", "next_token_loss(model(ids).logits, ids).item()"),
):
    wrong.cell("next_token_loss", why, change(LOSS + STEP, *pairs))
wrong.cell(
    "next_token_loss",
    "the library's loss",
    "next_token_loss = lambda *given: language_model.next_token_loss(*given)\n" + STEP,
)

# -- bits_per_byte --------------------------------------------------------------------------------------------------------


@right("bits_per_byte", "with loops")
def with_loops(losses, texts):
    bits = size = 0
    for some, text in zip(losses, texts):
        size += len(bytes(text, "utf-8"))
        for nats in some:
            bits += float(nats) / np.log(2)
    return bits / size


@right("bits_per_byte", "one array")
def one_array(losses, texts):
    return np.concatenate([np.asarray(some) for some in losses]).sum() / np.log(2) / len("".join(texts).encode("utf-8"))


@right("bits_per_byte", "as a tensor with one number")
def as_tensor(losses, texts):
    nats = torch.cat([torch.as_tensor(some, dtype=torch.float64).flatten() for some in losses]).sum()
    return nats / torch.log(torch.tensor(2.0, dtype=torch.float64)) / sum(len(text.encode()) for text in texts)


@right("bits_per_byte", "with log2 of e")
def log_of_e(losses, texts):
    return np.log2(np.e) * sum(sum(map(float, some)) for some in losses) / sum(map(len, map(str.encode, texts)))


BITS = """
def bits_per_byte(losses, texts):
    nats = sum(float(np.sum(some)) for some in losses)
    return nats / np.log(2) / sum(len(text.encode()) for text in texts)
"""
for why, *pairs in (
    ("nats", " / np.log(2)", ""),
    ("per letter", "text.encode()", "text"),
    ("per token", "sum(len(text.encode()) for text in texts)", "sum(map(len, losses))"),
    ("bits by the wrong factor", "/ np.log(2)", "* np.log(2)"),
    ("means of the texts instead of sums", "np.sum(some)", "np.mean(some)"),
    ("in base 10", "np.log(2)", "np.log10(2)"),
    ("UTF-16", "text.encode()", "text.encode('utf-16')"),
    ("without white space", "text.encode()", "''.join(text.split()).encode()"),
    ("a perplexity", "return nats", "return np.exp(nats", "for text in texts)", "for text in texts))"),
):
    wrong.cell("bits_per_byte", why, change(BITS, *pairs))


@wrong("bits_per_byte", "the mean of the texts' own ratios")
def mean_of_ratios(losses, texts):
    return np.mean([np.sum(some) / np.log(2) / len(text.encode()) for some, text in zip(losses, texts)])


@wrong("bits_per_byte", "the library's")
def librarys_bits(losses, texts):
    return language_model.bits_per_byte(losses, texts)


# -- causal_model ---------------------------------------------------------------------------------------------------------


def rewrite(trained, of_card=lambda card: card, of_tensors=lambda tensors: tensors):
    """The trained artifact with another card or other tensors."""
    import json

    from leaplm import artifacts
    from safetensors.torch import save

    name, content = next(iter(trained.items()))
    card, tensors = artifacts.read_artifact(content)
    kept = {key: tensor.contiguous() for key, tensor in of_tensors(dict(tensors)).items()}
    return {name: save(kept, metadata={artifacts.CARD: json.dumps(of_card(dict(card)))})}


@right.artifact("causal_model", "saved in 32 bits")
def in_32_bits(trained):
    return rewrite(trained, of_tensors=lambda tensors: {name: t.float() for name, t in tensors.items()})


@right.artifact("causal_model", "a card that says more")
def longer_card(trained):
    return rewrite(trained, of_card=lambda card: {**card, "comment": "on the school's PC", "history": [1, 2, 3]})


@right.artifact("causal_model", "trained on a GPU: another name")
def from_gpu(trained):
    return {"causal-gpu.safetensors": next(iter(trained.values()))}


@right.artifact("causal_model", "merges as pairs")
def merges_as_pairs(trained):
    return rewrite(trained, of_card=lambda card: {**card, "merges": [merge.split(" ") for merge in card["merges"]]})


@wrong.artifact("causal_model", "cut off half way")
def half(trained):
    return {name: data[: len(data) // 2] for name, data in trained.items()}


@wrong.artifact("causal_model", "no file")
def nothing():
    return {}


@wrong.artifact("causal_model", "a file of text")
def text():
    return {"causal-cpu.safetensors": b"my model"}


@wrong.artifact("causal_model", "the weights never trained")
def untrained(trained):
    import torch

    return rewrite(
        trained,
        of_tensors=lambda tensors: {
            name: torch.ones_like(t) if "norm" in name else 0.02 * torch.randn(t.shape) for name, t in tensors.items()
        },
    )


@wrong.artifact("causal_model", "one block is missing")
def block_missing(trained):
    return rewrite(trained, of_tensors=lambda tensors: {n: t for n, t in tensors.items() if "layers.1." not in n})


@wrong.artifact("causal_model", "a tokenizer without some bytes, which loses what is hard to guess")
def loses_bytes(trained):
    def without(card):
        last = card["pieces"][-1]
        return {**card, "pieces": [last + "x" if piece == "Ļ" else piece for piece in card["pieces"]]}

    return rewrite(trained, of_card=without)


@wrong.artifact("causal_model", "pieces in another order than the embedding")
def other_order_of_pieces(trained):
    return rewrite(trained, of_card=lambda card: {**card, "pieces": card["pieces"][::-1]})


@wrong.artifact("causal_model", "a language without a threshold")
def no_language(trained):
    return rewrite(trained, of_card=lambda card: {**card, "language": "mine.csv"})


@wrong.artifact("causal_model", "not finite")
def not_finite(trained):
    return rewrite(trained, of_tensors=lambda tensors: {n: t * float("nan") for n, t in tensors.items()})


@wrong.artifact("causal_model", "a shape that cannot be")
def odd_heads(trained):
    return rewrite(trained, of_card=lambda card: {**card, "heads": 3})


@wrong.artifact("causal_model", "far too large a shape")
def too_large(trained):
    return rewrite(trained, of_card=lambda card: {**card, "layers": 10**6})
