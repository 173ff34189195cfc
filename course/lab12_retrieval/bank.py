"""Bank of lab 12: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (np, re, Counter, retrieval, math, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905, B006, B035

# -- split_passages ---------------------------------------------------------------------------------------------------


@wrong("split_passages", "no overlap at all")
def no_overlap(sentences, most_words, overlap):
    passages, now, size = [], [], 0
    for sentence in sentences:
        words = len(sentence.split())
        if now and size + words > most_words:
            passages.append(" ".join(now))
            now, size = [], 0
        now.append(sentence)
        size += words
    return passages + ([" ".join(now)] if now else [])


@wrong("split_passages", "forgets the last passage")
def forgets_last(sentences, most_words, overlap):
    passages, now = [], []
    for sentence in sentences:
        if now and len(" ".join([*now, sentence]).split()) > most_words:
            passages.append(" ".join(now))
            now = now[-overlap:] if overlap else []
            while now and len(" ".join([*now, sentence]).split()) > most_words:
                now = now[1:]
        now.append(sentence)
    return passages


@wrong("split_passages", "one word less than allowed")
def one_less(sentences, most_words, overlap):
    passages, now = [], []
    for sentence in sentences:
        if now and len(" ".join([*now, sentence]).split()) >= most_words:
            passages.append(" ".join(now))
            now = now[-overlap:] if overlap else []
            while now and len(" ".join([*now, sentence]).split()) >= most_words:
                now = now[1:]
        now.append(sentence)
    return passages + ([" ".join(now)] if now else [])


@wrong("split_passages", "the overlap may make a passage too long")
def too_long(sentences, most_words, overlap):
    passages, now = [], []
    for sentence in sentences:
        if now and len(" ".join([*now, sentence]).split()) > most_words:
            passages.append(" ".join(now))
            now = now[-overlap:] if overlap else []
        now.append(sentence)
    return passages + ([" ".join(now)] if now else [])


@wrong("split_passages", "now[-0:] keeps all sentences when the overlap is 0")
def minus_zero(sentences, most_words, overlap):
    passages, now = [], []
    for sentence in sentences:
        if now and len(" ".join([*now, sentence]).split()) > most_words:
            passages.append(" ".join(now))
            now = now[-overlap:]
            while now and len(" ".join([*now, sentence]).split()) > most_words:
                now = now[1:]
        now.append(sentence)
    return passages + ([" ".join(now)] if now else [])


@wrong("split_passages", "counts sentences, not words")
def counts_sentences(sentences, most_words, overlap):
    step = max(1, most_words // 10 - overlap)
    return [" ".join(sentences[i : i + step + overlap]) for i in range(0, len(sentences), step)]


@wrong("split_passages", "lists of sentences instead of strings")
def lists(sentences, most_words, overlap):
    return [passage.split(". ") for passage in retrieval.searching.split_passages(sentences, most_words, overlap)]


@wrong("split_passages", "leaves out sentences that are longer than a passage")
def leaves_out_long(sentences, most_words, overlap):
    passages, now = [], []
    for sentence in [s for s in sentences if len(s.split()) <= most_words]:
        if now and len(" ".join([*now, sentence]).split()) > most_words:
            passages.append(" ".join(now))
            now = now[-overlap:] if overlap else []
            while now and len(" ".join([*now, sentence]).split()) > most_words:
                now = now[1:]
        now.append(sentence)
    return passages + ([" ".join(now)] if now else [])


@wrong("split_passages", "takes the sentences out of the caller's list")
def empties(sentences, most_words, overlap):
    passages, now = [], []
    while sentences:
        sentence = sentences.pop(0)
        if now and len(" ".join([*now, sentence]).split()) > most_words:
            passages.append(" ".join(now))
            now = now[-overlap:] if overlap else []
            while now and len(" ".join([*now, sentence]).split()) > most_words:
                now = now[1:]
        now.append(sentence)
    return passages + ([" ".join(now)] if now else [])


@wrong("split_passages", "calls the library's function")
def librarys_passages(sentences, most_words, overlap):
    return retrieval.split_passages(sentences, most_words, overlap)


@right("split_passages", "collects sentences one after the other")
def collects(sentences, most_words, overlap):
    passages, now = [], []
    for sentence in sentences:
        if now and len(" ".join([*now, sentence]).split()) > most_words:
            passages.append(" ".join(now))
            now = now[len(now) - overlap:] if overlap < len(now) else now[:]
            while now and len(" ".join([*now, sentence]).split()) > most_words:
                now = now[1:]
        now.append(sentence)
    return passages + ([" ".join(now)] if now else [])


@right("split_passages", "calls itself")
def recursive(sentences, most_words, overlap, first=True):
    if not sentences:
        return []
    sizes = [len(s.split()) for s in sentences]
    end = next((n for n in range(1, len(sentences) + 1) if sum(sizes[:n + 1]) > most_words), len(sentences))
    end = min(end, len(sentences))
    passage = " ".join(sentences[:end])
    if end == len(sentences):
        return [passage]
    start = max(0, end - overlap)
    while start < end and sum(sizes[start:end + 1]) > most_words:
        start += 1
    return [passage, *recursive(sentences[start:], most_words, overlap)]


@right("split_passages", "with sums from the start")
def cumulated(sentences, most_words, overlap):
    total = np.concatenate([[0], np.cumsum([len(s.split()) for s in sentences])]).astype(int)
    found, start, n = [], 0, len(sentences)
    while start < n:
        end = start + 1
        while end < n and total[end + 1] - total[start] <= most_words:
            end += 1
        found.append(" ".join(sentences[start:end]))
        if end == n:
            break
        start = max(0, end - overlap)
        while start < end and total[end + 1] - total[start] > most_words:
            start += 1
    return found


@right("split_passages", "a deque of sentences")
def with_deque(sentences, most_words, overlap):
    from collections import deque
    size = lambda some: sum(len(s.split()) for s in some)  # noqa: E731
    window, passages = deque(), []
    for sentence in sentences:
        if window and size(window) + len(sentence.split()) > most_words:
            passages.append(" ".join(window))
            while len(window) > overlap or (window and size(window) + len(sentence.split()) > most_words):
                window.popleft()
        window.append(sentence)
    if window:
        passages.append(" ".join(window))
    return passages


# -- bm25_scores ------------------------------------------------------------------------------------------------------

BM25 = """
def bm25_scores(query, documents, k1=1.5, b=0.75):
    counts = [Counter(document) for document in documents]
    lengths = np.array([len(document) for document in documents], dtype=float)
    mean, n = {mean}, len(documents)
    scores = np.zeros(n)
    for word in {query}:
        tf = np.array([count[word] for count in counts], dtype=float)
        df = {df}
        scores += {idf} * {part}
    return {result}
