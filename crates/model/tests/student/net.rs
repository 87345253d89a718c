//! A student of made-up weights: as the bytes of a Marian file, and as plain numbers.

use std::collections::BTreeMap;

pub(crate) const WIDTH: usize = 16;
pub(crate) const HEADS: usize = 2;
pub(crate) const INNER: usize = 24;
pub(crate) const VOCAB: usize = 44;
pub(crate) const ENCODER_LAYERS: usize = 2;
pub(crate) const DECODER_LAYERS: usize = 2;
/// By what inputs of products are multiplied before they become bytes.
pub(crate) const INPUTS: f32 = 20.0;

/// A matrix `[rows, cols]`.
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) values: Vec<f64>,
    /// By what the values were multiplied that are bytes in the file.
    multiplier: Option<f32>,
}

pub(crate) struct Net {
    pub(crate) matrices: BTreeMap<String, Matrix>,
}

/// Numbers in -1 to 1.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

impl Net {
    /// Matrices of products as bytes or as floats.
    pub(crate) fn new(is_bytes: bool) -> Self {
        let mut net = Self { matrices: BTreeMap::new() };
        let mut numbers = Numbers(7);
        for (stack, layers) in [("encoder", ENCODER_LAYERS), ("decoder", DECODER_LAYERS)] {
            for layer in 1..=layers {
                let prefix = format!("{stack}_l{layer}_");
                if stack == "encoder" {
                    net.attention(&mut numbers, &format!("{prefix}self_"), is_bytes);
                } else {
                    net.product(&mut numbers, &format!("{prefix}rnn_W"), (WIDTH, WIDTH), is_bytes);
                    net.product(&mut numbers, &format!("{prefix}rnn_Wf"), (WIDTH, WIDTH), is_bytes);
                    net.row(&mut numbers, &format!("{prefix}rnn_bf"), WIDTH, 0.0);
                    net.norm(&mut numbers, &format!("{prefix}rnn_ffn"));
                    net.attention(&mut numbers, &format!("{prefix}context_"), is_bytes);
                }
                net.product(&mut numbers, &format!("{prefix}ffn_W1"), (WIDTH, INNER), is_bytes);
                net.row(&mut numbers, &format!("{prefix}ffn_b1"), INNER, 0.0);
                net.product(&mut numbers, &format!("{prefix}ffn_W2"), (INNER, WIDTH), is_bytes);
                net.row(&mut numbers, &format!("{prefix}ffn_b2"), WIDTH, 0.0);
                net.norm(&mut numbers, &format!("{prefix}ffn_ffn"));
            }
        }
        net.product(&mut numbers, "Wemb", (VOCAB, WIDTH), is_bytes);
        net.row(&mut numbers, "decoder_ff_logit_out_b", VOCAB, 0.0);
        net
    }

    fn attention(&mut self, numbers: &mut Numbers, prefix: &str, is_bytes: bool) {
        for part in ["q", "k", "v", "o"] {
            self.product(numbers, &format!("{prefix}W{part}"), (WIDTH, WIDTH), is_bytes);
            self.row(numbers, &format!("{prefix}b{part}"), WIDTH, 0.0);
        }
        self.norm(numbers, &format!("{prefix}Wo"));
    }

    fn norm(&mut self, numbers: &mut Numbers, name: &str) {
        self.row(numbers, &format!("{name}_ln_scale"), WIDTH, 1.0);
        self.row(numbers, &format!("{name}_ln_bias"), WIDTH, 0.0);
    }

    fn row(&mut self, numbers: &mut Numbers, name: &str, len: usize, around: f32) {
        let values = (0..len).map(|_| f64::from(around + 0.3 * numbers.next())).collect();
        self.matrices.insert(name.to_string(), Matrix { rows: 1, cols: len, values, multiplier: None });
    }

    fn product(&mut self, numbers: &mut Numbers, name: &str, (rows, cols): (usize, usize), is_bytes: bool) {
        let multiplier = 250.0;
        let value =
            |x: f32| if is_bytes { f64::from((x * multiplier).round() * (1.0 / multiplier)) } else { f64::from(x) };
        let values = (0..rows * cols).map(|_| value(0.5 * numbers.next())).collect();
        let multiplier = is_bytes.then_some(multiplier);
        self.matrices.insert(name.to_string(), Matrix { rows, cols, values, multiplier });
        if is_bytes {
            let inputs = Matrix { rows: 1, cols: 1, values: vec![f64::from(INPUTS)], multiplier: None };
            self.matrices.insert(format!("{name}_QuantMultA"), inputs);
        }
    }

