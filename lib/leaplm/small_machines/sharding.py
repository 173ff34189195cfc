"""One model in two processes: the first holds the lower layers, the second the upper ones, and numbers go over a pipe.

    python -m leaplm.small_machines.sharding FOLDER 15 30      # the second process: reads its standard input

Each process reads only its own layers. This is pipeline parallelism in its plainest form; with two machines a network takes
the place of the pipe. Source: Huang et al., 2019, *GPipe*.
"""

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import torch
from safetensors import safe_open

from leaplm.locales import say
from leaplm.transformer.decoder import PARTS, block, rms_norm, shape_of


class Part:
    """Layers `first` to `last` - 1 of a Llama in a folder of `transformers`, with the word vectors or the output where
    they are the first or the last."""

    def __init__(self, folder, first, last):
        from transformers import AutoConfig

        self.folder, config = Path(folder), AutoConfig.from_pretrained(folder)
        self.shape, self.first, self.last, self.layers = shape_of(config), first, last, config.num_hidden_layers
        if not 0 <= first < last <= self.layers:
            raise ValueError(say("layers {first} to {last}: the model has 0 to {most}", first=first, last=last,
                                 most=self.layers))  # fmt: skip
        self.blocks = [{part: self.read(f"model.layers.{i}.{name}.weight") for part, name in PARTS.items()}
                       for i in range(first, last)]
        self.vectors = self.read("model.embed_tokens.weight") if first == 0 else None
        self.norm, self.head = None, None
        if last == self.layers:
            tied = config.tie_word_embeddings
            self.norm = self.read("model.norm.weight")
            self.head = self.read("model.embed_tokens.weight" if tied else "lm_head.weight")

    def read(self, name):
        with safe_open(self.folder / "model.safetensors", "pt") as file:  # anew each time: what was read leaves memory
            return file.get_tensor(name).float()

    def forward(self, x):
        """ids (1, tokens) for the first part, else hidden numbers (1, tokens, width) -> the same for the next part, or
        logits (1, tokens, vocabulary) from the last."""
        with torch.inference_mode():
            x = self.vectors[x] if self.first == 0 else x
            for weights in self.blocks:
                x, _ = block(x, weights, self.shape)
            if self.last < self.layers:
                return x
            return torch.nn.functional.linear(rms_norm(x, self.norm, self.shape["eps"]), self.head)

    def megabytes(self):
        """Size of the weights that this part holds, in MB."""
        tensors = [*(w for weights in self.blocks for w in weights.values()), self.vectors, self.norm, self.head]
        return sum(w.numel() * w.element_size() for w in tensors if w is not None) / 1e6


class Distant:
    """A Part in a process of its own, asked over pipes. A context manager: the process ends with the block."""

    def __init__(self, folder, first, last):
        command = [sys.executable, "-m", "leaplm.small_machines.sharding", str(folder), str(first), str(last)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def forward(self, x):
        """As `Part.forward`, and `self.memory_mb` is the memory of that process now."""
        send(self.process.stdin, x.numpy())
        answer = receive(self.process.stdout)
        self.memory_mb = float(receive(self.process.stdout))
        return torch.from_numpy(answer)


def send(stream, array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    stream.write(struct.pack("<Q", buffer.tell()) + buffer.getvalue())
    stream.flush()


def receive(stream):
    """The next array; EOFError when the other side has ended."""
    length = stream.read(8)
    if len(length) < 8:
        raise EOFError(say("the other process has ended"))
    return np.load(io.BytesIO(stream.read(struct.unpack("<Q", length)[0])), allow_pickle=False)


def main():
    """The second process: hidden numbers in, logits and its memory out, until the pipe is closed."""
    part = Part(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    while True:
        try:
            x = torch.from_numpy(receive(sys.stdin.buffer))
        except EOFError:
            return
        send(sys.stdout.buffer, part.forward(x).numpy())
        send(sys.stdout.buffer, np.array(psutil.Process().memory_info().rss / 1e6))


if __name__ == "__main__":
    main()