"""
GOOD = {"mean": "lengths.mean()", "query": "query", "df": "(tf > 0).sum()", "idf": "np.log(1 + (n - df + 0.5) / (df + 0.5))",
        "part": "tf / (tf + k1 * (1 - b + b * lengths / mean))", "result": "scores"}
for why, part in {
    "each word of the query once": {"query": "set(query)"},
    "df counts all occurrences": {"df": "tf.sum()"},
    "the logarithm without the 1": {"idf": "np.log((n - df + 0.5) / (df + 0.5))"},
    "idf of TF-IDF": {"idf": "np.log(n / (df + 1))"},
    "no saturation": {"part": "tf"},
    "no length": {"part": "tf / (tf + k1)"},
    "the numerator of the other form, k1 + 1": {"part": "tf * (k1 + 1) / (tf + k1 * (1 - b + b * lengths / mean))"},
    "fixed k1 and b": {"part": "tf / (tf + 1.5 * (0.25 + 0.75 * lengths / mean))"},
    "the mean length without empty documents": {"mean": "lengths[lengths > 0].mean()"},
    "the median length": {"mean": "np.median(lengths)"},
    "scaled to 1 at most": {"result": "scores / max(scores.max(), 1e-9)"},
    "logarithm to base 2": {"idf": "np.log2(1 + (n - df + 0.5) / (df + 0.5))"},
    "b and 1 - b changed over": {"part": "tf / (tf + k1 * (b + (1 - b) * lengths / mean))"},
    "one number for all": {"result": "float(scores.sum())"},
}.items():
    wrong.cell("bm25_scores", why, BM25.format(**{**GOOD, **part}))
wrong.cell("bm25_scores", "calls the library's function", "bm25_scores = lambda q, d, k1=1.5, b=0.75: "
           "retrieval.bm25_scores(q, d, k1, b)")
wrong.cell("bm25_scores", "sorts the words of the caller's documents",
           BM25.format(**GOOD).replace("    counts =", "    [document.sort() for document in documents]\n    counts ="))
right.cell("bm25_scores", "a list of numbers", BM25.format(**{**GOOD, "result": "scores.tolist()"}))
right.cell("bm25_scores", "log1p and count_nonzero", BM25.format(**{
    **GOOD, "df": "np.count_nonzero(tf)", "idf": "np.log1p((n - df + 0.5) / (df + 0.5))"}))


@right("bm25_scores", "loops over documents and words")
def looped_bm25(query, documents, k1=1.5, b=0.75):
    mean = sum(len(document) for document in documents) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for word in query:
            df = sum(word in other for other in documents)
            tf = document.count(word)
            idf = math.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
            score += idf * tf / (tf + k1 * (1 - b + b * len(document) / mean)) if tf else 0
        scores.append(score)
    return scores


@right("bm25_scores", "a table of counts, a weight for each word of the query")
def table_bm25(query, documents, k1=1.5, b=0.75):
    words = Counter(query)
    tf = torch.tensor([[document.count(word) for word in words] for document in documents], dtype=torch.float64)
    tf = tf.reshape(len(documents), len(words))
    df = (tf > 0).sum(0)
    idf = torch.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
    sizes = torch.tensor([len(document) for document in documents], dtype=torch.float64)
    weights = torch.tensor(list(words.values()), dtype=torch.float64)
    return (weights * idf * tf / (tf + (k1 * (1 - b + b * sizes / sizes.mean()))[:, None])).sum(1)


# -- nearest_passages -------------------------------------------------------------------------------------------------


@wrong("nearest_passages", "dot products")
def dot_products(query_vectors, vectors, k):
    return np.argsort(-(query_vectors @ vectors.T), axis=1)[:, :k]


@wrong("nearest_passages", "the smallest first")
def smallest_first(query_vectors, vectors, k):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.argsort(query_vectors @ unit.T, axis=1)[:, :k]


@wrong("nearest_passages", "the best one last")
def best_last(query_vectors, vectors, k):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.argsort(query_vectors @ unit.T, axis=1)[:, -k:]


@wrong("nearest_passages", "in no order")
def partition(query_vectors, vectors, k):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.sort(np.argsort(-(query_vectors @ unit.T), axis=1)[:, :k], axis=1)


@wrong("nearest_passages", "the distance")
def by_distance(query_vectors, vectors, k):
    return np.argsort(np.linalg.norm(query_vectors[:, None] - vectors[None], axis=2), axis=1)[:, :k]


@wrong("nearest_passages", "the cosines, not the rows")
def cosines_only(query_vectors, vectors, k):
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query_vectors, vectors))
    return -np.sort(-(a @ b.T), axis=1)[:, :k]


@wrong("nearest_passages", "scales the caller's vectors in place")
def scales_in_place(query_vectors, vectors, k):
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.argsort(-(query_vectors @ vectors.T), axis=1)[:, :k]


@wrong("nearest_passages", "the first question only")
def first_question(query_vectors, vectors, k):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.argsort(-(unit @ query_vectors[0]))[None, :k]


@wrong("nearest_passages", "the largest absolute cosine")
def absolute(query_vectors, vectors, k):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.argsort(-np.abs(query_vectors @ unit.T), axis=1)[:, :k]


@wrong("nearest_passages", "calls the library's function")
def librarys_nearest(query_vectors, vectors, k):
    return retrieval.nearest_passages(query_vectors, vectors, k)


@right("nearest_passages", "with torch's topk")
def with_topk(query_vectors, vectors, k):
    unit = torch.nn.functional.normalize
    similar = unit(torch.tensor(query_vectors), dim=1) @ unit(torch.tensor(vectors), dim=1).T
    return similar.topk(min(k, len(vectors)), dim=1).indices


@right("nearest_passages", "the length of the question does not matter")
def passages_only(query_vectors, vectors, k):
    return np.argsort(query_vectors @ (vectors / np.linalg.norm(vectors, axis=1)[:, None]).T, axis=1)[:, ::-1][:, :k]


@right("nearest_passages", "loops, lists of numbers")
def looped_nearest(query_vectors, vectors, k):
    found = []
    for query in query_vectors:
        cosines = [float(query @ v / np.linalg.norm(query) / np.linalg.norm(v)) for v in vectors]
        found.append(sorted(range(len(vectors)), key=lambda row: -cosines[row])[:k])
    return found


@right("nearest_passages", "argpartition, then sorted")
def partitioned(query_vectors, vectors, k):
    a, b = (x / np.sqrt((x ** 2).sum(axis=1, keepdims=True)) for x in (query_vectors, vectors))
    scores, k = a @ b.T, min(k, len(vectors))
    some = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1)
    return np.take_along_axis(some, order, axis=1)


# -- fuse_ranks -------------------------------------------------------------------------------------------------------

FUSE = """
def fuse_ranks(rankings, k=60):
    scores = {{}}
    for ranking in {rankings}:
        for rank, item in enumerate({ranking}, {first}):
            scores[item] = {score}
    return {result}
