# %% [markdown]
# # Lab 0 · Start here, and what your language costs
#
# | | |
# |---|---|
# | **You come from** | Python: functions, lists, dicts. No PyTorch yet |
# | **You will be able to** | work with the labs of this course, and say in tokens, money, context and seconds what a language model costs in your language; train a tokenizer that is fair to two languages |
# | **Time** | about 90 minutes of work; the computer works for about 1 minute of it |
# | **Needs** | 2 cores, 1 GB of memory, 183 MB of downloads (once). No GPU |
# | **Points** | 30: six exercises and your tokenizer, checked by the computer (26), and one answer read by your teacher (4) |
#
# A farmers' service in Kano answers questions by text message, in Hausa. A service in Accra does the same in
# English, with the same model. The bill from Kano is twice as high, and the answers come later. Why? A model does not
# read letters or words. It reads **tokens**, pieces of text from a fixed list, and the list was made for English.

# %%
# On Colab, or wherever the course is not installed yet. Safe to run again; leaves torch and numpy alone.
import importlib.util
import os
if importlib.util.find_spec("leaplm") is None:
    source = os.environ.get("LEAPLM_SOURCE", "git+https://github.com/leaplm/leaplm")  # or a folder, a wheel, a mirror
    get_ipython().run_line_magic("pip", f'install -q "leaplm[labs] @ {source}"')
get_ipython().run_line_magic("load_ext", "leaplm.learner")  # marks and hints below each check, and your progress

# %% locked="setup"
import numpy as np
import pandas as pd

from leaplm import assets, calibration, data, marking, models, plots, runtime
from leaplm.identity import sign
from leaplm.locales import say_drawn
from leaplm.runtime import by_scale
from leaplm.tokens import costs as token_costs, tokenization

assets.fetch(["minilm", "smollm2", "sib200", "vader"])  # downloads only what is not here yet
runtime.set_seed(0)
runtime.describe_runtime()

# %% [markdown]
# ## 1. How the labs work
#
# **Run the cells from top to bottom** (Shift + Enter). The line above shows your machine. `scale cpu` means: this
# computer has no graphics card, and every lab is cut to fit. With one it says `scale gpu`, and the same cells do more.
#
# **An exercise** is a function that you complete. Under it stand a cell to try it, a check, and two hints. The check shows
# a few of the tests. Your marks come from more of them: the teacher's computer calls your function with new inputs.
# So you can work in your own way; the name, the inputs and the result count.
#
# **Below the check** you see at once how many points these tests would give you, and hints in steps, unless your teacher has
# switched this off. It stays on your computer and is no mark. `leaplm progress` shows all labs.
#
# **Each lab ends with a file** in the folder `artifacts`, here a tokenizer. It is tested on texts that you never saw.
# Hand in the notebook together with this folder.
#
# **If the power goes**, nothing is lost but the variables: open the notebook again and choose *Run All Above*. Long
# trainings continue where they stopped. If something is missing, type `leaplm check` in a terminal.
#
# **On Colab**, files vanish when you close the page. Choose *File → Save a copy in Drive* at the beginning. At the end, run
# `from leaplm import learner; learner.hand_in("Amina Bello")` in a new cell, with your own name: your browser downloads one zip,
# with the notebook and its artifacts. Hand it in as it is; on your own computer, `leaplm hand-in lab0 "Amina Bello"` makes the same.
#
# **Your name, once.** Training begins with random numbers. Here they are made from your name, so that every student trains
# another model, and two equal files are no accident. Type your name or number between the quotes and run the cell. It stays
# on this computer, in the file `student.txt`. Without it, the name of this machine is taken.

# %%
sign("")  # for example "Amina Bello" or "20/0417"

# %% [markdown]
# The next cell holds **the only setting of this lab**. Choose your language: one of `eng hau swa ibo yor amh arb ben
# fra hin ind khm mya por quy spa tgl urd vie zho`, or a file of your own sentences: `LANGUAGE = "my_sentences.csv"`, with a
# first line `text,label` (the labels are not used here). With such a file everything runs; but for the marks of section 7
# choose one of the 20 languages, since there are no other texts in yours to test on.

