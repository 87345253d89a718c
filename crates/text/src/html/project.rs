//! A block put together again: each word of the translation gets the tags of the word that it was translated from.
//!
//! The translation becomes a row of items, each in one element of the block: words in that of their source, and points (what
//! has no text) in that around them. Written one after the other, with the tags that lead from each element to the next,
//! they are well nested whatever the words' order; an element whose words stand apart is written several times.

use core::ops::Range;

use super::block::{HtmlBlock, Kind};
use super::tree::{Point, ROOT, Tree};

/// A sentence of a block, or a part of one, and what it became.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stretch {
    /// Its bytes in [`HtmlBlock::text`]. Stretches ascend; between them is white space.
    pub source: Range<usize>,
    /// What it became.
    pub text: String,
    /// The words of `text` in their order. Without any it is one, and tags inside of it stand before it.
    pub words: Vec<Word>,
    /// Whether it goes on with a sentence that was too long: it gets a space where there is none in the source.
    pub is_continued: bool,
}

/// A word of a translation and where it came from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Word {
    /// Its bytes in the stretch's text.
    pub target: Range<usize>,
    /// The bytes of the source's word in the block's text.
    pub source: Range<usize>,
    /// The byte among these whose tags it takes, where not all have the same.
    pub at: usize,
}

/// A word, or the part of one that has other tags.
struct Piece {
    target: Range<usize>,
    source: Range<usize>,
    node: u32,
}

enum Item<'a> {
    /// White space, in any element.
    Space(&'a str),
    Word(&'a str, u32),
    Point(usize),
}

/// Text as HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + text.len() / 8);
    for part in text.split_inclusive(['&', '<', '>', '\u{A0}']) {
        let last = part.chars().next_back();
        let reference = match last {
            Some('&') => "&amp;",
            Some('<') => "&lt;",
            Some('>') => "&gt;",
            Some('\u{A0}') => "&nbsp;",
            _ => "",
        };
        let kept = if reference.is_empty() { 0 } else { last.map_or(0, char::len_utf8) };
        html.push_str(&part[..part.len() - kept]);
        html.push_str(reference);
    }
    html
}

impl HtmlBlock {
    /// The block with translations in the place of its sentences. Every element is there at least once and well nested if
    /// it was so in the block, every tag of another block is there once, and nothing but `stretches` is text.
    #[must_use]
    pub fn project(&self, stretches: &[Stretch]) -> String {
        let mut tree = Tree::new(self);
        let pieces: Vec<Vec<Piece>> = stretches.iter().map(|stretch| self.pieces(&tree, stretch)).collect();
        tree.add_empty(pieces.iter().flatten().map(|piece| piece.node));
        // Elements that are written many times could make a page much longer, if it is made for that.
        let tags: usize = self.marks.iter().map(|mark| mark.raw.len()).sum();
        let texts: usize = stretches.iter().map(|stretch| stretch.text.len()).sum();
        let most = 16 * (tags + texts + self.text.len()) + 4096;
        let items = self.items(&tree, stretches, &pieces);
        let html = Output::new(self, &tree, most).write(&items).unwrap_or_else(|| self.in_order(stretches));
        [&self.before, html.as_str(), &self.after].concat()
    }

    /// The tags where they are, those inside of a stretch before it.
    fn in_order(&self, stretches: &[Stretch]) -> String {
        let mut html = String::new();
        let (mut at, mut marks) = (0, self.marks.iter().peekable());
        for stretch in stretches.iter().chain([&Stretch { source: self.text.len()..usize::MAX, ..Stretch::default() }])
        {
            while let Some(mark) = marks.next_if(|mark| mark.at < stretch.source.end) {
                let place = mark.at.min(stretch.source.start).max(at);
                html.push_str(&escaped(self.text.get(at..place).unwrap_or_default()));
                html.push_str(&mark.raw);
                at = place;
            }
            html.push_str(&escaped(self.text.get(at..stretch.source.start).unwrap_or_default()));
            html.push_str(&escaped(&stretch.text));
            at = stretch.source.end.max(at);
        }
        marks.for_each(|mark| html.push_str(&mark.raw));
        html
    }