"""
SUM = {"rankings": "rankings", "ranking": "ranking", "first": "1", "score": "scores.get(item, 0) + 1 / (k + rank)",
       "result": "sorted(scores, key=scores.get, reverse=True)"}
for why, part in {
    "ranks from 0": {"first": "0"},
    "the best rank alone": {"score": "max(scores.get(item, 0), 1 / (k + rank))"},
    "the last ranking wins": {"score": "1 / (k + rank)"},
    "the mean rank": {"score": "scores.get(item, 0) - rank"},
    "k is left out": {"score": "scores.get(item, 0) + 1 / rank"},
    "k is always 60": {"score": "scores.get(item, 0) + 1 / (60 + rank)"},
    "the worst first": {"result": "sorted(scores, key=scores.get)"},
    "equal ones the other way round": {"result": "sorted(scores, key=scores.get)[::-1]"},
    "equal ones by name": {"result": "sorted(scores, key=lambda item: (-scores[item], item))"},
    "only items of all rankings": {"result": "[item for item in sorted(scores, key=scores.get, reverse=True) "
                                             "if all(item in ranking for ranking in rankings)]"},
    "items with their scores": {"result": "sorted(scores.items(), key=lambda pair: -pair[1])"},
    "the last ranking is read first": {"rankings": "rankings[::-1]"},
}.items():
    wrong.cell("fuse_ranks", why, FUSE.format(**{**SUM, **part}))
wrong.cell("fuse_ranks", "calls the library's function",
           "fuse_ranks = lambda rankings, k=60: retrieval.fuse_ranks(rankings, k)")
right.cell("fuse_ranks", "sorted by the negative score", FUSE.format(**{
    **SUM, "result": "sorted(list(scores), key=lambda item: -scores[item])"}))


@right("fuse_ranks", "with Counter's most_common")
def most_common(rankings, k=60):
    scores = Counter()
    for ranking in rankings:
        for place, item in enumerate(ranking):
            scores[item] += 1 / (k + place + 1)
    return [item for item, _ in scores.most_common()]


@right("fuse_ranks", "a set of items and index()")
def with_index(rankings, k=60):
    items = list(dict.fromkeys(item for ranking in rankings for item in ranking))

    def score(item):
        total = 0
        for ranking in rankings:
            if item in ranking:
                total += 1 / (k + 1 + ranking.index(item))
        return total
    return sorted(items, key=score, reverse=True)


@right("fuse_ranks", "a stable sort of NumPy")
def numpy_sort(rankings, k=60):
    scores = {}
    for ranking in rankings:
        for rank, item in zip(range(1, len(ranking) + 1), ranking):
            scores.setdefault(item, []).append((k + rank) ** -1)
    items = list(scores)
    order = np.argsort([-sum(scores[item]) for item in items], kind="stable")
    return [items[i] for i in order]


# -- search_scores ----------------------------------------------------------------------------------------------------

SEARCH = """
def search_scores(rankings, relevant, k):
    recalls, ranks = [], []
    for ranking, wanted in zip(rankings, relevant):
        recalls.append({recall})
        places = [rank for rank, item in enumerate({ranking}, {first}) if item in wanted]
        ranks.append({rank})
    return {result}
