//! Rules that change the scores of the next token, one row `[vocab]` at a time.
//!
//! Each is a pure function of the row and of the tokens so far, in the caller's storage. A search applies those that its
//! configuration asks for in the order of transformers' `generate`: repetition penalty, n-grams, bad words, shortest length, forced
//! first and last token, suppressed tokens, suppressed first tokens. Greedy search applies them to logits, beam search to
//! log-probabilities. Token ids beyond the row are left out.

/// Words of 64 bits that [`repetition_penalty`] needs for a vocabulary.
#[must_use]
pub const fn seen_len(vocab: usize) -> usize {
    vocab.div_ceil(64)
}

/// Divides the positive and multiplies the negative scores of all tokens in `tokens` by `penalty`, once a token.
///
/// `seen` has at least [`seen_len`]`(scores.len())` words, all 0, and is all 0 again afterwards; tokens whose word is missing
/// are left out. Source: Keskar et al., "CTRL", 2019, section 4.1.
pub fn repetition_penalty(scores: &mut [f32], tokens: &[u32], penalty: f32, seen: &mut [u64]) {
    for &token in tokens {
        let token = token as usize;
        if let (Some(score), Some(word)) = (scores.get_mut(token), seen.get_mut(token / 64)) {
            let bit = 1 << (token % 64);
            if *word & bit == 0 {
                *word |= bit;
                *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
            }
        }
    }
    for &token in tokens {
        if let Some(word) = seen.get_mut(token as usize / 64) {
            *word = 0;
        }
    }
}

/// Forbids each token that would complete an n-gram of `size` tokens which `tokens` already has; a `size` of 0 does nothing.
///
/// Source: Paulus et al., "A deep reinforced model for abstractive summarization", 2017, section 2.5.
pub fn no_repeat_ngram(scores: &mut [f32], tokens: &[u32], size: usize) {
    if size == 0 || tokens.len() < size {
        return;
    }
    let prefix = &tokens[tokens.len() + 1 - size..];
    for window in tokens.windows(size) {
        if let Some((last, head)) = window.split_last()
            && head == prefix
        {
            forbid(scores, *last);
        }
    }
}

/// Forbids the last token of `sequence` when `tokens` ends with the others.
pub fn bad_word(scores: &mut [f32], tokens: &[u32], sequence: &[u32]) {
    if let Some((last, head)) = sequence.split_last()
        && tokens.ends_with(head)
    {
        forbid(scores, *last);
    }
}

/// Forbids each of `ids`.
pub fn suppress(scores: &mut [f32], ids: &[u32]) {
    for &id in ids {
        forbid(scores, id);
    }
}

/// Gives each of `ids` the score 0 and forbids every other token.
pub fn force(scores: &mut [f32], ids: &[u32]) {
    scores.fill(f32::NEG_INFINITY);
    for &id in ids {
        if let Some(score) = scores.get_mut(id as usize) {
            *score = 0.0;
        }
    }
}

fn forbid(scores: &mut [f32], token: u32) {
    if let Some(score) = scores.get_mut(token as usize) {
        *score = f32::NEG_INFINITY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO: f32 = f32::NEG_INFINITY;

    #[test]
    fn repetition_is_penalised_once_a_token_whatever_its_sign() {
        let mut scores = [2.0, -2.0, 3.0, NO, 0.0];
        let mut seen = [0; seen_len(5)];
        repetition_penalty(&mut scores, &[1, 0, 0, 3, 1, 4, 900], 2.0, &mut seen);
        assert_eq!(scores, [1.0, -4.0, 3.0, NO, 0.0]);
        assert_eq!(seen, [0]);
    }

    #[test]
    fn an_ngram_comes_once() {
        let banned = |tokens: &[u32], size| {
            let mut scores = [0.0; 6];
            no_repeat_ngram(&mut scores, tokens, size);
            scores.map(|x| x == NO)
        };
        assert_eq!(banned(&[1, 2, 1, 3, 1], 2), [false, false, true, true, false, false]);
        assert_eq!(banned(&[1, 2, 4, 1, 2], 3), [false, false, false, false, true, false]);
        assert_eq!(banned(&[1, 1, 5], 1), [false, true, false, false, false, true]);
        assert_eq!(banned(&[1, 1], 2), [false, true, false, false, false, false]);
        assert_eq!(banned(&[1, 2], 3), [false; 6]);
        assert_eq!(banned(&[1, 2], 0), [false; 6]);
    }

    #[test]
    fn a_bad_word_may_begin_but_not_end() {
        let mut scores = [0.0; 4];
        bad_word(&mut scores, &[1, 2], &[2, 3]);
        bad_word(&mut scores, &[1, 2], &[1, 0]);
        bad_word(&mut scores, &[1, 2], &[0, 1, 2, 1]);
        bad_word(&mut scores, &[1, 2], &[2]);
        bad_word(&mut scores, &[1, 2], &[]);
        assert_eq!(scores, [0.0, 0.0, NO, NO]);
    }

    #[test]
    fn suppressed_and_forced_tokens() {
        let mut scores = [1.0, 2.0, 3.0];
        suppress(&mut scores, &[2, 7]);
        assert_eq!(scores, [1.0, 2.0, NO]);
        force(&mut scores, &[2, 0, 7]);
        assert_eq!(scores, [0.0, NO, 0.0]);
    }
}
