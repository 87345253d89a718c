"""Encoder-decoder reference cases of awkward sizes: head counts that are no power of two, widths that are no multiple of 8
(odd ones too), unequal numbers of layers, separate vocabularies, biased logits, forced tokens.

usage: make_odd_cases.py OUT_DIR SEEDS [case ...]
Files as in README.md. The seed of each case is the one, of 1 to SEEDS, whose generated ids are the most diverse. The committed
cases are of SEEDS = 24, bart_odd and m2m_100_odd_width of 4.
`case.json` has beside `greedy` and `beam4` a list `generations` of `options` (of `generate`) with their `sequences`.
Needs: torch, transformers, safetensors.
"""
import copy, json, os, sys, warnings
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
warnings.filterwarnings("ignore")
import torch
import transformers as T
from safetensors.torch import save_file

torch.set_num_threads(1)

SPECIAL = dict(pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=1, max_position_embeddings=40, forced_eos_token_id=None)


def sizes(d, heads, ff, layers, vocab, activation, **more):
    """`heads`, `ff` and `layers` are pairs: encoder, decoder."""
    return dict(d_model=d, encoder_attention_heads=heads[0], decoder_attention_heads=heads[1], encoder_ffn_dim=ff[0],
                decoder_ffn_dim=ff[1], encoder_layers=layers[0], decoder_layers=layers[1], vocab_size=vocab,
                activation_function=activation, **{**SPECIAL, **more})


MARIAN, BART, M2M = "MarianMTModel", "BartForConditionalGeneration", "M2M100ForConditionalGeneration"
# name: class, configuration, batch, source length, target length, generation settings stored with the model
CASES = {
    "marian_odd": (MARIAN, T.MarianConfig(**sizes(42, (3, 7), (50, 45), (1, 2), 97, "swish", scale_embedding=True, decoder_vocab_size=97)), 3, 13, 7, {}),
    "marian_separate_vocabulary": (MARIAN, T.MarianConfig(**sizes(30, (5, 3), (44, 31), (3, 1), 97, "gelu", decoder_vocab_size=61,
        share_encoder_decoder_embeddings=False, tie_word_embeddings=False)), 2, 13, 5, dict(forced_eos_token_id=2, bad_words_ids=[[1]])),
    "marian_odd_width": (MARIAN, T.MarianConfig(**sizes(45, (3, 5), (33, 64), (1, 1), 97, "relu", scale_embedding=True, decoder_vocab_size=97)), 1, 1, 1, {}),
    "bart_odd": (BART, T.BartConfig(**sizes(30, (5, 5), (33, 36), (3, 3), 97, "silu", scale_embedding=True)), 3, 13, 9, dict(forced_bos_token_id=0, no_repeat_ngram_size=3)),
    "bart_gelu_new": (BART, T.BartConfig(**sizes(42, (7, 3), (29, 50), (1, 2), 101, "gelu_new", tie_word_embeddings=True)), 2, 13, 4, dict(forced_eos_token_id=2)),
    "m2m_100_odd": (M2M, T.M2M100Config(**sizes(42, (3, 3), (50, 37), (2, 1), 97, "gelu", scale_embedding=True)), 3, 13, 6, dict(forced_bos_token_id=11)),
    "m2m_100_odd_width": (M2M, T.M2M100Config(**sizes(45, (5, 9), (35, 48), (1, 1), 97, "relu", scale_embedding=False)), 2, 17, 3, {}),
}
OPTIONS = [
    dict(max_new_tokens=9, num_beams=3, num_return_sequences=3, length_penalty=1.5, early_stopping="never"),
    dict(max_new_tokens=14, num_beams=5, num_return_sequences=2, length_penalty=-0.5, early_stopping=False, min_new_tokens=4),
    dict(max_new_tokens=12, num_beams=2, no_repeat_ngram_size=2, repetition_penalty=1.3),
]


