//! `kernform pronounce`: what it prints, whatever it is given.

mod support;

use core::time::Duration;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;
use std::time::Instant;

use support::{folder, kernform, levels, repository, run, run_command};

/// Every `step`-th word of the test list, with the pronunciation that PyTorch gives.
fn reference(file: &str, step: usize) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(repository("tests/g2p").join(file)).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once('\t'));
    pairs.step_by(step).map(|(word, phonemes)| (word.to_owned(), phonemes.to_owned())).collect()
}

fn lines(words: &[(String, String)]) -> String {
    words.iter().map(|(word, _)| format!("{word}\n")).collect()
}

#[test]
fn words_of_the_command_line_are_pronounced() {
    let done = run(&["pronounce", "attention", "Transformer"], "");
    assert_eq!(done.stdout, "attention\tAH0 T EH1 N SH AH0 N\ntransformer\tT R AE0 N S F AO1 R M ER0\n");
    assert_eq!((done.stderr.as_str(), done.code), ("", Some(0)));
}

#[test]
fn the_pronunciations_are_those_of_the_reference() {
    for (file, step, options) in [("reference_greedy.txt", 40, &[][..]), ("reference_beam4.txt", 200, &["--beam", "4"])]
    {
        let words = reference(file, step);
        let done = run(&[&["pronounce"], options].concat(), lines(&words));
        let expected: Vec<_> = words.iter().map(|(word, phonemes)| format!("{word}\t{phonemes}")).collect();
        let different = done.stdout.lines().zip(&expected).filter(|(found, expected)| found != expected).count();
        assert_eq!(done.stdout.lines().count(), expected.len());
        // One in a thousand may differ: PyTorch's own sums are rounded differently.
        assert!(different * 1000 <= expected.len(), "{file}: {different} of {} differ", expected.len());
    }
}

#[test]
fn levels_threads_and_batches_do_not_change_a_byte() {
    let words = reference("reference_greedy.txt", 60);
    let (all, few) = (lines(&words), lines(&words.into_iter().step_by(8).collect::<Vec<_>>()));
    let beams = ["--beam", "3", "--n-best", "2"];
    let runs: [(&[&str], _, &[_]); 3] = [
        (&[], &all, &[("2", "64")]),
        (&[], &few, &[("1", "1"), ("1", "64"), ("2", "7")]),
        (&beams, &few, &[("1", "64"), ("2", "3")]),
    ];
    for (options, words, divisions) in runs {
        let mut by_class = std::collections::BTreeMap::new();
        for (level, class) in levels() {
            for (threads, batch) in divisions {
                let common = ["--isa", &level, "pronounce", "--json", "--threads", threads, "--batch", batch];
                let done = run(&[&common, options].concat(), words);
                assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
                let first = by_class.entry(class.clone()).or_insert_with(|| done.stdout.clone());
                assert_eq!(*first, done.stdout, "{class}: {level}, {threads} threads, batch {batch}");
            }
        }
    }
}

#[test]
fn what_is_no_word_gets_a_message_and_the_rest_still_runs() {
    let long = "a".repeat(300);
    let input =
        [b"Attention\r\n\n4th\ncaf\xc3\xa9\nab\xff\ntwo words\n\xd1\x81\n", long.as_bytes(), b"\n-\na\tb\nattention"]
            .concat();
    let done = run(&["pronounce"], input);
    let sound = "AH0 T EH1 N SH AH0 N";
    let expected = format!(
        "attention\t{sound}\n\t\n4th\t\ncafé\t\nab\u{fffd}\t\ntwo words\t\nс\t\n{long}\t\n-\t\na\u{fffd}b\t\nattention\t{sound}\n"
    );
    assert_eq!(done.stdout, expected);
    assert_eq!(done.code, Some(1));
    let messages: Vec<_> = done.stderr.lines().collect();
    let parts = [
        (2, "no word", "one word a line"),
        (3, "'4' in place 1", "numbers"),
        (4, "'é' in place 4", "accents"),
        (5, "not UTF-8", "UTF-8"),
        (6, "a space in place 4", "one word a line"),
        (7, "'с' in place 1", "English"),
        (8, "300 letters", "63"),
        (9, "without a letter", "a to z"),
        (10, "a tab in place 2", "one word a line"),
    ];
    assert_eq!(messages.len(), parts.len(), "{}", done.stderr);
    for (message, (line, what, remedy)) in messages.iter().zip(parts) {
        assert!(message.starts_with("error: "), "{message}");
        assert!(message.contains(&format!("; line {line} of the input; ")), "{message}");
        assert!(message.contains(what) && message.contains(remedy), "{message}");
    }
}

