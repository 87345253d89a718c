//! Pages with translators that are made up: one that changes nothing, one that turns the words of a sentence round, one
//! that aligns at random.

use std::collections::BTreeMap;
use std::io::{self, Read};

use proptest::prelude::*;

use super::block::{HtmlBlock, HtmlBlocks, Kind};
use super::project::{Stretch, Word};
use super::scan::{Scanner, Token};
use crate::{sentences, words};

/// The words of a translation: its text and the source word of each.
type Words<'t> = Vec<(String, core::ops::Range<usize>)>;

/// The page with each sentence translated.
fn page(html: &[u8], translate: impl Fn(&str) -> Words<'_>) -> String {
    HtmlBlocks::new(html).map(|block| block_with(&block.expect("memory can be read"), &translate)).collect()
}

fn block_with(block: &HtmlBlock, translate: impl Fn(&str) -> Words<'_>) -> String {
    let text = block.text();
    let mut stretches = Vec::new();
    let mut start = 0;
    for sentence in sentences(&text) {
        let from = start + sentence.before.len();
        start = from + sentence.text.len() + sentence.after.len();
        let mut stretch = Stretch { source: from..from + sentence.text.len(), ..Stretch::default() };
        for (word, source) in translate(sentence.text) {
            let begin = stretch.text.len();
            stretch.text.push_str(&word);
            if !word.trim().is_empty() {
                let source = from + source.start..from + source.end;
                stretch.words.push(Word { target: begin..stretch.text.len(), at: source.start, source });
            }
        }
        stretches.push(stretch);
    }
    block.project(&stretches)
}

/// Every word stays, and what is between them.
fn same(sentence: &str) -> Words<'_> {
    let mut parts = Vec::new();
    let mut at = 0;
    for word in words(sentence) {
        parts.push((sentence[at..word.start].to_string(), at..word.start));
        at = word.end;
        parts.push((sentence[word.clone()].to_string(), word));
    }
    parts
}

/// The words in the other order, marks at the end where they are.
fn reversed(sentence: &str) -> Words<'_> {
    let is_mark = |word: &core::ops::Range<usize>| !sentence[word.clone()].contains(char::is_alphanumeric);
    let (marks, mut plain): (Vec<_>, Vec<_>) = words(sentence).partition(is_mark);
    plain.reverse();
    let mut parts: Words<'_> = Vec::new();
    for word in plain {
        if !parts.is_empty() {
            parts.push((" ".into(), 0..0));
        }
        parts.push((sentence[word.clone()].to_uppercase(), word));
    }
    parts.extend(marks.into_iter().map(|mark| (sentence[mark.clone()].to_string(), mark)));
    parts
}

/// Tags and such, and the text without them.
fn parts(html: &[u8]) -> (Vec<String>, String) {
    let (mut tags, mut all) = (Vec::new(), String::new());
    for token in Scanner::new(Box::new(html)) {
        match token.expect("memory can be read") {
            Token::Text { text, .. } => all.push_str(&text),
            Token::Start { raw, .. } | Token::End { raw, .. } | Token::Other { raw } => tags.push(raw),
        }
    }
    (tags, all)
}

