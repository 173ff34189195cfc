"""Tiny models of transformers that checks put on the student's side, with random weights, and what they have noted.

A check names them as 'leaplm.grading.judge.tiny_models:tiny_classifier'; the rest is as in `probes`. They stand apart
because transformers takes seconds to import, which a lab without such models need not wait for.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    BatchEncoding,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import CausalLMOutput, SequenceClassifierOutput

from leaplm.runtime import seeded


def tiny_classifier(
    seed: int = 0,
    num_labels: int = 2,
    vocab_size: int = 64,
    width: int = 16,
    layers: int = 1,
    dropout: float = 0.0,
    initializer_range: float = 0.02,
) -> BertForSequenceClassification:
    """A BERT classifier of a few thousand parameters with random weights, in training mode.

    A large `initializer_range` (0.5) gives large logits, losses that differ from text to text, and large gradients.
    """
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        num_labels=num_labels,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=initializer_range,
    )
    with seeded(seed):
        return BertForSequenceClassification(config).train()


def vector_classifier(width: int, classes: int, seed: int = 0, scaled: bool = False) -> torch.nn.Module:
    """The library's head on vectors, with random and large weights, in training mode.

    scaled: the vectors are first multiplied by a parameter `scale`, which is no part of the head.
    """
    from leaplm.models import VectorClassifier

    def multiply(model: torch.nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if args:
            return (args[0] * model.scale, *args[1:]), kwargs
        return args, kwargs | {"vectors": kwargs["vectors"] * model.scale}

    with seeded(seed):
        model = VectorClassifier(width, classes)
        if scaled:
            model.scale = torch.nn.Parameter(torch.ones(width))
            model.register_forward_pre_hook(multiply, with_kwargs=True)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter)
        return model


def tiny_masked_lm(seed: int = 0, vocab_size: int = 40, width: int = 16, dropout: float = 0.0) -> BertForMaskedLM:
    """A BERT with a masked-language-model head, random and large weights, in training mode."""
    config = BertConfig(vocab_size=vocab_size, hidden_size=width, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=2 * width, max_position_embeddings=64, hidden_dropout_prob=dropout,
                        attention_probs_dropout_prob=dropout, initializer_range=0.5)
    with seeded(seed):
        return BertForMaskedLM(config).train()


def tiny_causal_lm(
    seed: int = 0, vocab_size: int = 40, initializer_range: float = 0.5, scale: float = 1.0
) -> LlamaForCausalLM:
    """A generative model with random and large weights, in evaluation mode: its next tokens are far from uniform.

    scale: the logits are multiplied by it; some hundreds are more than `exp` can take in 32 bits.
    """
    config = LlamaConfig(vocab_size=vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                         intermediate_size=64, max_position_embeddings=64, initializer_range=initializer_range)
    with seeded(seed):
        model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight *= scale
    return model


def counting_causal_lm(seed: int = 0, scale: float = 1.0) -> LlamaForCausalLM:
    """A `tiny_causal_lm` that notes what goes through it (see `tokens_seen`, `inputs_seen`, `masks_seen`)."""
    model = tiny_causal_lm(seed, scale=scale)
    model.tokens_seen, model.inputs_seen, model.masks_seen = 0, [], []

    def count(module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        model.tokens_seen += 0 if ids is None else ids.numel()
        model.inputs_seen.append(np.zeros((0, 0), dtype=int) if ids is None else ids.numpy(force=True).copy())
        mask = kwargs.get("attention_mask")
        of_rows = isinstance(mask, Tensor) and ids is not None and mask.shape == ids.shape
        model.masks_seen.append(mask.bool().numpy(force=True).copy() if of_rows else np.zeros((0, 0), dtype=bool))

    model.get_decoder().register_forward_pre_hook(count, with_kwargs=True)
    return model


def tiny_llama(seed: int = 0, heads: int = 4, kv_heads: int = 2, blocks: int = 2, theta: float = 100.0,
               eps: float = 1e-5, vocab_size: int = 40) -> LlamaForCausalLM:
    """A generative model all of whose weights are random, those of the norms too, with heads wider than width / heads."""
    config = LlamaConfig(vocab_size=vocab_size, hidden_size=6 * heads, num_hidden_layers=blocks, head_dim=8,
                         num_attention_heads=heads, num_key_value_heads=kv_heads, intermediate_size=20, rms_norm_eps=eps,
                         rope_parameters={"rope_theta": theta, "rope_type": "default"}, initializer_range=0.5,
                         max_position_embeddings=256, tie_word_embeddings=False)
    with seeded(seed):
        model = LlamaForCausalLM(config).eval()
        for name, parameter in model.named_parameters():
            if "norm" in name:
                torch.nn.init.uniform_(parameter, 0.5, 2.0)
    return model


def llama_weights(seed: int = 0, **settings: Any) -> tuple[dict, dict]:
    """(weights, shape) of a `tiny_llama`, as `leaplm.transformer.decoder` takes them; no gradient reaches them.

    Copies, as a submission may change them: the model itself is kept, since to make it costs more than to run it.
    """
    from leaplm.transformer import decoder

    model = kept_llama(seed, **settings)
    weights = decoder.weights_of(model)
    weights["blocks"] = [{part: tensor.clone() for part, tensor in block.items()} for block in weights["blocks"]]
    return {part: copied if part == "blocks" else copied.clone() for part, copied in weights.items()}, \
        decoder.shape_of(model.config)


@functools.lru_cache(maxsize=32)
def kept_llama(seed: int, **settings: Any) -> LlamaForCausalLM:
    """A `tiny_llama` that no gradient reaches; nobody may change it."""
    return tiny_llama(seed, **settings).requires_grad_(False)


class CountingStep:
    """The forward pass of a `tiny_llama` as a step (ids, caches) -> (logits, caches), which counts the tokens sent."""

    def __init__(self, seed: int) -> None:
        self.weights, self.shape = llama_weights(seed)
        self.tokens_seen = 0

    def __call__(self, ids: Tensor, caches: list | None = None) -> tuple[Tensor, list]:
        from leaplm.transformer import decoder

        self.tokens_seen += ids.numel()
        return decoder.decoder(ids, self.weights, self.shape, caches)


def counting_step(seed: int = 0) -> CountingStep:
    return CountingStep(seed)


def rank_picker(rank: int = 0) -> Any:
    """A function that picks from scores (vocabulary,) the token with the largest one (rank 0), the second (1), ..."""
    return lambda scores: scores.argsort(descending=True)[rank]


def counting_masked_lm(seed: int = 0) -> BertForMaskedLM:
    """A `tiny_masked_lm` that counts the losses which wait for their backward pass (see `most_open_graphs`)."""
    model = tiny_masked_lm(seed)
    model.open_graphs = model.most_open_graphs = 0

    def close(gradient: Tensor) -> None:
        model.open_graphs -= 1

    def count(module: torch.nn.Module, args: tuple, output: Any) -> None:
        if output.loss is not None and output.loss.requires_grad:
            model.open_graphs += 1
            model.most_open_graphs = max(model.most_open_graphs, model.open_graphs)
            output.loss.register_hook(close)

    model.register_forward_hook(count)
    return model


def most_open_graphs(model: torch.nn.Module) -> int:
    """How many losses of a `counting_masked_lm` waited for their backward pass at the same time."""
    return model.most_open_graphs


def tokens_seen(model: torch.nn.Module) -> int:
    """How many tokens went through a `counting_causal_lm` so far."""
    return model.tokens_seen


def inputs_seen(model: torch.nn.Module) -> list[np.ndarray]:
    """The token ids of each pass through a `counting_causal_lm` so far, (rows, tokens) each."""
    return model.inputs_seen


def masks_seen(model: torch.nn.Module) -> list[np.ndarray]:
    """The attention mask of each of these passes, True where a token counts; (0, 0) where none of (rows, tokens) came."""
    return model.masks_seen


class FarModel(torch.nn.Module):
    """A generative model on torch's `meta` device, where tensors have a shape and no numbers; it notes where inputs are."""

    def __init__(self, vocab_size: int = 40) -> None:
        super().__init__()
        self.weight, self.vocab_size = torch.nn.Parameter(torch.zeros(1, device="meta")), vocab_size
        self.device, self.devices_seen = self.weight.device, []

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **settings: Any) -> CausalLMOutput:
        self.devices_seen += [str(getattr(given, "device", "cpu")) for given in (input_ids, attention_mask)
                              if given is not None]  # fmt: skip
        return CausalLMOutput(logits=torch.zeros(*input_ids.shape, self.vocab_size, device="meta"))


