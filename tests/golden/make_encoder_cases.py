"""Reference cases of encoders with awkward sizes (head counts that are no power of two, widths that are no multiple of 8) and
with every head that a family has.

usage: make_encoder_cases.py OUT_DIR [case ...]
Files as in README.md. Needs: torch, transformers, safetensors.
"""
import copy, json, os, sys, warnings
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
warnings.filterwarnings("ignore")
import torch
import transformers as T
from safetensors.torch import save_file

torch.set_num_threads(1)


def bert_like(d, heads, ff, layers, vocab, act="gelu", **more):
    return {**dict(hidden_size=d, num_attention_heads=heads, intermediate_size=ff, num_hidden_layers=layers, vocab_size=vocab,
                   hidden_act=act, max_position_embeddings=40, pad_token_id=1), **more}


def distil(d, heads, ff, layers, vocab, **more):
    return T.DistilBertConfig(dim=d, n_heads=heads, hidden_dim=ff, n_layers=layers, vocab_size=vocab, max_position_embeddings=40,
                              pad_token_id=1, **more)


def modern(d, heads, ff, layers, vocab, **more):
    return T.ModernBertConfig(hidden_size=d, num_attention_heads=heads, intermediate_size=ff, num_hidden_layers=layers,
                              vocab_size=vocab, max_position_embeddings=40, pad_token_id=1, bos_token_id=0, eos_token_id=2,
                              cls_token_id=0, sep_token_id=2, **more)


# name: class, configuration, batch, length. The bound of a case is the largest error of a PyTorch run, which says little where
# there are only a few numbers.
CASES = {
    "bert_odd": ("BertModel", T.BertConfig(**bert_like(45, 5, 67, 3, 97, "gelu_new", type_vocab_size=3)), 3, 13),
    "bert_classifier_odd": ("BertForSequenceClassification", T.BertConfig(num_labels=1, **bert_like(42, 7, 29, 1, 89, "relu")), 2, 1),
    "bert_mlm_untied": ("BertForMaskedLM", T.BertConfig(tie_word_embeddings=False, **bert_like(30, 3, 33, 2, 101, "silu")), 2, 17),
    "distilbert_odd_classifier": ("DistilBertForSequenceClassification", distil(42, 3, 50, 2, 97, num_labels=4), 3, 13),
    "distilbert_odd_ner": ("DistilBertForTokenClassification", distil(30, 5, 44, 2, 97, num_labels=7), 2, 9),
    "distilbert_odd_qa": ("DistilBertForQuestionAnswering", distil(45, 3, 31, 1, 97), 2, 13),
    "distilbert_odd_mlm": ("DistilBertForMaskedLM", distil(30, 3, 64, 1, 61, activation="relu"), 2, 7),
    "roberta_odd": ("RobertaModel", T.RobertaConfig(**bert_like(45, 9, 48, 2, 97, type_vocab_size=1)), 3, 13),
    "roberta_odd_classifier": ("RobertaForSequenceClassification", T.RobertaConfig(num_labels=3, **bert_like(42, 7, 33, 1, 97, type_vocab_size=1)), 2, 11),
    "roberta_odd_ner": ("RobertaForTokenClassification", T.RobertaConfig(num_labels=5, **bert_like(30, 5, 33, 1, 97)), 2, 5),
    "roberta_odd_qa": ("RobertaForQuestionAnswering", T.RobertaConfig(**bert_like(30, 3, 33, 1, 97)), 2, 13),
    "albert_odd": ("AlbertModel", T.AlbertConfig(embedding_size=55, num_hidden_groups=2, inner_group_num=2, **bert_like(30, 3, 44, 5, 97)), 3, 13),
    "albert_odd_classifier": ("AlbertForSequenceClassification", T.AlbertConfig(embedding_size=13, num_labels=3, **bert_like(42, 7, 50, 3, 97, "gelu_new")), 2, 9),
    "albert_odd_qa": ("AlbertForQuestionAnswering", T.AlbertConfig(embedding_size=24, **bert_like(45, 5, 33, 2, 97)), 2, 13),
    "modernbert_odd": ("ModernBertModel", modern(42, 3, 50, 5, 97, local_attention=9, global_attn_every_n_layers=2, norm_bias=True,
                                                 attention_bias=True, mlp_bias=True), 3, 33),
    "modernbert_odd_mlm": ("ModernBertForMaskedLM", modern(36, 3, 29, 3, 97, local_attention=4, hidden_activation="silu"), 2, 21),
    "modernbert_odd_classifier": ("ModernBertForSequenceClassification", modern(30, 5, 44, 2, 97, local_attention=2,
                                  classifier_pooling="mean", classifier_bias=True, num_labels=3), 16, 13),
    "modernbert_odd_ner": ("ModernBertForTokenClassification", modern(30, 3, 31, 2, 97, num_labels=5), 2, 9),
    "esm_odd": ("EsmModel", T.EsmConfig(position_embedding_type="rotary", token_dropout=True, mask_token_id=3,
                                        emb_layer_norm_before=False, **bert_like(42, 7, 50, 2, 33)), 3, 13),
    "esm_odd_absolute": ("EsmForMaskedLM", T.EsmConfig(position_embedding_type="absolute", token_dropout=True, mask_token_id=3,
                                                       emb_layer_norm_before=True, **bert_like(45, 5, 33, 2, 33)), 2, 11),
    "esm_odd_classifier": ("EsmForSequenceClassification", T.EsmConfig(position_embedding_type="rotary", token_dropout=False,
                           mask_token_id=3, num_labels=3, **bert_like(30, 5, 64, 1, 33)), 2, 17),
    "esm_odd_ner": ("EsmForTokenClassification", T.EsmConfig(position_embedding_type="rotary", token_dropout=True,
                    mask_token_id=3, num_labels=4, **bert_like(36, 3, 29, 1, 33)), 2, 9),
}