"""
BOTH = {"recall": "sum(item in wanted for item in ranking[:k]) / len(wanted)", "ranking": "ranking", "first": "1",
        "rank": "1 / places[0] if places else 0.0", "result": "recalls, ranks"}
for why, part in {
    "divides by k: that is precision": {"recall": "sum(item in wanted for item in ranking[:k]) / k"},
    "1 if any is found": {"recall": "float(any(item in wanted for item in ranking[:k]))"},
    "the whole ranking": {"recall": "sum(item in wanted for item in ranking) / len(wanted)"},
    "one too many": {"recall": "sum(item in wanted for item in ranking[:k + 1]) / len(wanted)"},
    "the rank is looked for among the first k only": {"ranking": "ranking[:k]"},
    "ranks from 0": {"first": "0", "rank": "1 / (places[0] + 1e-9) if places else 0.0"},
    "the last relevant item": {"rank": "1 / places[-1] if places else 0.0"},
    "the rank, not one over it": {"rank": "float(places[0]) if places else 0.0"},
    "the mean over relevant items": {"rank": "sum(1 / place for place in places) / len(places) if places else 0.0"},
    "questions without a hit are left out": {"result": "recalls, [rank for rank in ranks if rank]"},
    "means instead of single numbers": {"result": "float(np.mean(recalls)), float(np.mean(ranks))"},
    "in the other order": {"result": "ranks, recalls"},
    "one over the length where nothing is found": {"rank": "1 / places[0] if places else 1 / (len(ranking) + 1)"},
}.items():
    wrong.cell("search_scores", why, SEARCH.format(**{**BOTH, **part}))
wrong.cell("search_scores", "calls the library's function", "search_scores = lambda *given: retrieval.search_scores(*given)")
right.cell("search_scores", "two arrays", SEARCH.format(**{**BOTH, "result": "np.array(recalls), np.array(ranks)"}))
right.cell("search_scores", "with sets", SEARCH.format(**{**BOTH, "recall": "len(set(ranking[:k]) & wanted) / len(wanted)"}))
right.cell("search_scores", "the largest of the reciprocal ranks", SEARCH.format(**{
    **BOTH, "rank": "max((1 / place for place in places), default=0.0)"}))


@right("search_scores", "NumPy's isin, a list of two lists")
def with_isin(rankings, relevant, k):
    table = []
    for ranking, wanted in zip(rankings, relevant):
        hits = np.isin(np.array(ranking, dtype=object), list(wanted)) if ranking else np.zeros(0, dtype=bool)
        table.append([hits[:k].sum() / len(wanted), 1 / (hits.argmax() + 1) if hits.any() else 0])
    return [[row[0] for row in table], [row[1] for row in table]]


# -- choose_threshold -------------------------------------------------------------------------------------------------

CHOOSE = """
def choose_threshold(scores, answerable):
    scores, answerable = np.array(scores, dtype=float), np.array(answerable, dtype=bool)
    best, best_mean = {start}, -1
    for t in {candidates}:
        answered, refused = (scores[answerable] >= t).mean(), (scores[~answerable] < t).mean()
        if {mean} {better} best_mean:
            best, best_mean = t, {mean}
    return {result}
