"""What a model gives away about the people in its training data, and training that bounds it.

Membership inference asks of one text: was it trained on? Differential privacy bounds every such attack: with a budget of
epsilon, adding or removing one training row changes the probability of any outcome by a factor of at most exp(epsilon)
(but for a probability of delta). A row is not a person: who wrote ten of the rows is protected only as a group of ten.
Sources: Yeom et al., 2018; Carlini et al., 2022, *Membership inference attacks from first principles*; Abadi et al., 2016,
*Deep learning with differential privacy*.
"""

import dataclasses
import functools
import itertools
import math
import warnings

import numpy as np

from leaplm.locales import say

ROWS = 2000  # labelled texts of the private head that is handed in, at most
WIDTHS = {"minilm": 385, "characters": 513}  # of the features, with the bias
BIAS = 0.3  # the last feature of every text; small, since a long constant part would fill the clipped gradient


def membership_attack(member_losses, other_losses, most_false=0.05):
    """How well a threshold on the loss tells members from others: (AUC, true-positive rate), both in [0, 1].

    member_losses (m,) and other_losses (n,): losses of texts that were trained on, and of texts that were not. The attack
    calls a text a member when its loss is at most a threshold. AUC: the probability that a member's loss is smaller than
    another text's (equal losses count half); 0.5 is chance. The rate: the largest share of members found by a threshold
    that calls at most the share `most_false` of the others members. Sources: Yeom et al., 2018, section 3; Carlini et al.,
    2022, section 3 (why a low false-positive rate matters).

    >>> membership_attack([0.1, 0.2, 0.9], [0.3, 0.8], most_false=0.0)
    (0.6666666666666666, 0.6666666666666666)
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    members, others = np.asarray(member_losses, dtype=float), np.asarray(other_losses, dtype=float)
    if not len(members) or not len(others):
        raise ValueError(say("the attack needs losses of members and of others; one of the lists is empty"))
    truth = np.repeat([1, 0], [len(members), len(others)])
    scores = -np.concatenate([members, others])
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    return float(roc_auc_score(truth, scores)), float(true[false <= most_false + 1e-12].max())


def attack_interval(member_losses, other_losses, level=0.95, rounds=1000, seed=0):
    """Percentile interval (low, high) of the attack's AUC: members and others are each drawn again with replacement."""
    members, others, rng = np.asarray(member_losses), np.asarray(other_losses), np.random.default_rng(seed)
    scores = [membership_attack(rng.choice(members, len(members)), rng.choice(others, len(others)))[0]
              for _ in range(rounds)]
    tail = (1 - level) / 2
    return tuple(float(q) for q in np.quantile(scores, [tail, 1 - tail]))


def calibrated_scores(target_losses, shadow_losses, inside):
    """How much more probable each text's loss is if it was trained on than if not: log-likelihood ratios (n,), by shadows.

    A small loss alone says little: easy texts have one whether they were trained on or not. So the attacker trains other
    models, the shadows, on random halves of such texts, and compares a text with itself. target_losses (n,) of the model
    that is attacked; shadow_losses (k, n) in nats; inside (k, n): whether shadow k was trained on text n, both cases for
    each text. Losses are taken as log p / (1 - p), which is nearly normal. Source: Carlini et al., 2022, algorithm 1 (LiRA,
    with one variance for all texts, as they advise for few shadows).

    >>> shadows = [[0.1, 0.9], [0.2, 0.8], [0.7, 1.1], [0.8, 1.0]]
    >>> scores = calibrated_scores([0.15, 1.05], shadows, [[1, 1], [1, 1], [0, 0], [0, 0]])
    >>> bool(scores[0] > 0 > scores[1])
    True
    """
    inside = np.asarray(inside, dtype=bool)
    if not (inside.any(axis=0) & ~inside.all(axis=0)).all():
        raise ValueError(say("each text needs shadows that were trained on it and shadows that were not"))
    target, shadows = (np.log(1 / np.expm1(np.maximum(losses, 1e-9))) for losses in (target_losses, shadow_losses))
    ratio = np.zeros(len(target))
    for sign, chosen in ((1, inside), (-1, ~inside)):
        mean = np.where(chosen, shadows, 0).sum(axis=0) / chosen.sum(axis=0)
        deviation = np.sqrt(np.mean((shadows - mean)[chosen] ** 2)) + 1e-12
        ratio += sign * (-np.log(deviation) - ((target - mean) / deviation) ** 2 / 2)
    return ratio


