//! The pieces of a model, and the search for those that a text begins with.

use core::ops::Range;

/// What a piece is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// Pieces, by id and by text.
#[derive(Clone, Debug, Default)]
pub(super) struct Vocabulary {
    /// All texts, one after the other; `ends[id]` is where that of `id` ends.
    text: String,
    ends: Vec<u32>,
    pub(super) scores: Vec<f32>,
    pub(super) kinds: Vec<Kind>,
    /// The ids of the pieces that a text can be cut into, in the order of their bytes.
    sorted: Vec<u32>,
    /// A tree of these pieces, byte by byte, the root first; the children of a node stand together in the order of their bytes.
    nodes: Vec<Node>,
    /// The byte that leads to each node.
    bytes: Vec<u8>,
}

/// All pieces that begin with the bytes that lead here.
#[derive(Clone, Copy, Debug)]
struct Node {
    first_child: u32,
    /// Where there are none, only one piece is left, and it may be longer.
    children: u32,
    /// The piece that ends here, or the only one; [`NONE`] otherwise.
    piece: u32,
}

const NONE: u32 = u32::MAX;

impl Vocabulary {
    pub(super) fn push(&mut self, piece: &str, score: f32, kind: Kind) {
        self.text.push_str(piece);
        self.ends.push(self.text.len() as u32);
        self.scores.push(score);
        self.kinds.push(kind);
    }

    /// Makes the pieces findable; none is pushed after that. False where two pieces have the same text.
    pub(super) fn finish(&mut self) -> bool {
        let findable = |id: &u32| matches!(self.kinds[*id as usize], Kind::Normal | Kind::UserDefined | Kind::Unused);
        // Most differ in the first eight bytes, which are compared as one number.
        let start = |id: u32| {
            let (mut start, bytes) = ([0; 8], self.text_of(id));
            let len = bytes.len().min(8);
            start[..len].copy_from_slice(&bytes[..len]);
            (u64::from_be_bytes(start), id)
        };
        let mut sorted: Vec<(u64, u32)> = (0..self.len() as u32).filter(findable).map(start).collect();
        sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| self.text_of(a.1).cmp(self.text_of(b.1))));
        self.sorted = sorted.into_iter().map(|(_, id)| id).collect();
        let is_unique = !self.sorted.windows(2).any(|pair| self.text_of(pair[0]) == self.text_of(pair[1]));
        if is_unique {
            self.grow();
        }
        is_unique
    }

    /// Makes the tree of pieces that are sorted and unique.
    fn grow(&mut self) {
        let node = Node { first_child: 0, children: 0, piece: NONE };
        let (mut nodes, mut bytes) = (vec![node], vec![0]);
        // The pieces of each node, and how many bytes lead to it.
        let mut open = vec![(0..self.sorted.len(), 0)];
        let mut at = 0;
        while let Some((mut pieces, depth)) = open.get(at).cloned() {
            let text = |place: usize| self.text_of(self.sorted[place]);
            let is_only = pieces.len() == 1 && depth > 0;
            if !pieces.is_empty() && (is_only || text(pieces.start).len() == depth) {
                nodes[at].piece = self.sorted[pieces.start];
                pieces.start += 1;
            }
            nodes[at].first_child = nodes.len() as u32;
            while let Some(start) = pieces.next() {
                let byte = text(start)[depth];
                while pieces.start < pieces.end && text(pieces.start)[depth] == byte {
                    pieces.start += 1;
                }
                open.push((start..pieces.start, depth + 1));
                nodes.push(node);
                bytes.push(byte);
                nodes[at].children += 1;
            }
            at += 1;
        }
        (self.nodes, self.bytes) = (nodes, bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn piece(&self, id: u32) -> Option<&str> {
        self.text.get(self.place(id)?)
    }

    /// Where in all texts that of `id` is.
    fn place(&self, id: u32) -> Option<Range<usize>> {
        let end = *self.ends.get(id as usize)? as usize;
        let start = if id == 0 { 0 } else { self.ends[id as usize - 1] as usize };
        Some(start..end)
    }

    /// The text of an id that there is.
    fn text_of(&self, id: u32) -> &[u8] {
        self.place(id).and_then(|place| self.text.as_bytes().get(place)).unwrap_or_default()
    }

    /// The id of a piece that a text can be cut into.
    pub(super) fn find(&self, piece: &str) -> Option<u32> {
        let place = self.sorted.binary_search_by(|id| self.text_of(*id).cmp(piece.as_bytes())).ok()?;
        self.sorted.get(place).copied()
    }

    /// Calls `each` with the length and the id of every piece that `text` begins with, the shortest first.
    pub(super) fn prefixes(&self, text: &[u8], mut each: impl FnMut(usize, u32)) {
        let Some(mut node) = self.nodes.first() else { return };
        for (depth, byte) in text.iter().enumerate() {
            let first = node.first_child as usize;
            let children = first..first + node.children as usize;
            let Ok(child) = self.bytes[children].binary_search(byte) else { return };
            node = &self.nodes[first + child];
            if node.children == 0 {
                let only = self.text_of(node.piece);
                if text.starts_with(only) {
                    each(only.len(), node.piece);
                }
                return;
            }
            if node.piece != NONE {
                each(depth + 1, node.piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a look at every piece, for all vocabularies of words over two letters up to a length, thinned out in many ways.
    #[test]
    fn all_prefixes_are_found() {
        let words: Vec<String> = (1..=5_u32)
            .flat_map(|len| (0..1_u32 << len).map(move |bits| (len, bits)))
            .map(|(len, bits)| (0..len).map(|i| if bits >> i & 1 == 0 { 'a' } else { '\u{2581}' }).collect())
            .collect();
        for every in 1..=words.len() {
            let mut vocabulary = Vocabulary::default();
            for word in words.iter().step_by(every).rev() {
                vocabulary.push(word, 0.0, Kind::Normal);
            }
            assert!(vocabulary.finish());
            for text in &words {
                let mut found = Vec::new();
                vocabulary.prefixes(text.as_bytes(), |len, id| found.push((len, id)));
                let mut expected: Vec<_> = (0..vocabulary.len() as u32)
                    .map(|id| (vocabulary.text_of(id).len(), id))
                    .filter(|(_, id)| text.as_bytes().starts_with(vocabulary.text_of(*id)))
                    .collect();
                expected.sort_unstable();
                assert_eq!(found, expected, "{text}, every {every}");
            }
        }
        let mut twice = Vocabulary::default();
        twice.push("a", 0.0, Kind::Normal);
        twice.push("a", 1.0, Kind::Normal);
        assert!(!twice.finish());
    }
}
