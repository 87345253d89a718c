//! The attention as a picture: the mean of all heads, then a panel a layer and head.
//!
//! The picture has no background of its own. Weights are the opacity of one colour, so nothing is the page itself, light or
//! dark; text is grey on both until the viewer says which it is.

use core::fmt::Write as _;

use super::attention::{AttentionMap, scale_end};

const STYLE: &str = "\
text{font-family:ui-sans-serif,-apple-system,'Segoe UI','DejaVu Sans',Helvetica,Arial,sans-serif;fill:#6e7681}\
.label{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}\
.title{font-weight:600}.strong{fill:#57606a}\
.frame{fill:none;stroke:#8b949e;stroke-opacity:.5}\
rect.w{fill:#2563eb}\
@media(prefers-color-scheme:light){.strong{fill:#1f2328}}\
@media(prefers-color-scheme:dark){text{fill:#9aa4af}.strong{fill:#e6edf3}rect.w{fill:#6ea8fe}}";

/// Space around and between the parts, in pixels.
const MARGIN: usize = 28;
/// Weights below are not drawn: they would not be seen, and most of the file would be they.
const INVISIBLE: f32 = 0.005;

/// The sizes of a panel, in pixels.
#[derive(Clone, Copy)]
struct Size {
    cell: usize,
    font: usize,
}

const LARGE: Size = Size { cell: 24, font: 13 };
const SMALL: Size = Size { cell: 11, font: 8 };

impl Size {
    /// Space for the row labels.
    fn left(self, map: &AttentionMap) -> usize {
        // A monospaced letter is about 0.6 of its size wide.
        longest(&map.phonemes) * self.font * 5 / 8 + self.font / 2 + 2
    }

    /// Space for the column labels.
    fn top(self, map: &AttentionMap) -> usize {
        if are_upright(map) { longest(&map.letters) * self.font * 5 / 8 + self.font } else { self.font + self.font / 2 }
    }

    fn width(self, map: &AttentionMap) -> usize {
        self.left(map) + map.letters.len() * self.cell
    }

    fn height(self, map: &AttentionMap) -> usize {
        self.top(map) + map.phonemes.len() * self.cell
    }
}

/// Characters of the longest label.
fn longest(labels: &[String]) -> usize {
    labels.iter().map(|label| label.chars().count()).max().unwrap_or(0)
}

/// Whether labels of columns are turned, since they are longer than a letter or the end mark.
fn are_upright(map: &AttentionMap) -> bool {
    longest(&map.letters) > 3
}

