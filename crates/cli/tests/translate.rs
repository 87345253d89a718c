//! `kernform translate` with a student of made-up weights. (Real ones are in `tests/run.sh models`.)

#[allow(dead_code)] // the model's own tests use all of it
#[path = "../../model/tests/student/net.rs"]
mod net;
mod support;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use support::{folder, kernform, run};

fn field(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, value.len() as u8], value].concat()
}

/// As many pieces as the student has words: the letters, each as a word's beginning or not.
fn vocabulary() -> Vec<u8> {
    let piece = |text: &str, kind: u8| {
        let score = [&[2 << 3 | 5][..], &(-(text.len() as f32)).to_le_bytes()].concat();
        field(1, &[field(1, text.as_bytes()), score, vec![3 << 3, kind]].concat())
    };
    let mut file = [piece("</s>", 3), piece("<unk>", 2), piece("\u{2581}", 1)].concat();
    let letters = ('a'..='s').flat_map(|letter| [letter.to_string(), format!("\u{2581}{letter}")]);
    let rest = [".", ",", "&"].map(String::from);
    letters.chain(rest).for_each(|text| file.extend(piece(&text, 1)));
    // A unigram model (field 3), whose end is piece 0 (field 42).
    file.extend(field(2, &[3 << 3, 1, 0xD0, 0x02, 0]));
    file
}

/// The student's folder.
fn student(name: &str) -> PathBuf {
    let folder = folder(name);
    std::fs::write(folder.join("model.bin"), net::Net::new(true).file()).unwrap();
    std::fs::write(folder.join("vocab.spm"), vocabulary()).unwrap();
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Translates with more arguments; it must go well.
fn translate(model: &Path, arguments: &[&str], input: &str) -> String {
    let done = run(&[&["translate", "--model", text(model)], arguments].concat(), input);
    assert_eq!((done.stderr.as_str(), done.code), ("", Some(0)), "{arguments:?}");
    done.stdout
}

fn without_tags(html: &str) -> String {
    let text: String = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect();
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\u{A0}").replace("&amp;", "&")
}

const LINES: &str = "abc de fgh. Ijk l mno pq rs.\nabba & gaga\ndo re mi, fa so la\na b c d e f g h\n";
const PAGE: &str = "<!doctype html>\n<title>abc <!-- x --> de fgh. Ijk <i>l mno</i> pq rs.</title>\n<h1 id=x>abba &amp; \
    <b>gaga</b></h1>\n<script>a <b> c</script>\n<p>do <a href=\"x\">re mi</a>, fa\nso <em>la</em></p>\n<p><i>a b <b>c d</b> e \
    </i>f <wbr>g h</p>\n";

#[test]
fn a_page_has_the_translation_of_its_bare_text_and_all_of_its_tags() {
    let model = student("html-text");
    let plain = translate(&model, &[], LINES);
    let page = translate(&model, &["--html"], PAGE);
    // A title has no tags: what looks like some is text.
    let title = translate(&model, &["abc <!-- x --> de fgh. Ijk <i>l mno</i> pq rs."], "");
    let title = title.trim_end().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    assert!(page.starts_with(&format!("<!doctype html>\n<title>{title}</title>\n<h1 id=x>")), "{page}");
    let blocks: Vec<String> = [("<h1 id=x>", "</h1>"), ("</script>\n<p>", "</p>"), ("</p>\n<p>", "</p>\n")]
        .into_iter()
        .map(|(start, end)| {
            let (_, rest) = page.split_once(start).unwrap();
            without_tags(rest.split_once(end).unwrap().0)
        })
        .collect();
    assert_eq!(blocks, plain.lines().skip(1).collect::<Vec<_>>());
    for tag in ["<h1 id=x>", "<script>a <b> c</script>", "<a href=\"x\">", "</a>", "<em>", "<b>", "<i>", "<wbr>"] {
        assert!(page.contains(tag), "{tag}: {page}");
    }
    assert_eq!(page.matches("<wbr").count(), 1);
    // Text without tags is what it is without the option.
    let bare = "abba gaga. do re & mi";
    let expected = translate(&model, &[bare], "").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    assert_eq!(translate(&model, &["--html", bare], ""), expected);
}

#[test]
fn sentences_that_are_too_long_for_the_model_keep_their_tags() {
    let model = student("html-long");
    let words: Vec<String> = (0..400).map(|i| char::from(b'a' + (i % 19) as u8).to_string()).collect();
    let bare = words.join(" ") + ". a b";
    let tagged: Vec<String> = words
        .iter()
        .enumerate()
        .map(|(i, word)| if i % 9 == 4 { format!("<b n={i}>{word}</b>") } else { word.clone() })
        .collect();
    let page = format!("{}. <i>a</i> b", tagged.join(" "));
    let found = translate(&model, &["--html", &page], "");
    assert_eq!(without_tags(&found), translate(&model, &[&bare], ""));
    assert!((4..400).step_by(9).all(|i| found.contains(&format!("<b n={i}>"))), "{found}");
}

#[test]
fn a_page_may_come_from_anywhere_and_gives_the_same_bytes_in_any_batch() {
    let model = student("html-input");
    let (input, output) = (model.join("page.html"), model.join("out.html"));
    let page = PAGE.repeat(20);
    std::fs::write(&input, &page).unwrap();
    let expected = translate(&model, &["--html"], &page);
    assert_eq!(translate(&model, &["--html", &page], ""), expected.clone() + "\n");
    assert_eq!(translate(&model, &["--html", "--file", text(&input), "-o", text(&output)], ""), "");
    assert_eq!(std::fs::read_to_string(&output).unwrap(), expected);
    for more in [["--threads", "1", "--batch", "1"], ["--threads", "3", "--batch", "5"]] {
        assert_eq!(translate(&model, &[&["--html"], &more[..]].concat(), &page), expected);
    }
    assert_eq!(translate(&model, &["--html", "", "<br>"], ""), "\n<br>\n");
    let done = run(&["translate", "--model", text(&model), "--html", "--stats"], "<p>a</p>c<p>b");
    assert!(done.stderr.starts_with("3 blocks, 3 sentences"), "{}", done.stderr);
    let done = run(&["translate", "--model", text(&model), "--html"], b"<p>a</p><br \xFF>");
    assert!(done.stdout.ends_with("</p><br \u{FFFD}>") && done.stderr.contains("not UTF-8"), "{}", done.stderr);
}

#[test]
fn a_block_is_answered_while_the_page_goes_on() {
    let model = student("html-stream");
    let mut child = kernform()
        .args(["translate", "--model", text(&model), "--html"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    stdin.write_all(b"<p>a <b>b</b></p>").unwrap();
    stdin.flush().unwrap();
    let mut answer = [0; 3];
    stdout.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"<p>");
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_a_page_cannot_be_is_refused() {
    let model = student("html-refused");
    for other in [&["--json"][..], &["--n-best", "2"], &["--align"]] {
        let done = run(&[&["translate", "--model", text(&model), "--html", "a"], other].concat(), "");
        assert_eq!((done.stdout.as_str(), done.code), ("", Some(2)));
        assert!(done.stderr.contains("cannot be used with") && done.stderr.contains(other[0]), "{}", done.stderr);
    }
}
