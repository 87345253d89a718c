//! `kernform answer`.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use kernform_model::{EncoderLimits, EncoderPlan, EncoderSession, PackedInputs, Task};
use kernform_tensor::parallel::Threads;
use kernform_text::Encoding;
use serde::Serialize;

use super::loaded::{Done, Encoder, EncoderArgs};
use super::probabilities::probabilities;
use crate::errors::Failure;
use crate::level::Chosen;
use crate::model_input::{count_up_to, zeros};
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "\
Models: BertForQuestionAnswering and its like of the other families, which find the answer as a part of a context. A
context that is too long for the model is read in windows that overlap.
The score is the probability of the beginning times that of the end, as in transformers.

Output: score<TAB>start<TAB>end<TAB>answer, best first; start and end count bytes of the context. With several questions a
line `# question` before each; with --json an object a question:
{\"question\":\"…\",\"answers\":[{\"score\":0.9,\"start\":0,\"end\":5,\"text\":\"…\"}]}

Examples:
  kernform answer --model models/bert-squad --context article.txt 'Who wrote it?'
  kernform answer --model models/bert-squad --top 3 --json 'When?' <article.txt")]
pub(crate) struct AnswerArgs {
    #[command(flatten)]
    encoder: EncoderArgs,

    /// The text with the answer [default: standard input]
    #[arg(long, value_name = "FILE")]
    context: Option<PathBuf>,

    /// Print the N best answers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count_up_to(1 << 31))]
    top: usize,

    /// Most tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = count_up_to(1 << 31))]
    max_answer_tokens: usize,

    /// Tokens that neighbouring windows have in common
    #[arg(long, value_name = "N", default_value_t = 128)]
    overlap: usize,

    /// The questions
    #[arg(value_name = "QUESTION", required = true)]
    questions: Vec<String>,

    /// One JSON object a question
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    question: &'a str,
    answers: Vec<Answer<'a>>,
}

#[derive(Serialize)]
struct Answer<'a> {
    score: f32,
    start: usize,
    end: usize,
    text: &'a str,
}

/// A question with a part of the context.
struct Window {
    ids: Vec<u32>,
    types: Vec<u32>,
    /// The bytes of the context that each of its tokens stands for; `None` for tokens of the question and special ones.
    offsets: Vec<Option<(usize, usize)>>,
}

pub(crate) fn run(args: AnswerArgs, level: Chosen) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let encoder = Encoder::open(&args.encoder, Some(Task::QuestionAnswering), level)?;
    let loaded = start.elapsed().as_secs_f64();
    let context = context(&args)?;
    let mut done = Done::default();
    for question in &args.questions {
        let windows = windows(&encoder, question, &context, args.overlap)?;
        done.texts += 1;
        done.tokens += windows.iter().map(|window| window.ids.len() as u64).sum::<u64>();
        let spans = spans(&encoder, &args, &windows)?;
        let answers = spans.into_iter().map(|(score, start, end)| {
            let text = context.get(start..end).unwrap_or_default();
            Answer { score, start, end, text }
        });
        if args.json {
            output::print_json(&Record { question, answers: answers.collect() })?;
        } else {
            let mut text = if args.questions.len() > 1 { format!("# {question}\n") } else { String::new() };
            for Answer { score, start, end, text: answer } in answers {
                // An answer may go over the end of a line.
                let answer = answer.split_whitespace().collect::<Vec<_>>().join(" ");
                text.push_str(&format!("{score:.6}\t{start}\t{end}\t{answer}\n"));
            }
            output::print(&text)?;
        }
    }
    if args.encoder.stats {
        done.print(start.elapsed().as_secs_f64(), loaded, &encoder, &args.encoder);
    }
    Ok(ExitCode::SUCCESS)
}

fn context(args: &AnswerArgs) -> Result<String, Failure> {
    let name = args.context.as_ref().map_or("standard input".into(), |path| path.display().to_string());
    let read = match &args.context {
        Some(path) => std::fs::read_to_string(path),
        None => {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
        }
    };
    read.map_err(|error| Failure::new(format_args!("cannot read the context: {error}"), name, "give UTF-8 text"))
}

/// The question with each part of the context.
fn windows(encoder: &Encoder, question: &str, context: &str, overlap: usize) -> Result<Vec<Window>, Failure> {
    let wrong = |what: String, remedy| Failure::new(what, format_args!("question {question:?}"), remedy);
    let tokens = encoder
        .tokenizer
        .encode_pair(question, context, true)
        .map_err(|error| wrong(error.to_string(), "leave out what the tokenizer stumbles over"))?;
    let vocab_size = encoder.model.config().vocab_size;
    if let Some(id) = tokens.ids.iter().find(|id| **id as usize >= vocab_size) {
        let what = format!("the tokenizer gives token {id}, and the model has {vocab_size}");
        return Err(wrong(what, "see that tokenizer.json belongs to the model"));
    }
    let Some(context) = second_run(&tokens.special) else {
        return Err(wrong("question or context has no tokens".into(), "give a question and a text with its answer"));
    };
    let fixed = tokens.ids.len() - context.len();
    let room = encoder.max_tokens().saturating_sub(fixed);
    if room == 0 {
        let what = format!("it leaves no room for the context: the model takes {} tokens", encoder.max_tokens());
        return Err(wrong(what, "ask something shorter"));
    }
    let step = room - overlap.min(room / 2);
    let mut windows = Vec::new();
    let mut from = context.start;
    loop {
        let to = context.end.min(from + room);
        windows.push(Window::new(&tokens, context.start, from..to, context.end));
        if to == context.end {
            return Ok(windows);
        }
        from += step;
    }
}

