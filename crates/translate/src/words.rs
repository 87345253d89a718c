//! Which word of a sentence each word of its translation came from, by the alignment of their tokens.

use core::ops::Range;

use kernform_text::html::Word;
use kernform_text::words;

/// The tokens of a sentence and of its translation, and how they belong together.
pub(crate) struct Tokens<'a> {
    /// Of each source token, without the end: its bytes in the sentence. The weights' rows may have more.
    pub(crate) source: &'a [Range<usize>],
    /// Of each target token, without the end: where it ends in the translation.
    pub(crate) target_ends: &'a [usize],
    /// `[target, source]`.
    pub(crate) weights: &'a [f32],
    /// The length of a row of weights.
    pub(crate) row: usize,
}

/// How many bytes two ranges share.
fn shared(a: &Range<usize>, b: &Range<usize>) -> usize {
    a.end.min(b.end).saturating_sub(a.start.max(b.start))
}

/// The words of a translation, each with the source word whose tokens have the largest sum of weights. Marks such as commas
/// look at much else: they go with the same mark of the source, where there is one.
pub(crate) fn aligned(source: &str, target: &str, tokens: &Tokens<'_>) -> Vec<Word> {
    let sources: Vec<Range<usize>> = words(source).collect();
    let targets: Vec<Range<usize>> = words(target).collect();
    // Which words each source token is part of.
    let first_word = |token: &Range<usize>| sources.partition_point(|word| word.end <= token.start);
    let firsts: Vec<usize> = tokens.source.iter().map(first_word).collect();
    let mut found = Vec::with_capacity(targets.len());
    for (number, word) in targets.iter().enumerate() {
        let mut by_token = vec![0.0_f32; tokens.source.len()];
        let mut start = 0;
        for (i, end) in tokens.target_ends.iter().enumerate() {
            if shared(&(start..*end), word) > 0 {
                let row = tokens.weights.get(i * tokens.row..).unwrap_or_default();
                by_token.iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight);
            }
            start = *end;
        }
        let mut by_word = vec![0.0_f32; sources.len()];
        for ((token, weight), first) in tokens.source.iter().zip(&by_token).zip(&firsts) {
            let len = token.len().max(1) as f32;
            for (word, sum) in
                sources.iter().zip(&mut by_word).skip(*first).take_while(|(word, _)| word.start < token.end)
            {
                *sum += weight * shared(token, word) as f32 / len;
            }
        }
        let text = &target[word.clone()];
        let is_mark = !text.contains(char::is_alphanumeric);
        let is_same = |i: &usize| source.get(sources[*i].clone()) == Some(text);
        let same = (0..sources.len()).filter(|i| is_mark && is_same(i)).collect::<Vec<_>>();
        let all = || (0..sources.len()).collect::<Vec<_>>();
        let among = if same.is_empty() { all() } else { same };
        // Where all weights are 0, or no numbers, the place in the sentence decides.
        let expected = number * sources.len() / targets.len().max(1);
        let mut best = among.iter().copied().min_by_key(|i| i.abs_diff(expected));
        let mut most = 0.0;
        for i in among {
            if by_word[i] > most {
                (best, most) = (Some(i), by_word[i]);
            }
        }
        let Some(best) = best else { continue };
        let place = sources[best].clone();
        let mut at = place.start;
        let mut most = 0.0;
        for (token, weight) in tokens.source.iter().zip(&by_token) {
            if shared(token, &place) > 0 && *weight > most {
                (at, most) = (token.start.max(place.start), *weight);
            }
        }
        found.push(Word { target: word.clone(), source: place, at });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The source word of each target word.
    fn found(
        source: &str,
        target: &str,
        spans: &[Range<usize>],
        ends: &[usize],
        weights: &[f32],
    ) -> Vec<(String, String)> {
        let tokens = Tokens { source: spans, target_ends: ends, weights, row: spans.len() + 1 };
        let text = |text: &str, place: Range<usize>| text[place].to_string();
        aligned(source, target, &tokens)
            .into_iter()
            .map(|word| (text(target, word.target), text(source, word.source)))
            .collect()
    }

    #[test]
    fn words_come_from_where_their_tokens_look_at() {
        // The tokens are `red`, `hou`, `se`, `.` and `casa`, `verm`, `elha`, `.`; the end is looked at most by the mark.
        let (source, target) = ("red house.", "casa vermelha.");
        let spans = [0..3, 3..7, 7..9, 9..10];
        let ends = [4, 9, 13, 14];
        #[rustfmt::skip]
        let weights = [
            0.3, 0.2, 0.4, 0.0, 0.1,
            0.6, 0.3, 0.0, 0.0, 0.1,
            0.4, 0.0, 0.5, 0.0, 0.1,
            0.2, 0.1, 0.0, 0.1, 0.6,
        ];
        let expected =
            [("casa", "house"), ("vermelha", "red"), (".", ".")].map(|(a, b)| (a.to_string(), b.to_string()));
        assert_eq!(found(source, target, &spans, &ends, &weights), expected);
        // Numbers that are none, or too few of them: by the places.
        for weights in [&[f32::NAN; 20][..], &[0.0; 20], &[], &[f32::INFINITY; 3]] {
            assert_eq!(found(source, target, &spans, &ends, weights).len(), 3);
        }
        assert!(found("", target, &[], &ends, &[]).is_empty());
    }
}
