"""Models of the course, loaded from verified local folders."""

import time
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    BertPreTrainedModel,
)
from transformers.initialization import no_init_weights
from transformers.modeling_outputs import MaskedLMOutput, SequenceClassifierOutput
from transformers.models.bert.modeling_bert import BertForPreTrainingOutput

from leaplm.assets import AssetMissing, asset_path, store
from leaplm.locales import say
from leaplm.runtime import free_memory, get_device, mixed_precision, quiet, scale

# Models that have read African languages: too large for the course's downloads, so used where somebody has fetched them, or
# on a GPU. The course has not measured them. Read each one's licence at its source: InkubaLM's forbids commercial use.
HUB = {"afro-xlmr": "Davlan/afro-xlmr-base", "afriberta": "castorini/afriberta_base",
       "multilingual-e5": "intfloat/multilingual-e5-small", "inkubalm": "lelapa/InkubaLM-0.4B"}


def mean_pool(hidden, attention_mask):
    """Mean of the token vectors of each text, padding left out.

    hidden (batch, tokens, width), attention_mask (batch, tokens) of 1 and 0 -> (batch, width).
    Source: Reimers & Gurevych, 2019, section 3.
    """
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


class MeanPoolClassifier(BertPreTrainedModel):
    """BERT encoder, or one of its relatives, -> mean over the tokens -> dropout -> one linear layer.

    input_ids, attention_mask (batch, tokens) -> logits (batch, num_labels), and the mean cross-entropy as `loss` when
    `labels` (batch,) are given. The mean is used, not the [CLS] vector, because MiniLM was trained that way.
    """

    def __init__(self, config):
        super().__init__(config)
        self.bert = (BertModel(config, add_pooling_layer=False) if config.model_type == "bert"
                     else AutoModel.from_config(config, add_pooling_layer=False))
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


class VectorClassifier(nn.Module):
    """A classification head alone, on texts that are vectors already: one linear layer.

    vectors (batch, width) -> logits (batch, classes), and the mean cross-entropy as `loss` when `labels` (batch,) are given.
    With an encoder that does not learn, the vectors are computed once, and an update takes about a millisecond.

    >>> VectorClassifier(width=4, classes=3)(torch.zeros(2, 4)).logits.shape
    torch.Size([2, 3])
    """

    def __init__(self, width, classes):
        super().__init__()
        self.classifier = nn.Linear(width, classes)

    def forward(self, vectors, labels=None):
        logits = self.classifier(vectors)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


class MaskedPositionsLM(BertForMaskedLM):
    """BertForMaskedLM that, when `labels` are given, scores the vocabulary at the masked positions only.

    The loss is the same; the product with the (vocabulary x width) matrix is done for 15 % of the tokens.
    logits: (masked positions, vocabulary) with labels, (batch, tokens, vocabulary) without.
    """

    def forward(self, input_ids, attention_mask=None, labels=None, **kwargs):
        hidden = self.bert(inputs_embeds=self.word_vectors(input_ids), attention_mask=attention_mask).last_hidden_state
        if labels is None:
            return MaskedLMOutput(logits=self.cls(hidden))
        chosen = labels != -100
        logits = self.cls(hidden[chosen])
        return MaskedLMOutput(loss=masked_mean(logits, labels[chosen]), logits=logits)

    def word_vectors(self, input_ids):
        """The word embeddings of tokens, (batch, tokens, width).

        Input and output share one matrix, and the output's gradient is dense. The input's has few rows that are not 0:
        added to the other as a sparse one, it spares a second matrix of that size (47 MB in MiniLM).
        """
        words = self.get_input_embeddings()
        return nn.functional.embedding(input_ids, words.weight, words.padding_idx, sparse=self.config.tie_word_embeddings)


class MaskedPositionsPretraining(BertForPreTraining):
    """BERT with both pretraining heads; the vocabulary is scored at the masked positions only.

    input_ids, token_type_ids (batch, tokens), labels (batch, tokens), next_sentence_label (batch,; 1 = the second part
    follows) -> loss = masked-token loss + next-sentence loss, both in nats (Devlin et al., 2019, section 3.1);
    `prediction_logits` at the masked positions and `seq_relationship_logits` (batch, 2).
    """

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None, next_sentence_label=None, **kwargs):
        output = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        hidden, pooled = output.last_hidden_state, output.pooler_output
        chosen = torch.ones_like(input_ids, dtype=torch.bool) if labels is None else labels != -100
        logits, relation = self.cls(hidden[chosen], pooled)
        loss = None
        if labels is not None:
            loss = masked_mean(logits, labels[chosen])
        if next_sentence_label is not None:
            loss = (loss or 0) + nn.functional.cross_entropy(relation, next_sentence_label)
        return BertForPreTrainingOutput(loss=loss, prediction_logits=logits, seq_relationship_logits=relation)


def masked_mean(logits, labels):
    """Mean cross-entropy in nats of logits (n, vocabulary) at labels (n,); 0, not NaN, when there are none."""
    return nn.functional.cross_entropy(logits, labels, reduction="sum") / max(1, len(labels))


def model_folder(name):
    """Where a model lies: the folder of a course model ("minilm"), or `name` itself if it is a folder of yours or
    "owner/model" of a hub.

    For a name in HUB it is the folder of that name in the store, where somebody has put it, or at scale "gpu" its address
    on the hub. AssetMissing, with the command that brings it, where it is neither.
    """
    if Path(str(name)).is_dir() or "/" in str(name):
        return name
    if name not in HUB:
        return asset_path(name)
    folder = store() / name
    if (folder / "config.json").is_file():
        return folder
    if scale() == "gpu":
        return HUB[name]
    raise AssetMissing(say("{name} ({address}) is no part of the course's downloads and not on this machine. To mend it, on "
                           "a good line: `hf download {address} --local-dir {folder}`. Or work on a GPU.", name=repr(name),
                           address=HUB[name], folder=folder))  # fmt: skip


