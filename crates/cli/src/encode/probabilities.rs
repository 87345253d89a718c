//! From logits to probabilities.

use kernform_math::{Rows, sigmoid_in_place, softmax_in_place};
use kernform_simd::Isa;

/// Makes the logits of each row of `width` probabilities: of one class among all, or of each class for itself.
pub(crate) fn probabilities(isa: Isa, logits: &mut [f32], width: usize, independent: bool) {
    if independent {
        sigmoid_in_place(isa, logits);
    } else {
        let rows = Rows::dense(logits.len() / width.max(1), width);
        // Rows of this width are all there is.
        let _ = softmax_in_place(isa, logits, rows);
    }
}

/// The `count` largest of some numbers with their places, largest first; of equal ones the first.
pub(crate) fn largest(numbers: &[f32], count: usize) -> Vec<(usize, f32)> {
    let mut all: Vec<(usize, f32)> = numbers.iter().copied().enumerate().collect();
    let better = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if count < all.len() {
        all.select_nth_unstable_by(count, better);
        all.truncate(count);
    }
    all.sort_unstable_by(better);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first() {
        assert_eq!(largest(&[0.1, 0.5, 0.5, 0.2], 3), [(1, 0.5), (2, 0.5), (3, 0.2)]);
        assert_eq!(largest(&[0.1], 3), [(0, 0.1)]);
    }

    #[test]
    fn rows_of_probabilities_sum_to_one() {
        let mut logits = [1.0, 1.0, 3.0, 3.0];
        probabilities(Isa::best(), &mut logits, 2, false);
        assert_eq!(logits, [0.5; 4]);
        let mut logits = [0.0, 0.0];
        probabilities(Isa::best(), &mut logits, 2, true);
        assert_eq!(logits, [0.5; 2]);
    }
}