fn without_space(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

const PAGE: &str = "\u{FEFF}<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=utf-8><title>A &amp; B &lt; C</title>\n\
    <script>if (a < b && c > d) document.write(\"<p>Not a text</p>\")</script>\n<style>p > a { color: red }</style>\n</head>\n\
    <body>\n<!-- a comment <b> -->\n<h1 id=top>One <em>two</em> three</h1>\r\n<p>Hello <a href=\"x?a=1&b=2\" title='a > b'>my \
    <b>dear</b></a>&nbsp;world. Second<img src=i.png alt=\"x\"> sentence<br>\nnext line.</p>\n<ul><li>first<li>second \
    <code>let x = 1 &lt; 2;</code> third</ul>\n<pre>  kept\n   text </pre><table><tr><td>cell<td translate=no>kept \
    <b>cell</b><td>cell</table>\n<svg viewBox=\"0 0 1 1\"><title>kept</title><style/><path d='M0'/></svg>\n\
    <textarea>kept <b> </textarea><p class='x notranslate'>kept<p>last <i>one</i></p>\n</body></html>\n";

#[test]
fn a_page_that_is_not_changed_stays() {
    // Around what no translator sees are two spaces, which may come on one side.
    assert_eq!(page(PAGE.as_bytes(), same), PAGE.replace("second <code>", "second  <code>"));
}

#[test]
fn what_is_translated_and_what_is_kept() {
    let texts: Vec<String> = HtmlBlocks::new(PAGE.as_bytes()).map(|block| block.unwrap().text()).collect();
    let expected = [
        "A & B < C",
        "One two three",
        "Hello my dear\u{A0}world. Second sentence",
        " next line.",
        "first",
        "second  third",
        "cell",
        "cell",
        "last one",
        "",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn a_page_may_be_cut_anywhere() {
    for len in 0..=PAGE.len() {
        let cut = &PAGE.as_bytes()[..len];
        let found = page(cut, same);
        let valid = String::from_utf8_lossy(cut);
        let ((tags, text), (expected_tags, expected_text)) = (parts(found.as_bytes()), parts(valid.as_bytes()));
        assert_eq!(tags, expected_tags, "{len}");
        assert_eq!(without_space(&text), without_space(&expected_text), "{len}");
        // Other words: nothing is lost either.
        assert_eq!(parts(page(cut, reversed).as_bytes()).0.len(), tags.len(), "{len}");
    }
}

#[test]
fn tags_go_along_with_their_words() {
    let cases = [
        ("one <a href=x>two</a> three", "THREE <a href=x>TWO</a> ONE"),
        ("one <a href=x>two three</a>.", "<a href=x>THREE TWO</a> ONE."),
        ("<a href=x>one two.</a>", "<a href=x>TWO ONE.</a>"),
        ("<b>one <i>two</i></b> three", "THREE <b><i>TWO</i> ONE</b>"),
        ("  <b> one two </b>  ", "   <b>TWO ONE</b>   "),
        // Words that come apart: the element comes twice.
        ("<b>one</b> two <b>three</b>", "<b>THREE</b> TWO <b>ONE</b>"),
        // No word, or only a part of one.
        ("one <i class=icon></i>two", "<i class=icon></i>TWO ONE"),
        ("one <b>  </b> two", "<b></b>TWO ONE"),
        ("one two<b><i></i></b>", "TWO ONE<b><i></i></b>"),
        ("<b>o</b>ne two", "TWO <b>ONE</b>"),
        ("word<sup>1</sup> two.", "TWO WORD<sup>1</sup>."),
        ("12<sub>3</sub>45<i>6</i> two", "TWO 12<sub>3</sub>45<i>6</i>"),
        // Elements without text beside the word that they stood before.
        ("one <img src=i>two", "<img src=i>TWO ONE"),
        ("one<img src=i> two", "TWO ONE<img src=i>"),
        ("one<!-- c --> two", "TWO ONE<!-- c -->"),
        ("<a href=x><img src=i> one</a> two", " TWO <a href=x><img src=i> ONE</a>"),
        ("one <code>a &lt; b</code> two", "<code>a &lt; b</code> TWO ONE"),
        ("one <code>a</code><kbd>b</kbd> two", "<code>a</code><kbd>b</kbd> TWO ONE"),
        ("one <a name=x />two", "<a name=x />TWO ONE"),
        // Tags that go on in another block.
        ("one <b>two<br>three</b> four", "<b>TWO ONE<br>FOUR THREE</b>"),
        ("<b><p>one two</p></b>", "<b><p>TWO ONE</p></b>"),
        ("<span>one two<br>three</span>", "<span>TWO ONE<br>THREE</span>"),
        // Wrongly nested: as browsers take it.
        ("<b>one <i>two</b> three</i>", "<i>THREE</i> <b><i>TWO</i> ONE</b>"),
        ("one</b> two", "TWO ONE</b>"),
        ("one </> two <", "</>TWO ONE&lt;"),
        // Text.
        ("one&nbsp;&amp; &lt;two&gt; &eacute;", "É TWO ONE&amp;&lt;&gt;"),
        ("One two.  <b>Three</b> four.\n Five.", "TWO ONE.  FOUR <b>THREE</b>.\n FIVE."),
        ("One. <!-- a --> <b>Two.</b>", "ONE. <!-- a --> <b>TWO.</b>"),
        ("one\ntwo", "TWO ONE"),
    ];
    for (html, expected) in cases {
        assert_eq!(page(html.as_bytes(), reversed), expected, "{html}");
    }
}

#[test]
fn elements_that_are_kept_end_where_they_should() {
    let cases = [
        ("<ul><li translate=no>a b<li>c d</ul>", "<ul><li translate=no>a b<li>D C</ul>"),
        (
            "<ul><li translate=no>a<ul><li>b c<li>d e</ul>f g<li>h i</ul>",
            "<ul><li translate=no>a<ul><li>b c<li>d e</ul>f g<li>I H</ul>",
        ),
        ("<p translate=no>a b<p>c d", "<p translate=no>a b<p>D C"),
        ("<div><p translate=no>a b</div>c d", "<div><p translate=no>a b</div>D C"),
        ("<tr><td translate=no>a b</tr><tr><td>c d", "<tr><td translate=no>a b</tr><tr><td>D C"),
        ("<tr translate=no><td>a b</td><td>c d</td></tr>e f", "<tr translate=no><td>a b</td><td>c d</td></tr>F E"),
        (
            "a <span class='y notranslate'>b <span>c</span> d</span> e",
            "<span class='y notranslate'>b <span>c</span> d</span> E A",
        ),
        ("<div translate=NO>a <div>b c</div> d</div> e f", "<div translate=NO>a <div>b c</div> d</div> F E"),
        ("<img translate=no> a b", "<img translate=no> B A"),
        ("<title>a b</title><script>a b</script>", "<title>B A</title><script>a b</script>"),
        ("<noscript>a <b>b</b></noscript>", "<noscript><b>B</b> A</noscript>"),
        (
            "<math><mi>a b</mi><![CDATA[ > </math> ]]></math><p>a b",
            "<math><mi>a b</mi><![CDATA[ > </math> ]]></math><p>B A",
        ),
    ];
    for (html, expected) in cases {
        assert_eq!(page(html.as_bytes(), reversed), expected, "{html}");
    }
}

/// A page made for harm costs no more than others.
#[test]
fn hostile_pages_are_bounded() {
    let deep = 100_000;
    let starts = "<b>".repeat(deep);
    let hostile = [
        starts.clone(),
        "<b>x ".repeat(deep),
        format!("{starts}x{}", "</b>".repeat(deep)),
        "<b><i>x</b></i> ".repeat(deep / 4),
        "<div><p>".repeat(deep),
        "</b>".repeat(deep),
        "x</y>".repeat(deep),
        format!("{}x</a>", "<a><b></i>".repeat(deep / 4)),
        "<svg>".repeat(deep),
        "<li translate=no>".repeat(deep),
        "<img>".repeat(deep),
        "x<img>".repeat(deep),
        format!("<a x=\"{}\">x y</a> z", "y".repeat(1 << 21)),
        format!("<{}>x", "y".repeat(1 << 21)),
        format!("<a {}>x", "x=y ".repeat(1 << 19)),
        format!("<!--{}", "-".repeat(1 << 21)),
        "&amp".repeat(deep),
        "<".repeat(deep),
        "&".repeat(deep),
        "\0<b\0>\0</b\0>".repeat(1000),
    ];
    for html in hostile {
        let found = page(html.as_bytes(), reversed);
        assert!(found.len() <= 18 * html.len(), "{}: {}", &html[..20], found.len());
        assert!(parts(found.as_bytes()).0.len() >= parts(html.as_bytes()).0.len(), "{}", &html[..20]);
    }
    let mut blocks = HtmlBlocks::new(&b"a\xFF<b \xC3>c\xE2\x82"[..]);
    let block = blocks.next().unwrap().unwrap();
    assert_eq!(block_with(&block, same), "a\u{FFFD}<b \u{FFFD}>c\u{FFFD}");
    assert!(blocks.has_wrong_bytes());
}

/// A long element whose words come apart is not written again and again.
#[test]
fn long_tags_are_not_multiplied() {
    let html = format!("<a href={}>{}</a>", "x".repeat(100_000), "one <i>two</i> ".repeat(50));
    let scattered = |sentence: &str| {
        let all: Vec<_> = words(sentence).collect();
        let outside = all.len()..all.len();
        let word = |word: core::ops::Range<usize>| [("W".to_string(), word), (" x".to_string(), outside.clone())];
        all.into_iter().flat_map(word).collect()
    };
    let wide = format!("{html} end");
    assert!(page(wide.as_bytes(), scattered).len() < 20 * wide.len());
}

/// Hands out a few bytes at a time, and what it has handed out must be enough for the blocks that are whole.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let len = self.1.min(self.0.len()).min(to.len());
        to[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        Ok(len)
    }
}

#[test]
fn blocks_do_not_depend_on_how_a_page_is_read() {
    let whole: Vec<HtmlBlock> = HtmlBlocks::new(PAGE.as_bytes()).map(Result::unwrap).collect();
    for len in [1, 2, 3, 7, 100] {
        let found: Vec<HtmlBlock> = HtmlBlocks::new(Slow(PAGE.as_bytes(), len)).map(Result::unwrap).collect();
        assert_eq!(found, whole, "{len}");
    }
}

#[test]
fn a_block_comes_before_what_is_behind_it_is_read() {
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("this is not to be read yet")
        }
    }
    let mut blocks = HtmlBlocks::new(b"<p>one</p>".chain(Panics));
    assert_eq!(blocks.next().unwrap().unwrap().text(), "one");
}

