//! The elements of a block as a tree, whatever its tags are.

use super::block::{HtmlBlock, Kind};

/// The block itself.
pub(crate) const ROOT: u32 = 0;

/// An element that begins and ends in the block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) parent: u32,
    pub(crate) depth: u32,
    /// The marks of its tags; the end tag is made up where there is none.
    pub(crate) start: usize,
    pub(crate) end: Option<usize>,
    /// Whether it goes on with an element that a wrongly nested end tag interrupted, as in browsers.
    pub(crate) is_continued: bool,
    /// Where it begins: the byte of the text, and the mark.
    at: usize,
    order: usize,
    is_closed: bool,
}

/// What stands between words: a mark, or an element in which there are none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) at: usize,
    /// The mark that it comes with, for the order.
    pub(crate) order: usize,
    /// The element around it; the element itself, where it has no words.
    pub(crate) node: u32,
    pub(crate) mark: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// From which byte on the text is in which element.
    changes: Vec<(usize, u32)>,
    /// Elements without text, and tags whose other one is not in the block: those stay where they are, outside of all.
    pub(crate) points: Vec<Point>,
}

impl Tree {
    pub(crate) fn new(block: &HtmlBlock) -> Self {
        let root =
            Node { parent: ROOT, depth: 0, start: 0, end: None, is_continued: false, at: 0, order: 0, is_closed: true };
        let mut tree = Self { nodes: vec![root], changes: vec![(0, ROOT)], points: Vec::new() };
        let mut open: Vec<u32> = Vec::new();
        for (order, mark) in block.marks.iter().enumerate() {
            match &mark.kind {
                Kind::Alone { .. } => {
                    let node = open.last().copied().unwrap_or(ROOT);
                    tree.points.push(Point { at: mark.at, order, node, mark: Some(order) });
                }
                Kind::Start(_) => tree.begin(&mut open, order, (mark.at, order), false),
                Kind::End(name) => {
                    let is_begun = |node: &u32| {
                        let start = tree.nodes[*node as usize].start;
                        matches!(&block.marks[start].kind, Kind::Start(begun) if begun == name)
                    };
                    let Some(place) = open.iter().rposition(is_begun) else {
                        tree.points.push(Point { at: mark.at, order, node: ROOT, mark: Some(order) });
                        continue;
                    };
                    let inside = open.split_off(place + 1);
                    if let Some(node) = open.pop().and_then(|node| tree.nodes.get_mut(node as usize)) {
                        (node.end, node.is_closed) = (Some(order), true);
                    }
                    tree.changes.push((mark.at, open.last().copied().unwrap_or(ROOT)));
                    for node in inside {
                        tree.nodes[node as usize].is_closed = true;
                        let start = tree.nodes[node as usize].start;
                        tree.begin(&mut open, start, (mark.at, order), true);
                    }
                }
            }
        }
        tree.open_end();
        tree
    }

    fn begin(&mut self, open: &mut Vec<u32>, start: usize, (at, order): (usize, usize), is_continued: bool) {
        let parent = open.last().copied().unwrap_or(ROOT);
        let node = self.nodes.len() as u32;
        self.nodes.push(Node { parent, depth: 0, start, end: None, is_continued, at, order, is_closed: false });
        self.changes.push((at, node));
        open.push(node);
    }

    /// Takes elements without an end out of the tree; their tags become points. What is around one has no end either, so
    /// these are outside of all others.
    fn open_end(&mut self) {
        for i in 1..self.nodes.len() {
            let Node { parent, start, at, order, is_closed, .. } = self.nodes[i];
            let above = self.nodes[parent as usize];
            let parent = if above.is_closed { parent } else { ROOT };
            self.nodes[i].parent = parent;
            self.nodes[i].depth = self.nodes[parent as usize].depth + 1;
            if !is_closed {
                self.points.push(Point { at, order, node: ROOT, mark: Some(start) });
            }
        }
        let closed = |node: u32| if self.nodes[node as usize].is_closed { node } else { ROOT };
        self.changes.iter_mut().for_each(|(_, node)| *node = closed(*node));
        self.points.iter_mut().for_each(|point| point.node = closed(point.node));
        self.points.sort_by_key(|point| (point.at, point.order));
    }

    /// The element around a byte of the text.
    pub(crate) fn around(&self, at: usize) -> u32 {
        let behind = self.changes.partition_point(|(from, _)| *from <= at);
        self.changes[behind.max(1) - 1].1
    }

    /// Bytes inside of `from..to` before which a tag stands.
    pub(crate) fn cuts(&self, from: usize, to: usize) -> Vec<usize> {
        let changes =
            self.changes.partition_point(|(at, _)| *at <= from)..self.changes.partition_point(|(at, _)| *at < to);
        let points =
            self.points.partition_point(|point| point.at <= from)..self.points.partition_point(|point| point.at < to);
        // Crossed bounds: nothing is inside.
        let changes = self.changes.get(changes).unwrap_or_default().iter().map(|(at, _)| *at);
        let points = self.points.get(points).unwrap_or_default().iter().map(|point| point.at);
        let mut cuts: Vec<usize> = changes.chain(points).collect();
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }

    /// Whether an element is `outer` or inside of it.
    pub(crate) fn is_in(&self, mut node: u32, outer: u32) -> bool {
        let depth = self.nodes[outer as usize].depth;
        while self.nodes[node as usize].depth > depth {
            node = self.nodes[node as usize].parent;
        }
        node == outer
    }

    /// The innermost element that both are in.
    pub(crate) fn common(&self, mut a: u32, mut b: u32) -> u32 {
        while a != b {
            if self.nodes[a as usize].depth >= self.nodes[b as usize].depth {
                a = self.nodes[a as usize].parent;
            } else {
                b = self.nodes[b as usize].parent;
            }
        }
        a
    }

    /// Points for the elements that have no words and nothing else that will be seen, in which no other such element is.
    pub(crate) fn add_empty(&mut self, with_words: impl Iterator<Item = u32>) {
        let mut is_seen = vec![false; self.nodes.len()];
        let see = |is_seen: &mut Vec<bool>, mut node: u32| {
            while !core::mem::replace(&mut is_seen[node as usize], true) && node != ROOT {
                node = self.nodes[node as usize].parent;
            }
        };
        with_words.chain(self.points.iter().map(|point| point.node)).for_each(|node| see(&mut is_seen, node));
        let mut empty = Vec::new();
        // What is inside of an element comes after it.
        for i in (1..self.nodes.len()).rev() {
            let node = self.nodes[i];
            if node.is_closed && !node.is_continued && !is_seen[i] {
                see(&mut is_seen, i as u32);
                empty.push(Point { at: node.at, order: node.order, node: i as u32, mark: None });
            }
        }
        self.points.extend(empty);
        self.points.sort_by_key(|point| (point.at, point.order));
    }
}
