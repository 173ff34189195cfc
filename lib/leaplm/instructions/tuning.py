"""A chat model whose upper layers learn answers, by LoRA; the lower layers are run once and their output is kept.

An adapter can be switched off: then the model is what it was when the adapter was added. So a second adapter, on top of
the first, has the model after the first as its reference, without a second model in memory.
"""

import contextlib

import torch
from torch import nn

from leaplm import models
from leaplm.instructions.chat import IGNORED, PACK_TOKENS, PADDING, chat_prompt, chat_row, pack_rows, packed_mask, pad_packs
from leaplm.locales import say
from leaplm.peft.instruction_tuning import generate_answers
from leaplm.peft.lora import LoRALinear
from leaplm.runtime import by_scale, free_memory

PARTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
         "mlp.down_proj")
RANK, ALPHA = 8, 16
ANSWER_TOKENS = 48  # the most that an answer may be long when it is written


def load_chat_model(name="smollm2"):
    """A causal language model for this lab, frozen. At scale "tiny" only SmolLM2's first two layers, for tests of code."""
    layers = by_scale(tiny=2, cpu=None, gpu=None)
    model = models.load_causal_lm(name) if layers is None or name != "smollm2" else models.load_first_layers(name, layers)
    return model.requires_grad_(False)


class AnswerModel(nn.Module):
    """The upper `layers` of a causal language model with its vocabulary head: it says how probable each answer is.

    It shares these modules with `model`: an adapter that learns here is at work when `model` writes. Forward: a batch of
    `make_batches` -> the log-probabilities (answers,) of its answers in nats, row by row and segment by segment; the
    same numbers as `answer_log_probs`, with the vocabulary layer computed at the answers' tokens only.
    """

    def __init__(self, model, layers):
        super().__init__()
        self.layers = model.model.layers[-layers:]
        self.norm, self.head, self.rotary = model.model.norm, model.lm_head, model.model.rotary_emb

    def forward(self, vectors, position_ids, segments, labels):
        hidden = self.norm(run_layers(self.layers, self.rotary, vectors, position_ids, segments))
        targets = labels[:, 1:]
        kept = targets != IGNORED
        log_probs = -nn.functional.cross_entropy(self.head(hidden[:, :-1][kept]).float(), targets[kept], reduction="none")
        rows = torch.arange(len(labels), device=labels.device)[:, None] * (int(segments.max()) + 1)
        owners = (rows + segments)[:, 1:][kept]
        _, owners = torch.unique(owners, return_inverse=True)  # 0, 1, 2, ... in the order of the answers
        return torch.zeros(int(owners.max()) + 1, device=labels.device).index_add(0, owners, log_probs)

    @contextlib.contextmanager
    def adapter_off(self):
        """Inside of the block the newest adapter has no effect."""
        newest = newest_adapters(self)
        scales = [layer.scaling for layer in newest]
        try:
            for layer in newest:
                layer.scaling = 0.0
            yield self
        finally:
            for layer, scale in zip(newest, scales, strict=True):
                layer.scaling = scale

    @contextlib.contextmanager
    def all_adapters_off(self):
        """Inside of the block the model is the one that was loaded."""
        layers = [module for module in self.modules() if isinstance(module, LoRALinear)]
        scales = [layer.scaling for layer in layers]
        try:
            for layer in layers:
                layer.scaling = 0.0
            yield self
        finally:
            for layer, scale in zip(layers, scales, strict=True):
                layer.scaling = scale


def newest_adapters(module):
    """The outermost LoRALinear layers: an older adapter is the base of a newer one."""
    inner = {id(layer.base) for layer in module.modules() if isinstance(layer, LoRALinear)}
    return [layer for layer in module.modules() if isinstance(layer, LoRALinear) and id(layer) not in inner]


