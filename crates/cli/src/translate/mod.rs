//! `kernform translate`.
//!
//! One thread reads lines, some translate them, and the main one writes in the order of the input. All that waits anywhere
//! is bounded, and nothing waits for more input, so that the input may be without end and a slow one is answered promptly.

mod draw;
mod lines;
mod writer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, SyncSender};
use std::time::Instant;

use clap::{Args, ValueEnum};
use kernform_translate::{Alignment, Options, StudentWeights, TranslateError, Translation, Translator, Worker};

use self::lines::{Input, Job};
use self::writer::{Count, Form, Writer};
use crate::errors::{Failure, note};
use crate::level::Chosen;
use crate::model_input::count_up_to;
use crate::pronounce::progress::Progress;
use crate::pronounce::queue::Queue;
use crate::{machine, memory};

#[derive(Debug, Args)]
#[command(after_help = "\
A model is a folder with model*.bin, vocab*.spm and, where there is one, lex*.bin: a Marian student, as Bergamot
and Firefox have them (tools/fetch-models gets two). Text may have any length. Line breaks, white space and order
stay as they are; a line is answered as soon as it is translated, whatever comes after it.

Output, for each line or TEXT:
  plain           its translation
  with --n-best   rank<TAB>score<TAB>translation, a line a translation
  with --json     {\"line\":1,\"translation\":\"…\",\"sentences\":[{\"source\":\"…\",\"translations\":[{\"text\":\"…\",…}]}]}
Scores are log-probabilities of the tokens, on average.

With --html the input is a page or a part of one, in UTF-8. Tags, attributes, comments and order
stay; a block, such as a paragraph or a cell, is answered as soon as it is translated. Line breaks
inside of a block are spaces. A link or an emphasis goes along with its words, by the model's
alignment, and comes twice where these come apart. What is in code, kbd, samp, var, tt, pre, script,
style, textarea, svg, math, or under translate=\"no\" or class notranslate stays as it is, as do
attributes (title, alt, placeholder, …).

Examples:
  kernform translate --model enpt 'Attention is all you need.'
  kernform translate --model enpt --file book.txt -o livro.txt --stats
  kernform translate --model pten --beam 4 --n-best 2 'A casa é bonita.'
  kernform translate --model enpt --align 'The house is wonderful.'
  kernform translate --model enpt --html --file page.html -o pagina.html
  kernform translate --model enpt --html '<p>The <b>house</b> is wonderful.</p>'")]
pub(crate) struct TranslateArgs {
    /// The model's folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// Texts; without any, and without --file, standard input is read
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    texts: Vec<String>,

    /// Translate this file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Keep the N best beginnings at every step (beam search); 1 is greedy [default: 1, or that of --n-best]
    #[arg(long, value_name = "N", value_parser = count_up_to(64))]
    beam: Option<usize>,

    /// Print the N best translations with their scores; at most as many as beams
    #[arg(long, value_name = "N", value_parser = count_up_to(64))]
    n_best: Option<usize>,

    /// Show which source token each target token was written from: on the terminal, or into a picture
    #[arg(long, value_name = "FILE.svg", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    align: Option<String>,

    /// The text is HTML: translate it and keep the tags
    #[arg(long, conflicts_with_all = ["n_best", "align", "json"])]
    html: bool,

    /// The arithmetic: that of the file (int8), float32 with the same weights, or int8 with the answers of
    /// Marian's own engine in WebAssembly (marian)
    #[arg(long = "type", value_enum, default_value_t = Arithmetic::Int8)]
    arithmetic: Arithmetic,

    /// Choose from the whole vocabulary and not from the model's lexical shortlist
    #[arg(long)]
    no_shortlist: bool,

    /// Translate up to N sentences together on each thread; the results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = count_up_to(1024))]
    batch: usize,

    /// Compute on N threads; the results do not depend on it [default: as many as the machine has]
    #[arg(long, value_name = "N", value_parser = count_up_to(1024))]
    threads: Option<usize>,

    /// One JSON object a line
    #[arg(long)]
    json: bool,

    /// Print sentences and tokens per second, milliseconds and peak memory on stderr
    #[arg(long)]
    stats: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Arithmetic {
    Int8,
    F32,
    Marian,
}

/// A translated line.
pub(crate) struct Answer {
    pub(crate) job: Job,
    pub(crate) translation: Translation,
    pub(crate) alignments: Vec<Alignment>,
    /// The translated block of a page.
    pub(crate) html: Option<String>,
}

impl TranslateArgs {
    fn beams(&self) -> Result<(usize, usize), Failure> {
        let n_best = self.n_best.unwrap_or(1);
        let beams = self.beam.unwrap_or(n_best);
        if n_best > beams {
            return Err(Failure::usage(
                format_args!("{n_best} translations asked for, but only {beams} are searched for"),
                "--n-best",
                format_args!("give --beam {n_best} or more, or no --beam"),
            ));
        }
        if self.align.as_ref().is_some_and(|name| !name.is_empty() && !name.to_lowercase().ends_with(".svg")) {
            return Err(Failure::usage("the picture is an SVG", "--align", "give a name that ends in .svg"));
        }
        Ok((beams, n_best))
    }
}

pub(crate) fn run(args: TranslateArgs, level: Chosen) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let (beams, n_best) = args.beams()?;
    let weights = match args.arithmetic {
        Arithmetic::Int8 => StudentWeights::Stored,
        Arithmetic::F32 => StudentWeights::F32,
        Arithmetic::Marian => StudentWeights::Engine,
    };
    let options = Options { weights, isa: level.isa, shortlist: !args.no_shortlist };
    let translator = Translator::open_with(&args.model, options).map_err(|error| failed(&error, &args.model))?;
    let loaded = start.elapsed();

    let input = Input::new(args.texts, args.file)?;
    let most = if args.html { usize::MAX } else { input.len().unwrap_or(usize::MAX).max(1) };
    let threads = args.threads.unwrap_or_else(machine::threads).min(most);
    let form = match (args.json, args.n_best) {
        (true, _) => Form::Json,
        (false, Some(_)) => Form::Ranked(n_best),
        (false, None) => Form::Plain,
    };
    let jobs = Queue::new((threads * args.batch * 2).clamp(64, 4096));
    let with_scores = form != Form::Plain;
    let crew = Crew {
        translator: &translator,
        jobs: &jobs,
        batch: args.batch,
        beams,
        n_best,
        align: args.align.is_some(),
        with_scores,
    };
    let (sender, answers) = mpsc::sync_channel(64);
    // How many blocks a page has is known at its end.
    let (len, what) = if args.html { (None, "blocks") } else { (input.len(), "lines") };
    let writer = Writer::new((form, args.html), args.align, args.output.as_deref(), Progress::new(len, what))?;
    let result = std::thread::scope(|scope| {
        for _ in 0..threads {
            let (crew, sender) = (&crew, sender.clone());
            scope.spawn(move || crew.work(&sender));
        }
        let (jobs, reader) = (&jobs, sender.clone());
        scope.spawn(move || input.run(args.html, jobs, &reader));
        drop(sender);
        let result = writer.run(answers);
        if matches!(result, Err(Failure::BrokenPipe)) {
            // The reader may wait for input for ever, and nobody wants what would come.
            std::process::exit(0);
        }
        result
    });
    let count = result?;
    if args.stats {
        print_stats((count, what), start.elapsed().as_secs_f64(), loaded.as_secs_f64(), threads, &translator, level);
    }
    Ok(ExitCode::SUCCESS)
}

/// What the workers share.
struct Crew<'c> {
    translator: &'c Translator,
    jobs: &'c Queue<Job>,
    batch: usize,
    beams: usize,
    n_best: usize,
    align: bool,
    with_scores: bool,
}