def shadow_attack(train, features, labels, shadows=128, most_false=0.05, seed=0):
    """Attack a head with and without shadows: {"loss_auc", "loss_tpr", "shadow_auc", "shadow_tpr"} (`membership_attack`).

    train: (rows, seed) -> head (classes, width), on the numbers of the rows; features (n, width), labels (n,). The target
    and each shadow are trained on another random half of the n texts; the other half are the texts it has not seen.
    """
    rng, half = np.random.default_rng([seed, 13]), len(labels) // 2
    inside = np.array([rng.permutation(len(labels)) < half for _ in range(shadows + 1)])
    losses = np.array([text_losses(head_logits(train(np.flatnonzero(rows), seed + 1000 * number), features), labels)
                       for number, rows in enumerate(inside)])
    members, found = inside[0], {}
    for name, score in (("loss", losses[0]), ("shadow", -calibrated_scores(losses[0], losses[1:], inside[1:]))):
        found[f"{name}_auc"], found[f"{name}_tpr"] = membership_attack(score[members], score[~members], most_false)
    return found


def text_losses(logits, labels):
    """The loss of each text in nats (n,), from logits (n, classes) and labels (n,)."""
    from leaplm.evaluation import log_softmax

    return -log_softmax(logits)[np.arange(len(labels)), np.asarray(labels)]


def train_and_attack(members, others, epochs=10, seed=0, output_dir=None, progress=True):
    """Fine-tune MiniLM on the dataset `members` and attack it after each epoch, with `others` as texts it has not seen.

    Returns a list with a dict per epoch: epoch, auc, tpr (at 5 % false positives), member_loss and loss (nats a text,
    members and others), accuracy (on the others). The word vectors stay frozen.
    """
    from leaplm import data, evaluation, models, training
    from leaplm.runtime import get_device, set_seed

    names, tokenizer = members.features["label"].names, models.load_tokenizer()
    rows, other_rows = data.tokenize(members, tokenizer, 64), data.tokenize(others, tokenizer, 64)
    collate = data.DynamicPaddingCollator(tokenizer.pad_token_id)

    def attack(model):
        logits, other_logits = (evaluation.predict_logits(model, some, collate) for some in (rows, other_rows))
        losses, other_losses = text_losses(logits, members["label"]), text_losses(other_logits, others["label"])
        auc, tpr = membership_attack(losses, other_losses)
        return {"auc": auc, "tpr": tpr, "member_loss": float(losses.mean()), "loss": float(other_losses.mean()),
                "accuracy": evaluation.accuracy(others["label"], other_logits.argmax(1))}

    set_seed(seed)
    model = models.load_sequence_classifier(names, freeze="embeddings").to(get_device())
    config = training.TrainingConfig(learning_rate=2e-4, epochs=epochs, batch_size=16, schedule="constant", seed=seed,
                                     output_dir=output_dir, progress=progress)
    history = training.train(model, rows, collate, config, attack)
    return [{"epoch": number, **row} for number, row in enumerate(history.validation, 1)]


# -- private training of a head -----------------------------------------------------------------------------------------


MOST_STEPS = 2000
RDP_ORDERS = tuple(range(2, 33))  # of `rdp_epsilon`


@dataclasses.dataclass
class PrivateConfig:
    """Settings of DP-SGD.

    epsilon, delta: the budget that is aimed at (epsilon infinite: no noise and no clipping).
    sample_rate: the probability with which each row is in the batch of a step. steps: updates.
    max_norm: the length to which each row's gradient is clipped.
    Plain SGD from weights of zero; the learning rate falls to 0 on a straight line (`rate`).
    """

    epsilon: float = 8.0
    delta: float = 1e-5
    sample_rate: float = 0.25
    steps: int = 100
    max_norm: float = 1.0
    learning_rate: float = 10.0

    def __post_init__(self):
        if not self.epsilon > 0 or not 0 < self.delta < 1:
            raise ValueError(f"epsilon={self.epsilon} must be above 0, and delta={self.delta} between 0 and 1")
        if not 0 < self.sample_rate <= 1 or not 1 <= self.steps <= MOST_STEPS or self.max_norm <= 0:
            raise ValueError(f"sample_rate={self.sample_rate} must lie in (0, 1]; steps={self.steps} from 1 to "
                             f"{MOST_STEPS}; max_norm={self.max_norm} above 0")

    def rate(self, step):
        """The learning rate of a step, counted from 0."""
        return self.learning_rate * (1 - step / self.steps)


