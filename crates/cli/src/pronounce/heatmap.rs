//! The mean attention as a heat map in the terminal: a row a phoneme, a column a letter.

use core::fmt::Write as _;

use super::attention::{AttentionMap, scale_end};
use crate::term::Colours;

/// Dark to bright, evenly in lightness, from blue over violet and orange to yellow: readable in all kinds of colour sight.
const RAMP: [[u8; 3]; 6] =
    [[16, 18, 42], [58, 32, 104], [128, 44, 124], [204, 74, 98], [246, 136, 66], [252, 222, 120]];

/// From nothing to full, without colours.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// The map as lines of text. Cells are two columns wide, or one where `columns` is short.
pub(crate) fn draw(map: &AttentionMap, colours: Colours, columns: usize) -> String {
    let mean = map.mean();
    let end = scale_end(&mean);
    let label = map.phonemes.iter().map(String::len).max().unwrap_or(0);
    let cell = if label + 3 + 2 * map.letters.len() + 1 > columns { 1 } else { 2 };
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(text, "{:label$}  ", "");
    for letter in &map.letters {
        let _ = write!(text, "{letter:<cell$}");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    for (phoneme, row) in map.phonemes.iter().zip(mean.chunks(map.letters.len())) {
        let _ = write!(text, "{phoneme:>label$}  ");
        cells(&mut text, row.iter().map(|weight| weight / end), cell, colours);
        text.push('\n');
    }
    let _ = write!(text, "\n{:label$}  0 ", "");
    cells(&mut text, (0..16).map(|step| step as f32 / 15.0), 1, colours);
    let _ = writeln!(text, " {end}   attention, {}", map.source());
    text
}

/// A row of cells for weights from 0 to 1.
fn cells(text: &mut String, weights: impl Iterator<Item = f32>, width: usize, colours: Colours) {
    for weight in weights {
        let weight = weight.clamp(0.0, 1.0);
        if colours == Colours::None {
            let shade = SHADES[(weight * (SHADES.len() - 1) as f32).round() as usize];
            text.extend(core::iter::repeat_n(shade, width));
        } else {
            text.push_str(&colours.background(ramp(weight)));
            text.extend(core::iter::repeat_n(' ', width));
        }
    }
    text.push_str(colours.reset());
}

/// The colour of a weight from 0 to 1.
fn ramp(weight: f32) -> [u8; 3] {
    let place = weight * (RAMP.len() - 1) as f32;
    let low = (place as usize).min(RAMP.len() - 2);
    let part = place - low as f32;
    let mix = |i: usize| {
        let (a, b) = (f32::from(RAMP[low][i]), f32::from(RAMP[low + 1][i]));
        (a + (b - a) * part).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pronounce::attention::example;

    #[test]
    fn plain_maps_have_labels_on_both_axes_and_no_escapes() {
        let text = draw(&example(), Colours::None, usize::MAX);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "     a t t e n t i o n end");
        assert!(lines[1].starts_with("AH0  █"), "{text}");
        assert!(lines[8].starts_with("end  "));
        assert_eq!(lines[1].chars().count(), 5 + 2 * 10);
        assert!(lines[10].contains("mean of 2 layers × 4 heads"));
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn narrow_terminals_get_narrow_cells() {
        let text = draw(&example(), Colours::None, 20);
        assert_eq!(text.lines().next(), Some("     attentionend"));
    }

    #[test]
    fn coloured_lines_end_in_the_terminals_own_colours() {
        for colours in [Colours::Palette, Colours::True] {
            let text = draw(&example(), colours, usize::MAX);
            assert!(
                text.lines().skip(1).filter(|l| l.contains('\x1b')).all(|l| l.rfind("\x1b[0m") > l.rfind("\x1b[48"))
            );
        }
        assert_eq!(ramp(0.0), RAMP[0]);
        assert_eq!(ramp(1.0), RAMP[5]);
        assert_eq!(ramp(0.2), RAMP[1]);
    }
}