# %%
LANGUAGE = "hau"
marking.describe_language("lab0_start", LANGUAGE)

# %% [markdown]
# ## 2. The same sentences
#
# To compare languages we need the same content in each. **SIB-200** has it: sentences from news and travel guides,
# translated by people.

# %%
from leaplm.drawings import show_drawing

show_drawing("lab0_start")

# %% locked="sentences"
PARTNER = "hau" if LANGUAGE == "eng" else "eng"  # the language that yours is compared with
NAME = say_drawn(data.NAMES.get(LANGUAGE, LANGUAGE))
mine = data.load_sentences(LANGUAGE)
languages = list(data.SIB200)[: by_scale(tiny=6, cpu=None, gpu=None)]
sentences = {language: data.load_sentences(language)["test"] for language in languages}
for language in ("eng", "hau", "amh"):
    print(f"{say_drawn(data.NAMES[language]):>8}: {sentences[language][1]}")

# %% [markdown]
# Two tokenizers come with the models of this course. **MiniLM** has 30,522 pieces (WordPiece), **SmolLM2** 49,152
# (byte-level BPE). Both were made from English text.

# %% locked="counts"
tokenizers = {name: models.load_tokenizer(name.lower()) for name in ("MiniLM", "SmolLM2")}
counts = {name: {language: tokenization.count_tokens(tokenizer, sentences[language]) for language in languages}
          for name, tokenizer in tokenizers.items()}
for language in ("eng", "hau", "amh"):
    print(f"{say_drawn(data.NAMES[language]):>8}: {counts['SmolLM2'][language][1]:>4} tokens of SmolLM2")

# %% [markdown]
# ### Exercise 1 · The premium (10 minutes, 2 points)
#
# Write `premium`: how many times as many tokens a language needs as English, over all sentences together.

# %% answer="premium"
def premium(counts, english_counts):
    """All tokens of a language over all tokens of English for the same sentences, a float.

    counts, english_counts: for each sentence its number of tokens, two lists of int of the same length.

    Example: [30, 10] in Hausa and [10, 10] in English give 40 / 20 = 2.0.
    """
    ### BEGIN SOLUTION
    return sum(counts) / sum(english_counts)
    ### END SOLUTION

# %%
# You should see 1.00 for English and about 2.1 for Hausa.
for language in languages[:6]:
    print(f"{say_drawn(data.NAMES[language]):>8}: {premium(counts['SmolLM2'][language], counts['SmolLM2']['eng']):.2f}")

# %% check="premium" points=2
assert np.isclose(premium([30, 10], [10, 10]), 2)
assert np.isclose(premium([5], [10]), 0.5)
print("Right. This was your first graded cell.")

# %% [markdown]
# <details><summary>Hint 1</summary>Two sums and one division. A mean of each sentence's own ratio is another number: a
# short sentence would count as much as a long one.</details>
# <details><summary>Hint 2</summary><code>sum(counts)</code> is all tokens of the language.</details>

# %% [markdown]
# Here are all 20 languages. The line at the end of a bar is one standard deviation: how far the number moves with
# other sentences.

# %%
rows = token_costs.premium_rows(counts["SmolLM2"])
plots.plot_bars(rows, f"SmolLM2: the same {len(sentences['eng'])} sentences in {len(rows)} languages",
                xlabel="tokens, compared with English");

# %% [markdown]
# Nobody is near English. Languages in plain Latin letters cost about twice as much; those with marks on the letters,
# such as Yoruba and Vietnamese, 3.5 to 4 times; other scripts up to 16 times.
#
# Lab 1 counts **fertility**, tokens per *word*. For your own sentences, without a translation, it is the number to use.
# Between languages it misleads: a word of Swahili says as much as several of English, and Khmer and Chinese write without
# blanks.