"""
WELL = {"start": "None", "candidates": "sorted(scores)", "mean": "(answered + refused)", "better": ">",
        "result": "float(best)"}
for why, part in {
    "the number of right decisions": {"mean": "((scores >= t) == answerable).mean()"},
    "the largest of equally good ones": {"better": ">="},
    "only the answered ones": {"mean": "answered"},
    "only the refused ones": {"mean": "refused"},
    "the product of the shares": {"mean": "answered * refused"},
    "in the order of the questions": {"candidates": "scores"},
    "steps from 0 to 1": {"candidates": "np.linspace(0, 1, 11)"},
    "the index of the best": {"result": "int(np.argmin(abs(scores - best)))"},
    "between the means of both kinds": {"result": "float((scores[answerable].mean() + scores[~answerable].mean()) / 2)"},
    "the lowest score of the answerable ones": {"result": "float(scores[answerable].min())"},
    "above the highest score of the others": {"result": "float(scores[~answerable].max())"},
    "only scores of answerable questions, the largest first": {"candidates": "sorted(scores[answerable], reverse=True)"},
    "a list with one number": {"result": "[float(best), float(best_mean)]"},
}.items():
    wrong.cell("choose_threshold", why, CHOOSE.format(**{**WELL, **part}))
wrong.cell("choose_threshold", "answers above t only", CHOOSE.format(**WELL).replace(">= t", "> t").replace("< t", "<= t"))
wrong.cell("choose_threshold", "calls the library's function",
           "choose_threshold = lambda *given: retrieval.choose_threshold(*given)")
wrong.cell("choose_threshold", "sorts the caller's scores", CHOOSE.format(**WELL).replace(
    "    best, best_mean", "    given.sort()\n    best, best_mean", 1).replace("def choose_threshold(scores, answerable):", (
        "def choose_threshold(scores, answerable):\n    given = scores")))
right.cell("choose_threshold", "candidates without repetition", CHOOSE.format(**{**WELL, "candidates": "np.unique(scores)"}))
right.cell("choose_threshold", "a number of NumPy", CHOOSE.format(**{**WELL, "result": "best"}))


@right("choose_threshold", "max with a key over sorted candidates")
def with_max(scores, answerable):
    yes = [s for s, a in zip(scores, answerable) if a]
    no = [s for s, a in zip(scores, answerable) if not a]
    return max(sorted(scores), key=lambda t: sum(s >= t for s in yes) / len(yes) + sum(s < t for s in no) / len(no))


@right("choose_threshold", "all candidates at once")
def all_at_once(scores, answerable):
    scores, answerable = np.asarray(scores), np.asarray(answerable)
    steps = np.unique(scores)
    said = scores[None] >= steps[:, None]
    return steps[(said[:, answerable].mean(axis=1) + 1 - said[:, ~answerable].mean(axis=1)).argmax()]


# -- sourced_prompt ---------------------------------------------------------------------------------------------------

PROMPT = """
def sourced_prompt(question, passages, most_words):
    def clean(text):
        return {clean}
    lines, words = [], 0
    for number, passage in enumerate({passages}, {first}):
        text = clean(passage)
        words += len({counted}.split())
        if words > most_words {unless}:
            {full}
        lines.append(f"[{{number}}] {{text}}")
    return {joined}