    /// The words of a stretch. Where tags divide a word of the source, its translation is divided if it begins or ends as
    /// the source does (`H<sub>2</sub>O`, `word<sup>1</sup>`).
    fn pieces(&self, tree: &Tree, stretch: &Stretch) -> Vec<Piece> {
        let whole = [Word { target: 0..stretch.text.len(), source: stretch.source.clone(), at: stretch.source.start }];
        let words = if stretch.words.is_empty() { whole.as_slice() } else { &stretch.words };
        let mut pieces = Vec::new();
        let mut done = 0;
        for word in words {
            let Some(target) = stretch.text.get(word.target.clone()) else { continue };
            if word.target.start < done || target.is_empty() {
                continue;
            }
            done = word.target.end;
            let (from, to) = (word.source.start, word.source.end);
            let source = self.text.get(from..to).unwrap_or_default();
            let cuts = if source.is_empty() { Vec::new() } else { tree.cuts(from, to) };
            // Pairs of places, in the target and in the source.
            let mut bounds = vec![(0, from)];
            let mut ends = vec![(target.len(), to)];
            let is_whole = stretch.words.is_empty();
            for cut in cuts.iter().rev().take_while(|cut| !is_whole && target.ends_with(&source[**cut - from..])) {
                ends.push((target.len() - (to - cut), *cut));
            }
            let first_end = ends.last().map_or(0, |end| end.0);
            for cut in cuts.iter().take_while(|cut| !is_whole && target.starts_with(&source[..**cut - from])) {
                if cut - from <= first_end && !ends.iter().any(|end| end.1 <= *cut) {
                    bounds.push((cut - from, *cut));
                }
            }
            let middle = bounds.len() - 1;
            bounds.extend(ends.into_iter().rev());
            for (i, two) in bounds.windows(2).enumerate() {
                let ((start, source_start), (end, source_end)) = (two[0], two[1]);
                if start < end {
                    let decides = i == middle && (source_start..source_end).contains(&word.at);
                    let node = tree.around(if decides { word.at } else { source_start });
                    let target = word.target.start + start..word.target.start + end;
                    pieces.push(Piece { target, source: source_start..source_end, node });
                }
            }
        }
        pieces
    }

