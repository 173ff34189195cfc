"""A vocabulary cut to a language: half of a small encoder's weights are pieces of words that never occur."""

import copy
import json

import torch
from torch import nn

from leaplm.locales import say


def used_pieces(tokenizer, texts, at_least=1):
    """Ids (sorted list) of the pieces to keep: those that `texts` use `at_least` times, special ones, single letters.

    Single characters that the kept pieces are made of stay too, at the beginning and inside of words, so that a new word
    of known letters still has pieces.
    """
    counts = torch.bincount(torch.tensor([i for ids in tokenizer(list(texts))["input_ids"] for i in ids]),
                            minlength=len(tokenizer))
    kept = set(torch.nonzero(counts >= at_least).flatten().tolist()) | set(tokenizer.all_special_ids)
    vocabulary = tokenizer.get_vocab()
    letters = {letter for piece in tokenizer.convert_ids_to_tokens(sorted(kept)) for letter in piece.removeprefix("##")}
    letters |= set("abcdefghijklmnopqrstuvwxyz0123456789.,!?'-")
    single = {vocabulary[piece] for letter in letters for piece in (letter, f"##{letter}") if piece in vocabulary}
    return sorted(kept | single)


def trim_tokenizer(tokenizer, kept):
    """The WordPiece tokenizer with only the pieces `kept` (ids, sorted), numbered anew in that order.

    A word whose piece is gone is cut into smaller ones. Raises ValueError if a special token is not kept.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    new = {old: number for number, old in enumerate(kept)}
    if missing := [tokenizer.convert_ids_to_tokens(i) for i in tokenizer.all_special_ids if i not in new]:
        raise ValueError(say("the special tokens {tokens} must be kept", tokens=", ".join(missing)))
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["model"]["vocab"] = {piece: new[i] for piece, i in content["model"]["vocab"].items() if i in new}
    content["added_tokens"] = [{**token, "id": new[token["id"]]} for token in content["added_tokens"] if token["id"] in new]
    for special in content["post_processor"]["special_tokens"].values():
        special["ids"] = [new[i] for i in special["ids"]]
    content["truncation"] = content["padding"] = None
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content)),
                                   model_max_length=tokenizer.model_max_length,
                                   **{name: getattr(tokenizer, name) for name in names})


def trim_embeddings(model, kept):
    """A copy of a classifier whose word vectors are only those of the pieces `kept` (ids), in that order."""
    model = copy.deepcopy(model)
    old = model.get_input_embeddings()
    model.set_input_embeddings(nn.Embedding.from_pretrained(old.weight.detach()[list(kept)].clone(), freeze=False,
                                                            padding_idx=old.padding_idx))
    model.config.vocab_size = len(kept)
    return model
