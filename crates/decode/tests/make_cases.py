"""Makes cases.json: what `generate` of transformers gives on logits that a hash of the sequence defines.

usage: make_cases.py OUT.json      (torch, transformers 5, numpy)
Each case is an object: `model` (how logits follow from a sequence), `options` (of `generate`), `prompts`, and `sequences` with,
for each, its score (null when that is not finite). `topk` holds what torch.topk makes of ties. tests/transformers.rs computes the same logits.

Logits of token v after the tokens t of input b, with 64-bit wrapping arithmetic:
    h = mix(seed + b)                          (b is left out where the model has no encoder)
    h = mix(h ^ (token + 1)) for the last `window` tokens
    r = mix(h ^ (v << 32)) >> 40               (24 bits)
    kind "smooth":  r * 2^-20                  (0 to 16, exact in float32)
    kind "grid":    (r % 4)                    (many equal logits; greedy search only)
    kind "ties":    0 for the one token h % vocab, else -128 * (1 + r % 3)
The last kind has log-probabilities that are exact integers, so equal scores are equal in every implementation.
`eos_bias` is added to the logits of end-of-sequence tokens ("smooth" only).
"""
import json, math, os, random, sys, warnings
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
warnings.filterwarnings("ignore")
import numpy as np
import torch
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput, Seq2SeqLMOutput

torch.set_num_threads(1)
U = np.uint64


def mix(h):
    h = (h ^ (h >> U(33))) * U(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> U(29))) * U(0xC4CEB9FE1A85EC53)
    return h ^ (h >> U(32))


def logits_of(model, sequence, item):
    with np.errstate(over="ignore"):
        h = mix(U(model["seed"]) + U(item))
        for token in sequence[-model["window"]:]:
            h = mix(h ^ U(token + 1))
        vocab = np.arange(model["vocab"], dtype=np.uint64)
        r = mix(h ^ (vocab << U(32))) >> U(40)
    if model["kind"] == "grid":
        return (r % U(4)).astype(np.float32)
    if model["kind"] == "ties":
        row = -128.0 * (1 + (r % U(3)).astype(np.float32))
        row[int(h % U(model["vocab"]))] = 0.0
        return row.astype(np.float32)
    row = r.astype(np.float32) * np.float32(2.0**-20)
    row[model["eos"]] += np.float32(model["eos_bias"])
    return row * np.float32(model["scale"])


class HashConfig(PretrainedConfig):
    model_type = "hash"


class HashEncoder(torch.nn.Module):
    main_input_name = "input_ids"

    def forward(self, input_ids, attention_mask=None, return_dict=True, **kwargs):
        return BaseModelOutput(last_hidden_state=input_ids[:, :1, None].float())


class HashModel(PreTrainedModel, GenerationMixin):
    config_class = HashConfig
    main_input_name = "input_ids"

    def __init__(self, config, model):
        super().__init__(config)
        self.model = model
        self.unused = torch.nn.Parameter(torch.zeros(1))
        if config.is_encoder_decoder:
            self.encoder = HashEncoder()

    def get_encoder(self, modality=None):
        return self.encoder

    def forward(self, input_ids=None, attention_mask=None, decoder_input_ids=None, encoder_outputs=None, **kwargs):
        if decoder_input_ids is None:
            rows, items = input_ids, [0] * len(input_ids)
        else:
            rows, items = decoder_input_ids, [int(x) for x in encoder_outputs[0][:, 0, 0]]
        logits = torch.from_numpy(np.stack([logits_of(self.model, row, item) for row, item in zip(rows.tolist(), items)]))[:, None]
        return CausalLMOutput(logits=logits) if decoder_input_ids is None else Seq2SeqLMOutput(logits=logits)


def run(model, options, prompts, scale=1.0):
    options = dict(options)
    encoder = model["encoder"]
    config = HashConfig(is_encoder_decoder=encoder, vocab_size=model["vocab"])
    network = HashModel(config, dict(model, scale=scale))
    prompts = torch.tensor(prompts)
    inputs = dict(input_ids=torch.arange(len(prompts))[:, None], decoder_input_ids=prompts) if encoder else dict(input_ids=prompts)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if encoder:
        options["decoder_start_token_id"] = int(prompts[0, 0])
    with torch.no_grad():
        out = network.generate(**inputs, **options, do_sample=False, use_cache=False, output_scores=True, return_dict_in_generate=True)
    case = dict(model=model, options=options, prompts=prompts.tolist(), sequences=out.sequences.tolist())
    if options.get("num_beams", 1) > 1:
        case["scores"] = out.sequences_scores.tolist()
    else:
        # Sum over the tokens up to the first end of sequence.
        scores = torch.stack(out.scores, 1).log_softmax(-1)
        new = out.sequences[:, prompts.shape[1]:]
        chosen = scores.gather(2, new[..., None])[..., 0]
        end = torch.isin(new, torch.tensor(model["eos"], dtype=torch.long))
        case["scores"] = torch.where((end.cumsum(1) - end.long()) == 0, chosen, 0.0).sum(1).tolist()
    case["scores"] = [score if math.isfinite(score) else None for score in case["scores"]]
    return case


