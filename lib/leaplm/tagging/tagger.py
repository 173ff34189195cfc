"""Token classification: MiniLM reads sub-words, a linear layer gives each word a score for each tag.

Source: Devlin et al., 2019, *BERT*, section 5.3: the first sub-word of a word speaks for it, the others have no label.
"""

import copy

import numpy as np
import torch
from torch import nn

from leaplm.locales import say
from leaplm.models import load_encoder
from leaplm.tagging.decoding import best_tags

IGNORED = -100  # the label of a sub-word that does not count
SHAPES = 4  # small letters, a capital first, capitals only, no letter


def shape_number(word):
    """0 small letters, 1 a capital first, 2 two capitals or more and no small letter, 3 no letter at all.

    >>> [shape_number(word) for word in ("goat", "Kano", "UNICEF", "2019")]
    [0, 1, 2, 3]
    """
    letters = [sign for sign in word if sign.isalpha()]
    if not letters:
        return 3
    if len(letters) > 1 and word.isupper():
        return 2
    return int(letters[0].isupper())


def align_labels(word_ids, labels):
    """A label for each sub-word: the word's at its first sub-word, -100 at the others and where there is no word.

    word_ids: for each sub-word the number of its word, None for [CLS], [SEP] and padding. labels: one for each word.

    >>> align_labels([None, 0, 1, 1, None], [0, 3])
    [-100, 0, 3, -100, -100]
    """
    before = [None, *word_ids[:-1]]
    return [IGNORED if word is None or word == last else labels[word] for word, last in zip(word_ids, before, strict=True)]


def tokenize_words(tokenizer, sentences, labels=None, max_length=512):
    """A dict of tensors (sentences, sub-words): input_ids, attention_mask, shapes, and labels.

    sentences: lists of words; labels: lists of tag numbers (None: 0 at each first sub-word, so that `labels` says where the
    words are). Each word has a sub-word, but for those beyond max_length, which are cut off: that is said on the screen.
    """
    signs = [[readable(tokenizer, word) for word in words] for words in sentences]
    coded = tokenizer(signs, is_split_into_words=True, padding=True, truncation=True, max_length=max_length,
                      return_tensors="pt")
    labels = [[0] * len(words) for words in sentences] if labels is None else labels
    ids = [coded.word_ids(row) for row in range(len(sentences))]
    warn_of_cut(sentences, ids, max_length)
    shapes = [[3 if word is None else shape_number(words[word]) for word in row]
              for row, words in zip(ids, sentences, strict=True)]
    aligned = [align_labels(row, numbers) for row, numbers in zip(ids, labels, strict=True)]
    return {"input_ids": coded["input_ids"], "attention_mask": coded["attention_mask"], "shapes": torch.tensor(shapes),
            "labels": torch.tensor(aligned)}


def warn_of_cut(sentences, word_ids, max_length):
    """Say which sentences (lists of words) lost words to max_length; word_ids: for each, those of its sub-words."""
    for words, row in zip(sentences, word_ids, strict=True):
        read = len({word for word in row if word is not None})
        if read < len(words):
            print(say("Careful: the encoder reads {read} of the {words} words of the sentence that starts with {start}: "
                      "they make more than {most} sub-words. Part the sentence.", read=read, words=len(words),
                      start=repr(" ".join(words[:5])), most=max_length))  # fmt: skip


def readable(tokenizer, word):
    """The word, or the sign for unknown words where the tokenizer leaves nothing of it, as of a zero-width space."""
    return word if any(map(str.isalnum, word)) or tokenizer.tokenize(word) else tokenizer.unk_token


class LowerLayers(nn.Module):
    """The embeddings and the lower layers of a BERT encoder, which never learn: ids -> vectors (batch, sub-words, width)."""

    def __init__(self, encoder, count):
        super().__init__()
        self.bert = copy.copy(encoder)
        self.bert._modules = dict(encoder._modules, encoder=copy.copy(encoder.encoder))
        self.bert.encoder._modules = {"layer": encoder.encoder.layer[:count]}
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, input_ids, attention_mask):
        return self.bert(input_ids, attention_mask=attention_mask).last_hidden_state


