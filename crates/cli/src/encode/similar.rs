//! `kernform similar`.

use core::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use kernform_simd::Isa;
use serde::Serialize;

use super::embed::{VectorArgs, Vectors};
use super::engine;
use super::feed::Feed;
use super::index::Origin;
use super::loaded::{Done, Encoder, EncoderArgs};
use crate::errors::{EXIT_FAILED, Failure, note};
use crate::level::Chosen;
use crate::model_input::count_up_to;
use crate::output;
use crate::pronounce::lines::read_line;

#[derive(Debug, Args)]
#[command(after_help = "\
Each line of the corpus is a text; the lines that are most like a query come first, by the cosine of their vectors.
An index keeps the vectors of the corpus: it is made where it is not there, used where model, options and corpus are
those that it was made of, and made anew where they are not.

Output: score<TAB>line<TAB>text, with several queries a line `# query` before each; with --json an object a query:
{\"query\":\"…\",\"hits\":[{\"score\":0.9,\"line\":1,\"text\":\"…\"}]}

Examples:
  kernform similar --model models/all-MiniLM-L6-v2 --corpus faq.txt 'How do I reset my password?'
  kernform similar --model models/all-MiniLM-L6-v2 --corpus faq.txt --index faq.index --top 3 'opening hours'")]
pub(crate) struct SimilarArgs {
    #[command(flatten)]
    encoder: EncoderArgs,

    #[command(flatten)]
    vector: VectorArgs,

    /// The texts to search, one a line
    #[arg(long, value_name = "FILE")]
    corpus: PathBuf,

    /// Keep the vectors of the corpus in this file
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,

    /// The prompt before queries, where it is another than that of the texts
    #[arg(long, value_name = "TEXT")]
    query_prompt: Option<String>,

    /// Print the N best lines
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = count_up_to(1 << 31))]
    top: usize,

    /// What to look for
    #[arg(value_name = "QUERY", required = true)]
    queries: Vec<String>,

    /// One JSON object a query
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    query: &'a str,
    hits: Vec<Hit<'a>>,
}

#[derive(Serialize)]
struct Hit<'a> {
    score: f32,
    line: usize,
    text: &'a str,
}