# %%
table = pd.DataFrame({name: {"tokens per sentence": token_costs.mean_tokens(tokenizer, mine["test"]),
                             "tokens per word": tokenization.fertility(tokenizer, mine["test"])}
                      for name, tokenizer in tokenizers.items()})
print(NAME, f"({len(mine['test'])} sentences)")
table.round(2)

# %% [markdown]
# ## 3. Money, context, time
#
# **Money.** Services ask a price per million tokens. Set the price of your provider, and what you would send.

# %%
PRICE = 0.50  # US dollars per million tokens that the model reads
MESSAGES = 5000  # a day
LENGTH = 10  # sentences that the model reads for each message: the question, rules, examples

# %% [markdown]
# **Context.** A model reads at most so many tokens at once, its **window**. Rules, examples, a document and the
# answer must all fit into it.

# %% [markdown]
# ### Exercise 2 · How much fits (10 minutes, 3 points)
#
# Write `sentences_that_fit`: how many whole sentences, from the first on, fit into the window, if some tokens are kept
# free for the answer.

# %% answer="sentences_that_fit"
def sentences_that_fit(counts, window=2048, reserved=0):
    """The number of sentences, an int.

    counts: for each sentence its number of tokens, in order. No sentence may be left out or cut.
    window: tokens that the model reads at once. reserved: how many of them must stay free.

    Example: sentences of 40, 30 and 50 tokens, window 100: 40 + 30 = 70 fits, 120 does not, so 2.
    With reserved=40 there is room for 60: 1. A sum that is exactly the room fits.
    """
    ### BEGIN SOLUTION
    used, fitting = 0, 0
    for count in counts:
        used += count
        if used > window - reserved:
            break
        fitting += 1
    return fitting
    ### END SOLUTION

# %%
# You should see about 74 sentences in English and 35 in Hausa.
for language in languages[:6]:
    print(f"{say_drawn(data.NAMES[language]):>8}: {sentences_that_fit(counts['SmolLM2'][language])} sentences in 2,048 tokens")

# %% check="sentences_that_fit" points=3
assert sentences_that_fit([40, 30, 50], 100) == 2
assert sentences_that_fit([40, 30, 50], 100, reserved=40) == 1
assert sentences_that_fit([40, 30, 50], 120) == 3
assert sentences_that_fit([140, 30], 100) == 0
assert sentences_that_fit([1000, 1000, 48, 1]) == 3, "without a window it is 2,048"

# %% [markdown]
# <details><summary>Hint 1</summary>Add up the tokens sentence by sentence, and stop at the first sum that is larger than
# <code>window - reserved</code>.</details>
# <details><summary>Hint 2</summary>The first sentence that does not fit ends it, also if a later, shorter one would
# fit. When all fit, the answer is <code>len(counts)</code>.</details>

# %% [markdown]
# **Time.** A model reads tokens at a certain speed. It depends on the shape of the model, not on what it has learned. So we
# measure three layers in the shape of SmolLM2, with random weights, and multiply: it has 30.

# %%
tokens = by_scale(tiny=32, cpu=256, gpu=2048)
seconds_per_token = models.prefill_seconds(tokens) / tokens
print(f"SmolLM2 reads about {1 / seconds_per_token:,.0f} tokens a second on this machine, as busy as it is now")

# %% [markdown]
# **Predict first:** the bill in English and in Hausa, in dollars a month. Then run the cells.

# %%
my_bill = {"English": 0, "Hausa": 0}  # dollars a month

# %%
each = {data.NAMES[language]: np.mean(some) for language, some in counts["SmolLM2"].items()}
fits = {data.NAMES[language]: token_costs.sentences_that_fit(some) for language, some in counts["SmolLM2"].items()}
bill = pd.DataFrame({"tokens per sentence": each, "sentences in 2,048 tokens": fits})
bill["dollars a month"] = bill["tokens per sentence"] * LENGTH * MESSAGES * 30 / 1e6 * PRICE
bill["seconds per message"] = bill["tokens per sentence"] * LENGTH * seconds_per_token
print("you predicted, in dollars a month:", my_bill)
bill.sort_values("tokens per sentence").round({"tokens per sentence": 0, "dollars a month": 0, "seconds per message": 1})

