//! The pieces of a model, and the search for those that a text begins with.

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
    /// Where in `sorted` the pieces begin whose first byte is at least the index.
    first_bytes: Vec<u32>,
}

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
        let mut sorted: Vec<u32> = (0..self.len() as u32).filter(findable).collect();
        sorted.sort_unstable_by(|a, b| self.bytes(*a).cmp(self.bytes(*b)));
        let is_unique = !sorted.windows(2).any(|pair| self.bytes(pair[0]) == self.bytes(pair[1]));
        let below = |byte: usize| sorted.partition_point(|id| usize::from(self.bytes(*id)[0]) < byte) as u32;
        self.first_bytes = (0..=256).map(below).collect();
        self.sorted = sorted;
        is_unique
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn piece(&self, id: u32) -> Option<&str> {
        let end = *self.ends.get(id as usize)? as usize;
        let start = if id == 0 { 0 } else { self.ends[id as usize - 1] as usize };
        self.text.get(start..end)
    }

    /// The text of an id that there is.
    fn bytes(&self, id: u32) -> &[u8] {
        self.piece(id).unwrap_or_default().as_bytes()
    }

    /// The id of a piece that a text can be cut into.
    pub(super) fn find(&self, piece: &str) -> Option<u32> {
        let place = self.sorted.binary_search_by(|id| self.bytes(*id).cmp(piece.as_bytes())).ok()?;
        self.sorted.get(place).copied()
    }

    /// Calls `each` with the length and the id of every piece that `text` begins with, the shortest first.
    pub(super) fn prefixes(&self, text: &[u8], mut each: impl FnMut(usize, u32)) {
        let Some(&first) = text.first() else { return };
        let mut from = self.first_bytes[usize::from(first)] as usize;
        let mut to = self.first_bytes[usize::from(first) + 1] as usize;
        // Invariant: the pieces `from .. to` are those that begin with the first `len` bytes of the text; they are in the
        // order of their bytes, so one of exactly that length stands first.
        let mut len = 1;
        while from < to {
            let id = self.sorted[from];
            let shortest = self.bytes(id);
            if shortest.len() == len {
                each(len, id);
                from += 1;
            } else if to - from == 1 {
                // A single piece is left, and all of it must be there.
                if text.starts_with(shortest) {
                    each(shortest.len(), id);
                }
                return;
            }
            let Some(&byte) = text.get(len) else { return };
            let range = &self.sorted[from..to];
            let at = |id: &u32| self.bytes(*id)[len];
            let start = range.partition_point(|id| at(id) < byte);
            let count = range[start..].partition_point(|id| at(id) == byte);
            (from, to) = (from + start, from + start + count);
            len += 1;
        }
    }
}