"""
RIGHT = {"clean": "' '.join(re.sub(r'\\[[0-9]+\\]', '', text).split())", "passages": "passages", "first": "1",
         "counted": "text", "unless": "and lines", "full": "break",
         "joined": "'\\n'.join([retrieval.INSTRUCTION, '', *lines, '', 'Question: ' + clean(question), 'Answer:'])"}
for why, part in {
    "passages keep their lines": {"clean": "re.sub(r'\\[[0-9]+\\]', '', text).strip()"},
    "marks of sources stay": {"clean": "' '.join(text.split())"},
    "only marks of one digit": {"clean": "' '.join(re.sub(r'\\[[0-9]\\]', '', text).split())"},
    "only line ends, not tabs and double blanks":
        {"clean": "re.sub(r'\\[[0-9]+\\]', '', text).replace('\\n', ' ').strip()"},
    "blanks first, then the marks": {"clean": "re.sub(r'\\[[0-9]+\\]', '', ' '.join(text.split()))"},
    "the first passage too must fit": {"unless": ""},
    "goes on with shorter ones": {"full": "words -= len(text.split()); continue"},
    "numbers from 0": {"first": "0"},
    "all passages": {"unless": "and False"},
    "one word too few": {"unless": "- 1 and lines"},
    "the last passage first": {"passages": "passages[::-1]"},
    "letters count, not words": {"counted": "' '.join(text)"},
    "a blank behind the colon": {"joined": RIGHT["joined"].replace("Answer:", "Answer: ")},
    "no empty line before the question": {"joined": RIGHT["joined"].replace("*lines, '',", "*lines,")},
    "the question as it came": {"joined": RIGHT["joined"].replace("clean(question)", "question")},
    "without the instruction": {"joined": RIGHT["joined"].replace("retrieval.INSTRUCTION, '', ", "")},
    "in small letters": {"clean": RIGHT["clean"] + ".lower()"},
}.items():
    wrong.cell("sourced_prompt", why, PROMPT.format(**{**RIGHT, **part}))
wrong.cell("sourced_prompt", "cuts the last passage", PROMPT.format(**RIGHT).replace(
    "            break",
    "            lines.append(f'[{number}] ' + ' '.join(text.split()[: most_words - words]))\n            break"))
wrong.cell("sourced_prompt", "calls the library's function",
           "sourced_prompt = lambda *given: retrieval.sourced_prompt(*given)")
wrong.cell("sourced_prompt", "calls the library's cleaning",
           PROMPT.format(**{**RIGHT, "clean": "retrieval.answering.one_line(text)"}))
right.cell("sourced_prompt", "as asked, another form of the marks", PROMPT.format(**{
    **RIGHT, "clean": "re.sub(r'\\s+', ' ', re.sub('\\\\[\\\\d{1,}\\\\]', '', text)).strip()"}))
right.cell("sourced_prompt", "stops by returning to the loop's end", PROMPT.format(**{
    **RIGHT, "passages": "list(passages)", "unless": "and number > 1"}))


@right("sourced_prompt", "sizes first, then a cut")
def sizes_first(question, passages, most_words):
    clean = lambda text: " ".join(re.sub(r"\[\d+]", "", text).split())  # noqa: E731
    texts = [clean(passage) for passage in passages]
    total = np.cumsum([len(text.split()) for text in texts])
    keep = max(1, int((total <= most_words).sum()))
    shown = "".join(f"[{n + 1}] {text}\n" for n, text in enumerate(texts[:keep]))
    return f"{retrieval.INSTRUCTION}\n\n{shown}\nQuestion: {clean(question)}\nAnswer:"


@right("sourced_prompt", "a while loop")
def while_loop(question, passages, most_words):
    def clean(text):
        while (mark := re.search(r"\[\d+\]", text)):
            text = text[: mark.start()] + text[mark.end():]
        return " ".join(text.split())
    prompt, left, n = retrieval.INSTRUCTION + "\n\n", most_words, 0
    while n < len(passages) and (n == 0 or len(clean(passages[n]).split()) <= left):
        prompt += f"[{n + 1}] {clean(passages[n])}\n"
        left -= len(clean(passages[n]).split())
        n += 1
    return prompt + "\nQuestion: " + clean(question) + "\nAnswer:"


# -- support ----------------------------------------------------------------------------------------------------------

SUPPORT = """
def support(answer, source):
    words, known = {words}, {known}
    if not words:
        return {empty}
    if any({digit} for word in words if word not in known):
        return 0.0
    return {share}