# %% [markdown]
# One number, the tokens per sentence, decides all: twice the tokens are twice the price, twice the time, and half of the
# context. (In a long text it is even more than twice the time, since each token is compared with all before it: lab 11.) The
# people who have least pay most.
#
# ## 4. What the tokenizer cannot read
#
# Something is odd with MiniLM. It seems to be cheap in Amharic:

# %%
for language in languages[:6]:
    share = tokenization.unknown_share(tokenizers["MiniLM"], sentences[language])
    print(f"{say_drawn(data.NAMES[language]):>8}: premium {premium(counts['MiniLM'][language], counts['MiniLM']['eng']):.2f}, "
          f"{share:.0%} of the tokens are [UNK]")

# %% [markdown]
# `[UNK]` means *unknown*: the tokenizer has no piece for it. Here is what MiniLM sees of two sentences, "the rain came" and
# "the rain did not come":

# %%
for sentence in ("the rain came", "the rain did not come", "ዝናቡ መጣ", "ዝናቡ አልመጣም"):
    print(sentence, "→", tokenizers["MiniLM"].tokenize(sentence))

# %% [markdown]
# In Amharic the two are the same to the model. No training can repair this: the difference is gone before the first layer.
# Hausa loses less, but look at what: *money*, *country* and *one*. And Yoruba loses without any `[UNK]`: MiniLM takes off all
# marks, so *husband*, *vehicle* and *hoe* are one word.

# %%
for word in ("kuɗi", "ƙasa", "ɗaya", "ọkọ", "ọkọ̀", "ọkọ́"):
    print(word, "→", tokenizers["MiniLM"].tokenize(word))

# %% [markdown]
# How does `[UNK]` come about?
#
# ### Exercise 3 · WordPiece, and [UNK] (20 minutes, 5 points)
#
# Write `split_word`. WordPiece takes the longest piece that the word begins with, then the longest one that the rest
# begins with, until nothing is left. If it finds no piece for some rest, **the whole word** becomes `[UNK]`.

# %% answer="split_word"
def split_word(word, vocabulary):
    """The pieces of one word, a list of str.

    vocabulary: a list of pieces. A piece for the inside or the end of a word begins with "##".

    Example: with ["k", "kwana", "##n", "##na"], "kwanan" gives ["kwana", "##n"]. "kwanaz" gives
    ["[UNK]"], since no piece "##z" is there; so does "nan", since "##na" cannot begin a word.
    """
    ### BEGIN SOLUTION
    known, pieces, rest = set(vocabulary), [], word
    while rest:
        mark = "##" if pieces else ""
        fitting = [end for end in range(len(rest), 0, -1) if mark + rest[:end] in known]
        if not fitting:
            return ["[UNK]"]
        pieces.append(mark + rest[: fitting[0]])
        rest = rest[fitting[0] :]
    return pieces
    ### END SOLUTION

# %%
# Try it with MiniLM's own pieces. Each line should show the same list twice; the Amharic word is unknown.
pieces = list(tokenizers["MiniLM"].get_vocab())
for word in ("farmers", "manoma", "wakulima", "ገበሬዎች"):
    print(split_word(word, pieces), tokenizers["MiniLM"].tokenize(word))

# %% check="split_word" points=5
assert split_word("kwanan", ["k", "kwana", "##n", "##na"]) == ["kwana", "##n"]
assert split_word("kwanaz", ["k", "kwana", "##n", "##na"]) == ["[UNK]"]
assert split_word("nan", ["k", "kwana", "##n", "##na"]) == ["[UNK]"]
assert split_word("nana", ["na", "##na"]) == ["na", "##na"], "the same letters twice are two pieces"

# %% [markdown]
# <details><summary>Hint 1</summary>Two loops: the outer one runs while something of the word is left; the inner one tries the
# whole rest, then one letter less, and so on.</details>
# <details><summary>Hint 2</summary>From the second piece on, look for <code>"##" + rest[:end]</code>. When no
# <code>end</code> fits, <code>return ["[UNK]"]</code>, whatever was found before.</details>

