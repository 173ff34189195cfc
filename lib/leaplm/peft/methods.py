"""The parameter-efficient methods of lab 3 under one name each; everything that calls `peft` stands here.

Full fine-tuning, the frozen encoder, LoRA and the bottleneck adapter are the course's own; AdaLoRA, IA3, prefix tuning
and prompt tuning come from peft. The head learns in all of them.
"""

import contextlib

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from leaplm.models import load_sequence_classifier
from leaplm.peft import lora

METHODS = ("full fine-tuning", "frozen encoder", "LoRA", "AdaLoRA", "IA3", "bottleneck adapter", "prefix tuning",
           "prompt tuning")
VIRTUAL_TOKENS = 10


def make_method(method, labels, updates=100):
    """A MiniLM classifier over `labels` (class names) made ready for one of METHODS.

    updates: how many there will be; AdaLoRA plans by it. Train it inside `with method_hooks(model):`.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not known. Use one of: {', '.join(METHODS)}.")
    model = load_sequence_classifier(labels, freeze="encoder" if method == "frozen encoder" else None)
    if method == "LoRA":
        return lora.inject_lora(model)
    if method == "bottleneck adapter":
        return lora.inject_adapters(model)
    if method in ("AdaLoRA", "IA3"):
        return with_peft(model, tuner_config(method, updates))
    if method in ("prefix tuning", "prompt tuning"):
        model.bert = VirtualTokens(model.bert, prompt_config(method))
    return model


def tuner_config(method, updates):
    from peft import AdaLoraConfig, IA3Config

    head = {"modules_to_save": list(lora.HEAD)}
    if method == "IA3":
        inner = r"\d+\.output\.dense"  # the layer behind the inner activation; not the one behind the attention
        return IA3Config(target_modules=rf".*\.(key|value|{inner})", feedforward_modules=rf".*\.{inner}", **head)
    # From rank 12 down to 8 on average: weak directions are cut between 20 % and 70 % of the updates.
    return AdaLoraConfig(target_modules=list(lora.MINILM_TARGETS), init_r=12, target_r=8, lora_alpha=16,
                         tinit=max(1, updates // 5), tfinal=max(1, 3 * updates // 10), deltaT=5, total_step=updates,
                         **head)


def prompt_config(method):
    from peft import PrefixTuningConfig, PromptTuningConfig

    config = {"prefix tuning": PrefixTuningConfig, "prompt tuning": PromptTuningConfig}[method]
    return config(task_type="FEATURE_EXTRACTION", num_virtual_tokens=VIRTUAL_TOKENS)


def with_peft(model, config):
    from peft import get_peft_model

    return get_peft_model(model, config)


def peft_twin(layer):
    """peft's own layer with the weights, rank and alpha of a LoRALinear or DoRALinear: it must compute the same."""
    from peft import LoraConfig

    dora = isinstance(layer, lora.DoRALinear)
    rank = len(layer.lora_A)
    base = nn.Linear(layer.base.in_features, layer.base.out_features, bias=layer.base.bias is not None)
    base.load_state_dict(layer.base.state_dict())
    config = LoraConfig(target_modules=["0"], r=rank, lora_alpha=layer.scaling * rank, use_dora=dora)
    twin = with_peft(nn.Sequential(base), config).base_model.model[0]
    twin.lora_A["default"].weight.data.copy_(layer.lora_A)
    twin.lora_B["default"].weight.data.copy_(layer.lora_B)
    if dora:
        twin.lora_magnitude_vector["default"].weight.data.copy_(layer.magnitude)
    return twin


def peft_adapter(model, config, tensors):
    """`model`, a base without adapters, under peft's own LoRA with the config and tensors of a file of `lora.save_adapter`.

    It must give the logits that `lora.load_adapter` gives.
    """
    from peft import LoraConfig

    twin = with_peft(model, LoraConfig(target_modules=config["targets"], r=config["rank"], lora_alpha=config["alpha"]))
    slots = dict(twin.named_parameters())
    for name, tensor in tensors.items():
        slot = slots[f"base_model.model.{name}" + (".default.weight" if ".lora_" in name else "")]
        slot.data = torch.as_tensor(tensor).to(slot)
    return twin


class VirtualTokens(nn.Module):
    """An encoder with learned virtual tokens before the text, whose output has the text's positions only.

    input_ids, attention_mask (batch, tokens) -> last_hidden_state (batch, tokens, width).
    """

    def __init__(self, encoder, config):
        super().__init__()
        self.peft = with_peft(encoder, config)

    def forward(self, input_ids, attention_mask):
        output = self.peft(input_ids=input_ids, attention_mask=attention_mask)
        output.last_hidden_state = output.last_hidden_state[:, -input_ids.shape[1]:]
        return output


@contextlib.contextmanager
def method_hooks(model):
    """What a method needs during training: AdaLoRA shares out its ranks anew after each update of the weights."""
    tuner = next((module for module in model.modules() if hasattr(type(module), "update_and_allocate")), None)
    if tuner is None:
        yield
        return
    done = 0

    def after_update(optimizer, args, kwargs):
        nonlocal done
        done += 1
        tuner.update_and_allocate(done)  # reads the gradients, which are still there

    handle = register_optimizer_step_post_hook(after_update)
    try:
        yield
    finally:
        handle.remove()


def learned(model):
    """Names and tensors of what learns: the content of the file that has to be kept."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def megabytes(model):
    """Size in MB (10^6 bytes) of what learns, in 16-bit numbers."""
    return 2 * sum(p.numel() for p in learned(model).values()) / 1e6
