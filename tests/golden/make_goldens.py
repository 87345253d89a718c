#!/usr/bin/env python3
"""Makes the golden cases: random models in the layout of Hugging Face and their float64 outputs.

    pip install torch transformers safetensors
    make_goldens.py OUT [--families marian bart m2m_100] [--seed 1] [--width 32] [--heads 4] [--feed-forward 64]
                        [--vocab 96] [--layers 2] [--tokens 12] [--batch 2] [--activation relu]

README.md beside this file says what a case holds. Without options it makes the sizes of the committed ones; odd sizes
(a head count that is no power of two, a width that is no multiple of 8) are good tests, too.
"""

import argparse
import copy
import json
import os
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
import transformers
from safetensors.torch import save_file

NEW_TOKENS = 10
SEARCHES = {
    "greedy": dict(num_beams=1),
    "beam4": dict(num_beams=4, length_penalty=0.6, early_stopping=True),
}


def families(options):
    """The class and configuration of each family."""
    sizes = dict(
        d_model=options.width,
        encoder_layers=options.layers,
        decoder_layers=options.layers,
        encoder_attention_heads=options.heads,
        decoder_attention_heads=options.heads,
        encoder_ffn_dim=options.feed_forward,
        decoder_ffn_dim=options.feed_forward,
        vocab_size=options.vocab,
        max_position_embeddings=max(64, options.tokens + NEW_TOKENS + 1),
        decoder_start_token_id=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        forced_eos_token_id=None,
    )
    return {
        "marian": (
            transformers.MarianMTModel,
            transformers.MarianConfig(
                activation_function=options.activation,
                scale_embedding=True,
                decoder_vocab_size=options.vocab,
                **sizes,
            ),
        ),
        "bart": (
            transformers.BartForConditionalGeneration,
            transformers.BartConfig(activation_function="gelu", **sizes),
        ),
        "m2m_100": (transformers.M2M100ForConditionalGeneration, transformers.M2M100Config(**sizes)),
    }


def randomize(model, generator):
    """Weights large enough that every part of the model shows in its outputs."""
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue  # sinusoidal tables are part of the architecture
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim >= 2:
            is_table = "embed" in name or "shared" in name
            value = noise * (0.4 if is_table else 2.0 / parameter.shape[-1] ** 0.5)
        else:
            is_gain = "norm" in name.lower() and name.endswith("weight")
            value = 0.2 * noise + (1.0 if is_gain else 0.0)
        with torch.no_grad():
            parameter.copy_(value)
    model.tie_weights()


def random_inputs(options, generator):
    """A batch whose first sequence ends in three padding positions."""
    first_word = 5

    def ids(tokens):
        return torch.randint(first_word, options.vocab, (options.batch, tokens), generator=generator)

    mask = torch.ones(options.batch, options.tokens, dtype=torch.long)
    mask[0, -3:] = 0
    return dict(input_ids=ids(options.tokens), attention_mask=mask, decoder_input_ids=ids(options.tokens // 2))


def outputs(model, inputs):
    with torch.no_grad():
        result = model(**inputs, return_dict=True)
    return {
        name: value
        for name, value in result.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and name != "loss"
    }


def make(name, model_class, config, options):
    generator = torch.Generator().manual_seed(options.seed + sum(map(ord, name)))
    torch.manual_seed(options.seed)
    config._attn_implementation = "eager"
    model = model_class(config).eval()
    randomize(model, generator)
    inputs = random_inputs(options, generator)

    single = outputs(model, inputs)
    exact_model = copy.deepcopy(model).double()
    exact = outputs(exact_model, inputs)
    case = dict(
        architecture=model_class.__name__,
        torch_float32_max_abs_error={k: float((single[k].double() - v).abs().max()) for k, v in exact.items()},
        max_abs={k: float(v.abs().max()) for k, v in exact.items()},
    )
    prompt = {k: v for k, v in inputs.items() if k != "decoder_input_ids"}
    for search, settings in SEARCHES.items():
        with torch.no_grad():
            ids = exact_model.generate(**prompt, max_new_tokens=NEW_TOKENS, do_sample=False, **settings)
        case[search] = ids.tolist()

    folder = Path(options.out) / name
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    save_file({k: v.contiguous() for k, v in inputs.items()}, folder / "inputs.safetensors")
    save_file({k: v.float().contiguous() for k, v in exact.items()}, folder / "expected.safetensors")
    (folder / "case.json").write_text(json.dumps(case, indent=1))
    errors = ", ".join(f"{k} {v:.1e}" for k, v in case["torch_float32_max_abs_error"].items())
    print(f"{name}: float32 is off by {errors}; greedy begins {case['greedy'][0][:8]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--families", nargs="+", default=["marian", "bart", "m2m_100"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--feed-forward", type=int, default=64)
    parser.add_argument("--vocab", type=int, default=96)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--activation", default="relu", help="of the marian case")
    options = parser.parse_args()

    known = families(options)
    for name in options.families:
        if name not in known:
            parser.error(f"{name} is none of {', '.join(known)}")
        make(name, *known[name], options)


if __name__ == "__main__":
    main()