/// The whole picture.
pub(crate) fn draw(map: &AttentionMap) -> String {
    let mean = map.mean();
    let (gap, heading) = (20, 22);
    let mean_top = MARGIN + 66;
    let mean_left = MARGIN + 20;
    let bar_left = mean_left + LARGE.width(map) + 28;
    let grid_title = mean_top + LARGE.height(map) + 58;
    let grid_top = grid_title + 16;
    let (panel_width, panel_height) = (SMALL.width(map) + gap, SMALL.height(map) + heading + gap);
    let grid_width = (map.heads * panel_width).saturating_sub(gap);
    // Wide enough for the explanation under the title.
    let width = (bar_left + 70).max(MARGIN + grid_width).max(620) + MARGIN;
    let is_one_head = map.layers * map.heads == 1;
    let bottom = if is_one_head { grid_title - 34 } else { grid_top + (map.layers * panel_height).saturating_sub(gap) };
    let height = bottom + MARGIN;

    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\">\n<title>Cross-attention of {word}</title>\n<style>{STYLE}</style>\n",
        word = Escaped(&map.word),
    );
    headline(&mut svg, map);
    axis_titles(&mut svg, map, mean_left, mean_top);
    panel(&mut svg, map, &mean, scale_end(&mean), LARGE, mean_left, mean_top);
    colour_bar(&mut svg, scale_end(&mean), bar_left, mean_top + LARGE.top(map), map.phonemes.len() * LARGE.cell);
    if is_one_head {
        svg.push_str("</svg>\n");
        return svg;
    }
    let _ = writeln!(
        svg,
        "<text class=\"strong title\" x=\"{MARGIN}\" y=\"{grid_title}\" font-size=\"14\">Layer by layer, head by head\
         <tspan dx=\"10\" font-size=\"12\" font-weight=\"400\">full colour is a weight of 1</tspan></text>"
    );
    for layer in 0..map.layers {
        for head in 0..map.heads {
            let (x, y) = (MARGIN + head * panel_width, grid_top + layer * panel_height);
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" font-size=\"11\">layer {} · head {}</text>",
                x + SMALL.left(map),
                y + 14,
                layer + 1,
                head + 1
            );
            panel(&mut svg, map, map.panel(layer, head), 1.0, SMALL, x, y + heading);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn headline(svg: &mut String, map: &AttentionMap) {
    let mut phonemes = map.phonemes[..map.phonemes.len().saturating_sub(1)].join(" ");
    // What does not fit on the line stands at the rows anyway.
    if map.word.chars().count() + phonemes.chars().count() > 56 {
        phonemes.clear();
    }
    let title: String = map.word.chars().take(64).collect();
    let _ = writeln!(
        svg,
        "<text class=\"strong title\" x=\"{MARGIN}\" y=\"{}\" font-size=\"20\">{} <tspan class=\"label\" font-size=\"16\" \
         font-weight=\"400\" dx=\"8\">{}</tspan></text>",
        MARGIN + 16,
        Escaped(&title),
        Escaped(&phonemes)
    );
    let _ = writeln!(
        svg,
        "<text x=\"{MARGIN}\" y=\"{}\" font-size=\"12\">{}, {}. Rows sum to 1.</text>",
        MARGIN + 38,
        map.subject.caption,
        map.source()
    );
}

/// The names of the axes of the large panel at `(x, y)`.
fn axis_titles(svg: &mut String, map: &AttentionMap, x: usize, y: usize) {
    let middle_x = x + LARGE.left(map) + map.letters.len() * LARGE.cell / 2;
    let middle_y = y + LARGE.top(map) + map.phonemes.len() * LARGE.cell / 2;
    let below = y + LARGE.height(map) + 18;
    let _ = writeln!(
        svg,
        "<text x=\"{middle_x}\" y=\"{below}\" font-size=\"12\" text-anchor=\"middle\">{}</text>",
        map.subject.columns
    );
    let _ = writeln!(
        svg,
        "<text transform=\"translate({} {middle_y}) rotate(-90)\" font-size=\"12\" text-anchor=\"middle\">{}</text>",
        x - 8,
        map.subject.rows
    );
}

/// Weights `[phonemes, letters]` as cells, full colour at `end`, with labels at the left and on top.
fn panel(svg: &mut String, map: &AttentionMap, weights: &[f32], end: f32, size: Size, x: usize, y: usize) {
    let Size { cell, font } = size;
    let (left, top) = (x + size.left(map), y + size.top(map));
    let (columns, rows) = (map.letters.len(), map.phonemes.len());
    let _ = writeln!(svg, "<g class=\"label\" font-size=\"{font}\">");
    for (column, letter) in map.letters.iter().enumerate() {
        if are_upright(map) {
            let (x, y) = (left + column * cell + cell / 2 + font * 3 / 8, top - font / 2);
            let _ = write!(svg, "<text transform=\"translate({x} {y}) rotate(-90)\">{}</text>", Escaped(letter));
            continue;
        }
        // A letter stands over its column; the end mark is wider than one and grows to the right.
        let (anchor, shift) = if letter.len() > 1 { ("start", 1) } else { ("middle", cell / 2) };
        let (x, y) = (left + column * cell + shift, top - font / 2);
        let _ = write!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>", Escaped(letter));
    }
    for (row, phoneme) in map.phonemes.iter().enumerate() {
        let (x, y) = (left - font / 2, top + row * cell + cell / 2 + font * 3 / 8);
        let _ = write!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{}</text>", Escaped(phoneme));
    }
    let _ = writeln!(svg, "</g>\n<g shape-rendering=\"crispEdges\">");
    for (row, (phoneme, values)) in map.phonemes.iter().zip(weights.chunks(columns)).enumerate() {
        for (column, (letter, weight)) in map.letters.iter().zip(values).enumerate() {
            let opacity = (weight / end).clamp(0.0, 1.0);
            if opacity < INVISIBLE {
                continue;
            }
            let (x, y) = (left + column * cell, top + row * cell);
            let _ = write!(
                svg,
                "<rect class=\"w\" x=\"{x}\" y=\"{y}\" width=\"{cell}\" height=\"{cell}\" fill-opacity=\"{opacity:.3}\">\
                 <title>{} {} {weight:.3}</title></rect>",
                Escaped(phoneme),
                Escaped(letter)
            );
        }
    }
    let (width, height) = (columns * cell, rows * cell);
    let _ =
        writeln!(svg, "\n<rect class=\"frame\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>\n</g>");
}

/// The scale of the large panel, from 0 below to `end` above.
fn colour_bar(svg: &mut String, end: f32, x: usize, y: usize, height: usize) {
    let _ = writeln!(
        svg,
        "<linearGradient id=\"scale\" x1=\"0\" y1=\"1\" x2=\"0\" y2=\"0\"><stop offset=\"0\" stop-color=\"#fff\" stop-opacity=\"0\"/>\
         <stop offset=\"1\" stop-color=\"#fff\"/></linearGradient>\
         <mask id=\"fade\"><rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"{height}\" fill=\"url(#scale)\"/></mask>\n\
         <rect class=\"w\" x=\"{x}\" y=\"{y}\" width=\"12\" height=\"{height}\" mask=\"url(#fade)\"/>\
         <rect class=\"frame\" x=\"{x}\" y=\"{y}\" width=\"12\" height=\"{height}\" shape-rendering=\"crispEdges\"/>"
    );
    for (value, part) in [(0.0, 0), (end / 2.0, 1), (end, 2)] {
        let (x, y) = (x + 18, y + height - height * part / 2 + 4);
        let _ = write!(svg, "<text class=\"label\" x=\"{x}\" y=\"{y}\" font-size=\"11\">{}</text>", Tick(value));
    }
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{}\" font-size=\"11\">weight</text>", y + height + 18);
}