def load_tokenizer(name="minilm"):
    """The tokenizer that belongs to a model."""
    quiet()
    return AutoTokenizer.from_pretrained(model_folder(name))


def load_encoder(name="minilm"):
    """The pretrained encoder without a head: input_ids (batch, tokens) -> last_hidden_state (batch, tokens, width)."""
    quiet()
    return AutoModel.from_pretrained(model_folder(name), add_pooling_layer=False, dtype=torch.float32)


def load_masked_lm(name="minilm", log_frequencies=None):
    """The encoder with a masked-language-model head; MiniLM comes without one, so its head starts fresh.

    The output matrix is the (tied) input embedding, as in BERT. log_frequencies: see `new_bert`.
    """
    quiet()
    model = MaskedPositionsLM.from_pretrained(model_folder(name), dtype=torch.float32)
    return set_output_bias(model, log_frequencies)


def load_pretraining(name="minilm", log_frequencies=None):
    """The encoder with both pretraining heads (hidden tokens, next sentence); heads that the model lacks start fresh."""
    quiet()
    model = MaskedPositionsPretraining.from_pretrained(model_folder(name), dtype=torch.float32)
    return set_output_bias(model, log_frequencies)


def new_bert(tokenizer, layers=2, width=128, next_sentence=False, log_frequencies=None):
    """A small BERT with random weights, for pretraining from nothing.

    next_sentence: with the second head (MaskedPositionsPretraining) or without (MaskedPositionsLM).
    log_frequencies (vocabulary,): log-probabilities of the tokens in the corpus, the start of the output bias: the model
    then begins at the unigram entropy instead of log(vocabulary), and need not spend its first updates on counting.
    """
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=width, num_hidden_layers=layers,
                        num_attention_heads=max(1, width // 64), intermediate_size=4 * width, max_position_embeddings=512,
                        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=tokenizer.pad_token_id)
    model = (MaskedPositionsPretraining if next_sentence else MaskedPositionsLM)(config)
    return set_output_bias(model, log_frequencies)


def set_output_bias(model, log_frequencies):
    """Start the vocabulary head's bias at the log-frequencies (vocabulary,) of the tokens; None leaves it at 0."""
    if log_frequencies is not None:
        with torch.no_grad():
            model.cls.predictions.bias.copy_(torch.as_tensor(log_frequencies, dtype=torch.float32))
    return model


def load_causal_lm(name="smollm2"):
    """A generative language model in evaluation mode, 32-bit on a CPU: input_ids (batch, tokens) -> next-token logits.

    name: "smollm2" (134.5 M parameters), a folder, or at scale "gpu" a model of the Hugging Face hub. On a GPU the
    weights are 16-bit.
    """
    quiet()
    folder = model_folder(name)
    if name == "smollm2" and get_device().type == "cpu":
        return load_by_tensor(folder)
    dtype = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[mixed_precision()]
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval().to(get_device())


def load_first_layers(name, layers):
    """A causal language model with the first `layers` layers of the model `name` alone, in 32 bits: for tests of code."""
    quiet()
    return load_by_tensor(model_folder(name), layers)


def load_by_tensor(folder, layers=None):
    """A causal language model in 32 bits from a folder with 16-bit weights, as `from_pretrained` gives it.

    layers: only so many of its first layers (None: all).

    The file is opened anew for each tensor, so that what was read leaves memory again: SmolLM2 and its whole file at
    once are 810 MB, this way 650. What a model left that was let go before goes back first.
    """
    free_memory()
    config = AutoConfig.from_pretrained(folder)
    if layers is not None:
        config.num_hidden_layers = layers
    with no_init_weights():  # all of them are read from the file
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.tie_weights()
    weights = Path(folder) / "model.safetensors"
    with safe_open(weights, "pt") as file:
        names = list(file.keys())
    if layers is not None:
        kept = dict(model.named_parameters())
        names = [name for name in names if name in kept]
    with torch.no_grad():
        for name in names:
            with safe_open(weights, "pt") as file:
                model.get_parameter(name).copy_(file.get_tensor(name))
    return model.eval()


def prefill_seconds(tokens, name="smollm2", layers=3, repeats=3):
    """Seconds that the causal model `name` needs to read `tokens` tokens here, from a part of `layers` of its layers.

    The time depends on the shape of the model and not on its weights, so these are random and little memory is needed. The
    best of `repeats` runs, times (all layers / `layers`); the score of the next token, under 1 % of it, is left out.
    """
    quiet()
    config = AutoConfig.from_pretrained(model_folder(name), vocab_size=64, num_hidden_layers=layers, pad_token_id=0)
    whole = AutoConfig.from_pretrained(model_folder(name)).num_hidden_layers
    with torch.random.fork_rng(devices=[]):
        model = AutoModel.from_config(config, dtype=torch.float32).eval().to(get_device())
    ids, seconds = torch.zeros((1, tokens), dtype=torch.long, device=model.device), []
    for _ in range(repeats):
        started = time.perf_counter()
        with torch.no_grad():
            float(model(ids).last_hidden_state.sum())  # a number: waits until a GPU is ready
        seconds.append(time.perf_counter() - started)
    return min(seconds) * whole / layers


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
    if init == "pretrained" and config.model_type == "bert":
        model = MeanPoolClassifier.from_pretrained(folder, config=config, dtype=torch.float32)
    elif init == "pretrained":  # its weights have other names: they would be left out without a word
        model = MeanPoolClassifier(config)
        model.bert = AutoModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32)
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