"""
SHARE = {"words": "set(answer)", "known": "set(source)", "empty": "0.0", "digit": "any(sign.isdigit() for sign in word)",
         "share": "sum(word in known for word in words) / len(words)"}
for why, part in {
    "repeated words count": {"words": "list(answer)"},
    "no word is full support": {"empty": "1.0"},
    "numbers are words like others": {"digit": "False"},
    "only words of digits alone": {"digit": "word.isdigit()"},
    "only words that begin with a digit are seen, and any number is refused": {"digit": "True"},
    "the share of the source": {"share": "sum(word in words for word in known) / max(1, len(known))"},
    "Jaccard": {"share": "len(words & known) / len(words | known)"},
    "1 if any word is there": {"share": "float(bool(words & known))"},
    "1 if all are there": {"share": "float(words <= known)"},
    "pieces of words count": {"share": "sum(word in ' '.join(source) for word in words) / len(words)",
                              "known": "' '.join(source)"},
    "in per cent": {"share": "100 * len(words & known) / len(words)"},
}.items():
    wrong.cell("support", why, SUPPORT.format(**{**SHARE, **part}))
wrong.cell("support", "calls the library's function", "support = lambda *given: retrieval.support(*given)")
wrong.cell("support", "an answer without words fails", SUPPORT.format(**SHARE).replace(
    "    if not words:\n        return 0.0\n", ""))
right.cell("support", "an integer where all are there", SUPPORT.format(**{
    **SHARE, "share": "1 if words <= known else len(words & known) / len(words)"}))
right.cell("support", "a regular expression for digits", SUPPORT.format(**{**SHARE, "digit": "re.search(r'\\d', word)"}))
right.cell("support", "a dict in place of the set", SUPPORT.format(**{**SHARE, "words": "dict.fromkeys(answer)"}))


@right("support", "counts in a loop")
def counted_support(answer, source):
    different, there = [], 0
    for word in answer:
        if word in different:
            continue
        different.append(word)
        if word in source:
            there += 1
        elif set(word) & set("0123456789"):
            return 0
    return there / len(different) if different else 0


# -- update_vectors ---------------------------------------------------------------------------------------------------

UPDATE = """
def update_vectors(known_texts, known_vectors, texts, embed):
    known = dict(zip(known_texts, known_vectors))
    new = {new}
    if {some}:
        known.update(zip({filled}, embed(new)))
    return {result}
"""
ONCE = {"new": "[text for text in dict.fromkeys(texts) if text not in known]", "some": "new", "filled": "new",
        "result": "np.stack([known[text] for text in texts])"}
for why, part in {
    "computes all again": {"new": "list(dict.fromkeys(texts))"},
    "a text that comes twice is computed twice": {"new": "[text for text in texts if text not in known]"},
    "calls embed with nothing": {"some": "True", "filled": "new if new else []",
                                 "result": "np.stack([known[text] for text in texts])"},
    "the old vectors, then the new ones": {"result": "np.stack(list(known.values()))"},
    "only the new ones": {"result": "np.stack([known[text] for text in new or texts])"},
    "each text once": {"result": "np.stack([known[text] for text in dict.fromkeys(texts)])"},
    "sorted by text": {"result": "np.stack([known[text] for text in sorted(texts)])"},
    "the names of the new ones in another order than their vectors": {"filled": "new[::-1]"},
    "a dict": {"result": "{text: known[text] for text in texts}"},
    "new texts stay without a vector": {"some": "False",
                                        "result": "np.stack([known.get(t, np.zeros(4)) for t in texts])"},
}.items():
    wrong.cell("update_vectors", why, UPDATE.format(**{**ONCE, **part}))
wrong.cell("update_vectors", "one call for each new text, so that each is computed alone and old ones too", """
def update_vectors(known_texts, known_vectors, texts, embed):
    return np.stack([embed([text])[0] for text in texts])