def feature_kind(language):
    """What a private head reads in a language: MiniLM's vectors in English, which it knows; characters elsewhere."""
    return "minilm" if language == "eng" else "characters"


def private_config(language, epsilon=8.0):
    """The settings of the course for a language and a budget, found by trying a few (which a real release must count)."""
    return PrivateConfig(epsilon=epsilon, learning_rate=10.0 if feature_kind(language) == "minilm" else 60.0)


def text_features(texts, kind):
    """Vectors of length 1 with a last BIAS, (n, width + 1): a function of each text alone, learned from nobody in the data.

    kind: "minilm" (frozen encoder, mean over tokens, 384) or "characters" (pieces of 2 to 4 characters, hashed to 512
    places: a vocabulary counted from the data would itself give something away).
    """
    if kind == "minilm":
        from leaplm import fewshot, models

        vectors = fewshot.unit(fewshot.embed(models.load_encoder(), models.load_tokenizer(), list(texts)))
    elif kind == "characters":
        from sklearn.feature_extraction.text import HashingVectorizer

        vectors = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 4), n_features=512).transform(texts).toarray()
    else:
        raise ValueError(f"kind={kind!r}: use 'minilm' or 'characters'")
    return np.concatenate([vectors, np.full((len(vectors), 1), BIAS)], axis=1).astype(np.float32)


def head_logits(weight, features):
    """Class scores (n, classes) of a head: weight (classes, width), features (n, width)."""
    return np.asarray(features) @ np.asarray(weight).T


def per_example_gradients(weight, features, labels):
    """The gradient of each row's cross-entropy by a head's weight, (n, classes * width): n may be 0.

    weight (classes, width), features (n, width), labels (n,). The gradient of a row is the outer product of p - y (its
    probabilities, minus 1 at its label) and its features; a row of the result is that table, row by row of the weight.

    >>> per_example_gradients(np.zeros((2, 2)), np.array([[1.0, 4.0]]), np.array([0])).tolist()
    [[-0.5, -2.0, 0.5, 2.0]]
    """
    from leaplm.evaluation import log_softmax

    error = np.exp(log_softmax(head_logits(weight, features)))
    error[np.arange(len(labels)), labels] -= 1
    return (error[:, :, None] * np.asarray(features)[:, None, :]).reshape(len(labels), np.size(weight))


def clip_and_noise(gradients, max_norm, noise_multiplier, normal, expected_batch):
    """One private gradient: clip each row's, add them up, add noise, divide by the expected size of a batch.

    gradients (batch, parameters): one row per text or person; there may be none. A row longer than `max_norm` is scaled
    down to that length, the others stay. normal (parameters,): standard normal numbers; times noise_multiplier * max_norm
    they are the noise, added once.
    The *expected* size, since the real one would tell who is in the batch. Returns (parameters,).
    Source: Abadi et al., 2016, algorithm 1.

    >>> clip_and_noise(np.array([[3.0, 4.0], [0.0, 0.5]]), 1.0, 2.0, np.array([1.0, 0.0]), 2).tolist()
    [1.3, 0.65]
    """
    gradients = np.asarray(gradients, dtype=np.float64)
    lengths = np.linalg.norm(gradients, axis=1, keepdims=True)
    clipped = gradients * np.minimum(1, max_norm / np.maximum(lengths, 1e-12))
    return (clipped.sum(axis=0) + noise_multiplier * max_norm * np.asarray(normal)) / expected_batch


def train_head_privately(features, labels, num_classes, config, seed=0):
    """DP-SGD on a linear head: (weight (classes, width), noise multiplier).

    Each step draws every row with probability `sample_rate` (Poisson sampling: what the accountant assumes). An infinite
    epsilon trains the same way without clipping and noise. The course fixes the seed so that runs can be repeated; a real
    release must take its noise from a source that nobody can repeat.
    """
    private = math.isfinite(config.epsilon)
    noise = noise_for(config.epsilon, config.delta, config.sample_rate, config.steps) if private else 0.0
    return train_head_with_noise(features, labels, num_classes, config, noise, seed), noise