    fn items<'a>(&'a self, tree: &Tree, stretches: &'a [Stretch], pieces: &[Vec<Piece>]) -> Vec<Item<'a>> {
        let places = places(tree, stretches, pieces);
        let mut items = Vec::new();
        let mut at = 0;
        let text = |from: usize, to: usize| self.text.get(from..to).unwrap_or_default();
        // White space with its points.
        let gap = |items: &mut Vec<Item<'a>>, at: usize, end: usize, points: &[usize]| {
            let mut at = at;
            for point in points {
                let place = tree.points[*point].at.clamp(at, end.max(at));
                items.extend([Item::Space(text(at, place)), Item::Point(*point)]);
                at = place;
            }
            items.push(Item::Space(text(at, end)));
        };
        for (i, (stretch, pieces)) in stretches.iter().zip(pieces).enumerate() {
            gap(&mut items, at, stretch.source.start, &places.gaps[i]);
            if stretch.is_continued && stretch.source.start <= at {
                items.push(Item::Space(" "));
            }
            self.fill(&mut items, tree, stretch, pieces, &places.inside[i]);
            at = at.max(stretch.source.end);
        }
        gap(&mut items, at, self.text.len(), &places.gaps[stretches.len()]);
        items
    }

    /// A stretch's words, with the points inside of it.
    fn fill<'a>(
        &self,
        items: &mut Vec<Item<'a>>,
        tree: &Tree,
        stretch: &'a Stretch,
        pieces: &[Piece],
        points: &[usize],
    ) {
        // Before and behind each word.
        let mut slots: Vec<Vec<usize>> = vec![Vec::new(); 2 * pieces.len().max(1)];
        let mut least = 0;
        for point in points.iter().copied() {
            let slot = self.slot(tree, pieces, &tree.points[point]);
            let is_half =
                tree.points[point].mark.is_some_and(|mark| !matches!(self.marks[mark].kind, Kind::Alone { .. }));
            // Tags whose other half is elsewhere keep their order.
            let slot = if is_half { slot.max(least) } else { slot };
            least = if is_half { slot } else { least };
            slots[slot].push(point);
        }
        let text = |from: usize, to: usize| stretch.text.get(from..to).unwrap_or_default();
        let mut at = 0;
        for (piece, slots) in pieces.iter().zip(slots.chunks_exact(2)) {
            items.push(Item::Space(text(at, piece.target.start)));
            items.extend(slots[0].iter().map(|point| Item::Point(*point)));
            items.push(Item::Word(text(piece.target.start, piece.target.end), piece.node));
            items.extend(slots[1].iter().map(|point| Item::Point(*point)));
            at = piece.target.end;
        }
        if pieces.is_empty() {
            items.extend(slots.into_iter().flatten().map(Item::Point));
        }
        items.push(Item::Space(text(at, stretch.text.len())));
    }

    /// The slot of a point: beside the translation of the word that it stands at, in its element if that has words there.
    fn slot(&self, tree: &Tree, pieces: &[Piece], point: &Point) -> usize {
        let at = point.at;
        let (before, behind) = self.text.split_at_checked(at).unwrap_or_default();
        let kind = point.mark.map(|mark| &self.marks[mark].kind);
        let hangs_on = !before.ends_with(char::is_whitespace) && behind.starts_with(char::is_whitespace);
        let wants_previous = match kind {
            Some(Kind::Start(_)) => false,
            Some(Kind::End(_)) => true,
            Some(Kind::Alone { .. }) | None => hangs_on,
        };
        let around = around(tree, point);
        for outer in [around, ROOT] {
            let inside = || pieces.iter().enumerate().filter(|(_, piece)| tree.is_in(piece.node, outer));
            let next =
                inside().filter(|(_, piece)| piece.source.start >= at).min_by_key(|(_, piece)| piece.source.start);
            let previous =
                inside().filter(|(_, piece)| piece.source.end <= at).max_by_key(|(_, piece)| piece.source.end);
            let (next, previous) = (next.map(|(i, _)| 2 * i), previous.map(|(i, _)| 2 * i + 1));
            let slot = if wants_previous { previous.or(next) } else { next.or(previous) };
            if let Some(slot) = slot {
                return slot;
            }
        }
        pieces.iter().position(|piece| piece.source.contains(&at)).map_or(0, |i| 2 * i)
    }
}

/// The element in which a point stands.
fn around(tree: &Tree, point: &Point) -> u32 {
    if point.mark.is_none() { tree.nodes[point.node as usize].parent } else { point.node }
}

/// The points of each stretch, and those before each and behind the last.
struct Places {
    inside: Vec<Vec<usize>>,
    gaps: Vec<Vec<usize>>,
}

fn places(tree: &Tree, stretches: &[Stretch], pieces: &[Vec<Piece>]) -> Places {
    let mut places = Places { inside: vec![Vec::new(); stretches.len()], gaps: vec![Vec::new(); stretches.len() + 1] };
    let mut next = 0;
    for (number, point) in tree.points.iter().enumerate() {
        while stretches.get(next).is_some_and(|stretch| stretch.source.end <= point.at) {
            next += 1;
        }
        if stretches.get(next).is_some_and(|stretch| stretch.source.start < point.at) {
            places.inside[next].push(number);
            continue;
        }
        // Between two stretches. If its element has words in one of them, but not beside it, it goes there.
        let around = around(tree, point);
        let is_in = |piece: &Piece| tree.is_in(piece.node, around);
        let before = next.checked_sub(1).and_then(|before| pieces.get(before));
        let behind = pieces.get(next);
        let is_beside = before.and_then(|pieces| pieces.last()).is_some_and(is_in)
            || behind.and_then(|pieces| pieces.first()).is_some_and(is_in);
        if !is_beside && behind.is_some_and(|pieces| pieces.iter().any(is_in)) {
            places.inside[next].push(number);
        } else if !is_beside && before.is_some_and(|pieces| pieces.iter().any(is_in)) {
            places.inside[next - 1].push(number);
        } else {
            places.gaps[next].push(number);
        }
    }
    places
}

