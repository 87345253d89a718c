//! Cross-attention of a pronunciation to its spelling, ready to be drawn.

/// Attention weights of every layer and head, with the labels of both axes.
#[derive(Clone, Debug)]
pub(crate) struct AttentionMap {
    pub(crate) subject: &'static Subject,
    /// The word.
    pub(crate) word: String,
    /// What each column stands for: the letters and the end mark.
    pub(crate) letters: Vec<String>,
    /// What each row stands for: the phonemes and the end mark.
    pub(crate) phonemes: Vec<String>,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    /// `[layers, heads, phonemes, letters]`; each row sums to 1.
    pub(crate) weights: Vec<f32>,
}

/// What a map shows, in words.
#[derive(Debug)]
pub(crate) struct Subject {
    /// What the weights say.
    pub(crate) caption: &'static str,
    /// What the columns are together.
    pub(crate) columns: &'static str,
    /// What the rows are together.
    pub(crate) rows: &'static str,
}

/// Spelling against phonemes.
pub(crate) static PRONUNCIATION: Subject = Subject {
    caption: "Which letters the model looks at for each phoneme",
    columns: "spelling",
    rows: "pronunciation",
};

/// The label of `</s>`.
pub(crate) const END: &str = "end";

impl AttentionMap {
    /// What the weights of the mean are the mean of.
    pub(crate) fn source(&self) -> String {
        let (layers, heads) = (self.layers, self.heads);
        if layers * heads == 1 { "one head".into() } else { format!("mean of {layers} layers × {heads} heads") }
    }

    /// Weights of one head, `[phonemes, letters]`.
    pub(crate) fn panel(&self, layer: usize, head: usize) -> &[f32] {
        let size = self.panel_len();
        &self.weights[(layer * self.heads + head) * size..][..size]
    }

    /// The mean over all layers and heads, `[phonemes, letters]`.
    pub(crate) fn mean(&self) -> Vec<f32> {
        let size = self.panel_len();
        let mut mean = vec![0.0; size];
        for panel in self.weights.chunks_exact(size) {
            for (sum, weight) in mean.iter_mut().zip(panel) {
                *sum += weight;
            }
        }
        let count = (self.layers * self.heads) as f32;
        mean.iter_mut().for_each(|sum| *sum /= count);
        mean
    }

    fn panel_len(&self) -> usize {
        self.letters.len() * self.phonemes.len()
    }
}

/// The end of a colour scale that `panel` fits: its largest weight, rounded up to a twentieth.
pub(crate) fn scale_end(panel: &[f32]) -> f32 {
    let largest = panel.iter().copied().fold(0.0, f32::max);
    ((largest * 20.0).ceil() / 20.0).clamp(0.05, 1.0)
}

#[cfg(test)]
pub(crate) fn example() -> AttentionMap {
    let labels = |text: &str| text.split(' ').map(str::to_owned).chain([END.to_owned()]).collect::<Vec<_>>();
    let (letters, phonemes) = (labels("a t t e n t i o n"), labels("AH0 T EH1 N SH AH0 N"));
    let (layers, heads) = (2, 4);
    let mut weights = Vec::new();
    for panel in 0..layers * heads {
        for row in 0..phonemes.len() {
            let centre = row as f32 * 1.3;
            let raw =
                (0..letters.len()).map(|column| (-(column as f32 - centre).abs() * (0.3 + panel as f32 * 0.2)).exp());
            let raw: Vec<f32> = raw.collect();
            let sum: f32 = raw.iter().sum();
            weights.extend(raw.iter().map(|weight| weight / sum));
        }
    }
    AttentionMap { subject: &PRONUNCIATION, word: "attention".into(), letters, phonemes, layers, heads, weights }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_mean_sum_to_one() {
        let map = example();
        for row in map.mean().chunks(map.letters.len()) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
        assert_eq!(map.panel(1, 3), &map.weights[7 * 80..]);
    }

    #[test]
    fn scales_end_at_a_twentieth() {
        assert_eq!(scale_end(&[0.1, 0.52]), 0.55);
        assert_eq!(scale_end(&[0.0]), 0.05);
        assert_eq!(scale_end(&[1.000_001]), 1.0);
    }
}
