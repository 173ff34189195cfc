"""Models of the course, loaded from verified local folders."""

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    BertForMaskedLM,
    BertModel,
    BertPreTrainedModel,
)
from transformers.modeling_outputs import MaskedLMOutput, SequenceClassifierOutput

from leaplm.assets import asset_path
from leaplm.runtime import get_device, mixed_precision, quiet


def mean_pool(hidden, attention_mask):
    """Mean of the token vectors of each text, padding left out.

    hidden (batch, tokens, width), attention_mask (batch, tokens) of 1 and 0 -> (batch, width).
    Source: Reimers & Gurevych, 2019, section 3.
    """
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


class MeanPoolClassifier(BertPreTrainedModel):
    """BERT encoder -> mean over the tokens -> dropout -> one linear layer.

    input_ids, attention_mask (batch, tokens) -> logits (batch, num_labels), and the mean cross-entropy as `loss` when
    `labels` (batch,) are given. The mean is used, not the [CLS] vector, because MiniLM was trained that way.
    """

    def __init__(self, config):
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, labels=None, **kwargs):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        hidden = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state
        logits = self.classifier(self.dropout(mean_pool(hidden, attention_mask)))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


class MaskedPositionsLM(BertForMaskedLM):
    """BertForMaskedLM that, when `labels` are given, scores the vocabulary at the masked positions only.

    The loss is the same; the product with the (vocabulary x width) matrix is done for 15 % of the tokens.
    logits: (masked positions, vocabulary) with labels, (batch, tokens, vocabulary) without.
    """

    def forward(self, input_ids, attention_mask=None, labels=None, **kwargs):
        hidden = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state
        if labels is None:
            return MaskedLMOutput(logits=self.cls(hidden))
        chosen = labels != -100
        logits = self.cls(hidden[chosen])
        # The sum over zero rows is 0; a mean over them would be NaN.
        loss = nn.functional.cross_entropy(logits, labels[chosen], reduction="sum") / chosen.sum().clamp(min=1)
        return MaskedLMOutput(loss=loss, logits=logits)


def model_folder(name):
    """The folder of a course model ("minilm"), or `name` itself if it is a folder of yours or "owner/model" of a hub."""
    import os

    return name if os.path.isdir(str(name)) or "/" in str(name) else asset_path(name)


def load_tokenizer(name="minilm"):
    """The tokenizer that belongs to a model."""
    quiet()
    return AutoTokenizer.from_pretrained(model_folder(name))


def load_encoder(name="minilm"):
    """The pretrained encoder without a head: input_ids (batch, tokens) -> last_hidden_state (batch, tokens, width)."""
    quiet()
    return AutoModel.from_pretrained(model_folder(name), add_pooling_layer=False, dtype=torch.float32)


def load_masked_lm(name="minilm"):
    """The encoder with a masked-language-model head; MiniLM comes without one, so its head starts fresh.

    The output matrix is the (tied) input embedding, as in BERT.
    """
    quiet()
    return MaskedPositionsLM.from_pretrained(model_folder(name), dtype=torch.float32)


def load_causal_lm(name="smollm2"):
    """A generative language model in evaluation mode, 32-bit on a CPU: input_ids (batch, tokens) -> next-token logits.

    name: "smollm2" (134.5 M parameters), a folder, or at scale "gpu" a model of the Hugging Face hub. On a GPU the
    weights are 16-bit.
    """
    quiet()
    dtype = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[mixed_precision()]
    return AutoModelForCausalLM.from_pretrained(model_folder(name), dtype=dtype).eval().to(get_device())


def load_sequence_classifier(labels, name="minilm", init="pretrained", freeze=None):
    """A classifier over `labels` (list of class names) on the encoder `name`.

    init: "pretrained", or "random" for the same architecture with fresh weights (a baseline).
    freeze: None, "embeddings" (half of MiniLM's weights) or "encoder" (only the head learns).
    The head is random: call `set_seed` first for a repeatable one.
    """
    quiet()
    folder = model_folder(name)
    names = dict(enumerate(labels))
    config = AutoConfig.from_pretrained(folder, num_labels=len(labels), id2label=names,
                                        label2id={word: i for i, word in names.items()})
    if init == "pretrained":
        model = MeanPoolClassifier.from_pretrained(folder, config=config, dtype=torch.float32)
    elif init == "random":
        model = MeanPoolClassifier(config)
    else:
        raise ValueError(f"init={init!r}: use 'pretrained' or 'random'")
    return freeze_part(model, freeze)


def freeze_part(model, part):
    """Stop the gradients of a part of a classifier: None, "embeddings" or "encoder". Returns the model."""
    if part not in (None, "embeddings", "encoder"):
        raise ValueError(f"freeze={part!r}: use None, 'embeddings' or 'encoder'")
    frozen = {None: [], "embeddings": [model.bert.embeddings], "encoder": [model.bert]}[part]
    for module in frozen:
        module.requires_grad_(False)
    return model


def count_parameters(model, trainable=True):
    """Number of parameters; only those that learn, or all with `trainable=False`."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)