def keep_adapters(model, count):
    """Takes off all adapters of a causal language model but the `count` oldest; 0: it is the model that was loaded."""
    for name, layer in [(name, module) for name, module in model.named_modules() if isinstance(module, LoRALinear)]:
        if name.endswith(".base"):
            continue  # an older adapter: its place is inside of a newer one
        found = [layer]
        while isinstance(found[-1], LoRALinear):
            found.append(found[-1].base)  # from the newest adapter to the layer below all
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, found[max(0, len(found) - 1 - count)])


@contextlib.contextmanager
def restored(scorer):
    """Inside of the block a training may be tried: afterwards, also after an error, the layers are as they were."""
    adapters = [module for module in scorer.modules() if isinstance(module, LoRALinear)]
    kept = {name: value.clone() for name, value in scorer.layers.state_dict().items()}
    learns = [weight.requires_grad for weight in scorer.parameters()]
    scales = [layer.scaling for layer in adapters]
    try:
        yield scorer
    finally:
        with torch.no_grad():
            scorer.layers.load_state_dict(kept)
        for weight, flag in zip(scorer.parameters(), learns, strict=True):
            weight.requires_grad_(flag).grad = None
        for layer, scale in zip(adapters, scales, strict=True):
            layer.scaling = scale  # an `adapter_off` that never ended has set it to 0
        scorer.eval()


def run_layers(layers, rotary, vectors, position_ids, segments):
    """Decoder layers, one after the other, on packed rows: each token sees the earlier ones of its own segment."""
    seen = packed_mask(segments)
    mask = torch.zeros(seen.shape, dtype=vectors.dtype, device=vectors.device)
    mask = mask.masked_fill_(~seen, torch.finfo(vectors.dtype).min)[:, None]
    turned = rotary(vectors, position_ids)
    for layer in layers:
        vectors = layer(vectors, attention_mask=mask, position_ids=position_ids, position_embeddings=turned)
    return vectors


def add_adapter(model, layers=None, rank=RANK, alpha=ALPHA):
    """Puts LoRA on all linear parts of the upper layers of a causal language model, on top of an adapter that is there.

    All else is frozen, an older adapter too. Returns the AnswerModel of these layers (None: `layers_of(model)`).
    """
    model.requires_grad_(False)
    layers = layers or layers_of(model)
    for layer in model.model.layers[-layers:]:
        for part in PARTS:
            parent, name = part.split(".")
            holder = getattr(layer, parent)
            setattr(holder, name, LoRALinear(getattr(holder, name), rank, alpha))
    return AnswerModel(model, layers)


