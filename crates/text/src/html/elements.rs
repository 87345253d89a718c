//! What elements do to the text around and inside them.

/// Elements that a sentence does not go across: those that are shown as blocks or cells, and those that hold no text of the
/// page. Sorted; all others stand inside of sentences.
const BLOCKS: [&str; 80] = [
    "address",
    "article",
    "aside",
    "audio",
    "base",
    "blockquote",
    "body",
    "br",
    "button",
    "canvas",
    "caption",
    "center",
    "col",
    "colgroup",
    "datalist",
    "dd",
    "details",
    "dialog",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "frame",
    "frameset",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hgroup",
    "hr",
    "html",
    "iframe",
    "legend",
    "li",
    "link",
    "listing",
    "main",
    "marquee",
    "menu",
    "meta",
    "nav",
    "noembed",
    "noframes",
    "noscript",
    "object",
    "ol",
    "optgroup",
    "option",
    "p",
    "plaintext",
    "pre",
    "script",
    "search",
    "section",
    "select",
    "style",
    "summary",
    "table",
    "tbody",
    "td",
    "template",
    "textarea",
    "tfoot",
    "th",
    "thead",
    "title",
    "tr",
    "track",
    "ul",
    "video",
    "xmp",
];

/// Elements whose text stays as it is: programs, keys and formulas, and what is no text. Sorted.
const KEPT: [&str; 16] = [
    "code",
    "iframe",
    "kbd",
    "math",
    "noembed",
    "noframes",
    "plaintext",
    "pre",
    "samp",
    "script",
    "style",
    "svg",
    "textarea",
    "tt",
    "var",
    "xmp",
];

/// Elements without an end. Sorted.
const VOID: [&str; 17] = [
    "area", "base", "basefont", "br", "col", "embed", "frame", "hr", "img", "input", "keygen", "link", "meta", "param",
    "source", "track", "wbr",
];

/// Elements whose end tag may be left out: a start tag of their family ends them where its rank is theirs or higher, and
/// so does an end tag of a higher rank. Sorted.
const MAY_LACK_END: [(&str, Family, u8); 12] = [
    ("dd", Family::Definitions, 0),
    ("dt", Family::Definitions, 0),
    ("li", Family::Items, 0),
    ("optgroup", Family::Options, 1),
    ("option", Family::Options, 0),
    ("p", Family::Paragraphs, 0),
    ("tbody", Family::Tables, 2),
    ("td", Family::Tables, 0),
    ("tfoot", Family::Tables, 2),
    ("th", Family::Tables, 0),
    ("thead", Family::Tables, 2),
    ("tr", Family::Tables, 1),
];

#[derive(Clone, Copy, PartialEq)]
enum Family {
    Definitions,
    Items,
    Options,
    Paragraphs,
    Tables,
}

fn holds(list: &[&str], name: &str) -> bool {
    list.binary_search(&name).is_ok()
}

/// Whether a sentence ends at the tags of this element.
pub(crate) fn is_block(name: &str) -> bool {
    holds(&BLOCKS, name)
}

/// Whether what is in this element stays as it is.
pub(crate) fn is_kept(name: &str) -> bool {
    holds(&KEPT, name)
}

/// Whether this element has no end tag.
pub(crate) fn is_void(name: &str) -> bool {
    holds(&VOID, name)
}

/// Whether something is seen where this element stands alone.
pub(crate) fn is_seen(name: &str) -> bool {
    matches!(name, "embed" | "img" | "input" | "keygen") || is_kept(name)
}

fn family(name: &str) -> Option<(Family, u8)> {
    let place = MAY_LACK_END.binary_search_by(|one| one.0.cmp(name)).ok()?;
    Some((MAY_LACK_END[place].1, MAY_LACK_END[place].2))
}

/// Whether the end tag of this element may be left out.
pub(crate) fn may_lack_end(name: &str) -> bool {
    family(name).is_some()
}

/// Whether elements whose end tag may be left out stand in this one, and end with it.
pub(crate) fn is_container(name: &str) -> bool {
    is_block(name) && !is_void(name) && !may_lack_end(name)
}

/// Whether the start tag of `next` ends the element `name`, whose end tag is missing.
pub(crate) fn is_ended_by_start(name: &str, next: &str) -> bool {
    let Some((own, rank)) = family(name) else { return false };
    let is_higher = family(next).is_some_and(|(other, other_rank)| other == own && other_rank >= rank);
    let is_in_paragraphs = matches!(next, "br" | "button" | "noscript" | "object" | "script" | "style" | "template");
    is_higher || own == Family::Paragraphs && is_block(next) && !is_in_paragraphs
}

/// Whether the end tag of `next` ends the element `name`, whose end tag is missing and in which `next` was not begun.
pub(crate) fn is_ended_by_end(name: &str, next: &str) -> bool {
    let Some((own, rank)) = family(name) else { return false };
    is_container(next)
        || own == Family::Paragraphs && may_lack_end(next) && next != name
        || family(next).is_some_and(|(other, other_rank)| other == own && other_rank > rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted() {
        assert!(
            BLOCKS.is_sorted() && KEPT.is_sorted() && VOID.is_sorted() && MAY_LACK_END.is_sorted_by_key(|one| one.0)
        );
    }

    #[test]
    fn an_element_without_an_end_tag_ends_where_it_should() {
        let by_start = |name, next| is_ended_by_start(name, next);
        assert!(by_start("p", "div") && by_start("li", "li") && by_start("dt", "dd") && by_start("td", "tr"));
        assert!(!by_start("p", "em") && !by_start("li", "p") && !by_start("div", "div") && !by_start("p", "br"));
        assert!(by_start("option", "optgroup") && !by_start("optgroup", "option"));
        assert!(is_ended_by_end("li", "ul") && is_ended_by_end("td", "tr") && is_ended_by_end("p", "td"));
        assert!(!is_ended_by_end("tr", "td") && !is_ended_by_end("li", "em"));
    }
}