def far_model() -> FarModel:
    return FarModel().eval()


def devices_seen(model: FarModel) -> list[str]:
    """The devices of the ids and masks that a `far_model` was given."""
    return model.devices_seen


def tiny_encoder(seed: int = 0, dropout: float = 0.0, initializer_range: float = 0.5) -> torch.nn.Module:
    """The encoder of a `tiny_classifier`, in training mode: input_ids -> last_hidden_state (batch, tokens, 16)."""
    return tiny_classifier(seed, dropout=dropout, initializer_range=initializer_range).bert


def counting_encoder(seed: int = 0, dropout: float = 0.0) -> torch.nn.Module:
    """A `tiny_encoder` that notes the shape of each batch that goes through it (see `shapes_seen`)."""
    model = tiny_encoder(seed, dropout=dropout)
    model.shapes_seen = []

    def note(module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        model.shapes_seen.append([0, 0] if ids is None else list(ids.shape))

    model.register_forward_pre_hook(note, with_kwargs=True)
    return model


def shapes_seen(model: torch.nn.Module) -> list[list[int]]:
    """The shapes (texts, tokens) of the batches that went through a `counting_encoder` so far."""
    return model.shapes_seen


def tiny_tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer that splits at spaces; ids 0 [PAD], 1 [UNK], 2 [CLS], 3 [SEP], 4 [MASK], then `words`.

    >>> tiny_tokenizer(["good", "bad"])("bad good")["input_ids"]
    [2, 6, 5, 3]
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = {word: index for index, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **dict(zip(names, special, strict=True)))


def chat_tokenizer(words: list[str], pad: str = "[PAD]") -> PreTrainedTokenizerFast:
    """A `tiny_tokenizer` with a chat form of its own: <system> ... <end> <user> ... <end> <assistant>; [SEP] ends an answer.

    White space is not lost, as in language models: each blank is a token (5), each line end another (6). pad: the token
    that fills rows.

    >>> tokenizer = chat_tokenizer(["yes"])
    >>> tokenizer.apply_chat_template([{"role": "user", "content": "yes"}], tokenize=False, add_generation_prompt=True)
    '<user> yes <end> <assistant> '
    """
    from tokenizers import Regex, pre_tokenizers

    roles = ["<system>", "<user>", "<assistant>", "<end>"]
    tokenizer = tiny_tokenizer([" ", "\n", *roles, *words])
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s"), "isolated")
    tokenizer.eos_token, tokenizer.pad_token = "[SEP]", pad
    tokenizer.chat_template = ("{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} <end> "
                               "{% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}")
    return tokenizer


def settings_of(tokenizer: PreTrainedTokenizerFast) -> list:
    """What an answer could change on a tokenizer that is lent to it: template, special tokens, sides, number of tokens."""
    sides = [tokenizer.padding_side, tokenizer.truncation_side]
    return [tokenizer.chat_template, dict(tokenizer.special_tokens_map), sides, len(tokenizer)]


def batch(**arrays: Tensor) -> BatchEncoding:
    """A batch as tokenizers make it: a mapping of tensors that also has attributes and `.to(device)`."""
    return BatchEncoding(arrays)


class SimilarNames(torch.nn.Module):
    """A model whose parts are called much like each other: ids (batch, tokens) -> an output with logits (batch, 2).

    Beside the linear layers `query`, `key` and `value` of its blocks there is an embedding `value`, a group `key` of
    linear layers, a `query_proj`, a `query_norm`, a `y`, a `subquery`, a `monkey` and a `pre_classifier`.
    """

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        nn = torch.nn
        self.value = nn.Embedding(64, width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"query": nn.Linear(width, width, bias=False), "query_proj": nn.Linear(width, width),
                           "query_norm": nn.LayerNorm(width), "value": nn.Linear(width, width), "key": key,
                           "y": nn.Linear(width, width), "subquery": nn.Linear(width, width),
                           "monkey": nn.Linear(width, width)})
            for key in (nn.Linear(width, width), nn.Sequential(nn.Linear(width, width), nn.Linear(width, width)))
        )  # fmt: skip
        self.pre_classifier = nn.Linear(width, width)
        self.classifier = nn.Linear(width, 2)

    def forward(self, input_ids: Tensor) -> Any:
        hidden = self.value(input_ids)
        for block in self.blocks:
            for part in block.values():
                hidden = hidden + torch.tanh(part(hidden))
        return SequenceClassifierOutput(logits=self.classifier(torch.tanh(self.pre_classifier(hidden.mean(dim=1)))))