def train_head_with_noise(features, labels, num_classes, config, noise, seed=0):
    """The weight (classes, width) of such a training with this noise multiplier: the same again for the same seed."""
    private = math.isfinite(config.epsilon)
    rng, labels = np.random.default_rng([seed, 12]), np.asarray(labels)
    weight = np.zeros((num_classes, features.shape[1]))
    for step in range(config.steps):
        rows = np.flatnonzero(rng.random(len(labels)) < config.sample_rate)
        gradients = per_example_gradients(weight, features[rows], labels[rows])
        gradient = clip_and_noise(gradients, config.max_norm if private else 1e9, noise, rng.normal(size=weight.size),
                                  config.sample_rate * len(labels))
        weight -= config.rate(step) * gradient.reshape(weight.shape)
    return weight


def dp_sgd(features, labels, people, classes, config, noise_multiplier, generator):
    """DP-SGD on a linear head, for people with one row or with many: (weight (classes, width), epsilon spent, history).

    features (n, width), labels (n,); people (n,): who wrote each row, numbers from 0 without a gap. A step draws every
    person with probability config.sample_rate, adds up the gradients of a person's rows, and clips and noises these sums:
    so epsilon holds for a person. With people = np.arange(n) it holds for a row, and the weight is that of
    `train_head_with_noise` for np.random.default_rng([seed, 12]). It stops before a step with which `rdp_epsilon` would be
    above config.epsilon. history: for each step {"epsilon": spent so far, "length": of the noisy gradient}. Neither
    depends on a row by more than the promise allows; the loss or the real size of a batch would.
    generator: numpy's; in each step it draws the people, then the noise. Source: Abadi et al., 2016, algorithm 1; McMahan
    et al., 2018, *Learning differentially private recurrent language models* (by person).

    >>> config = PrivateConfig(epsilon=3.0, steps=200)
    >>> x, y = np.eye(4), np.array([0, 1, 0, 1])
    >>> weight, spent, history = dp_sgd(x, y, np.arange(4), 2, config, 3.0, np.random.default_rng(0))
    >>> weight.shape, round(spent, 2), len(history)
    ((2, 4), 2.97, 53)
    """
    labels, people = np.asarray(labels), np.asarray(people)
    count, weight, spent, history = int(people.max()) + 1, np.zeros((classes, features.shape[1])), 0.0, []
    for step in range(config.steps):
        after = rdp_epsilon(noise_multiplier, config.sample_rate, step + 1, config.delta)
        if after > config.epsilon:
            break
        rows = np.flatnonzero((generator.random(count) < config.sample_rate)[people])
        gradients = sum_by_person(per_example_gradients(weight, features[rows], labels[rows]), people[rows])
        gradient = clip_and_noise(gradients, config.max_norm, noise_multiplier, generator.normal(size=weight.size),
                                  config.sample_rate * count)
        weight = weight - config.rate(step) * gradient.reshape(weight.shape)
        spent = after
        history.append({"epsilon": spent, "length": float(np.linalg.norm(gradient))})
    return weight, spent, history


def sum_by_person(gradients, people):
    """The sums of the rows of each person, in the order of their numbers: gradients (n, parameters), people (n,).

    >>> sum_by_person(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]), np.array([7, 3, 7])).tolist()
    [[0.0, 1.0], [3.0, 0.0]]
    """
    order = np.argsort(people, kind="stable")
    _, starts = np.unique(people[order], return_index=True)
    return np.add.reduceat(gradients[order], starts, axis=0) if len(order) else gradients


def rdp_epsilon(noise_multiplier, sample_rate, steps, delta):
    """The epsilon of so many steps of DP-SGD, from the Renyi divergences of the whole orders 2 to 32 alone.

    True as that of `epsilon_spent`, which tries orders between them and above, too, and is a little smaller. At order a one
    step has the divergence 1 / (a - 1) * log(sum over k of binomial(a, k) (1 - q)^(a - k) q^k exp(k (k - 1) / (2 s^2))),
    with the sample rate q and the noise multiplier s. Steps add up; of all orders the smallest epsilon counts. Infinite
    without noise. Sources: Mironov et al., 2019, *Renyi differential privacy of the sampled Gaussian mechanism*, section
    3.3; Balle et al., 2020, theorem 21 (from divergence to epsilon).

    >>> round(rdp_epsilon(1.0, 0.1, 100, 1e-5), 2)
    7.97
    """
    if noise_multiplier <= 0:
        return math.inf
    return max(0.0, smallest_epsilon(RDP_ORDERS, steps * step_divergences(noise_multiplier, sample_rate, RDP_ORDERS), delta))