# %% [markdown]
# One letter without a piece is enough, and a word is lost. Which languages does it hit?

# %%
shares = {data.NAMES[language]: tokenization.unknown_share(tokenizers["MiniLM"], sentences[language]) for language in languages}
unknown = pd.Series(shares, name="tokens that are [UNK]").sort_values(ascending=False)
unknown[unknown > 0].map("{:.1%}".format).to_frame()

# %% [markdown]
# All other languages have none.
#
# The cure: computers store every letter as one to four **bytes** (UTF-8), and there are only 256 different bytes. With a
# piece for each byte, nothing is unknown. This is **byte fallback**.

# %% [markdown]
# ### Exercise 4 · Byte fallback (15 minutes, 4 points)
#
# Write `byte_fallback`: letters that the tokenizer knows stay, every other one becomes its bytes.

# %% answer="byte_fallback"
def byte_fallback(text, letters):
    """A list of tokens (str): each known letter itself, for another one its UTF-8 bytes, like "<0xE1>".

    letters: a list of the known letters. A byte is written with two hexadecimal digits, A to F in capitals.

    Example: "aé" with ["a"] gives ["a", "<0xC3>", "<0xA9>"].
    """
    ### BEGIN SOLUTION
    tokens = []
    for letter in text:
        if letter in letters:
            tokens.append(letter)
        else:
            tokens.extend(f"<0x{byte:02X}>" for byte in letter.encode("utf-8"))
    return tokens
    ### END SOLUTION

# %%
# Try it. You should see 4 tokens for "rain" and 9 for the three letters of the Amharic word.
latin = list("abcdefghijklmnopqrstuvwxyz ")
print(byte_fallback("rain", latin), byte_fallback("ዝናብ", latin))

# %% check="byte_fallback" points=4
assert byte_fallback("aé", ["a"]) == ["a", "<0xC3>", "<0xA9>"]
assert byte_fallback("ab\n", ["a", "b"]) == ["a", "b", "<0x0A>"]
assert byte_fallback("ዝ", []) == ["<0xE1>", "<0x8B>", "<0x9D>"]
assert byte_fallback(" A", ["a"]) == ["<0x20>", "<0x41>"], "a blank and a capital are letters of their own"

# %% [markdown]
# <details><summary>Hint 1</summary><code>letter.encode("utf-8")</code> gives the bytes; a loop over them gives numbers from
# 0 to 255.</details>
# <details><summary>Hint 2</summary><code>f"&lt;0x{byte:02X}&gt;"</code> writes a number with two hexadecimal digits in
# capitals.</details>

# %% [markdown]
# Nothing is lost now: the bytes give the letters back. But it has a price: three tokens for each letter of Amharic. SmolLM2
# works on bytes everywhere, and joins bytes that often stand together to larger pieces (byte-level **BPE**). It read little
# Amharic, so it joined little. That is the long bar in section 2.

# %%
for sentence in ("the rain did not come", "ዝናቡ አልመጣም"):
    ids = tokenizers["SmolLM2"](sentence)["input_ids"]
    print(f"{len(sentence)} letters, {len(sentence.encode())} bytes, {len(ids)} tokens; back:", tokenizers["SmolLM2"].decode(ids))

# %% [markdown]
# ## 5. A tokenizer of your own
#
# A tokenizer is cheap to train: seconds, no labels. We train a byte-level BPE with 2,048 pieces on 701 sentences of each
# language, and compare it with SmolLM2's, which has 24 times as many pieces.

# %%
own_counts = {}
for language in languages:
    tokenizer = tokenization.train_byte_bpe(data.load_sentences(language)["train"][: by_scale(tiny=100, cpu=None, gpu=None)])
    own_counts[language] = np.mean(tokenization.count_tokens(tokenizer, sentences[language]))
