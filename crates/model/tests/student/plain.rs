//! The student as its papers have it, one number after the other in `f64`.

use crate::net::{DECODER_LAYERS, ENCODER_LAYERS, HEADS, INPUTS, Net, WIDTH};

type Rows = Vec<Vec<f64>>;

pub(crate) struct Plain<'n> {
    pub(crate) net: &'n Net,
    /// Whether inputs of products are rounded to bytes.
    pub(crate) rounds: bool,
}

/// The states of the recurrent units, a decoder layer each.
pub(crate) type States = Vec<Vec<f64>>;

impl Plain<'_> {
    fn row(&self, name: &str) -> &[f64] {
        &self.net.get(name).values
    }

    fn input(&self, x: &[f64]) -> Vec<f64> {
        let inputs = f64::from(INPUTS);
        let byte = |x: f64| (x * inputs).round_ties_even().clamp(-127.0, 127.0) / inputs;
        x.iter().map(|x| if self.rounds { byte(*x) } else { *x }).collect()
    }

    /// `x W + b`.
    fn map(&self, x: &[f64], weights: &str, bias: Option<&str>) -> Vec<f64> {
        let matrix = self.net.get(weights);
        let x = self.input(x);
        assert_eq!(x.len(), matrix.rows, "{weights}");
        let sum = |j: usize| (0..matrix.rows).map(|i| x[i] * matrix.values[i * matrix.cols + j]).sum::<f64>();
        (0..matrix.cols).map(|j| sum(j) + bias.map_or(0.0, |bias| self.row(bias)[j])).collect()
    }

    /// `norm(x + y)`.
    fn add_norm(&self, x: &[f64], y: &[f64], name: &str) -> Vec<f64> {
        let sum: Vec<f64> = x.iter().zip(y).map(|(x, y)| x + y).collect();
        let mean = sum.iter().sum::<f64>() / WIDTH as f64;
        let variance = sum.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / WIDTH as f64;
        let (scale, bias) = (self.row(&format!("{name}_ln_scale")), self.row(&format!("{name}_ln_bias")));
        let normalised = sum.iter().map(|x| (x - mean) / (variance + 1e-9).sqrt());
        normalised.zip(scale.iter().zip(bias)).map(|(x, (scale, bias))| x * scale + bias).collect()
    }

    /// Attention of one token to others, with its output map.
    fn attention(&self, x: &[f64], others: &Rows, prefix: &str) -> Vec<f64> {
        let map = |x: &[f64], part: &str| self.map(x, &format!("{prefix}W{part}"), Some(&format!("{prefix}b{part}")));
        let query = map(x, "q");
        let keys: Rows = others.iter().map(|x| map(x, "k")).collect();
        let values: Rows = others.iter().map(|x| map(x, "v")).collect();
        let dim = WIDTH / HEADS;
        let mut mixed = vec![0.0; WIDTH];
        for head in 0..HEADS {
            let part = head * dim..(head + 1) * dim;
            let score = |key: &Vec<f64>| {
                let dot: f64 = part.clone().map(|i| query[i] * key[i]).sum();
                (dot / (dim as f64).sqrt()).exp()
            };
            let weights: Vec<f64> = keys.iter().map(score).collect();
            let total: f64 = weights.iter().sum();
            for (weight, value) in weights.iter().zip(&values) {
                part.clone().for_each(|i| mixed[i] += weight / total * value[i]);
            }
        }
        map(&mixed, "o")
    }

    fn feed_forward(&self, x: &[f64], prefix: &str) -> Vec<f64> {
        let name = |part: &str| format!("{prefix}ffn_{part}");
        let inner = self.map(x, &name("W1"), Some(&name("b1")));
        let inner: Vec<f64> = inner.into_iter().map(|x| x.max(0.0)).collect();
        self.add_norm(x, &self.map(&inner, &name("W2"), Some(&name("b2"))), &name("ffn"))
    }

    fn embed(&self, token: Option<u32>, position: usize) -> Vec<f64> {
        let half = WIDTH / 2;
        let angle = |i: usize| position as f64 * (-(i as f64) * 10_000_f64.ln() / (half as f64 - 1.0)).exp();
        let at = |i: usize| if i < half { angle(i).sin() } else { angle(i - half).cos() };
        let row = |token: u32| &self.row("Wemb")[token as usize * WIDTH..][..WIDTH];
        (0..WIDTH).map(|i| at(i) + token.map_or(0.0, |token| row(token)[i] * (WIDTH as f64).sqrt())).collect()
    }

    pub(crate) fn encode(&self, source: &[u32]) -> Rows {
        let mut x: Rows = source.iter().enumerate().map(|(i, token)| self.embed(Some(*token), i)).collect();
        for layer in 1..=ENCODER_LAYERS {
            let prefix = format!("encoder_l{layer}_self_");
            let attended =
                x.iter().map(|row| self.add_norm(row, &self.attention(row, &x, &prefix), &format!("{prefix}Wo")));
            let attended: Rows = attended.collect();
            x = attended.iter().map(|row| self.feed_forward(row, &format!("encoder_l{layer}_"))).collect();
        }
        x
    }

    pub(crate) fn start() -> States {
        vec![vec![0.0; WIDTH]; DECODER_LAYERS]
    }

    /// The logits of `words` after a token, the `position`-th of the target.
    pub(crate) fn step(
        &self,
        encoded: &Rows,
        states: &mut States,
        token: Option<u32>,
        position: usize,
        words: &[u32],
    ) -> Vec<f64> {
        let mut x = self.embed(token, position);
        for (i, state) in states.iter_mut().enumerate() {
            let prefix = format!("decoder_l{}_", i + 1);
            let candidate = self.map(&x, &format!("{prefix}rnn_W"), None);
            let gate = self.map(&x, &format!("{prefix}rnn_Wf"), Some(&format!("{prefix}rnn_bf")));
            for ((state, candidate), gate) in state.iter_mut().zip(candidate).zip(gate) {
                let keep = 1.0 / (1.0 + (-gate).exp());
                *state = keep * *state + (1.0 - keep) * candidate;
            }
            let shown: Vec<f64> = state.iter().map(|state| state.max(0.0)).collect();
            x = self.add_norm(&x, &shown, &format!("{prefix}rnn_ffn"));
            let context = format!("{prefix}context_");
            x = self.add_norm(&x, &self.attention(&x, encoded, &context), &format!("{context}Wo"));
            x = self.feed_forward(&x, &prefix);
        }
        let x = self.input(&x);
        let logit = |word: u32| {
            let row = &self.row("Wemb")[word as usize * WIDTH..][..WIDTH];
            x.iter().zip(row).map(|(x, w)| x * w).sum::<f64>() + self.row("decoder_ff_logit_out_b")[word as usize]
        };
        words.iter().map(|word| logit(*word)).collect()
    }
}