@functools.lru_cache(4096)  # at all of Opacus's orders a tenth of a second of computing
def step_divergences(noise_multiplier, sample_rate, orders):
    """The Renyi divergences of one step at these orders (a tuple), an array."""
    from opacus.accountants.analysis import rdp

    return rdp.compute_rdp(q=sample_rate, noise_multiplier=noise_multiplier, steps=1, orders=orders)


def smallest_epsilon(orders, spent, delta):
    """The smallest epsilon that follows from the divergences `spent` at these orders."""
    from opacus.accountants.analysis import rdp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "optimal order is the largest alpha": the bound is then loose, and still true
        return float(rdp.get_privacy_spent(orders=orders, rdp=spent, delta=delta)[0])


def find_noise(spent, epsilon, within=0.001):
    """The smallest noise multiplier with spent(noise) <= epsilon: at most `within` too large, never too small.

    spent: a function of the noise multiplier that falls as the noise grows, such as `rdp_epsilon` with the rest fixed.
    A first guess is doubled until it is large enough; then the interval that holds the answer is halved.

    >>> round(find_noise(lambda noise: 6 / noise, 2.0), 2)
    3.0
    """
    low, high = 0.0, 1.0
    while spent(high) > epsilon:
        low, high = high, 2 * high
    while high - low > within:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= epsilon else (middle, high)
    return high


def epsilon_spent(noise_multiplier, sample_rate, steps, delta):
    """The epsilon of so many steps of DP-SGD, by Opacus's accountant of Renyi differential privacy.

    It depends on nothing else: not on the data, the model, the clipping norm or the learning rate. Infinite without noise.
    Source: Mironov, 2017; https://opacus.ai (RDPAccountant).

    >>> round(epsilon_spent(1.0, 0.1, 100, 1e-5), 1)
    7.9
    """
    if noise_multiplier <= 0:
        return math.inf
    orders = opacus_orders()
    return smallest_epsilon(orders, steps * step_divergences(noise_multiplier, sample_rate, orders), delta)


def opacus_orders():
    """The orders that Opacus's accountant tries."""
    from opacus.accountants import RDPAccountant

    return tuple(RDPAccountant.DEFAULT_ALPHAS)


def most_found(false_alarms, epsilon, delta):
    """The largest share of members that any attack finds at a share of false alarms, by (epsilon, delta): the trade-off.

    Both bounds of the definition: with and without the row can change places. For a training with noise take the
    smallest over its `privacy_profile`. Source: Kairouz et al., 2015, *The composition theorem
    for differential privacy*, theorem 2.1.

    >>> [round(most_found(0.05, epsilon, 1e-5), 3) for epsilon in (0, 1, 3, 8)]
    [0.05, 0.136, 0.953, 1.0]
    """
    return float(min(1, math.exp(epsilon) * false_alarms + delta, 1 - math.exp(-epsilon) * (1 - delta - false_alarms)))


def privacy_profile(noise_multiplier, sample_rate, steps):
    """All that such a training promises at once: a list of (epsilon, delta), from delta 1e-6 to 0.5.

    A pair alone, such as the customary one at 1e-5, tells little of it: `most_found` of the best pair is the promise.
    """
    orders = opacus_orders()
    spent = steps * step_divergences(noise_multiplier, sample_rate, orders)
    return [(smallest_epsilon(orders, spent, delta), float(delta)) for delta in np.logspace(-6, -0.3, 58)]