order = sorted(languages, key=lambda language: np.mean(counts["SmolLM2"][language]))
bars = pd.DataFrame({"language": [data.NAMES[name] for name in order],
                     "mean": [np.mean(counts["SmolLM2"][name]) for name in order],
                     "sd": [np.std(counts["SmolLM2"][name]) / len(sentences[name]) ** 0.5 for name in order]})
axes = plots.plot_bars(bars, "SmolLM2 (bars) and tokenizers of 2,048 pieces", xlabel="tokens per sentence")
axes.plot([own_counts[name] for name in order], range(len(order))[::-1], "D", color=plots.ORANGE, label="trained on the language")
axes.legend(frameon=False, fontsize=9);

# %% [markdown]
# With a tokenizer of its own no language costs more than about one and a half times as much as another, 39 to 59 tokens a
# sentence, and all but English cost less than with SmolLM2. The premium is hardly a property of Amharic or Burmese. It is
# mostly a property of the text that the tokenizer was made from.
#
# ## 6. Two languages, one list of pieces
#
# Many services need two languages: people mix them, and one model is cheaper than two. The two must share the pieces. We
# have much English text (reviews and tweets) and the 701 sentences of your language. Who gets the pieces?

# %% locked="texts"
pair = [PARTNER, LANGUAGE]
parts = [token_costs.plenty_of(language)[: by_scale(tiny=400, cpu=None, gpu=None)] for language in pair]
validation = [data.load_sentences(language)["validation"] for language in pair]
sizes = [token_costs.size_in_bytes(texts) for texts in parts]
alone = [tokenization.train_byte_bpe(texts) for texts in parts]  # each language with all pieces for itself
for language, size in zip(pair, sizes, strict=True):
    print(f"{say_drawn(data.NAMES.get(language, language))}: {size / 1000:,.0f} kB of text")

# %% [markdown]
# We can read the texts in another proportion than they have: the small language several times. The usual rule has one
# setting, $\alpha$. For languages with $n_1, n_2, \ldots$ bytes of text the shares are
#
# $$p_i = \frac{n_i^{\alpha}}{\sum_j n_j^{\alpha}}$$
#
# With $\alpha = 1$ the texts stay as they are, with $\alpha = 0$ all languages get the same share, and below 0 the small
# language gets more than the large one.

# %% [markdown]
# ### Exercise 5 · Sampling shares (10 minutes, 3 points)
#
# Write `sampling_shares` after this formula.

# %% answer="sampling_shares"
def sampling_shares(sizes, alpha):
    """The share of each language, numbers with the sum 1 (a list or an array).

    sizes: a list of bytes of text, one for each language. alpha: any number.

    Example: sizes [900, 100]: alpha=1 gives [0.9, 0.1], alpha=0.5 gives [0.75, 0.25], alpha=0 gives [0.5, 0.5].
    """
    ### BEGIN SOLUTION
    weights = np.array(sizes, dtype=float) ** alpha
    return weights / weights.sum()
    ### END SOLUTION

# %%
# Try it. You should see the share of your language grow as alpha falls.
for alpha in token_costs.ALPHAS:
    print(f"alpha {alpha:>4}:", np.round(sampling_shares(sizes, alpha), 2))

# %% check="sampling_shares" points=3
assert np.allclose(sampling_shares([900, 100], 1), [0.9, 0.1])
assert np.allclose(sampling_shares([900, 100], 0.5), [0.75, 0.25])
assert np.allclose(sampling_shares([900, 100, 100], 0), 1 / 3)

# %% [markdown]
# <details><summary>Hint 1</summary>First each size to the power <code>alpha</code>, then divide by the sum of these
# powers.</details>
# <details><summary>Hint 2</summary>NumPy does not raise whole numbers to a negative whole power: make them floats
# first.</details>

# %% [markdown]
# Now one tokenizer for each $\alpha$, all with 2,048 pieces and 400 kB of text. The cost of a language is its tokens on
# validation sentences, divided by those of a tokenizer that it has for itself: 1.00 means that it loses nothing by sharing.
#
# **Predict first:** with all text as it is ($\alpha = 1$), how much does your language lose, and how much the other one?