#[test]
fn very_long_text_comes_in_blocks_cut_between_words() {
    for (text, least) in [("word ".repeat(500_000), 2), ("é".repeat(1 << 20), 2), (" ".repeat(3 << 20), 1)] {
        let blocks: Vec<HtmlBlock> = HtmlBlocks::new(text.as_bytes()).map(Result::unwrap).collect();
        assert!(blocks.len() >= least && blocks.iter().all(|block| block.text.len() <= 1 << 21));
        assert!(blocks.iter().all(|block| !block.text().contains("wor ") && !block.text().ends_with("wo")));
        let joined: String = blocks.iter().map(|block| format!("{}{}", block.before, block.text)).collect();
        assert!(joined == text);
    }
}

#[derive(Clone, Debug)]
enum Tree {
    Text(String),
    Alone(u8),
    Element(u8, Vec<Tree>),
}

fn tree() -> impl Strategy<Value = Vec<Tree>> {
    let leaf = prop_oneof![
        3 => "[a-c .é&<1-]{0,8}".prop_map(Tree::Text),
        1 => (0..4_u8).prop_map(Tree::Alone),
    ];
    let element = leaf.prop_recursive(6, 60, 5, |inner| {
        ((0..6_u8), prop::collection::vec(inner, 0..5)).prop_map(|(kind, inside)| Tree::Element(kind, inside))
    });
    prop::collection::vec(element, 0..6)
}