pub(crate) fn run(args: SimilarArgs, level: Chosen) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let encoder = Arc::new(Encoder::open(&args.encoder, None, level)?);
    // Vectors of length 1 make the cosine a dot product.
    let vectors = Vectors { normalize: true, ..args.vector.over(&encoder)? };
    let loaded = start.elapsed().as_secs_f64();
    let width = vectors.width(&encoder);
    let threads = args.encoder.threads();

    let (corpus, mut done) = corpus_vectors(&args, &encoder, &vectors, width)?;
    let for_queries =
        Vectors { prompt: args.query_prompt.clone().unwrap_or_else(|| vectors.prompt.clone()), ..vectors };
    let (queries, asked) = embed(&encoder, for_queries, Feed::texts(args.queries.clone()), threads, width)?;
    done.failed += asked.failed;
    done.tokens += asked.tokens;
    done.texts += asked.texts;

    let found: Vec<_> =
        queries.chunks_exact(width).map(|query| best(level.isa, query, &corpus, width, args.top)).collect();
    let mut wanted: Vec<usize> = found.iter().flatten().map(|(_, line)| *line).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let texts = lines(&args.corpus, &wanted)?;
    let text = |line: usize| wanted.binary_search(&line).ok().map_or("", |place| texts[place].as_str());
    for (query, found) in args.queries.iter().zip(&found) {
        if args.json {
            let hits = found.iter().map(|(score, line)| Hit { score: *score, line: line + 1, text: text(*line) });
            output::print_json(&Answer { query, hits: hits.collect() })?;
        } else {
            let mut table = String::new();
            if args.queries.len() > 1 {
                // Writing to a string cannot fail.
                let _ = writeln!(table, "# {query}");
            }
            for (score, line) in found {
                let _ = writeln!(table, "{score:.4}\t{}\t{}", line + 1, text(*line));
            }
            output::print(&table)?;
        }
    }
    if args.encoder.stats {
        done.print(start.elapsed().as_secs_f64(), loaded, &encoder, &args.encoder);
    }
    Ok(if done.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// The vectors of the corpus, from the index where it has them.
fn corpus_vectors(
    args: &SimilarArgs,
    encoder: &Arc<Encoder>,
    vectors: &Vectors,
    width: usize,
) -> Result<(Vec<f32>, Done), Failure> {
    let threads = args.encoder.threads();
    let compute = || embed(encoder, vectors.clone(), Feed::file(args.corpus.clone()), threads, width);
    let Some(index) = &args.index else { return compute() };
    let origin = Origin::new(encoder, args.encoder.kind, vectors, &args.corpus)?;
    if index.exists() {
        match origin.read(index, width)? {
            Ok(found) => return Ok((found, Done::default())),
            Err(other) => {
                note(format_args!("{}: made with another {other}, so it is made anew", index.display()));
            }
        }
    }
    let (found, done) = compute()?;
    // Lines without a vector would be missing without a word the next time.
    if done.failed == 0 {
        origin.write(index, &found, width)?;
    }
    Ok((found, done))
}

/// The vectors of all texts of `feed`, NaN for a line that is no text.
fn embed(
    encoder: &Arc<Encoder>,
    vectors: Vectors,
    feed: Feed,
    threads: usize,
    width: usize,
) -> Result<(Vec<f32>, Done), Failure> {
    let mut all = Vec::new();
    let keep = |outcome: &engine::Outcome<Vec<f32>>| {
        match &outcome.result {
            Ok(vector) => all.extend_from_slice(vector),
            Err(_) => all.resize(all.len() + width, f32::NAN),
        }
        Ok(())
    };
    let done = engine::run(encoder, vectors, feed, threads, keep, || Ok(()))?;
    Ok((all, done))
}

/// The best lines for a query with their scores; of equal ones the first. NaN is never among them.
fn best(isa: Isa, query: &[f32], corpus: &[f32], width: usize, count: usize) -> Vec<(f32, usize)> {
    let score = |vector| kernform_math::dot(isa, query, vector).unwrap_or(f32::NAN);
    let scores = corpus.chunks_exact(width).map(score).zip(0..);
    let mut found: Vec<(f32, usize)> = scores.filter(|(score, _)| !score.is_nan()).collect();
    let better = |a: &(f32, usize), b: &(f32, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if count < found.len() {
        found.select_nth_unstable_by(count, better);
        found.truncate(count);
    }
    found.sort_unstable_by(better);
    found
}

/// The lines with these numbers, which ascend.
fn lines(path: &Path, wanted: &[usize]) -> Result<Vec<String>, Failure> {
    let wrong = |error| Failure::new(format_args!("cannot read it: {error}"), path.display(), "leave it as it is");
    let mut file = BufReader::new(File::open(path).map_err(wrong)?);
    let (mut line, mut number) = (Vec::new(), 0);
    let mut texts = Vec::with_capacity(wanted.len());
    while texts.len() < wanted.len() && read_line(&mut file, &mut line, 1 << 20).map_err(wrong)? {
        if number == wanted[texts.len()] {
            texts.push(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned());
        }
        number += 1;
    }
    texts.resize(wanted.len(), String::new());
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_lines_come_first_and_equal_ones_in_their_order() {
        let corpus = [1.0, 0.0, 0.6, 0.8, f32::NAN, 0.0, 1.0, 0.0, 0.0, 1.0];
        let found = best(Isa::best(), &[1.0, 0.0], &corpus, 2, 3);
        assert_eq!(found, [(1.0, 0), (1.0, 3), (0.6, 1)]);
        assert_eq!(best(Isa::best(), &[1.0, 0.0], &corpus, 2, 99).len(), 4);
    }
}