# %%
my_costs = (1.0, 1.0)  # at alpha 1: of your language, of the other one

# %%
costs = []
for alpha in token_costs.ALPHAS:
    shared = token_costs.shared_tokenizer(parts, alpha)
    costs.append(token_costs.relative_costs(shared, alone, validation))
found = pd.DataFrame(costs, index=pd.Index(token_costs.ALPHAS, name="alpha"), columns=[data.NAMES.get(p, p) for p in pair])
print("you predicted, at alpha 1:", my_costs)
found.round(3)

# %% [markdown]
# Which $\alpha$ is fair? There are several answers. The smallest *mean* cost can leave one language behind. We use this
# one: the language that is **worse off** should lose as little as possible.

# %% [markdown]
# ### Exercise 6 · The fairest (10 minutes, 3 points)
#
# Write `fairest`: the alpha whose larger cost is smallest.

# %% answer="fairest"
def fairest(alphas, costs):
    """One of the alphas, a number.

    alphas: a list of numbers. costs: for each alpha a list with the cost of each language.

    Example: alphas [1.0, 0.0] with costs [[1.0, 1.5], [1.2, 1.1]]: the larger costs are 1.5 and 1.2, so 0.0.
    """
    ### BEGIN SOLUTION
    worst = [max(row) for row in costs]
    return alphas[worst.index(min(worst))]
    ### END SOLUTION

# %%
# You should see a number from 0.0 to -0.8: the small language needs half of the text or more.
fairest(list(token_costs.ALPHAS), costs)

# %% check="fairest" points=3
assert fairest([1.0, 0.0], [[1.0, 1.5], [1.2, 1.1]]) == 0.0
assert np.isclose(fairest([0.5, 0.3, 0.1], [[1.0, 1.9], [1.4, 1.4], [2.0, 1.0]]), 0.3)

# %% [markdown]
# <details><summary>Hint 1</summary>For each row of <code>costs</code> take the maximum; then look where the smallest of
# these stands.</details>
# <details><summary>Hint 2</summary><code>worst = [max(row) for row in costs]</code>, and
# <code>worst.index(min(worst))</code> is its place. Return the alpha, not the place and not the cost.</details>

# %% [markdown]
# The record of the course has the same curves with five seeds: other texts are drawn each time. The stars are yours.

# %%
recorded = calibration.load_record("lab0_start", "sweep")
shown = next((language for language in (LANGUAGE, PARTNER) if language in set(recorded.language)), "hau")
rows = recorded[recorded.language == shown]
name = data.NAMES[shown]
curves = calibration.curves(rows, "share", {"English": "english", name: "other"})
axes = plots.plot_lines(curves, "share", f"English and {name} share 2,048 pieces", f"share of {name} in the training text",
                        ylabel="tokens (1 = a tokenizer of its own)", log=False)
if shown in pair and runtime.scale() != "tiny":
    axes.plot([rows[rows.alpha == alpha].share.iloc[0] for alpha in token_costs.ALPHAS], np.max(costs, axis=1), "*",
              color=plots.RED, markersize=11, label="yours: the worse-off")
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1));

# %% [markdown]
# The curves cross where both lose the same: for Hausa about a tenth. It is the price of sharing 2,048 pieces. Equal shares
# are close to fair for Hausa, and not for Amharic or Burmese: they need more than half of the bytes, since each of their
# letters takes three.

# %% [markdown]
# ## 7. Hand in your tokenizer
#
# Your teacher's computer counts its tokens on 108 sentences that you have not seen, in both languages. Full points: it is
# in both at the level of our own runs (mean plus three standard deviations, or 3 % above the mean if that is more), and
# every sentence comes back without loss. Half of the points: at most 10 % above these limits.

# %% locked="save"
alpha = fairest(list(token_costs.ALPHAS), costs)
shared = token_costs.shared_tokenizer(parts, alpha)
size = token_costs.save_tokenizer("artifacts/tokenizer.json", shared, lab="lab0_start", language=LANGUAGE, partner=PARTNER,
                                  alpha=alpha, scale=runtime.scale())
