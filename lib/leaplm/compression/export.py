"""A trained classifier as files for a program without PyTorch.

    python -m leaplm.compression.export artifacts/compressed-cpu.safetensors clinic --int8

writes clinic/model.onnx and clinic/tokenizer.json, all that such a program needs (packages onnxruntime and tokenizers).
Needs the packages of the extra `serve`: pip install "leaplm[serve]".
"""

import argparse
import sys
import tempfile
from pathlib import Path

from leaplm.compression.engine import load_classifier
from leaplm.compression.onnx import export_onnx, quantize_onnx
from leaplm.locales import say
from leaplm.peft.lora import merge_model


def export_file(path, folder, int8=False):
    """Write model.onnx and tokenizer.json of a file that a lab saved to `folder`; the size of model.onnx in MB."""
    folder = Path(folder)
    _, model, tokenizer = load_classifier(path)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    target = folder / "model.onnx"
    if not int8:
        return export_onnx(merge_model(model), target)
    with tempfile.TemporaryDirectory() as scratch:
        export_onnx(merge_model(model), full := Path(scratch) / "full.onnx")
        return quantize_onnx(full, target)


def main(argv=None):
    parser = argparse.ArgumentParser(description="Write a trained classifier as an ONNX file with its tokenizer.")
    parser.add_argument("path", help="what lab 2, 3, 5 or 8 saved")
    parser.add_argument("folder")
    parser.add_argument("--int8", action="store_true", help="8-bit weights")
    arguments = parser.parse_args(argv)
    try:
        size = export_file(arguments.path, arguments.folder, arguments.int8)
    except (ValueError, OSError) as problem:
        sys.exit(f"leaplm.compression.export: {problem}")
    print(say("{folder}: `model.onnx` ({size:.1f} MB) and `tokenizer.json`", folder=arguments.folder, size=size))


if __name__ == "__main__":
    main()