class Tagger(nn.Module):
    """vectors of the lower layers + the word's shape -> upper layers -> dropout -> a linear layer: a score for each tag.

    layers: the upper layers of a BERT encoder. vectors (batch, sub-words, width), attention_mask and shapes (batch,
    sub-words) -> logits (batch, sub-words, tags). MiniLM reads small letters only: `shapes`, 0 to 3, gives the
    capitals back as one of four learned vectors.
    """

    def __init__(self, layers, width, tags, dropout=0.1):
        super().__init__()
        self.layers, self.shape = nn.ModuleList(layers), nn.Embedding(SHAPES, width)
        nn.init.zeros_(self.shape.weight)
        self.dropout, self.classifier = nn.Dropout(dropout), nn.Linear(width + SHAPES, tags)

    def forward(self, vectors, attention_mask, shapes):
        hidden = vectors + self.shape(shapes)
        barred = (attention_mask == 0)[:, None, None, :] * torch.finfo(hidden.dtype).min
        for layer in self.layers:
            hidden = layer(hidden, attention_mask=barred)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        known = nn.functional.one_hot(shapes, SHAPES).to(hidden.dtype)
        return self.classifier(torch.cat([self.dropout(hidden), known], dim=-1))


def new_tagger(tags, trained=2, name="minilm"):
    """(LowerLayers, Tagger): the encoder `name`, cut below its top `trained` layers; the rest of the tagger starts fresh.

    tags: how many. Call `set_seed` first for a repeatable start.
    """
    encoder = load_encoder(name)
    cut = len(encoder.encoder.layer) - trained
    return LowerLayers(encoder, cut), Tagger(encoder.encoder.layer[cut:], encoder.config.hidden_size, tags)


def make_batches(lower, tokenizer, sentences, labels=None, batch_size=8, seed=None):
    """What a Tagger reads: a list of dicts with vectors, attention_mask, shapes and labels, `batch_size` sentences each.

    The lower layers run here, once; training then pays for the upper ones only. sentences: lists of words; labels: lists
    of tag numbers, or None. seed: None keeps the order; a number puts sentences of like length together, which spares
    padding, and the batches in a random order.
    """
    order, batches = list(range(len(sentences))), []
    if seed is not None:
        order.sort(key=lambda i: len(sentences[i]))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        numbers = None if labels is None else [labels[i] for i in rows]
        batch = tokenize_words(tokenizer, [sentences[i] for i in rows], numbers)
        vectors = lower(batch.pop("input_ids"), batch["attention_mask"])
        batches.append({"vectors": vectors, **batch})
    if seed is not None:
        batches = [batches[i] for i in np.random.default_rng(seed).permutation(len(batches))]
    return batches


def tagging_loss(logits, labels):
    """Mean cross-entropy in nats over the sub-words with a label; 0 where there is none.

    logits (batch, sub-words, tags), labels (batch, sub-words) with -100 where none counts.
    """
    counted = labels != IGNORED
    if not counted.any():
        return logits.sum() * 0
    return nn.functional.cross_entropy(logits[counted], labels[counted])


def train_tagger(model, batches, epochs, learning_rate):
    """Train `model` in place with AdamW on `batches`, dicts with `labels` and what the model takes by name.

    One update a batch, in their order; the rate falls from learning_rate in a straight line, to 0 behind the last
    update. Returns the mean loss of each epoch (floats); the model ends in evaluation mode.
    """
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=learning_rate)
    updates = epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / updates)
    history = []
    model.train()
    for _ in range(epochs):
        losses = []
        for batch in batches:
            inputs = {name: value for name, value in batch.items() if name != "labels"}
            loss = tagging_loss(model(**inputs), batch["labels"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        history.append(sum(losses) / len(losses))
    model.eval()
    return history


@torch.no_grad()
def word_scores(model, batches):
    """Log-probabilities of the tags for each word, a list of arrays (words, tags), one a sentence, from batches.

    They are those at each first sub-word (label not -100). The model runs in evaluation mode and keeps the mode it was in.
    """
    found, mode = [], model.training
    model.eval()
    for batch in batches:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        scores = model(**inputs).log_softmax(dim=-1)
        found += [row[labels != IGNORED].cpu().numpy() for row, labels in zip(scores, batch["labels"], strict=True)]
    model.train(mode)
    return found


def tag_batches(model, batches, tags):
    """Tag lists, one a sentence, from batches: `best_tags` of `word_scores`."""
    return best_tags(word_scores(model, batches), tags)