/// Writes a page whose elements have numbers.
fn write(trees: &[Tree], html: &mut String, number: &mut usize) {
    for tree in trees {
        *number += 1;
        match tree {
            Tree::Text(text) => html.push_str(&super::project::escaped(text)),
            Tree::Alone(0) => *html += &format!("<img n={number}>"),
            Tree::Alone(1) => *html += &format!("<!-- {number} -->"),
            Tree::Alone(2) => *html += &format!("<code n={number}>a <b>b</b></code>"),
            Tree::Alone(_) => *html += &format!("<br n={number}>"),
            Tree::Element(kind, inside) => {
                let name = ["a", "b", "i", "span", "p", "div"][usize::from(*kind)];
                *html += &format!("<{name} n={number}>");
                write(inside, html, number);
                *html += &format!("</{name}>");
            }
        }
    }
}

/// How often each start tag comes, if all are well nested.
fn nested(html: &str) -> Result<BTreeMap<String, usize>, String> {
    let (mut open, mut count) = (Vec::new(), BTreeMap::new());
    for token in Scanner::new(Box::new(html.as_bytes())) {
        match token.expect("memory can be read") {
            Token::Start { name, raw, .. } => {
                *count.entry(raw).or_insert(0) += 1;
                if !matches!(name.as_str(), "img" | "br") {
                    open.push(name);
                }
            }
            Token::End { name, .. } => {
                let last = open.pop();
                if last.as_ref() != Some(&name) {
                    return Err(format!("</{name}> where {last:?} is open"));
                }
            }
            Token::Other { raw } => *count.entry(raw).or_insert(0) += 1,
            Token::Text { .. } => {}
        }
    }
    if open.is_empty() { Ok(count) } else { Err(format!("{open:?} are open")) }
}