    pub(crate) fn get(&self, name: &str) -> &Matrix {
        self.matrices.get(name).unwrap_or_else(|| panic!("{name}"))
    }

    /// The file.
    pub(crate) fn file(&self) -> Vec<u8> {
        let settings = format!(
            "type: transformer\ntransformer-decoder-autoreg: rnn\ndec-cell: ssru\ntransformer-ffn-activation: relu\n\
             transformer-preprocess: \"\"\ntransformer-postprocess: dan\ntransformer-postprocess-top: \"\"\n\
             tied-embeddings-all: true\ntransformer-train-position-embeddings: false\ntransformer-tied-layers:\n  []\n\
             transformer-ffn-depth: 2\noutput-omit-bias: false\ndim-emb: {WIDTH}\ntransformer-heads: {HEADS}\n\
             transformer-dim-ffn: {INNER}\nenc-depth: {ENCODER_LAYERS}\ndec-depth: {DECODER_LAYERS}\n\
             dim-vocabs:\n  - {VOCAB}\n  - {VOCAB}\n\0"
        );
        let mut tensors = vec![(
            "special:model.yml",
            0x0101_u64,
            vec![i32::try_from(settings.len()).expect("a few lines")],
            settings.into_bytes(),
        )];
        for (name, matrix) in &self.matrices {
            let shape = [matrix.rows, matrix.cols].map(|dim| i32::try_from(dim).expect("small")).to_vec();
            let (kind, data) = match matrix.multiplier {
                None => (0x0404, matrix.values.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect()),
                Some(multiplier) => (0x4101, matrix.bytes(name != "Wemb", multiplier)),
            };
            tensors.push((name, kind, shape, data));
        }
        let mut bytes = Vec::new();
        let mut push = |number: usize| bytes.extend((number as u64).to_le_bytes());
        push(1);
        push(tensors.len());
        for (name, kind, shape, data) in &tensors {
            [name.len() + 1, *kind as usize, shape.len(), data.len()].into_iter().for_each(&mut push);
        }
        bytes.extend(tensors.iter().flat_map(|(name, ..)| name.bytes().chain([0])));
        bytes.extend(tensors.iter().flat_map(|(_, _, shape, _)| shape).flat_map(|dim| dim.to_le_bytes()));
        let padding = (bytes.len() + 8).next_multiple_of(256) - bytes.len() - 8;
        bytes.extend((padding as u64).to_le_bytes());
        bytes.resize(bytes.len() + padding, 0);
        bytes.extend(tensors.iter().flat_map(|(.., data)| data));
        bytes
    }
}

impl Matrix {
    /// The bytes and their multiplier; transposed, as intgemm stores what is no table of tokens.
    fn bytes(&self, is_transposed: bool, multiplier: f32) -> Vec<u8> {
        let byte = |x: f64| (x * f64::from(multiplier)).round() as i8 as u8;
        let mut bytes: Vec<u8> = if is_transposed {
            (0..self.cols)
                .flat_map(|j| (0..self.rows).map(move |i| i * self.cols + j))
                .map(|at| byte(self.values[at]))
                .collect()
        } else {
            self.values.iter().map(|x| byte(*x)).collect()
        };
        bytes.extend(multiplier.to_le_bytes());
        // Marian rounds lengths up.
        bytes.resize(bytes.len().next_multiple_of(256), 0);
        bytes
    }
}

/// A shortlist: the first two words for all, and of each word three others.
pub(crate) fn shortlist() -> Vec<u8> {
    let lists: Vec<u32> = (0..VOCAB as u32)
        .flat_map(|word| {
            let mut list = [3, 7, 12].map(|step| (word * 5 + step * 3) % VOCAB as u32);
            list.sort_unstable();
            list
        })
        .collect();
    let mut checked = Vec::new();
    let offsets = (0..=VOCAB as u64).map(|word| 3 * word);
    for number in [2, 3, VOCAB as u64 + 1, lists.len() as u64].into_iter().chain(offsets) {
        checked.extend(number.to_le_bytes());
    }
    checked.extend(lists.iter().flat_map(|word| word.to_le_bytes()));
    let sum = checked.as_chunks().0.iter().fold(0_u64, |sum, word| {
        sum ^ u64::from_le_bytes(*word).wrapping_add(0x9e37_79b9).wrapping_add(sum << 6).wrapping_add(sum >> 2)
    });
    let mut bytes = 0xF11A_48D5_0134_17F5_u64.to_le_bytes().to_vec();
    bytes.extend(sum.to_le_bytes());
    bytes.extend(checked);
    bytes
}