/// The second run of tokens that are not special: the context, behind the question.
fn second_run(special: &[bool]) -> Option<core::ops::Range<usize>> {
    let begins = |from: usize| special[from..].iter().position(|special| !special).map(|place| from + place);
    let ends = |from: usize| special[from..].iter().position(|special| *special).map_or(special.len(), |at| from + at);
    let first = begins(0)?;
    let second = begins(ends(first))?;
    Some(second..ends(second))
}

impl Window {
    /// What stands before `first` and from `last` on, and between them the tokens of `part`.
    fn new(tokens: &Encoding, first: usize, part: core::ops::Range<usize>, last: usize) -> Self {
        let places: Vec<usize> = (0..first).chain(part.clone()).chain(last..tokens.ids.len()).collect();
        Self {
            ids: places.iter().map(|place| tokens.ids[*place]).collect(),
            types: places.iter().map(|place| tokens.type_ids[*place]).collect(),
            offsets: places.iter().map(|place| part.contains(place).then(|| tokens.offsets[*place])).collect(),
        }
    }
}

/// The best answers of all windows: score, start and end.
fn spans(encoder: &Encoder, args: &AnswerArgs, windows: &[Window]) -> Result<Vec<(f32, usize, usize)>, Failure> {
    let failure = |error| encoder.failure(&error);
    let threads = Threads(args.encoder.threads());
    let most = windows.iter().map(|window| window.ids.len()).max().unwrap_or(1);
    let at_once = (args.encoder.batch_tokens / most).max(1);
    let limits = EncoderLimits { sequences: at_once, tokens: at_once * most };
    let plan = EncoderPlan::new(&encoder.model, limits, &threads).map_err(failure)?;
    let mut buffer = zeros(plan.scratch_len())?;
    let mut session = EncoderSession::new(&encoder.model, &plan, buffer.as_mut_slice()).map_err(failure)?;
    let mut found = Vec::new();
    for batch in windows.chunks(at_once) {
        let ids: Vec<u32> = batch.iter().flat_map(|window| &window.ids).copied().collect();
        let types: Vec<u32> = batch.iter().flat_map(|window| &window.types).copied().collect();
        let lengths: Vec<usize> = batch.iter().map(|window| window.ids.len()).collect();
        let inputs = PackedInputs { input_ids: &ids, token_type_ids: encoder.types(&types), lengths: &lengths };
        session.run(&threads, &inputs).map_err(failure)?;
        let mut logits = vec![0.0; ids.len() * 2];
        session.head(&threads, &mut logits).map_err(failure)?;
        let mut rest = logits.as_slice();
        for window in batch {
            let (mine, others) = rest.split_at(window.ids.len() * 2);
            rest = others;
            found.extend(of_window(encoder, window, mine, args.max_answer_tokens, args.top));
        }
    }
    best(&mut found, args.top);
    Ok(found)
}

/// The best answers of one window.
fn of_window(encoder: &Encoder, window: &Window, logits: &[f32], most: usize, top: usize) -> Vec<(f32, usize, usize)> {
    let side = |side: usize| {
        // Only tokens of the context can begin or end an answer.
        let pairs = logits.chunks_exact(2).zip(&window.offsets);
        let mut scores: Vec<f32> =
            pairs.map(|(pair, offset)| if offset.is_some() { pair[side] } else { f32::NEG_INFINITY }).collect();
        let width = scores.len();
        probabilities(encoder.model.isa(), &mut scores, width, false);
        scores
    };
    let (starts, ends) = (side(0), side(1));
    let mut found = Vec::new();
    for (i, (begin, offset)) in starts.iter().zip(&window.offsets).enumerate() {
        let Some((start, _)) = offset else { continue };
        let candidates = ends.iter().zip(&window.offsets).skip(i).take(most);
        found.extend(candidates.filter_map(|(end, offset)| Some((begin * end, *start, offset.as_ref()?.1))));
        // Kept short, since there are as many as tokens times the longest answer.
        if found.len() > 4 * top + 1024 {
            best(&mut found, top);
        }
    }
    best(&mut found, top);
    found
}

/// Leaves the best answers, best first, each once.
fn best(found: &mut Vec<(f32, usize, usize)>, top: usize) {
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut seen = std::collections::HashSet::new();
    found.retain(|(_, start, end)| seen.len() < top && seen.insert((*start, *end)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_is_the_second_run() {
        let special = |text: &str| text.chars().map(|c| c == 's').collect::<Vec<_>>();
        assert_eq!(second_run(&special("sqqsccs")), Some(4..6));
        assert_eq!(second_run(&special("sqsscc")), Some(4..6));
        assert_eq!(second_run(&special("sqqs")), None);
        assert_eq!(second_run(&special("sss")), None);
    }

    #[test]
    fn the_best_answers_are_left_once() {
        let mut found = vec![(0.1, 0, 1), (0.5, 2, 3), (0.5, 1, 3), (0.4, 2, 3)];
        best(&mut found, 2);
        assert_eq!(found, [(0.5, 1, 3), (0.5, 2, 3)]);
    }
}
