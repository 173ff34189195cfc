"""Is a pretrained model good for a task? A linear classifier on its vectors, which themselves do not learn.

Source: Conneau et al., 2018, *What you can cram into a single vector* (probing with a simple classifier).
"""

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from leaplm.fewshot import embed


def probe(encoder, tokenizer, train, test, C=1.0):
    """Predicted classes (n,) of the texts of `test`, by a logistic regression on vectors of the frozen `encoder`.

    A text's vector is the mean over its tokens; each of its numbers is scaled to mean 0 and deviation 1 on `train`, so
    that encoders of any scale can be compared. encoder: input_ids, attention_mask -> last_hidden_state, such as `.bert` of
    a model of `models.new_bert`. train: rows with text and label; test: rows with text.

    >>> probe(small.bert, tokenizer, dataset["train"], dataset["test"])    # doctest: +SKIP
    array([1, 0, 1])
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=2000))
    model.fit(embed(encoder, tokenizer, train["text"]), train["label"])
    return model.predict(embed(encoder, tokenizer, test["text"]))