def similar_names(seed: int = 0) -> SimilarNames:
    with seeded(seed):
        return SimilarNames()


def with_lora(make: str, targets: list[str], rank: int, alpha: float, seed: int = 0, base: int = 0, classes: int = 2,
              lora_dropout: float = 0.0, **settings: Any) -> torch.nn.Module:
    """A `tiny_classifier` or `similar_names` with the library's LoRA; A, B and head are random by `seed`, as after training.

    base: the seed of the frozen weights. lora_dropout: of the LoRA layers. settings: of a tiny_classifier.
    """
    from leaplm.grading.judge.probes import randomize
    from leaplm.peft.lora import inject_lora

    model = tiny_classifier(base, classes, **settings) if make == "tiny_classifier" else similar_names(base)
    with torch.random.fork_rng(devices=[]):
        inject_lora(model, targets, rank, alpha, lora_dropout)
    for part in ("lora_", "classifier."):
        randomize(model, part, seed)
    return model


class EdgeModel(torch.nn.Module):
    """The loss is the mean of weight * inputs, and a term of 0 that makes one more gradient infinite or NaN, as `edge` says.

    The loss itself stays finite. edge: "" for no such term, "inf", "-inf", "nan", or "large": two gradients of 1e38.
    """

    def __init__(self, edge_first: bool) -> None:
        super().__init__()
        for name in ("edge_weight", "weight") if edge_first else ("weight", "edge_weight"):
            self.register_parameter(name, torch.nn.Parameter(torch.zeros(2)))  # the edge is at the first of two numbers

    def forward(self, inputs: Tensor, edge: str, labels: Tensor | None = None) -> SequenceClassifierOutput:
        at = self.edge_weight[0]
        root = (at * (0 if edge == "nan" else 1)).sqrt()
        term = {"": 0 * at, "inf": root, "-inf": -root, "nan": root, "large": 1e38 * self.edge_weight.sum()}[edge]
        return SequenceClassifierOutput(loss=(self.weight.sum() * inputs).mean() + term)


def edge_model(edge_first: bool = False) -> EdgeModel:
    """An `EdgeModel` with all weights 0."""
    return EdgeModel(edge_first)
