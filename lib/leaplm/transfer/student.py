"""A small encoder with a vocabulary of the language, trained to give the English encoder's vectors.

Source: Reimers & Gurevych, 2020 (https://arxiv.org/abs/2004.09813), with mean squared error there and the cosine here;
Joulin et al., 2017, *Bag of tricks for efficient text classification* (a mean of embeddings).
"""

import copy

import torch
from torch import nn

from leaplm.text import normalize

PAD, UNKNOWN = "[PAD]", "[UNK]"


def train_vocabulary(texts, size=4000):
    """A WordPiece tokenizer with at most `size` pieces; [PAD] is number 0."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=[PAD, UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator([normalize(text) for text in texts], trainer)
    tokenizer.enable_padding()
    tokenizer.enable_truncation(96)
    return tokenizer


def token_ids(tokenizer, texts):
    """Numbers of pieces (n, longest), 0 where a text has ended."""
    return torch.tensor([found.ids for found in tokenizer.encode_batch([normalize(text) for text in texts])])


def make_batches(ids, vectors, size, seed):
    """Pairs (ids (size, t), vectors (size, w)) in random order, without columns that are padding only."""
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
    vectors = torch.as_tensor(vectors, dtype=torch.float32)
    return [(ids[rows][:, : int((ids[rows] > 0).sum(dim=1).max())], vectors[rows]) for rows in order.split(size)]


class SentenceStudent(nn.Module):
    """The mean of the embeddings of a text's pieces (padding, number 0, left out), then a linear layer to `outputs`."""

    def __init__(self, vocabulary, width, outputs):
        super().__init__()
        self.embeddings = nn.Embedding(vocabulary, width)
        self.projection = nn.Linear(width, outputs)

    def forward(self, ids):
        """ids (batch, tokens) -> vectors (batch, outputs)."""
        real = (ids != 0).unsqueeze(-1).float()
        mean = (self.embeddings(ids) * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
        return self.projection(mean)


def distillation_loss(vectors, teacher):
    """1 minus the cosine of each row with the teacher's, the mean over rows; both (n, width)."""
    return (1 - nn.functional.cosine_similarity(vectors, teacher, dim=1)).mean()


def distil(student, batches, dev_batch, epochs, learning_rate):
    """Train `student` in place with AdamW, epoch after epoch over `batches` in their order; keep the best epoch.

    batches: list of (ids, vectors). dev_batch: one such pair. Returns the mean cosine on dev_batch after each epoch; at the
    end the student has the weights of the epoch where it was largest, and is in evaluation mode.
    """
    optimizer = torch.optim.AdamW(student.parameters(), lr=learning_rate)
    cosines, best = [], None
    for _ in range(epochs):
        student.train()
        for ids, vectors in batches:
            optimizer.zero_grad()
            distillation_loss(student(ids), vectors).backward()
            optimizer.step()
        student.eval()
        with torch.no_grad():
            cosines.append(1 - float(distillation_loss(student(dev_batch[0]), dev_batch[1])))
        if cosines[-1] == max(cosines):
            best = copy.deepcopy(student.state_dict())
    student.load_state_dict(best)
    student.zero_grad()
    return cosines


@torch.no_grad()
def start_from_map(student, tokenizer, mapped, bias):
    """Each piece's embedding becomes `mapped(pieces)`, the map's vector of it as a text; the projection adds the bias alone.

    mapped: a function from a list of n texts to (n, outputs), the map without its bias. bias (outputs,). The student's width
    must be its number of outputs.
    """
    pieces = [tokenizer.id_to_token(i).removeprefix("##") for i in range(tokenizer.get_vocab_size())]
    for start in range(0, len(pieces), 256):  # all features at once would take a gigabyte
        part = slice(start, start + 256)
        student.embeddings.weight[part] = torch.as_tensor(mapped(pieces[part]), dtype=torch.float32)
    nn.init.eye_(student.projection.weight)
    student.projection.bias.copy_(torch.as_tensor(bias, dtype=torch.float32))
    return student