#[test]
fn words_of_the_command_line_are_checked_too() {
    let done = run(&["pronounce", "ok", "4", ""], "");
    assert_eq!((done.code, done.stdout.as_str()), (Some(1), "ok\tOW1 K EY1\n4\t\n\t\n"));
    assert!(done.stderr.contains("; word 2 of the command line; "), "{}", done.stderr);
}

#[test]
fn lines_without_end_are_cut_and_refused() {
    let input = ["x".repeat(1 << 20), "\nattention\n".into()].concat();
    let done = run(&["pronounce"], input);
    assert_eq!(done.code, Some(1));
    let lines: Vec<_> = done.stdout.lines().collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1], "attention\tAH0 T EH1 N SH AH0 N");
}

#[test]
fn nothing_in_nothing_out() {
    let done = run(&["pronounce"], "");
    assert_eq!((done.stdout.as_str(), done.stderr.as_str(), done.code), ("", "", Some(0)));
}

#[test]
fn json_lines_are_json() {
    let done = run(&["pronounce", "--json", "--n-best", "3"], "read\n7\n");
    assert_eq!(done.code, Some(1));
    let values: Vec<serde_json::Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values.len(), 2);
    let best = values[0]["pronunciations"].as_array().unwrap();
    assert_eq!((values[0]["line"].as_u64(), values[0]["word"].as_str(), best.len()), (Some(1), Some("read"), 3));
    let scores: Vec<_> = best.iter().map(|one| one["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores[0] < 0.0, "{scores:?}");
    assert_eq!((values[1]["line"].as_u64(), values[1]["word"].as_str()), (Some(2), Some("7")));
    assert!(values[1]["error"].as_str().unwrap().contains("numbers"));
}

#[test]
fn ranked_lines_have_rank_and_score() {
    let done = run(&["pronounce", "--beam", "4", "--n-best", "2", "read", "!"], "");
    let rows: Vec<Vec<_>> = done.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!((&rows[0][..2], &rows[1][..2]), (&["read", "1"][..], &["read", "2"][..]));
    assert!(rows.iter().take(2).all(|row| row[2].parse::<f32>().unwrap() < 0.0 && row.len() == 4));
    assert_eq!(rows[2], ["!", "", "", ""]);
}

#[test]
fn a_slow_input_is_answered_at_once() {
    let mut child = kernform().arg("pronounce").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for word in ["attention", "transformer", "attention"] {
        let start = Instant::now();
        writeln!(stdin, "{word}").unwrap();
        stdin.flush().unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with(&format!("{word}\t")), "{line}");
        // Without the rest of the input there would be no answer at all; the time is generous for a busy machine.
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = kernform()
        .args(["pronounce", "--batch", "4"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Words without end, until nobody reads them.
    let writer = std::thread::spawn(move || while stdin.write_all(&b"attention\n".repeat(64)).is_ok() {});
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "attention\tAH0 T EH1 N SH AH0 N\n");
    drop(stdout);
    let status = child.wait().unwrap();
    writer.join().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((stderr.as_str(), status.code()), ("", Some(0)));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_between_two_lines() {
    let mut child = kernform().arg("pronounce").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"attention\n").unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    // The input is still open: the program waits for words when the signal comes.
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    stdout.read_to_string(&mut line).unwrap();
    assert_eq!(line, "attention\tAH0 T EH1 N SH AH0 N\n");
}

#[test]
fn stats_go_to_stderr() {
    let done = run(&["pronounce", "--stats", "--threads", "1", "attention"], "");
    assert_eq!(done.stdout.lines().count(), 1);
    assert!(done.stderr.starts_with("1 words in ") && done.stderr.contains("words/s"), "{}", done.stderr);
    if cfg!(target_os = "linux") {
        let memory = done.stderr.split("peak memory ").nth(1).and_then(|rest| rest.split(' ').next());
        let memory: f64 = memory.and_then(|number| number.parse().ok()).unwrap();
        assert!((5.0..60.0).contains(&memory), "{memory} MB for one word");
    }
}

#[test]
fn the_heat_map_has_both_axes_and_colours_only_where_wanted() {
    let done = run(&["pronounce", "--attention", "attention"], "");
    let lines: Vec<_> = done.stdout.lines().collect();
    assert_eq!(lines[0], "attention\tAH0 T EH1 N SH AH0 N");
    assert_eq!(lines[2], "     a t t e n t i o n end");
    let labels: Vec<_> = lines[3..11].iter().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(labels, ["AH0", "T", "EH1", "N", "SH", "AH0", "N", "end"]);
    assert!(lines[12].contains("mean of 4 layers × 4 heads"));
    assert!(!done.stdout.contains('\x1b'));

    let coloured = |no_colour: &str| {
        let mut command = kernform();
        command.args(["pronounce", "attention", "--attention"]);
        command.env("CLICOLOR_FORCE", "1").env("COLORTERM", "truecolor").env("NO_COLOR", no_colour);
        run_command(&mut command, "").stdout.contains("\x1b[48;2;")
    };
    assert!(coloured(""));
    assert!(!coloured("1"));
}

#[test]
fn the_picture_is_written_whatever_the_form_of_its_name() {
    let folder = folder("pictures");
    let one = folder.join("one.svg");
    let done = run(&["pronounce", "--attention", one.to_str().unwrap(), "attention"], "");
    assert_eq!((done.stdout.as_str(), done.code), ("attention\tAH0 T EH1 N SH AH0 N\n", Some(0)));
    let svg = std::fs::read_to_string(&one).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!((1..=4).all(|layer| (1..=4).all(|head| svg.contains(&format!("layer {layer} · head {head}")))));

    let several = format!("--attention={}", folder.join("several.svg").display());
    assert_eq!(run(&["pronounce", "ab", "o'clock", &several], "").code, Some(0));
    assert!(folder.join("several-ab.svg").is_file() && folder.join("several-o'clock.svg").is_file());

    let nowhere = format!("--attention={}", folder.join("no/such/folder.svg").display());
    let done = run(&["pronounce", "ab", &nowhere], "");
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.starts_with("error: cannot write the picture"), "{}", done.stderr);
    assert_eq!(run(&["pronounce", "ab", "--attention=a.png"], "").code, Some(2));
}

#[test]
fn attention_in_json_sums_to_one_a_row() {
    let done = run(&["pronounce", "--json", "--attention", "tea"], "");
    let value: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let attention = &value["attention"];
    assert_eq!(attention["letters"], serde_json::json!(["t", "e", "a", "end"]));
    let rows = attention["weights"].as_array().unwrap();
    assert_eq!(rows.len(), attention["phonemes"].as_array().unwrap().len());
    for row in rows {
        let sum: f64 = row.as_array().unwrap().iter().map(|weight| weight.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    }
}

#[test]
fn impossible_numbers_are_refused() {
    for arguments in [
        &["--threads", "0"][..],
        &["--batch", "0"],
        &["--beam", "0"],
        &["--n-best", "0"],
        &["--beam", "65"],
        &["--threads", "two"],
        &["--beam", "2", "--n-best", "3"],
    ] {
        let done = run(&[&["pronounce", "a"], arguments].concat(), "");
        assert_eq!((done.code, done.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(done.stderr.starts_with("error: "), "{}", done.stderr);
    }
}
