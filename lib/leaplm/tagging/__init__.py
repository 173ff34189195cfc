"""Names in text: tag each word, and count what was found (lab 14).

sentences: the course's sentences with marked names, and files of one's own. entities: from tags to entities, precision,
recall and F1. decoding: the best sequence that BIO allows. baselines: a list of names, a rule, a linear model. crf: a
conditional random field. tagger: sub-words, their labels, and an encoder that learns. mixture: it and the linear model.
"""

from leaplm.tagging.baselines import (
    LinearTagger,
    capital_tags,
    gazetteer_tags,
    make_gazetteer,
    word_features,
    word_shape,
)
from leaplm.tagging.crf import CrfTagger
from leaplm.tagging.decoding import allowed_moves, best_path, best_tags
from leaplm.tagging.entities import (
    entity_scores,
    f1_gain,
    f1_interval,
    find_entities,
    name_of,
    recall_seen_unseen,
    scores_by_type,
    token_accuracy,
)
from leaplm.tagging.mixture import SHARES, MixedTagger, choose_share, mix_scores, mix_taggers
from leaplm.tagging.sentences import (
    LANGUAGES,
    TYPES,
    draw_tagged,
    load_tagged,
    parse_marks,
    read_tagged,
    split_words,
    tag_names,
    write_conll,
)
from leaplm.tagging.tagger import (
    IGNORED,
    LowerLayers,
    Tagger,
    align_labels,
    make_batches,
    new_tagger,
    shape_number,
    tag_batches,
    tagging_loss,
    tokenize_words,
    train_tagger,
    word_scores,
)

__all__ = [
    "mix_taggers",
    "mix_scores",
    "choose_share",
    "SHARES",
    "CrfTagger",
    "MixedTagger",
    "IGNORED",
    "LANGUAGES",
    "LinearTagger",
    "LowerLayers",
    "TYPES",
    "Tagger",
    "align_labels",
    "allowed_moves",
    "best_path",
    "best_tags",
    "capital_tags",
    "draw_tagged",
    "entity_scores",
    "f1_gain",
    "f1_interval",
    "find_entities",
    "gazetteer_tags",
    "load_tagged",
    "make_batches",
    "make_gazetteer",
    "name_of",
    "new_tagger",
    "parse_marks",
    "read_tagged",
    "recall_seen_unseen",
    "scores_by_type",
    "shape_number",
    "split_words",
    "tag_batches",
    "tag_names",
    "tagging_loss",
    "token_accuracy",
    "tokenize_words",
    "train_tagger",
    "word_features",
    "word_scores",
    "word_shape",
    "write_conll",
]