def scramble(model, generator):
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:  # sinusoidal tables stay what the architecture says
            continue
        shape = parameter.shape
        noise = torch.randn(shape, generator=generator)
        with torch.no_grad():
            if parameter.ndim >= 2:
                embedding = "embed" in name or "shared" in name
                parameter.copy_(noise * (0.25 if embedding else 2.5 / shape[-1] ** 0.5))
            elif "norm" in name:
                parameter.copy_((1.0 if name.endswith("weight") else 0.0) + 0.3 * noise)
            else:
                parameter.copy_(0.3 * noise)
    for name, buffer in model.named_buffers():
        if name.endswith("final_logits_bias"):
            buffer.copy_(0.5 * torch.randn(buffer.shape, generator=generator))


def build(name, seed):
    cls, config, batch, source, target, settings = CASES[name]
    config = copy.deepcopy(config)
    config._attn_implementation = "eager"
    generator = torch.Generator().manual_seed(seed)
    model = getattr(T, cls)(config).eval()
    scramble(model, generator)
    model.tie_weights()
    for key, value in settings.items():
        setattr(model.generation_config, key, value)
    mask = torch.ones(batch, source, dtype=torch.long)
    for row in range(batch - 1):
        mask[row, source - 3 - 2 * row:] = 0
    target_vocab = getattr(config, "decoder_vocab_size", None) or config.vocab_size
    inputs = dict(input_ids=torch.randint(3, config.vocab_size, (batch, source), generator=generator), attention_mask=mask,
                  decoder_input_ids=torch.randint(3, target_vocab, (batch, target), generator=generator))
    return model, inputs


def generations(model, inputs):
    source = {k: inputs[k] for k in ("input_ids", "attention_mask")}
    run = lambda **options: model.generate(**source, do_sample=False, **options).tolist()
    found = dict(greedy=run(max_new_tokens=10, num_beams=1),
                 beam4=run(max_new_tokens=10, num_beams=4, length_penalty=0.6, early_stopping=True))
    found["generations"] = [dict(options=options, sequences=run(**options)) for options in OPTIONS]
    return found


def diversity(found):
    rows = found["greedy"] + found["beam4"] + [row for g in found["generations"] for row in g["sequences"]]
    ended = sum(2 in row[2:] for row in rows) / len(rows)
    return sum(len(set(row)) / len(row) for row in rows) / len(rows) + len({tuple(row) for row in rows}) / len(rows) + 0.5 * min(ended, 1 - ended)


def floats(output):
    return {k: v for k, v in output.items() if isinstance(v, torch.Tensor) and v.is_floating_point() and k != "loss"}


@torch.no_grad()
def main():
    out, seeds, only = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    for name in only or CASES:
        def score(seed):
            model, inputs = build(name, seed)
            return diversity(generations(model.double(), inputs))
        seed = max(range(1, seeds + 1), key=score)
        model, inputs = build(name, seed)
        single = floats(model(**inputs, return_dict=True))
        exact_model = copy.deepcopy(model).double()
        exact = floats(exact_model(**inputs, return_dict=True))
        info = dict(architecture=CASES[name][0], seed=seed,
                    torch_float32_max_abs_error={k: float((single[k].double() - exact[k]).abs().max()) for k in exact},
                    max_abs={k: float(exact[k].abs().max()) for k in exact}, **generations(exact_model, inputs))
        folder = os.path.join(out, name)
        os.makedirs(folder, exist_ok=True)
        model.save_pretrained(folder)
        save_file({k: v.contiguous() for k, v in inputs.items()}, os.path.join(folder, "inputs.safetensors"))
        save_file({k: v.float().contiguous() for k, v in exact.items()}, os.path.join(folder, "expected.safetensors"))
        with open(os.path.join(folder, "case.json"), "w") as file:
            json.dump(info, file)
        print(name, "seed", seed, info["torch_float32_max_abs_error"], info["greedy"], info["beam4"][0], flush=True)


main()