""")
wrong.cell("update_vectors", "calls the library's function",
           "update_vectors = lambda *given: retrieval.update_vectors(*given)")
wrong.cell("update_vectors", "adds the new texts to the caller's list", UPDATE.format(**ONCE).replace(
    "    return", "    known_texts.extend(new)\n    return"))
right.cell("update_vectors", "a list of rows", UPDATE.format(**{
    **ONCE, "result": "[known[text].tolist() for text in texts]"}))
right.cell("update_vectors", "a set of new texts, sorted", UPDATE.format(**{
    **ONCE, "new": "sorted(set(texts) - set(known))"}))
right.cell("update_vectors", "a tensor", UPDATE.format(**{
    **ONCE, "result": "torch.tensor(np.array([known[text] for text in texts]))"}))


@right("update_vectors", "fills a table by row numbers")
def filled_table(known_texts, known_vectors, texts, embed):
    new = []
    for text in texts:
        if text not in known_texts and text not in new:
            new.append(text)
    table = known_vectors
    if new:
        added = np.asarray(embed(new))
        table = np.concatenate([known_vectors, added]) if len(known_vectors) else added
    names = list(known_texts) + new
    return table[[names.index(text) for text in texts]]


# -- document_search (the artifact) -----------------------------------------------------------------------------------


@wrong.artifact("document_search", "the file is cut off")
def half(trained):
    return {name: content[: len(content) // 2] for name, content in trained.items()}


@wrong.artifact("document_search", "refuses everything")
def refuses_all(trained):
    return {name: changed(content, threshold=1e9) for name, content in trained.items()}


@wrong.artifact("document_search", "refuses nothing")
def refuses_none(trained):
    return {name: changed(content, threshold=-1) for name, content in trained.items()}


@wrong.artifact("document_search", "vectors in another order than the passages")
def other_order(trained):
    return {name: changed(content, lambda vectors: vectors.flip(0)) for name, content in trained.items()}


@wrong.artifact("document_search", "vectors of zeros")
def zeros(trained):
    return {name: changed(content, lambda vectors: vectors * 0) for name, content in trained.items()}


@wrong.artifact("document_search", "passages of one's own words, full of likely questions")
def stuffed(trained):
    def stuff(rows):
        return [{**row, "text": row["text"] + " How much? When? Where?"} for row in rows]

    return {name: changed(content, passages=stuff) for name, content in trained.items()}


@wrong.artifact("document_search", "a passage that says it is from another leaflet")
def other_leaflet(trained):
    return {name: changed(content, passages=lambda rows: [{**row, "document": rows[0]["document"]} for row in rows])
            for name, content in trained.items()}


@wrong.artifact("document_search", "documents of one's own, for which there are no held-out questions")
def own_documents(trained):
    return {name: changed(content, language="my_folder") for name, content in trained.items()}


@wrong.artifact("document_search", "a retriever that is not there")
def unknown_retriever(trained):
    return {name: changed(content, retrievers=["Google"]) for name, content in trained.items()}


@wrong.artifact("document_search", "half of the leaflets only")
def half_of_them(trained):
    return {name: changed(content, lambda vectors: vectors[: len(vectors) // 2],
                          passages=lambda rows: rows[: len(rows) // 2]) for name, content in trained.items()}


@wrong.artifact("document_search", "saved at scale tiny only")
def tiny_only(trained):
    return {"search-tiny.safetensors": content for content in trained.values()}


@right.artifact("document_search", "saved again in 32 bits, from a GPU, vectors of length 1")
def from_gpu(trained):
    return {"search-gpu.safetensors": changed(content, lambda v: v.float() / v.float().norm(dim=1, keepdim=True))
            for content in trained.values()}


@right.artifact("document_search", "the passages in another order, with their vectors")
def reversed_rows(trained):
    return {name: changed(content, lambda vectors: vectors.flip(0), passages=lambda rows: rows[::-1])
            for name, content in trained.items()}


@right.artifact("document_search", "a threshold a little lower")
def lower(trained):
    return {name: changed(content, threshold=lambda t: t - 0.004) for name, content in trained.items()}


@right.artifact("document_search", "the same passages twice: nothing is gained or lost")
def twice(trained):
    import torch
    return {name: changed(content, lambda vectors: torch.cat([vectors, vectors]), passages=lambda rows: rows + rows)
            for name, content in trained.items()}


def changed(content, change=lambda vectors: vectors, **card_changes):
    """An artifact's bytes again, its vectors changed, and its card too (by a value, or by a function of the old one)."""
    import json

    from leaplm.artifacts import CARD, read_artifact
    from safetensors.torch import save

    card, tensors = read_artifact(content)
    for name, new in card_changes.items():
        card[name] = new(card[name]) if callable(new) else new
    return save({"vectors": change(tensors["vectors"]).contiguous()}, metadata={CARD: json.dumps(card)})