def layers_of(model):
    """How many layers learn: a fifth of all, the upper 6 of SmolLM2's 30."""
    return max(1, len(model.model.layers) // 5)


def adapter_state(scorer):
    """{name: tensor} of all adapters of an AnswerModel: what is handed in."""
    return {name: value for name, value in scorer.state_dict().items() if "lora_" in name}


def more_than_two(names):
    """Whether these names of `adapter_state` come from more adapters than lab 15 hands in."""
    return any(".base.base." in name for name in names)


class AdapterState:
    """The adapters alone, for `artifacts.save_artifact`. Raises ValueError for more than two on top of each other."""

    def __init__(self, scorer):
        self.tensors = adapter_state(scorer)
        if more_than_two(self.tensors):
            raise ValueError(say("the model has more than two adapters on top of each other. Run the notebook again from "
                                 "the cell that begins with `MODEL`, then save."))

    def state_dict(self):
        return self.tensors


# -- batches --------------------------------------------------------------------------------------------------------------


def make_batches(model, tokenizer, rows, layers=None, tokens=PACK_TOKENS):
    """Batches of one pack each, of rows with "system", "question" and "answer", in their order.

    A batch: {"vectors" (1, tokens, width): what the lower layers give; position_ids, segments, labels (1, tokens)}. Raises
    ValueError for a row that is longer than `tokens`.
    """
    texts = [chat_row(tokenizer, row["system"], row["question"], row["answer"]) for row in rows]
    return [with_vectors(model, pad_packs([pack]), layers) for pack in pack_rows(texts, tokens)]


def make_pair_batches(model, tokenizer, pairs, size=2, layers=None):
    """A list of (chosen, rejected): two batches as of `make_batches` with the answers of `size` pairs each."""
    found = []
    for start in range(0, len(pairs), size):
        part = pairs[start : start + size]
        both = [[chat_row(tokenizer, pair["system"], pair["question"], pair[side]) for pair in part]
                for side in ("chosen", "rejected")]
        packs = [pad_packs(pack_rows(rows, sum(len(row["input_ids"]) for row in rows))) for rows in both]
        found.append(tuple(with_vectors(model, pack, layers) for pack in packs))
    return found


def with_vectors(model, batch, layers=None):
    """The batch with the lower layers' output instead of `input_ids`; they have no adapter, so it never changes."""
    layers, device = layers or layers_of(model), next(model.parameters()).device
    batch = {name: value.to(device) for name, value in batch.items()}
    decoder = model.model
    with torch.no_grad():
        vectors = run_layers(decoder.layers[:-layers], decoder.rotary_emb, decoder.embed_tokens(batch.pop("input_ids")),
                             batch["position_ids"], batch["segments"])
    return {"vectors": vectors, **batch}


# -- learning and measuring -----------------------------------------------------------------------------------------------


def train_answers(scorer, batches, epochs, rate):
    """Teaches an AnswerModel the answers of batches; a list of the mean loss (nats per token) of each epoch.

    AdamW on what is trainable, one update a batch, in their order. The loss is minus the sum of the batch's
    log-probabilities over the number of labels that count. Update k (from 0) of n has the rate (1 - k / n) * rate. In
    training mode; evaluation mode afterwards.
    """
    def loss_of(batch):
        return -scorer(**batch).sum() / (batch["labels"] != IGNORED).sum()

    return train_on(scorer, batches, loss_of, epochs, rate)


def train_on(scorer, batches, loss_of, epochs, rate):
    """The loop of `train_answers` for any loss_of(batch), a tensor without dimension; the mean loss of each epoch."""
    scorer.train()
    optimizer = torch.optim.AdamW([weight for weight in scorer.parameters() if weight.requires_grad], lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=epochs * len(batches))
    history = []
    for _ in range(epochs):
        losses = []
        for batch in batches:
            loss = loss_of(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        history.append(sum(losses) / len(losses))
    scorer.eval()
    free_memory()
    return history


def token_log_prob(scorer, batches):
    """Mean log-probability in nats of an answer's token (all tokens of all batches together); higher is better."""
    total = tokens = 0
    with torch.no_grad():
        for batch in batches:
            total += float(scorer(**batch).sum())
            tokens += int((batch["labels"] != IGNORED).sum())
    return total / tokens


def write_answers(model, tokenizer, rows, shown=(), batch_size=8):
    """What the model answers to the questions of rows (a list of str, blanks at the ends cut), the most probable token
    each time. shown: rows whose questions and answers stand before, as earlier turns of the chat (few-shot)."""
    prompts = [few_shot_prompt(tokenizer, row, shown) if shown else chat_prompt(tokenizer, row["system"], row["question"])
               for row in rows]
    found = generate_answers(model, tokenizer, prompts, by_scale(tiny=4, cpu=ANSWER_TOKENS, gpu=ANSWER_TOKENS), batch_size)
    return [answer.strip() for answer in found]


def few_shot_prompt(tokenizer, row, shown):
    messages = [{"role": "system", "content": row["system"]}]
    for example in shown:
        messages += [{"role": "user", "content": example["question"]}, {"role": "assistant", "content": example["answer"]}]
    messages.append({"role": "user", "content": row["question"]})
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


__all__ = ["PADDING", "AdapterState", "AnswerModel", "adapter_state", "add_adapter", "keep_adapters",
           "layers_of", "load_chat_model", "make_batches", "make_pair_batches", "more_than_two", "restored",
           "token_log_prob", "train_answers", "train_on", "with_vectors", "write_answers"]
