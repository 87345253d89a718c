//! `kernform pronounce`.
//!
//! One thread reads, some pronounce, and the main one writes in the order of the input. All that waits anywhere is bounded,
//! so that the input may be without end, and nothing waits for more input, so that a slow one is answered promptly.

mod answer;
pub(crate) mod attention;
mod feed;
pub(crate) mod heatmap;
pub(crate) mod lines;
pub(crate) mod progress;
pub(crate) mod queue;
pub(crate) mod svg;
mod words;
mod worker;
mod writer;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use clap::Args;
use kernform_model::g2p::Pronouncer;

use self::answer::Form;
use self::feed::Feed;
use self::progress::Progress;
use self::queue::Queue;
use self::worker::Work;
use self::writer::{Count, Drawing, Writer};
use crate::errors::{EXIT_FAILED, Failure, note};
use crate::level::Chosen;
use crate::model_input::count_up_to;
use crate::{machine, memory};

/// Rows of a decoding step where nobody says how many: measured, from 8 to 32 make little difference.
const ROWS: usize = 16;

#[derive(Debug, Args)]
#[command(after_help = "\
Words have letters a to z (case does not matter), apostrophes, hyphens and full stops, 63 at most. Other
input gets a message on stderr and an empty pronunciation, the rest still runs, and the exit code is 1.

Output, a line a word in the order of the input:
  plain           word<TAB>phonemes             (ARPAbet; 0, 1 and 2 are stress)
  with --n-best   word<TAB>rank<TAB>score<TAB>phonemes, a line a pronunciation
  with --json     {\"line\":1,\"word\":\"…\",\"pronunciations\":[{\"phonemes\":\"…\",\"score\":-0.1}]}
                  or {\"line\":2,\"word\":\"…\",\"error\":\"…\"}
Scores are log-probabilities of the whole pronunciation, with --beam divided by its number of tokens.

Examples:
  kernform pronounce attention transformer
  kernform pronounce --beam 4 --n-best 3 read
  kernform pronounce --attention attention
  kernform pronounce --attention attention.svg attention
  cut -f1 words.txt | kernform pronounce --stats >pronounced.txt")]
pub(crate) struct PronounceArgs {
    /// Words; without any they are read from standard input, one a line
    #[arg(value_name = "WORD")]
    words: Vec<OsString>,

    /// Keep the N best beginnings at every step (beam search); 1 is greedy [default: 1, or that of --n-best]
    #[arg(long, value_name = "N", value_parser = count_up_to(64))]
    beam: Option<usize>,

    /// Print the N best pronunciations of each word with their scores; at most as many as beams
    #[arg(long, value_name = "N", value_parser = count_up_to(64))]
    n_best: Option<usize>,

    /// One JSON object a line
    #[arg(long)]
    json: bool,

    /// Pronounce up to N words together on each thread; the results do not depend on it [default: 16, with beams 16 / N]
    #[arg(long, value_name = "N", value_parser = count_up_to(4096))]
    batch: Option<usize>,

    /// Compute on N threads; the results do not depend on it [default: as many as the machine has]
    #[arg(long, value_name = "N", value_parser = count_up_to(1024))]
    threads: Option<usize>,

    /// Draw how spelling and phonemes belong together: on the terminal, or into a picture (several words: a picture each)
    #[arg(long, value_name = "FILE.svg", num_args = 0..=1, require_equals = true, default_missing_value = "",
        value_parser = picture)]
    attention: Option<Drawing>,

    /// Print words per second, milliseconds and peak memory on stderr
    #[arg(long)]
    stats: bool,
}

fn picture(name: &str) -> Result<Drawing, &'static str> {
    let path = PathBuf::from(name);
    if name.is_empty() {
        Ok(Drawing::Terminal)
    } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) {
        Ok(Drawing::Picture { path, named_by_word: false })
    } else {
        Err("the picture is an SVG; give a name that ends in .svg")
    }
}

impl PronounceArgs {
    fn form(&self) -> Form {
        match (self.json, self.n_best) {
            (true, _) => Form::Json,
            (false, Some(_)) => Form::Ranked,
            (false, None) => Form::Plain,
        }
    }

    fn drawing(&self) -> Drawing {
        match &self.attention {
            Some(Drawing::Picture { path, .. }) => {
                Drawing::Picture { path: path.clone(), named_by_word: self.words.len() != 1 }
            }
            Some(drawing) => drawing.clone(),
            None => Drawing::None,
        }
    }

    fn beams(&self) -> Result<(usize, usize), Failure> {
        let n_best = self.n_best.unwrap_or(1);
        let beams = self.beam.unwrap_or(n_best);
        if n_best > beams {
            return Err(Failure::usage(
                format_args!("{n_best} pronunciations asked for, but only {beams} are searched for"),
                "--n-best",
                format_args!("give --beam {n_best} or more, or no --beam"),
            ));
        }
        Ok((beams, n_best))
    }
}

pub(crate) fn run(args: PronounceArgs, level: Chosen) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let (beams, n_best) = args.beams()?;
    let (form, drawing) = (args.form(), args.drawing());
    let feed = if args.words.is_empty() { Feed::Stdin } else { Feed::Arguments(args.words) };
    let words = feed.len().unwrap_or(usize::MAX);
    let threads = args.threads.unwrap_or_else(machine::threads).min(words);
    // Enough rows for the products to run at their full speed, few enough for the keys and values to stay near.
    let batch = args.batch.unwrap_or((ROWS / beams).max(1)).min(words.div_ceil(threads));

    let pronouncer = Pronouncer::new(level.isa)
        .map_err(|error| Failure::new(error, "the embedded model", "build the program again"))?;
    let mut search = pronouncer.search().clone();
    search.num_beams = beams;
    search.num_return_sequences = n_best;
    search.output_scores = form != Form::Plain;
    let loaded = start.elapsed();

    let most_letters = pronouncer.max_letters();
    // Room for each worker's next words while the reader sleeps.
    let jobs = Queue::new((threads * batch * 2).clamp(64, 4096));
    let work = Arc::new(Work { pronouncer, jobs, search, batch, attention: drawing != Drawing::None });
    let feed = Arc::new(feed);
    let (sender, answers) = mpsc::sync_channel(64);
    for _ in 0..threads {
        let (work, sender) = (Arc::clone(&work), sender.clone());
        std::thread::spawn(move || work.run(&sender));
    }
    // Not waited for: it may read for ever when nobody wants the answers any more.
    let reader = Arc::clone(&feed);
    std::thread::spawn(move || reader.run(most_letters, &work.jobs, &sender));

    let progress = Progress::new(feed.len(), "words");
    let count = Writer { form, drawing, feed: &feed, progress }.run(&answers)?;
    if args.stats {
        let seconds = start.elapsed().as_secs_f64();
        print_stats(count, seconds, loaded.as_secs_f64(), threads, batch, level);
    }
    Ok(if count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

fn print_stats(count: Count, seconds: f64, loaded: f64, threads: usize, batch: usize, level: Chosen) {
    let words = count.lines - count.failed;
    let each = (seconds - loaded) * 1e3 / words.max(1) as f64;
    let memory = memory::peak().map_or("not known here".into(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6));
    let per_second = words as f64 / (seconds - loaded).max(1e-9);
    let threads = if threads == 1 { "1 thread".into() } else { format!("{threads} threads") };
    note(format_args!(
        "{words} words in {:.1} ms after {:.1} ms to load: {per_second:.0} words/s, {each:.3} ms a word; {threads}, batch {batch}, \
         {}; peak memory {memory}",
        (seconds - loaded) * 1e3,
        loaded * 1e3,
        level.isa,
    ));
}
