"""A student that learns from a teacher's answers."""

import copy

import torch
from torch import nn

from leaplm.evaluation import predict_logits


def distillation_loss(student_logits, teacher_logits, labels, temperature=2.0, weight=0.9):
    """weight * T^2 * KL(teacher || student) + (1 - weight) * cross-entropy with the labels, a mean over the texts, in nats.

    student_logits, teacher_logits (batch, classes), labels (batch,). Both distributions in the first part are softened:
    softmax(logits / T). T^2 keeps its gradients as large as those of the second part.
    Source: Hinton et al., 2015, *Distilling the knowledge in a neural network*, section 2.

    >>> same = torch.tensor([[2.0, 0.0]])
    >>> float(distillation_loss(same, same, torch.tensor([0]), weight=1.0))
    0.0
    """
    ours, theirs = ((logits / temperature).log_softmax(dim=-1) for logits in (student_logits, teacher_logits))
    soft = nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    hard = nn.functional.cross_entropy(student_logits, labels)
    return weight * temperature**2 * soft + (1 - weight) * hard


def make_student(model, layers=(0, 2, 4)):
    """A copy of a classifier with only these of its encoder's layers (numbers from 0).

    Source: Sanh et al., 2019, *DistilBERT*, section 3 (every second layer).
    """
    depth = len(model.bert.encoder.layer)
    if not layers or not set(layers) <= set(range(depth)):
        raise ValueError(f"layers={tuple(layers)} must be numbers from 0 to {depth - 1}")
    student = copy.deepcopy(model)
    student.bert.encoder.layer = nn.ModuleList([student.bert.encoder.layer[i] for i in layers])
    student.config.num_hidden_layers = len(layers)
    return student


def with_teacher(rows, teacher, collate_fn):
    """The rows, each with the teacher's logits; a row without a label gets the teacher's answer as its label."""
    logits = predict_logits(teacher, rows, collate_fn)
    return [{"label": int(scores.argmax()), **row, "teacher_logits": scores}
            for row, scores in zip(rows, logits, strict=True)]


class TeacherCollator:
    """A collator that also gives the teacher's logits (batch, classes)."""

    def __init__(self, collate_fn):
        self.collate_fn = collate_fn

    def __call__(self, rows):
        logits = torch.stack([torch.as_tensor(row["teacher_logits"]) for row in rows])
        return {**self.collate_fn(rows), "teacher_logits": logits}


def distillation_objective(temperature=2.0, weight=0.9):
    """`distillation_loss` in the form that `training.train` takes: (model, batch) -> (loss, number of texts)."""
    def objective(model, batch):
        teacher = batch["teacher_logits"]
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return distillation_loss(logits, teacher, batch["labels"], temperature, weight), len(teacher)
    return objective