def scramble(model, generator):
    for name, parameter in model.named_parameters():
        shape = parameter.shape
        noise = torch.randn(shape, generator=generator)
        with torch.no_grad():
            if parameter.ndim >= 2:
                parameter.copy_(noise * (0.3 if "embedding" in name else 2.0 / shape[-1] ** 0.5))
            elif "norm" in name.lower():
                parameter.copy_((1.0 if name.endswith("weight") else 0.0) + 0.3 * noise)
            else:
                parameter.copy_(0.3 * noise)


def floats(output):
    return {k: v for k, v in output.items() if isinstance(v, torch.Tensor) and v.is_floating_point() and k != "loss"}


@torch.no_grad()
def main():
    out, only = sys.argv[1], sys.argv[2:]
    for number, name in enumerate(CASES):
        if only and name not in only:
            continue
        cls, config, batch, length = CASES[name]
        config._attn_implementation = "eager"
        generator = torch.Generator().manual_seed(100 + number)
        torch.manual_seed(100 + number)
        model = getattr(T, cls)(config).eval()
        scramble(model, generator)
        model.tie_weights()
        mask = torch.ones(batch, length, dtype=torch.long)
        for row in range(batch - 1):
            # A padding token of ModernBERT that sees nothing but padding in its window would be NaN there.
            padding = 1 if name.startswith("modernbert") else 3 + 2 * row
            mask[row, max(1, length - padding):] = 0
        # From 3 on, so that mask tokens are among them and padding is not.
        ids = torch.randint(3, config.vocab_size, (batch, length), generator=generator)
        if length > 4:
            ids[0, 2] = 3
        inputs = dict(input_ids=torch.where(mask == 1, ids, torch.tensor(config.pad_token_id)), attention_mask=mask)
        if name.startswith(("bert", "albert")):
            inputs["token_type_ids"] = torch.randint(0, config.type_vocab_size, (batch, length), generator=generator)
        single = floats(model(**inputs, return_dict=True))
        exact = floats(copy.deepcopy(model).double()(**inputs, return_dict=True))
        info = dict(architecture=cls, torch_float32_max_abs_error={k: float((single[k].double() - exact[k]).abs().max()) for k in exact},
                    max_abs={k: float(exact[k].abs().max()) for k in exact})
        folder = os.path.join(out, name)
        os.makedirs(folder, exist_ok=True)
        model.save_pretrained(folder)
        save_file({k: v.contiguous() for k, v in inputs.items()}, os.path.join(folder, "inputs.safetensors"))
        save_file({k: v.float().contiguous() for k, v in exact.items()}, os.path.join(folder, "expected.safetensors"))
        with open(os.path.join(folder, "case.json"), "w") as file:
            json.dump(info, file)
        print(name, info["torch_float32_max_abs_error"], info["max_abs"], flush=True)


main()