/// Words that come from anywhere in the block.
fn anywhere(text: &str, numbers: &[usize]) -> Words<'static> {
    let all: Vec<_> = words(text).collect();
    let mut numbers = numbers.iter().cycle();
    let mut next = || numbers.next().copied().unwrap_or_default();
    let count = next() % 12;
    let mut parts = Vec::new();
    for _ in 0..count {
        let source = all.get(next() % all.len().max(1)).cloned().unwrap_or_default();
        let own = text[source.clone()].to_string();
        parts.push((if next() % 3 == 0 { own } else { "w&".into() }, source));
        parts.push((" ".into(), 0..0));
    }
    parts
}

proptest! {
    #[test]
    fn elements_are_kept_and_well_nested(trees in tree(), numbers in prop::collection::vec(any::<usize>(), 1..40)) {
        let mut html = String::new();
        write(&trees, &mut html, &mut 0);
        let expected = nested(&html).expect("made so");
        let found = page(html.as_bytes(), |text| anywhere(text, &numbers));
        let count = nested(&found).map_err(|problem| TestCaseError::fail(format!("{problem}\n{html}\n{found}")))?;
        prop_assert!(expected.keys().eq(count.keys()), "{}\n{}", html, found);
        for (tag, count) in count {
            let is_once = ["<img", "<!--", "<code", "<br", "<p", "<div"].iter().any(|start| tag.starts_with(start));
            prop_assert!(!is_once || count == 1, "{}: {}\n{}\n{}", tag, count, html, found);
        }
        let unchanged = page(html.as_bytes(), same);
        prop_assert_eq!(without_space(&parts(unchanged.as_bytes()).1), without_space(&parts(html.as_bytes()).1));
    }

    #[test]
    fn any_tags_and_any_places_are_taken(
        html in "(<(/?[abip]|img|!--|code|/code|li translate=no|title|/title|svg|/svg|/|)>?|[ab é&;\0\r\n]|&amp|\\PC){0,60}",
        stretches in prop::collection::vec((0..40_usize, 0..40_usize, "[a é]{0,9}", prop::collection::vec((0..9_usize, 0..9_usize, 0..40_usize, 0..40_usize, 0..40_usize), 0..4)), 0..4),
    ) {
        let stretches: Vec<Stretch> = stretches.into_iter().map(|(from, to, text, words)| Stretch {
            source: from..to,
            text,
            words: words.into_iter().map(|(a, b, c, d, at)| Word { target: a..b, source: c..d, at }).collect(),
            is_continued: from % 2 == 0,
        }).collect();
        let tags = parts(html.as_bytes()).0;
        let mut found = String::new();
        for block in HtmlBlocks::new(html.as_bytes()) {
            let block = block.unwrap();
            let starts = block.marks.iter().filter(|mark| !matches!(mark.kind, Kind::End(_)));
            let result = block.project(&stretches);
            prop_assert!(starts.into_iter().all(|mark| result.contains(&mark.raw)), "{}", html);
            found.push_str(&result);
        }
        // And whole pages: unchanged, they have the same text to translate.
        let letters = |html: &[u8]| -> String {
            HtmlBlocks::new(html).map(|block| without_space(&block.unwrap().text())).collect()
        };
        prop_assert_eq!(letters(page(html.as_bytes(), same).as_bytes()), letters(html.as_bytes()), "{}", html);
        let turned = page(html.as_bytes(), reversed);
        prop_assert!(parts(turned.as_bytes()).0.len() >= tags.len(), "{}\n{}", html, turned);
    }
}