@functools.cache
def noise_for(epsilon, delta, sample_rate, steps):
    """The smallest noise multiplier whose `epsilon_spent` is at most `epsilon` (and at least 0.01 below it).

    Opacus's search takes a second at all of its orders: so it asks the whole ones first, then those around the best of them.
    """
    orders = opacus_orders()
    whole = [order for order in orders if order == int(order)]
    rough = search_noise(epsilon, delta, sample_rate, steps, whole)
    spent = steps * step_divergences(rough, sample_rate, tuple(whole))
    best = min(range(len(whole)), key=lambda place: smallest_epsilon(whole[place], spent[place], delta))
    low, high = [1, *whole, math.inf][best], [*whole, math.inf][best + 1]
    return search_noise(epsilon, delta, sample_rate, steps, [order for order in orders if low <= order <= high])


def search_noise(epsilon, delta, sample_rate, steps, orders):
    """What Opacus finds at these orders of the Renyi divergence: more noise than at all of them, or the same."""
    from opacus.accountants.utils import get_noise_multiplier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(get_noise_multiplier(target_epsilon=epsilon, target_delta=delta, accountant="rdp", alphas=orders,
                                          sample_rate=sample_rate, steps=steps, epsilon_tolerance=0.01))


def private_card(config, noise_multiplier, rows, **more):
    """The card of a private head: all that `epsilon_spent` and `expected_trace` ask for, and what they say."""
    spent = epsilon_spent(noise_multiplier, config.sample_rate, config.steps, config.delta)
    return {**more, **dataclasses.asdict(config), "epsilon": spent, "noise_multiplier": noise_multiplier, "rows": rows}


def train_head_with_opacus(features, labels, num_classes, config, seed=0):
    """The same training by Opacus's PrivacyEngine on a torch layer: (weight (classes, width), epsilon spent)."""
    import torch
    from opacus import PrivacyEngine
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(seed)
    head = torch.nn.Linear(features.shape[1], num_classes, bias=False)
    torch.nn.init.zeros_(head.weight)
    rows = TensorDataset(torch.as_tensor(features, dtype=torch.float32), torch.as_tensor(np.asarray(labels)))
    loader = DataLoader(rows, batch_size=round(config.sample_rate * len(rows)))
    optimizer = torch.optim.SGD(head.parameters(), lr=config.learning_rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about random numbers that are not cryptographic, and about backward hooks
        engine = PrivacyEngine(accountant="rdp")
        noise = noise_for(config.epsilon, config.delta, config.sample_rate, config.steps)
        model, optimizer, loader = engine.make_private(module=head, optimizer=optimizer, data_loader=loader,
                                                       noise_multiplier=noise, max_grad_norm=config.max_norm)
        batches = itertools.chain.from_iterable(itertools.repeat(loader))
        for step, (x, y) in zip(range(config.steps), batches, strict=False):
            optimizer.param_groups[0]["lr"] = config.rate(step)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        return head.weight.detach().numpy().astype(np.float64), float(engine.get_epsilon(config.delta))


# -- what can be seen of the noise --------------------------------------------------------------------------------------


def noise_trace(weight):
    """The size (root mean square) of the sum of a head's rows, weight (classes, width).

    The gradients of a softmax add up to 0 over the classes. So in a head that began at 0, the sum of the rows holds the
    noise and nothing else: without noise it is 0.
    """
    return float(np.sqrt(np.mean(np.asarray(weight, dtype=np.float64).sum(axis=0) ** 2)))


def expected_trace(config, noise_multiplier, rows, num_classes):
    """What `noise_trace` is after such a training on so many rows, to a few per cent: noise adds up as its squares."""
    each = noise_multiplier * config.max_norm / (config.sample_rate * rows)
    return each * math.sqrt(num_classes * sum(config.rate(step) ** 2 for step in range(config.steps)))


# -- people in a table --------------------------------------------------------------------------------------------------


def risky_rows(rows, columns, k):
    """Numbers of the rows whose values in `columns` are shared by fewer than k rows (themselves included), in order.

    rows: list of dicts. Such a person can be found in a published table by somebody who knows these values. A table
    without risky rows is k-anonymous. Source: Sweeney, 2002.

    >>> people = [{"town": "Kano", "age": 20}, {"town": "Kano", "age": 20}, {"town": "Zaria", "age": 20}]
    >>> risky_rows(people, ["town", "age"], k=2)
    [2]
    """
    from collections import Counter

    keys = [tuple(row[column] for column in columns) for row in rows]
    counts = Counter(keys)
    return [number for number, key in enumerate(keys) if counts[key] < k]
