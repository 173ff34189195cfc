"""What the calibration records of the labs say about methods, in one table: the evidence from which a capstone starts."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from leaplm.calibration import load_record


@dataclass(frozen=True)
class Source:
    """One study of a lab. columns: {method: column with its score}, or `by`: the column that names the method, with `score`.

    labels: the column with the number of labelled texts, a number, or a function of the rows.
    """

    lab: str
    study: str
    labels: object
    columns: dict = field(default_factory=dict)
    by: str = ""
    score: str = "accuracy"
    where: dict = field(default_factory=dict)

    def rows(self):
        """A row for each run: lab, language, method, labels, score, metric."""
        record = load_record(self.lab, self.study, **self.where)
        columns = self.columns or {None: self.score}
        return pd.concat([self.one_method(record, name, column) for name, column in columns.items()])

    def one_method(self, record, name, column):
        labels = record[self.labels] if isinstance(self.labels, str) else self.labels
        labels = labels(record) if callable(labels) else labels
        language = record.get("language", "eng")
        return pd.DataFrame({
            "lab": self.lab.split("_")[0].removeprefix("lab"), "language": language, "labels": labels,
            "method": record[self.by] if name is None else name, "score": record[column],
            "metric": "macro-F1" if column.endswith("macro_f1") else "accuracy"})


SOURCES = (
    Source("lab2_finetuning", "learning_curve", "size",
           {"majority class": "majority_accuracy", "TF-IDF, words": "tfidf_words_accuracy",
            "TF-IDF, characters": "tfidf_characters_accuracy", "full fine-tuning": "accuracy"}),
    *(Source("lab2_finetuning", "main", 1000,
             {"majority class": "all_majority_macro_f1", "TF-IDF, words": "all_tfidf_words_macro_f1",
              "TF-IDF, characters": "all_tfidf_characters_macro_f1", "full fine-tuning": "all_macro_f1"},
             where={"language": language}) for language in ("hau", "swa")),
    Source("lab3_lora", "methods", 1000, by="method"),
    Source("lab3_lora", "main", 1000, {"LoRA": "macro_f1"}),
    *(Source("lab2_finetuning", "more_labels", "size",
             {"TF-IDF, words": "tfidf_words_macro_f1", "TF-IDF, characters": "tfidf_characters_macro_f1"},
             where={"language": language}) for language in ("hau", "swa")),
    # As it is: lab 5 finds that taking the label bias out loses here. Its template is the best of lab 4's ten, which only
    # labelled texts can tell; without any, expect the mean of the ten.
    Source("lab5_fewshot", "in_context", 0, {"prompt without examples, the best of ten templates": "accuracy"},
           where={"shots": 0}),
    Source("lab4_prompting", "templates", 0, {"prompt without examples, one of ten templates": "sum_accuracy"},
           where={"language": "eng"}),
    Source("lab4_prompting", "main", 60, {"prompt chosen with 60 labels": "test_macro_f1"}),
    Source("lab5_fewshot", "learning_curves", lambda rows: 2 * rows.shots, by="method", where={"task": "movies"}),
    Source("lab6_overfitting", "remedies", lambda rows: 100 + 100 * rows.remedy.str.startswith("200"), by="remedy"),
    Source("lab6_overfitting", "other_languages", 100, by="remedy", score="macro_f1"),
)


def table(labels, sources=SOURCES, within=2.0):
    """Mean and sample standard deviation of each method at the number of labels nearest to `labels` (as a ratio).

    A DataFrame with one row for each language, metric and method: labels, mean, sd, seeds. It is sorted within a metric,
    and what had more than `within` times as many labels as you is left out: a score from 1,000 labels says little about
    150. English: film reviews; other languages: tweets with three classes.
    """
    if labels < 1:
        raise ValueError(f"labels={labels} must be at least 1")
    rows = pd.concat([source.rows() for source in sources], ignore_index=True)
    rows = rows[rows.labels <= within * labels]
    keys = ["language", "metric", "lab", "method"]
    rows["distance"] = np.abs(np.log(rows.labels.clip(lower=1) / labels))
    nearest = rows[rows.distance == rows.groupby(keys).distance.transform("min")]
    found = nearest.groupby([*keys, "labels"], sort=False).score.agg(mean="mean", sd="std", seeds="count")
    order = ["language", "metric", "mean"]
    return found.reset_index().sort_values(order, ascending=[True, True, False]).round(3).reset_index(drop=True)
