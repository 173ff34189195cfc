"""From questions and answers to tokens: the chat form, labels on the answer alone, several rows in one packed row."""

import torch

from leaplm.locales import say

IGNORED = -100  # label of a token that is read and not learned
PADDING = -1  # segment of padding
PACK_TOKENS = 256  # of one packed row, so the most that a question with its answer may have


def chat_prompt(tokenizer, system, question):
    """The text before an answer, in the model's own chat form: system message, question, and the start of a reply."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def chat_row(tokenizer, system, question, answer):
    """{"input_ids", "labels"} of one row: lists of equal length.

    input_ids: the chat's prompt, then the answer, then the tokenizer's end token; prompt and answer are tokenized
    apart, so that the answer has the same tokens as when the model writes it. labels: IGNORED on the prompt.

    >>> row = chat_row(load_tokenizer("smollm2"), "Be short.", "Hello?", "Hello.")          # doctest: +SKIP
    >>> [label for label in row["labels"] if label != IGNORED] == row["input_ids"][-3:]      # doctest: +SKIP
    True
    """
    prompt = tokenizer(chat_prompt(tokenizer, system, question), add_special_tokens=False)["input_ids"]
    answer = tokenizer(answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    return {"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer}


def pack_rows(rows, length):
    """Rows put one behind the other into packs of at most `length` tokens, in their order.

    rows: dicts as of `chat_row`. A pack is a dict of four lists: input_ids; labels; position_ids, which begin at 0 again
    with each row; segments, the number of the row within its pack. A new pack begins where a row does not fit any more.
    Raises ValueError for a row that is longer than `length`.

    >>> [pack["segments"] for pack in pack_rows([{"input_ids": [5, 6], "labels": [-100, 6]}] * 3, 4)]
    [[0, 0, 1, 1], [0, 0]]
    """
    packs = []
    for row in rows:
        size = len(row["input_ids"])
        if size > length:
            raise ValueError(say("a row has {tokens} tokens; at most {most} fit into a pack", tokens=size, most=length))
        if not packs or len(packs[-1]["input_ids"]) + size > length:
            packs.append({"input_ids": [], "labels": [], "position_ids": [], "segments": []})
        pack = packs[-1]
        number = pack["segments"][-1] + 1 if pack["segments"] else 0
        for name, values in (("input_ids", row["input_ids"]), ("labels", row["labels"]), ("position_ids", range(size)),
                             ("segments", [number] * size)):
            pack[name] += values
    return packs


def packed_mask(segments):
    """Which tokens each token may see: (rows, tokens) numbers of segments -> (rows, tokens, tokens), True or False.

    Entry [r, i, j] is True if token i of row r may see token j: j is not behind i, and both are of the same segment.

    >>> packed_mask(torch.tensor([[0, 0, 1]]))[0].int().tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    tokens = segments.shape[1]
    earlier = torch.ones(tokens, tokens, dtype=torch.bool, device=segments.device).tril()
    return earlier & (segments[:, :, None] == segments[:, None, :])


FILLS = {"input_ids": 0, "labels": IGNORED, "position_ids": 0, "segments": PADDING}


def pad_packs(packs):
    """A batch of packs: {name: tensor (packs, tokens)}, shorter ones filled up at the end.

    >>> pad_packs(pack_rows([{"input_ids": [5], "labels": [5]}], 4))["segments"].tolist()
    [[0]]
    """
    longest = max(len(pack["input_ids"]) for pack in packs)
    return {name: torch.tensor([pack[name] + [fill] * (longest - len(pack[name])) for pack in packs])
            for name, fill in FILLS.items()}


def answer_log_probs(logits, labels):
    """Log-probability of each row's answer: logits (rows, tokens, vocabulary), labels (rows, tokens) -> (rows,), in nats.

    The logits at a token predict the token behind it. What has the label IGNORED does not count.

    >>> answer_log_probs(torch.zeros(1, 3, 4), torch.tensor([[-100, 2, 1]]))    # 2 log(1/4)
    tensor([-2.7726])
    """
    targets = labels[:, 1:]
    kept = targets != IGNORED
    found = logits[:, :-1].log_softmax(dim=-1).gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return (found * kept).sum(dim=1)