/// Why a worker stops.
enum Stop {
    NotWanted,
    Model(TranslateError),
}

impl From<TranslateError> for Stop {
    fn from(error: TranslateError) -> Self {
        Self::Model(error)
    }
}

type Answers = SyncSender<Result<Answer, Failure>>;

impl Crew<'_> {
    fn work(&self, answers: &Answers) {
        if let Err(Stop::Model(error)) = self.translate(answers) {
            let failure = Failure::new(error, "the translation", "give a smaller --batch or --beam");
            // Nobody there to be told means that the program ends anyway.
            let _ = answers.send(Err(failure));
        }
        // Whoever waits for room in the queue goes on, and what comes is not wanted.
        while self.jobs.pop().is_some() {}
    }

    fn translate(&self, answers: &Answers) -> Result<(), Stop> {
        let mut worker = Worker::new(self.translator, self.batch, self.beams, self.n_best)?;
        worker.with_scores(self.with_scores);
        let send = |answer| answers.send(Ok(answer)).map_err(|_| Stop::NotWanted);
        // Tags go along with words by their alignment, which is asked for while the other worker runs.
        let mut aligner: Option<Worker<'_>> = None;
        while let Some(first) = self.jobs.pop() {
            if self.align {
                let mut translation = Translation::default();
                worker.run([&first.text].into_iter(), |_, done| {
                    translation = done;
                    Ok::<(), TranslateError>(())
                })?;
                let alignments = worker.align(&translation)?;
                send(Answer { job: first, translation, alignments, html: None })?;
                continue;
            }
            // The run ends when no line is waiting, so that the last ones are answered while the next are not there yet.
            let running = core::cell::RefCell::new(std::collections::BTreeMap::new());
            let mut next = Some(first);
            let mut taken = 0;
            let texts = core::iter::from_fn(|| {
                let job = next.take().or_else(|| self.jobs.pop_now())?;
                let text = job.text.clone();
                running.borrow_mut().insert(taken, job);
                taken += 1;
                Some(text)
            });
            worker.run(texts, |number, translation| {
                let Some(job) = running.borrow_mut().remove(&number) else { return Ok(()) };
                let html = job.html.as_ref().map(|block| {
                    self.translator.html_block(block, &translation, |unit| {
                        let worker = match &mut aligner {
                            Some(worker) => worker,
                            none => none.insert(Worker::new(self.translator, 1, 1, 1)?),
                        };
                        worker.align_unit(unit)
                    })
                });
                send(Answer { job, translation, alignments: Vec::new(), html: html.transpose()? })
            })?;
        }
        Ok(())
    }
}

fn failed(error: &TranslateError, folder: &std::path::Path) -> Failure {
    Failure::new(error, folder.display(), "give the folder of a Marian student; tools/fetch-models gets two")
}

fn print_stats(
    (count, what): (Count, &str),
    seconds: f64,
    loaded: f64,
    threads: usize,
    translator: &Translator,
    level: Chosen,
) {
    let run = (seconds - loaded).max(1e-9);
    let memory = memory::peak().map_or("not known here".into(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6));
    note(format_args!(
        "{} {what}, {} sentences in {:.1} ms after {:.1} ms to load: {:.0} source and {:.0} target tokens/s, {:.3} ms a sentence; \
         {threads} {}, {}; weights {:.1} MB, peak memory {memory}",
        count.lines,
        count.sentences,
        run * 1e3,
        loaded * 1e3,
        count.source_tokens as f64 / run,
        count.target_tokens as f64 / run,
        run * 1e3 / count.sentences.max(1) as f64,
        if threads == 1 { "thread" } else { "threads" },
        level.isa,
        translator.model().memory() as f64 / 1e6,
    ));
}