/// A number of the scale, with as many places as it needs, at most three.
struct Tick(f32);

impl core::fmt::Display for Tick {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let text = format!("{:.3}", self.0);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Text with the characters that XML keeps for itself written as entities.
struct Escaped<'t>(&'t str);

impl core::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for c in self.0.chars() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pronounce::attention::example;

    #[test]
    fn the_picture_has_a_panel_a_head_and_one_for_the_mean() {
        let map = example();
        let svg = draw(&map);
        assert_eq!(svg.matches("class=\"frame\"").count(), 1 + 1 + 8, "mean, scale and heads");
        for layer in 1..=2 {
            for head in 1..=4 {
                assert!(svg.contains(&format!("layer {layer} · head {head}")));
            }
        }
        assert_eq!(svg.matches(">AH0</text>").count(), 9 * 2, "labels on every panel");
        assert_eq!(svg.matches("<g").count(), svg.matches("</g>").count());
        assert_eq!(
            svg.matches("<rect").count(),
            svg.matches("</rect>").count() + svg.matches("\"/>").count() - 2,
            "stops"
        );
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(Escaped("<a & \"b\">").to_string(), "&lt;a &amp; &quot;b&quot;&gt;");
    }

    #[test]
    fn ticks_are_short() {
        assert_eq!([Tick(0.0).to_string(), Tick(0.275).to_string(), Tick(0.55).to_string()], ["0", "0.275", "0.55"]);
    }
}