def random_case(r, kind):
    beams = r.choice([2, 2, 3, 4, 4, 5, 8]) if kind != "grid" else 1
    if kind == "smooth" and r.random() < 0.15:
        beams = 1
    eos_count = r.choice([1, 1, 1, 2, 3, 0]) if r.random() < 0.9 else 0
    vocab = r.choice([eos_count + 6, 11, 17, 23, 40, 97] + ([300, 900] if r.random() < 0.3 else []))
    vocab = max(vocab, eos_count + 6)
    some = lambda n: [r.randrange(vocab) for _ in range(n)]
    eos = r.sample(range(vocab), eos_count)
    encoder = r.random() < 0.6
    prompt_len = r.choice([1, 1, 1, 3]) if encoder else r.choice([1, 2, 4, 6])
    batch = r.choice([1, 1, 2, 3])
    start = r.randrange(vocab)
    prompts = [some(prompt_len) for _ in range(batch)]
    if encoder:
        for prompt in prompts:
            prompt[0] = start
    model = dict(kind=kind, seed=r.randrange(1 << 40), window=r.choice([1, 2, 3, 50]), vocab=vocab, encoder=encoder, eos=eos,
                 eos_bias=r.choice([0, 0, 2, 4, 6]) if kind == "smooth" else 0)
    options = dict(num_beams=beams)
    length = r.choice([1, 2, 5, 8, 12, 16])
    if r.random() < 0.7:
        options["max_new_tokens"] = length
    elif r.random() < 0.8:
        options["max_length"] = prompt_len + length
    if eos:
        options["eos_token_id"] = eos if len(eos) > 1 or r.random() < 0.3 else eos[0]
    if r.random() < 0.85 or not eos:
        options["pad_token_id"] = r.choice([0, 0, r.randrange(vocab), r.randrange(vocab)])
    if beams > 1:
        options["num_return_sequences"] = r.randint(1, beams)
        options["early_stopping"] = r.choice([True, False, "never"])
        options["length_penalty"] = r.choice([1.0, 1.0, 0.0, 0.6, 2.0, -0.5, -2.0, 1.37])
    if r.random() < 0.25:
        options["no_repeat_ngram_size"] = r.choice([1, 2, 2, 3])
        if options["no_repeat_ngram_size"] == 1 and vocab < 40:
            options["no_repeat_ngram_size"] = 2
    if r.random() < 0.25 and kind == "smooth":
        options["repetition_penalty"] = r.choice([1.25, 1.5, 0.75])
    if r.random() < 0.2:
        options["min_length"] = prompt_len + r.choice([1, 3, 6])
    if r.random() < 0.2:
        options["min_new_tokens"] = r.choice([1, 4, 7])
    if r.random() < 0.2:
        options["bad_words_ids"] = [some(r.choice([1, 1, 2, 3])) for _ in range(r.choice([1, 3]))] + ([[eos[0]]] if eos and r.random() < 0.3 else [])
    if r.random() < 0.15:
        options["suppress_tokens"] = some(2)
    if r.random() < 0.15:
        options["begin_suppress_tokens"] = some(2)
    if r.random() < 0.2:
        options["forced_bos_token_id"] = r.randrange(vocab)
    if r.random() < 0.25 and eos:
        options["forced_eos_token_id"] = r.choice([eos[0], eos])
    if r.random() < 0.15 and kind == "smooth":
        options["renormalize_logits"] = True
    return model, options, prompts


def topk_case(r):
    n = r.choice([1, 2, 3, 5, 12, 17, 40, 64, 130, 300, 640])
    k = r.randint(1, max(1, min(n, r.choice([1, 4, 12, n]))))
    values = [r.randrange(r.choice([1, 2, 4, 50])) for _ in range(n)]
    if r.random() < 0.3:
        values.sort(reverse=r.random() < 0.5)
    return dict(values=values, k=k, indices=torch.topk(torch.tensor(values, dtype=torch.float32), k).indices.tolist())


def main():
    r = random.Random(20)
    wanted = [("smooth", 260), ("ties", 90), ("grid", 20)]
    cases = []
    for kind, count in wanted:
        while count > 0:
            try:
                arguments = random_case(r, kind)
                case = run(*arguments)
                # Two sequences that make the same steps in another order score the same but for the last bits; what comes first is
                # then a matter of rounding, and no case.
                scales = [1 + 2.0**-21, 1 - 2.0**-21, 1 + 2.0**-20] if kind == "smooth" else []
                if all(run(*arguments, scale)["sequences"] == case["sequences"] for scale in scales):
                    cases.append(case)
                    count -= 1
                else:
                    print("left out: decided by rounding", file=sys.stderr)
            except ValueError as error:  # options that transformers refuses, such as a token both forced and suppressed
                print("left out:", str(error)[:100], file=sys.stderr)
    topk = [topk_case(r) for _ in range(160)]
    with open(sys.argv[1], "w") as file:
        dump = lambda rows: "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]"
        file.write('{"cases":' + dump(cases) + ',\n"topk":' + dump(topk) + "}\n")


main()