/// HTML while it is written.
struct Output<'a> {
    block: &'a HtmlBlock,
    tree: &'a Tree,
    html: String,
    most: usize,
    /// The element that is open, with all around it.
    node: u32,
    /// Whether white space was written last, and whether it is wanted before the next word.
    is_spaced: bool,
    wants_space: bool,
}

impl<'a> Output<'a> {
    fn new(block: &'a HtmlBlock, tree: &'a Tree, most: usize) -> Self {
        Self { block, tree, html: String::new(), most, node: ROOT, is_spaced: true, wants_space: false }
    }

    /// `None` where it gets too long.
    fn write(mut self, items: &[Item<'_>]) -> Option<String> {
        let mut node_after = vec![ROOT; items.len() + 1];
        for (i, item) in items.iter().enumerate().rev() {
            node_after[i] = match item {
                Item::Space(_) => node_after[i + 1],
                Item::Word(_, node) => *node,
                Item::Point(point) => self.tree.points[*point].node,
            };
        }
        for (i, item) in items.iter().enumerate() {
            match item {
                Item::Space("") => {}
                Item::Space(text) => self.space(text, node_after[i]),
                Item::Word(text, node) => {
                    if self.wants_space && !self.is_spaced {
                        self.space(" ", *node);
                    }
                    self.lead_to(*node);
                    self.html.push_str(&escaped(text));
                    (self.is_spaced, self.wants_space) = (false, false);
                }
                Item::Point(point) => self.point(*point),
            }
            if self.html.len() > self.most {
                return None;
            }
        }
        self.lead_to(ROOT);
        Some(self.html)
    }

    /// White space goes outside of elements that end before it or begin behind it.
    fn space(&mut self, text: &str, next: u32) {
        self.lead_to(self.tree.common(self.node, next));
        self.html.push_str(&escaped(text));
        (self.is_spaced, self.wants_space) = (true, false);
    }

    fn point(&mut self, number: usize) {
        let points = &self.tree.points;
        let point = points[number];
        let mark = point.mark.map(|mark| &self.block.marks[mark]);
        if let Some(mark) = mark
            && mark.kind == (Kind::Alone { is_seen: true })
        {
            // What is seen keeps the white space that it has around it, where the words there have none.
            let (before, behind) = self.block.text.split_at_checked(point.at).unwrap_or_default();
            let is_at =
                |other: Option<usize>| other.and_then(|i| points.get(i)).is_some_and(|other| other.at == point.at);
            let is_apart = before.ends_with(char::is_whitespace) && !is_at(number.checked_sub(1));
            if (is_apart || self.wants_space) && !self.is_spaced {
                self.space(" ", point.node);
            }
            self.is_spaced = false;
            self.wants_space = behind.starts_with(char::is_whitespace) && !is_at(number.checked_add(1));
        }
        self.lead_to(point.node);
        self.html.push_str(mark.map_or("", |mark| &mark.raw));
    }

    /// Closes and opens elements until `node` is the innermost one.
    fn lead_to(&mut self, node: u32) {
        let common = self.tree.common(self.node, node);
        while self.node != common {
            let element = self.tree.nodes[self.node as usize];
            match element.end {
                Some(mark) => self.html.push_str(&self.block.marks[mark].raw),
                None => {
                    if let Kind::Start(name) = &self.block.marks[element.start].kind {
                        self.html.extend(["</", name, ">"]);
                    }
                }
            }
            self.node = element.parent;
        }
        let mut path = Vec::new();
        let mut inner = node;
        while inner != common {
            path.push(inner);
            inner = self.tree.nodes[inner as usize].parent;
        }
        for element in path.into_iter().rev() {
            let start = self.tree.nodes[element as usize].start;
            self.html.push_str(&self.block.marks[start].raw);
        }
        self.node = node;
    }
}