print(f"alpha {alpha}, {size:.0f} kB; without loss: {tokenization.is_lossless(shared, validation[0] + validation[1])}")
marking.describe_aim("lab0_start", PARTNER if LANGUAGE == "eng" else LANGUAGE)

# %% check="fair_tokenizer" points=6
with open("artifacts/tokenizer.json", "rb") as file:
    card, saved = token_costs.read_tokenizer(file.read())
assert card["language"] == LANGUAGE and tokenization.is_lossless(saved, validation[0] + validation[1])
print("Saved. Hand in this notebook together with its folder `artifacts`.")

# %% [markdown]
# ### Exercise 7 · What would you tell the ministry? (15 minutes, 4 points, read by your teacher)
#
# A ministry of health plans a service that answers 5,000 text messages a day in your language, with a model made for
# English. Write half a page: what it costs in money, context and time compared with English, whether the tokenizer can
# read the language at all, and what you would do about it. Use at least three numbers from this lab, with units.

# %% [markdown] manual="advice" points=4
# ### BEGIN SOLUTION
# **Marking guide.** 1 point: at least three numbers of the lab with unit, each with what it is compared with (English,
# or a tokenizer of its own). 1 point: money *and* context or time follow from the tokens per sentence, in the right
# proportion. 1 point: unknown tokens or byte fallback are treated for this language and script. 1 point: a measure that
# fits the numbers (another tokenizer or model, shorter prompts, a vocabulary for both languages) and what it cannot
# mend: a new tokenizer needs a model that is trained with it.
#
# **A good answer, in short.** In Hausa SmolLM2 needs 2.10 ± 0.05 times as many tokens as in English for the same sentences.
# At half a dollar per million tokens and ten sentences a message that is 43 dollars a month instead of 21, and a
# message takes twice as long. 35 sentences fit into 2,048 tokens instead of 74, so fewer examples can be shown. SmolLM2 works
# on bytes and loses nothing. MiniLM would not do: to it 1.5 % of the tokens are `[UNK]`, among them *kuɗi* (money). A
# tokenizer of its own would need 40 tokens a sentence instead of 58, and one shared with English about 10 % more than that.
# But a model must be trained with its tokenizer. So for now I would count the tokens of several models on 100 of our
# messages before we choose one, and keep the rules in the prompt short.
# ### END SOLUTION

# %% [markdown]
# ## What to take away

# %%
fair = calibration.load_record("lab0_start", "fair")
results = fair.groupby("language", sort=False)[["alpha", "heldout_english", "heldout_other"]].agg(["mean", "std"])
results.rename(index=data.NAMES, columns={"heldout_english": "tokens per sentence, English", "heldout_other": "the other language"}).round(2)

# %% [markdown]
# 1. Models are paid, limited and slowed down by tokens. Count them on the *same* sentences, before you choose a model.
# 2. A cheap language may be an unread one: look for `[UNK]`. Bytes lose nothing, and cost up to three tokens a letter.
# 3. The premium is made by the text that a tokenizer was trained on. Two languages that share one both pay, mostly a tenth
#    or more at 2,048 pieces (English beside French or Portuguese less); their shares of the text decide who pays more.
#
# **Next:** lab 1 trains a tokenizer *and* a model.
#
# **Sources.** Rust et al., 2021, *How good is your tokenizer?* (fertility) · Petrov et al., 2023, *Language model tokenizers
# introduce unfairness between languages* (premium) · Ahia et al., 2023, *Do all languages cost the same?* (money) · Wu et al.,
# 2016 (WordPiece) · Sennrich et al., 2016 (BPE) · Radford et al., 2019 (byte-level BPE) · Kudo and Richardson, 2018,
# *SentencePiece* (byte fallback) · Conneau et al., 2020, *XLM-R* (sampling with alpha) · Adelani et al., 2024, *SIB-200*.
